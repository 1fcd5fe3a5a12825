"""Write files for the tests of several modules: bytes, and images whose colour encodes a number."""

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
