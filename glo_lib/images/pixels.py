"""Convert pixels between bytes in [0, 255] and floats in [-1, 1], and iterate over large arrays in blocks."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike

HALF_RANGE = 127.5  # byte = (float + 1) * HALF_RANGE
BLOCK_BYTES = 64 * 2**20  # size of a block of float32 images


class ImageRows(Protocol):
    """Images (N, height, width, channels), or features (N, k), of which rows are read where they are indexed.

    It is an array, a memory map, or `glo_lib.images.store.StoredImages`.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows, and the shape of each."""

    @property
    def dtype(self) -> np.dtype:
        """Type of the entries."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def __getitem__(self, rows: Any, /) -> Any:
        """Return the rows of a slice, a mask or an array of indices, or the row of an index, as an array."""


def to_floats(images: np.ndarray, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Map images to [-1, 1].

    Args:
        images: any shape; uint8 in [0, 255], or floats in [-1, 1], of which only the type is changed.
        dtype: type of the result.

    Returns:
        Array of the same shape in [-1, 1]. It is ``images`` itself if these are floats of the type already.

    Example:
        >>> to_floats(np.array([0, 51, 255], np.uint8)).round(2).tolist()
        [-1.0, -0.6000000238418579, 1.0]
    """
    if images.dtype != np.uint8:
        return np.asarray(images).astype(dtype, copy=False)
    floats = np.asarray(images).astype(dtype)
    floats /= HALF_RANGE  # in place, because memory bandwidth limits the speed for large arrays
    floats -= 1
    return floats


def to_bytes(images: np.ndarray) -> np.ndarray:
    """Map images to bytes, rounded to the nearest; values outside [-1, 1] are clipped.

    Args:
        images: any shape; floats in [-1, 1], or uint8, which is returned unchanged.

    Returns:
        uint8 array of the same shape.

    Example:
        >>> to_bytes(np.array([-1.0, 0.0, 2.0])).tolist()
        [0, 128, 255]
    """
    if images.dtype == np.uint8:
        return images
    return np.clip((images + 1) * HALF_RANGE + 0.5, 0, 255).astype(np.uint8)


def slices(total: int, size: int) -> Iterator[slice]:
    """Yield slices of at most ``size`` rows that cover ``total`` rows in order.

    Example:
        >>> list(slices(5, 2))
        [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return (slice(start, min(start + size, total)) for start in range(0, total, size))


def flat_blocks(images: ImageRows, every: int = 1, block_bytes: int = BLOCK_BYTES) -> Iterator[np.ndarray]:
    """Yield every image, or every n-th, as a flat float32 row in [-1, 1]; the rows come in blocks.

    Args:
        images: (N, ...) uint8 or float; of a `glo_lib.images.store.StoredImages` only one block is read at a time.
        every: n, the distance between the images that are taken.
        block_bytes: size of a block of float32 rows, in bytes; a block has at least one row.

    Yields:
        (rows, D) float32, where D is the number of values of an image.

    Example:
        ``mean = sum(block.sum(axis=0, dtype=np.float64) for block in flat_blocks(images)) / len(images)``
    """
    entries = int(np.prod(images.shape[1:]))
    rows = max(1, block_bytes // (4 * entries)) * every
    for part in slices(len(images), rows):
        yield to_floats(np.asarray(images[part.start : part.stop : every]).reshape(-1, entries))
