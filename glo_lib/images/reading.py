"""Read image files of any kind, and describe what is wrong with those that cannot be read.

All files are read before training starts, so that a damaged file does not stop a run after an hour.
"""

import io
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from glo_lib.images.formats import FORMATS, describe_non_image
from glo_lib.images.metadata import orientation_of, read_jpeg_header, turn_upright, without_metadata

MAX_MEGAPIXELS = 64.0  # 192 MB once decoded; a larger image is probably a mistake or an attack
MAX_NAMED = 10  # files that an error message names
# Pillow warns about unusual files that it reads correctly. The filter is global because changing filters is not safe in threads.
warnings.filterwarnings("ignore", module=r"PIL\.")
Image.MAX_IMAGE_PIXELS = None  # the limit below takes its place, and can be raised; Pillow's is global too


class StoredImage(NamedTuple):
    """An image as it is stored in a file.

    Attributes:
        pixels: (height, width, 3) uint8, at the fraction 1/``scale`` of the full size.
        orientation: EXIF's number; `glo_lib.images.metadata.turn_upright` applies it.
        size: full height and width.
        scale: 1, or for a JPEG file also 2, 4 or 8.
    """

    pixels: np.ndarray
    orientation: int
    size: tuple[int, int]
    scale: int = 1


def read_image(filename: str, max_megapixels: float = MAX_MEGAPIXELS) -> np.ndarray:
    """Read an image file of any kind as RGB.

    Grey, palette, CMYK, 16-bit and floating-point images are converted, transparent images are put on a white background, and images are
    turned upright as their EXIF or XMP data say. Other metadata, and metadata that cannot be read, are ignored.

    Args:
        filename: image file in one of the formats of `glo_lib.images.formats`; of an animation the first frame is read.
        max_megapixels: largest size to be read, in millions of pixels.

    Returns:
        (height, width, 3) uint8.

    Raises:
        ValueError: the file cannot be read; the message starts with its name and says what is wrong.

    Example:
        ``height, width, _ = read_image("photograph.png").shape``
    """
    stored = read_stored(filename, max_megapixels)
    return turn_upright(stored.pixels, stored.orientation)


def read_stored(
    filename: str, max_megapixels: float = MAX_MEGAPIXELS, jpeg_scale: Callable[[int, int], int] = lambda height, width: 1
) -> StoredImage:
    """Read an image file of any kind as RGB, as it is stored.

    Args:
        filename: see `read_image`.
        max_megapixels: see `read_image`.
        jpeg_scale: function of height and width that returns 1, 2, 4 or 8: a JPEG file is decoded at this fraction of its size.

    Returns:
        `StoredImage`.

    Raises:
        ValueError: see `read_image`.
    """
    try:
        return _read(filename, filename, max_megapixels, jpeg_scale)
    except UnidentifiedImageError:
        reason = describe_non_image(filename)
    except Exception as error:  # Pillow raises almost any exception for damaged files
        reason = str(error) or type(error).__name__
    try:
        return _read(filename, io.BytesIO(without_metadata(filename)), max_megapixels, jpeg_scale)
    except Exception:  # not a PNG file, or its pixels are damaged
        raise ValueError(f"{filename!r}: {reason}") from None


def _read(filename: str, source: str | BinaryIO, max_megapixels: float, jpeg_scale: Callable[[int, int], int]) -> StoredImage:
    with Image.open(source, formats=FORMATS) as image:
        if image.width * image.height > max_megapixels * 1e6:
            raise ValueError(
                f"{image.width}x{image.height} pixels, above the limit of {max_megapixels:g} megapixels; -p max_megapixels raises it"
            )
        if image.format in ("JPEG", "MPO"):
            return _read_jpeg(filename, image, jpeg_scale)
        if image.format == "TIFF":
            return _read_tiff(image)
        pixels = np.asarray(_as_rgb(image))
        return StoredImage(pixels, orientation_of(image), (pixels.shape[0], pixels.shape[1]))


def _read_jpeg(filename: str, image: Image.Image, jpeg_scale: Callable[[int, int], int]) -> StoredImage:
    header, size = read_jpeg_header(filename), (image.height, image.width)
    scale = jpeg_scale(*size)
    image.draft(None, (image.width // scale, image.height // scale))
    return StoredImage(np.asarray(_as_rgb(image)), header.orientation if header else orientation_of(image), size, scale)


def _read_tiff(image: ImageFile.ImageFile) -> StoredImage:
    """Read a TIFF file without the step in which Pillow reads all EXIF data, which may be damaged, and turns the image itself."""
    orientation = orientation_of(image)
    image.load_end = lambda: None  # type: ignore[method-assign]  # of this image only
    image.load()
    pixels = np.asarray(_as_rgb(image.copy()))  # the copy has the size as stored
    return StoredImage(pixels, orientation, (pixels.shape[0], pixels.shape[1]))


def _as_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to RGB with 8 bits."""
    if image.mode.startswith(("I", "F")):  # 16-bit or floating-point grey, which Pillow's own conversion would clip to white
        values = np.asarray(image, np.float64)
        top = 65535 if image.mode != "F" else max(float(values.max()), 1.0)
        return Image.fromarray((np.clip(values / top, 0, 1) * 255 + 0.5).astype(np.uint8)).convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


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
