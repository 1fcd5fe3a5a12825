"""Pixels as bytes in [0, 255] and as floats in [-1, 1], and large arrays block by block."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import DTypeLike

HALF_RANGE = 127.5  # bytes 0 ... 255 are floats -1 ... 1 times this number, plus this number
BLOCK_BYTES = 64 * 2**20  # float32 images held at once


def to_floats(images: np.ndarray, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Map images to [-1, 1].

    Args:
        images: any shape; uint8 in [0, 255], or float in [-1, 1], which only changes its type.
        dtype: of the result.

    Returns:
        Floats of the same shape.

    Example:
        >>> to_floats(np.array([0, 51, 255], np.uint8)).round(2).tolist()
        [-1.0, -0.6000000238418579, 1.0]
    """
    if images.dtype != np.uint8:
        return np.asarray(images).astype(dtype, copy=False)
    floats = np.asarray(images).astype(dtype)
    floats /= HALF_RANGE  # in place: these are the largest arrays there are, and memory bandwidth limits their speed
    floats -= 1
    return floats


def to_bytes(images: np.ndarray) -> np.ndarray:
    """Map images to bytes, rounded to the nearest; values outside [-1, 1] are clipped.

    Args:
        images: any shape; float in [-1, 1], or uint8, which is returned as it is.

    Returns:
        uint8 of the same shape.

    Example:
        >>> to_bytes(np.array([-1.0, 0.0, 2.0])).tolist()
        [0, 128, 255]
    """
    if images.dtype == np.uint8:
        return images
    return np.uint8(np.clip((images + 1) * HALF_RANGE + 0.5, 0, 255))


def slices(total: int, size: int) -> Iterator[slice]:
    """Slices of at most ``size`` rows that cover ``total`` rows in order.

    Example:
        >>> list(slices(5, 2))
        [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return (slice(start, min(start + size, total)) for start in range(0, total, size))


def flat_blocks(images: np.ndarray, every: int = 1, block_bytes: int = BLOCK_BYTES) -> Iterator[np.ndarray]:
    """Every image, or every n-th, as flat float32 rows in [-1, 1], block after block.

    Args:
        images: (N, ...) uint8 or float; may be a `glo_lib.images.store.StoredImages`, of which only a block is read at once.
        every: n.
        block_bytes: size of a block of float32 rows.

    Yields:
        (rows, D) float32.
    """
    entries = int(np.prod(images.shape[1:]))
    rows = max(1, block_bytes // (4 * entries)) * every
    for part in slices(len(images), rows):
        yield to_floats(np.asarray(images[part.start : part.stop : every]).reshape(-1, entries))
