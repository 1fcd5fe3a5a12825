"""Images that stay in their file: a row is read when it is asked for, so that two hundred thousand need no more memory than four."""

import os
from pathlib import Path

import numpy as np


class StoredImages:
    """A read-only stand-in for a uint8 array (N, height, width, channels) whose bytes lie in a file, one image after the other.

    It is indexed like an array, by a number, a slice or an array of indices, and gives an ordinary array of the rows asked for. What was
    read before, the operating system keeps in memory as long as there is room. A memory map would do the same, but
    every page that it has touched counts as memory of the process: after one epoch, the whole data set.

    Args:
        path: file of exactly ``N * height * width * channels`` bytes.
        shape: (N, height, width, channels).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file has another size.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "images.uint8"
        ...     _ = path.write_bytes(bytes(range(24)))
        ...     images = StoredImages(path, (2, 2, 2, 3))
        ...     images[[1, 0]][:, 0, 0].tolist()
        [[12, 13, 14], [0, 1, 2]]
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, path: str | Path, shape: tuple[int, ...]):
        self.shape = tuple(int(side) for side in shape)
        self.ndim = len(self.shape)
        self._row_bytes = int(np.prod(self.shape[1:], dtype=np.int64))
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        size = os.fstat(self._file).st_size
        if size != len(self) * self._row_bytes:
            os.close(self._file)
            self._file = -1
            raise ValueError(f"{str(path)!r} has {size} bytes; images of shape {self.shape} have {len(self) * self._row_bytes}")

    def __del__(self):
        if getattr(self, "_file", -1) >= 0:
            os.close(self._file)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                images = np.empty((max(0, stop - start), *self.shape[1:]), np.uint8)
                self._read(_bytes_of(images), start)
                return images
            return self._gather(np.arange(start, stop, step))
        indices = np.asarray(rows)
        if indices.dtype == bool:
            indices = np.flatnonzero(indices)
        return self._gather(indices.reshape(-1)).reshape(*indices.shape, *self.shape[1:])

    def _gather(self, indices: np.ndarray) -> np.ndarray:
        if len(indices) and not (-len(self) <= indices.min() and indices.max() < len(self)):
            raise IndexError(f"images {indices.min()} to {indices.max()} are asked for, and there are {len(self)}")
        images = np.empty((len(indices), *self.shape[1:]), np.uint8)
        view, size = _bytes_of(images), self._row_bytes
        for row, index in enumerate((indices % max(1, len(self))).tolist()):
            self._read(view[row * size : (row + 1) * size], index)
        return images

    def _read(self, view: memoryview, first: int) -> None:
        """Fill a whole buffer from the row ``first`` on; the system may hand out less than asked for at once."""
        offset = first * self._row_bytes
        while view:
            read = os.preadv(self._file, [view], offset)
            if read == 0:
                raise OSError("the file of decoded images has become shorter while it was in use; start again, and it is made anew")
            view, offset = view[read:], offset + read


def _bytes_of(images: np.ndarray) -> memoryview:
    return memoryview(images).cast("B") if images.size else memoryview(b"")  # an empty array cannot be cast
