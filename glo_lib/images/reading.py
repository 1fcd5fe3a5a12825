"""Read image files of any kind, and describe what is wrong with those that cannot be read.

All files are read before training starts, so that a damaged file does not stop a run after an hour.
"""

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 64_000_000  # 192 MB once decoded; a larger image is probably a mistake or an attack
JPEG_SOI, JPEG_SOS = b"\xff\xd8", b"\xff\xda"  # markers: start of image, start of scan
JPEG_SOF = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # start-of-frame markers; their segment declares height and width
HEADER_BYTES = 4096  # in most JPEG files the scan starts within these
MAX_NAMED = 10  # files that an error message names
# Pillow warns about unusual files that it reads correctly. The filter is global because changing filters is not safe in threads.
warnings.filterwarnings("ignore", module=r"PIL\.")


def is_plain_jpeg(filename: str) -> bool:
    """Return whether a file is a JPEG file that TensorFlow decodes correctly: without EXIF data, which may rotate it, and not too large.

    Args:
        filename: any file; false if it cannot be opened.
    """
    try:
        with open(filename, "rb", buffering=0) as file:
            plain = _header_is_plain(file.read(HEADER_BYTES))
            if plain is None:  # long segments, for instance a colour profile, come before the scan
                file.seek(0)
                plain = _header_is_plain(file.readall())
        return bool(plain)
    except OSError:
        return False


def _header_is_plain(contents: bytes) -> bool | None:
    """Return whether all segments before the scan are of the usual kinds; None if the contents end before the scan."""
    if contents[:2] != JPEG_SOI:
        return False
    position = 2
    while position + 9 <= len(contents):
        if contents[position : position + 2] == JPEG_SOS:
            return True
        length = int.from_bytes(contents[position + 2 : position + 4], "big")  # of the segment without its marker
        if contents[position] != 255 or length < 2 or contents[position + 4 : position + 8] == b"Exif":
            return False  # Pillow reads unusual files, or describes what is wrong with them
        if contents[position + 1] in JPEG_SOF:
            height, width = (int.from_bytes(contents[position + at : position + at + 2], "big") for at in (5, 7))
            if height * width > MAX_PIXELS:
                return False
        position += 2 + length
    return None


def read_image(filename: str) -> np.ndarray:
    """Read an image file of any kind as RGB.

    Grey, palette, CMYK, 16-bit and floating-point images are converted, transparent images are put on a white background, and images with
    EXIF data are rotated as these say.

    Args:
        filename: image file in a format that Pillow reads; of an animation the first frame is read.

    Returns:
        (height, width, 3) uint8.

    Raises:
        ValueError: the file cannot be read; the message starts with its name and says what is wrong.

    Example:
        ``height, width, _ = read_image("photograph.png").shape``
    """
    try:
        with Image.open(filename) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width}x{image.height} pixels, above the limit of {MAX_PIXELS:,}")
            return np.asarray(_as_rgb(ImageOps.exif_transpose(image)))
    except UnidentifiedImageError:
        raise ValueError(f"{filename!r}: {_describe_non_image(filename)}") from None
    except Exception as error:  # Pillow raises almost any exception for damaged files
        raise ValueError(f"{filename!r}: {error}") from None


def _as_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to RGB with 8 bits."""
    if image.mode.startswith(("I", "F")):  # 16-bit or floating-point grey, which Pillow's own conversion would clip to white
        values = np.asarray(image, np.float64)
        top = 65535 if image.mode != "F" else max(float(values.max()), 1.0)
        return Image.fromarray(np.uint8(np.clip(values / top, 0, 1) * 255 + 0.5)).convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _describe_non_image(filename: str) -> str:
    """Describe a file that Pillow does not recognise as an image."""
    start = first_bytes(Path(filename))
    if not start:
        return "the file is empty"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "this is an HTML page, not an image; the download probably failed"
    return f"not an image that can be read; it begins with {start!r}"


def unreadable(filenames: Sequence[str]) -> list[str]:
    """Read every file completely and describe those that cannot be read.

    Args:
        filenames: image files.

    Returns:
        One line for each file that cannot be read, in the order given: its name and what is wrong with it.
    """

    def problem(filename: str) -> str:
        try:
            read_image(filename)
        except ValueError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor() as pool:
        return [line for line in pool.map(problem, filenames) if line]


def refuse(problems: Sequence[str]) -> None:
    """Raise a `ValueError` with the number of unreadable files and the first ten lines of `unreadable`."""
    listed = "\n  ".join(problems[:MAX_NAMED])
    more = f"\n  ... and {len(problems) - MAX_NAMED} more" if len(problems) > MAX_NAMED else ""
    raise ValueError(f"{len(problems)} image file(s) cannot be read; remove or replace them:\n  {listed}{more}")


def first_bytes(path: Path) -> bytes:
    """Return the first 24 bytes of a file, for error messages."""
    with open(path, "rb") as file:
        return file.read(24)
