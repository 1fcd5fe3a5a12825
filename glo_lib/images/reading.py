"""Read one image file of any kind, or say what is wrong with it.

What comes from outside is checked here, before any training starts, so that no run dies of a damaged file an hour in.
"""

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 64_000_000  # a larger image is a mistake or an attack: 64 megapixels are 192 MB once decoded
JPEG_START, JPEG_SCAN = b"\xff\xd8", b"\xff\xda"
JPEG_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of the segment that declares height and width
HEADER_BYTES = 4096  # most JPEG files begin their scan within
MAX_NAMED = 10  # files that an error message names
# Pillow warns of oddities that it then reads well. (A filter for the moment would not be safe in threads.)
warnings.filterwarnings("ignore", module=r"PIL\.")


def is_plain_jpeg(filename: str) -> bool:
    """Whether TensorFlow's JPEG decoder reads the file as it should be seen: no EXIF data, which may rotate it, and no absurd size."""
    try:
        with open(filename, "rb", buffering=0) as file:
            plain = _starts_like_a_plain_jpeg(file.read(HEADER_BYTES))
            if plain is None:  # a colour profile, say, comes before the scan
                file.seek(0)
                plain = _starts_like_a_plain_jpeg(file.readall())
        return bool(plain)
    except OSError:
        return False


def _starts_like_a_plain_jpeg(contents: bytes) -> bool | None:
    """Whether the segments up to the scan are ordinary; None where the contents end before that is known."""
    if contents[:2] != JPEG_START:
        return False
    position = 2
    while position + 9 <= len(contents):
        if contents[position : position + 2] == JPEG_SCAN:
            return True
        length = int.from_bytes(contents[position + 2 : position + 4], "big")  # of what follows, with these two bytes
        if contents[position] != 255 or length < 2 or contents[position + 4 : position + 8] == b"Exif":
            return False  # nothing unusual is TensorFlow's: Pillow reads it, or says what is wrong
        if contents[position + 1] in JPEG_SIZES:
            height, width = (int.from_bytes(contents[position + at : position + at + 2], "big") for at in (5, 7))
            if height * width > MAX_PIXELS:
                return False
        position += 2 + length
    return None


def read_image(filename: str) -> np.ndarray:
    """Read any image file as RGB: grey, palette, CMYK, 16-bit, transparent (on white) and EXIF-rotated ones included.

    Args:
        filename: image file of any kind that Pillow knows; of an animated one the first frame is read.

    Returns:
        (height, width, 3) uint8.

    Raises:
        ValueError: what is wrong with the file, its name first.
    """
    try:
        with Image.open(filename) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width}x{image.height} pixels, above the limit of {MAX_PIXELS:,}")
            return np.asarray(_as_rgb(ImageOps.exif_transpose(image)))
    except UnidentifiedImageError:
        raise ValueError(f"{filename!r}: {_not_an_image(filename)}") from None
    except Exception as error:  # a damaged file makes Pillow's many readers raise almost anything
        raise ValueError(f"{filename!r}: {error}") from None


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):  # 16-bit or floating-point grey: Pillow's own conversion would clip it to white
        values = np.asarray(image, np.float64)
        top = 65535 if image.mode != "F" else max(float(values.max()), 1.0)
        return Image.fromarray(np.uint8(np.clip(values / top, 0, 1) * 255 + 0.5)).convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _not_an_image(filename: str) -> str:
    start = first_bytes(Path(filename))
    if not start:
        return "the file is empty"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "this is an HTML page, not an image; the download probably failed"
    return f"not an image that can be read; it begins with {start!r}"


def unreadable(filenames: Sequence[str]) -> list[str]:
    """Read every file to its end and say of each bad one what is wrong with it.

    Returns:
        One line for each unreadable file, in the order given.
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
    """Raise a `ValueError` that names the unreadable files, the first ten of them with their reason."""
    shown = "\n  ".join(problems[:MAX_NAMED])
    more = f"\n  ... and {len(problems) - MAX_NAMED} more" if len(problems) > MAX_NAMED else ""
    raise ValueError(f"{len(problems)} image file(s) cannot be read; remove or replace them:\n  {shown}{more}")


def first_bytes(path: Path) -> bytes:
    """The first 24 bytes of a file, for messages that say what it looks like."""
    with open(path, "rb") as file:
        return file.read(24)
