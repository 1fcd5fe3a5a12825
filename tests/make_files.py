"""Files for the tests of several modules: written, damaged, and painted with the number of the image."""

from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from PIL import Image


def written(path: Path, contents: bytes = b"x") -> str:
    """Write a file, with the folders above it, and return its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(contents)
    return str(path)


FLIPS = st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), min_size=1, max_size=3)


def flipped(contents: bytes, flips: list[tuple[int, int]]) -> bytes:
    """Replace bytes: pairs of a position, modulo the length, and a value."""
    changed = bytearray(contents)
    for position, value in flips:
        changed[position % len(changed)] = value
    return bytes(changed)


LEVELS = np.array([20, 74, 128, 182, 236])  # of red, green and blue: three digits to the base of five


def colour_of(index: int) -> tuple[int, int, int]:
    """The colour that stands for a number below 125."""
    return tuple(int(LEVELS[index // power % 5]) for power in (1, 5, 25))


def indices_in(images: np.ndarray) -> list[int]:
    """The numbers that were painted into images (n, h, w, 3), uint8 or in [-1, 1]."""
    colours = np.asarray(images, np.float64).mean((1, 2))
    colours = colours if images.dtype == np.uint8 else (colours + 1) * 127.5
    digits = np.abs(colours[..., None] - LEVELS).argmin(-1)
    assert np.abs(colours - LEVELS[digits]).max() < 12  # painted colours, and no mixture of them
    return (digits @ [1, 5, 25]).tolist()


def painted(folder: Path, index: int, kind: str = "jpg", size: tuple[int, int] = (12, 10), **options) -> str:
    """Write an image in the colour of its number and return its name."""
    folder.mkdir(parents=True, exist_ok=True)
    filename = str(folder / f"{index:03}.{kind}")
    image = Image.new("RGB", size, colour_of(index))
    image = image.convert("CMYK") if options.pop("cmyk", False) else image
    image.save(filename, **options)
    return filename


def painted_files(folder: Path) -> list[str]:
    """70 JPEG files of very different sizes, so that some are decoded sooner than others."""
    return [painted(folder, i, size=(240, 200) if i % 7 == 0 else (8 + i % 5, 8)) for i in range(70)]
