"""What image files say about themselves beside their pixels: the orientation, and the header of a JPEG file.

Pixels count, so metadata that cannot be read are ignored. An orientation is applied wherever common viewers apply it: from EXIF data (in a
JPEG, PNG, WebP or AVIF file, or as a tag of a TIFF file), and, if there is none, from ``tiff:Orientation`` in XMP data.
"""

import os
import struct
import zlib
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image

JPEG_SOI, JPEG_SOS = b"\xff\xd8", b"\xff\xda"  # markers: start of image, start of scan
JPEG_SOF = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # start-of-frame markers; their segment declares height and width
JPEG_APP1 = 0xE1
EXIF, XMP = b"Exif\x00\x00", b"http://ns.adobe.com/xap/1.0/\x00"  # start of segments of the type APP1
HEADER_BYTES = (4096, 2**18)  # in most JPEG files the scan starts within these, in those of cameras within the second
UPRIGHT = 1
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
ORIENTATION_CHUNKS = (b"eXIf", b"iTXtXML:com.adobe.xmp\x00\x00")  # the second without compression
MAX_ORIENTATION_CHUNK = 2**20


class JpegHeader(NamedTuple):
    """What a JPEG file declares before its first scan.

    Attributes:
        height: in pixels, as stored.
        width: in pixels, as stored.
        orientation: EXIF's number, 1 to 8; see `turn_upright`.
    """

    height: int
    width: int
    orientation: int

    @property
    def num_pixels(self) -> int:
        """Height times width."""
        return self.height * self.width


def read_jpeg_header(filename: str | os.PathLike) -> JpegHeader | None:
    """Read the header of a JPEG file.

    Args:
        filename: any file.

    Returns:
        `JpegHeader`; None if the file cannot be opened, is not a JPEG file, or does not have the usual segments up to its scan.

    Example:
        ``read_jpeg_header("photograph.jpg").orientation``
    """
    try:
        with open(filename, "rb", buffering=0) as file:
            contents = file.read(HEADER_BYTES[0])
            for more in (HEADER_BYTES[1], -1):
                header = _parse_jpeg(contents)
                if header is not Ellipsis:
                    return header
                contents += file.read(more) or b""
            header = _parse_jpeg(contents)
            return None if header is Ellipsis else header
    except OSError:
        return None


def _parse_jpeg(contents: bytes) -> Any:
    """Return `JpegHeader`; None if a segment is unusual; Ellipsis if the contents end before the scan."""
    if contents[:2] != JPEG_SOI:
        return None
    size: tuple[int, int] | None = None
    exif: list[bytes] = []
    xmp: list[bytes] = []
    position = 2
    while position + 9 <= len(contents):
        if contents[position : position + 2] == JPEG_SOS:
            return JpegHeader(*size, _orientation(exif=b"".join(exif), xmp=b"".join(xmp))) if size else None
        if contents[position : position + 2] == b"\xff\xff":  # a fill byte before a marker
            position += 1
            continue
        kind, length = contents[position + 1], int.from_bytes(contents[position + 2 : position + 4], "big")  # without the marker
        if contents[position] != 255 or length < 2:
            return None
        data = contents[position + 4 : position + 2 + length]
        if kind in JPEG_SOF:
            size = struct.unpack(">HH", data[1:5])
        elif kind == JPEG_APP1 and data.startswith(EXIF):
            exif.append(data.removeprefix(EXIF))
        elif kind == JPEG_APP1 and data.startswith(XMP):
            xmp = [data.removeprefix(XMP)]
        position += 2 + length
    return Ellipsis


def _orientation(exif: bytes, xmp: bytes) -> int:
    if not exif and not xmp:
        return UPRIGHT
    carrier = Image.Image()
    carrier.info = {name: data for name, data in {"exif": exif, "xmp": xmp}.items() if data}
    return orientation_of(carrier)


def orientation_of(image: Image.Image) -> int:
    """Return the orientation that an image file asks for: EXIF's number, 1 to 8; 1 if there is none or it cannot be read.

    Args:
        image: as opened by Pillow; the pixels of a PNG file are read, because EXIF data may follow them.

    Example:
        >>> orientation_of(Image.new("RGB", (3, 2)))
        1
    """
    try:
        tags = getattr(image, "tag_v2", {})  # of a TIFF file
        value = tags.get(ExifTags.Base.Orientation) or image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
        return int(value) if value in TURNS else UPRIGHT
    except Exception:  # damaged metadata can raise almost any exception
        return UPRIGHT


# From the pixels as stored to the upright image, by EXIF's number.
TURNS = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels.swapaxes(0, 1)[:, ::-1],
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels.swapaxes(0, 1)[::-1],
}


def turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn or mirror pixels as stored, so that the image is upright.

    Args:
        pixels: (height, width, channels).
        orientation: EXIF's number, 1 to 8.

    Returns:
        (height, width, channels), or (width, height, channels) for the numbers 5 to 8; a view of the same pixels.

    Example:
        >>> turn_upright(np.array([[[1], [2]]]), 6)[..., 0].tolist()  # stored lying on its left side
        [[1], [2]]
    """
    return TURNS[orientation](pixels)


def without_metadata(filename: str | os.PathLike) -> bytes:
    """Return the contents of a PNG file without the chunks that have no influence on its pixels, except for sound ones of an orientation.

    Pillow refuses files with damaged or very large texts and colour profiles, which other programs pass over.

    Args:
        filename: PNG file, which may be damaged.

    Raises:
        ValueError: this is not a PNG file.
        OSError: the file cannot be opened.
    """
    with open(filename, "rb") as file:
        if file.read(len(PNG_SIGNATURE)) != PNG_SIGNATURE:
            raise ValueError(f"{str(filename)!r} is not a PNG file")
        contents = file.read()
    kept, position = [PNG_SIGNATURE], 0
    while position < len(contents):
        end = position + 12 + int.from_bytes(contents[position : position + 4], "big")
        chunk = contents[position:end]
        if chunk[4:].startswith(PIXEL_CHUNKS) or _may_hold_orientation(chunk):
            kept.append(chunk)
        position = end
    return b"".join(kept)


def _may_hold_orientation(chunk: bytes) -> bool:
    is_sound = len(chunk) <= MAX_ORIENTATION_CHUNK and chunk[-4:] == struct.pack(">I", zlib.crc32(chunk[4:-4]))
    return chunk[4:].startswith(ORIENTATION_CHUNKS) and is_sound
