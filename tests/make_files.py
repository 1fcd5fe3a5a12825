"""Write files for the tests of several modules: bytes, and images whose colour encodes a number."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def write_file(path: Path, contents: bytes = b"x") -> str:
    """Write a file, create the folders above it, and return its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(contents)
    return str(path)


LEVELS = np.array([20, 74, 128, 182, 236])  # of red, green and blue: three digits in base five


def indices_in(images: np.ndarray) -> list[int]:
    """Return the numbers that the colours of images (n, h, w, 3), uint8 or in [-1, 1], encode; see `write_numbered_image`."""
    colours = np.asarray(images, np.float64).mean((1, 2))
    colours = colours if images.dtype == np.uint8 else (colours + 1) * 127.5
    digits = np.abs(colours[..., None] - LEVELS).argmin(-1)
    assert np.abs(colours - LEVELS[digits]).max() < 12  # a mixture of two images would lie between the levels
    return (digits @ [1, 5, 25]).tolist()


def write_numbered_image(folder: Path, index: int, kind: str = "jpg", size: tuple[int, int] = (12, 10), **options) -> str:
    """Write an image of one colour that encodes a number below 125, and return its name."""
    folder.mkdir(parents=True, exist_ok=True)
    filename = str(folder / f"{index:03}.{kind}")
    image = Image.new("RGB", size, tuple(int(LEVELS[index // power % 5]) for power in (1, 5, 25)))
    image = image.convert("CMYK") if options.pop("cmyk", False) else image
    image.save(filename, **options)
    return filename


def encoded(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    """Return an image as the contents of a file of a kind of Pillow's, such as "JPEG"."""
    image, file = image if isinstance(image, Image.Image) else Image.fromarray(image), io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif_data(orientation: int) -> bytes:
    """Return EXIF data with nothing but an orientation; they begin with the six bytes "Exif", 0, 0."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def xmp_data(orientation: int) -> bytes:
    """Return XMP data with nothing but an orientation."""
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()


def jpeg_with(jpeg: bytes, *segments: tuple[int, bytes]) -> bytes:
    """Insert segments, each a marker's second byte and its data, at the start of a JPEG file."""
    return jpeg[:2] + b"".join(b"\xff" + bytes([kind]) + struct.pack(">H", len(data) + 2) + data for kind, data in segments) + jpeg[2:]


PNG_END = b"IEND"  # where `png_with` inserts chunks, if not before the pixels


def png_chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file, with its length and checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_with(png: bytes, chunks: bytes, before: bytes = b"") -> bytes:
    """Insert chunks into a PNG file: after its header, or before the chunk of the given name."""
    position = png.rindex(before) - 4 if before else 33
    return png[:position] + chunks + png[position:]
