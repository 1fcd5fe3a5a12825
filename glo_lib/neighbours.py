"""Exact nearest neighbours among all training images, or all codes, without holding them in memory."""

import mmap

import numpy as np

from glo_lib.codes import blocks

BLOCK_BYTES = 8 * 2**20  # float32 rows held at once: few enough for the caches
EXACT_ROWS = 64  # rows whose distances are computed in float64 at once


def nearest_neighbours(queries: np.ndarray, images: np.ndarray, num_neighbours: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The training images nearest to each query, by mean squared difference of pixels, among all images.

    Exact, and in the order that exact distances give: matrix products over blocks of images, in float32, find every image that could be
    among the nearest when the rounding of the product is allowed for, and those few are compared again in float64. The images are read
    block by block, so that they may stay in their file and be larger than the memory.

    Args:
        queries: (n, height, width, channels) float in [-1, 1].
        images: (N, height, width, channels), uint8 or float in [-1, 1]; an array, a memory map or `glo_lib.stored_images.StoredImages`.
        num_neighbours: k.

    Returns:
        Indices (n, k), nearest first (of equal ones the first), and mean squared differences (n, k).

    Raises:
        ValueError: no queries, sizes that differ, or more neighbours than images.

    Example:
        >>> images = np.array([0, 255, 100], np.uint8).reshape(3, 1, 1, 1)
        >>> nearest_neighbours(np.full((1, 1, 1, 1), -0.9), images, num_neighbours=2)[0].tolist()
        [[0, 2]]
    """
    if queries.shape[1:] != images.shape[1:]:
        raise ValueError(f"queries are {queries.shape[1:]} and images {images.shape[1:]}; they must be alike")
    if not len(queries):
        raise ValueError("there are no queries; give at least one")
    if not 1 <= num_neighbours <= len(images):
        raise ValueError(f"num_neighbours is {num_neighbours}; with {len(images)} images it can be 1 to {len(images)}")
    flat = queries.reshape(len(queries), -1).astype(np.float32)
    candidates = _candidates(flat, images, num_neighbours)
    found = [_nearest_exactly(query, images, rows, num_neighbours) for query, rows in zip(flat, candidates, strict=True)]
    return np.stack([index for index, _ in found]), np.stack([distance for _, distance in found]) / flat.shape[1]


def nearest_codes(queries: np.ndarray, codes: np.ndarray, num_neighbours: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The codes nearest to each query code; on the sphere the order is that of the angles.

    Args:
        queries: (n, d) codes, projected.
        codes: (N, d) codes, projected.
        num_neighbours: k.

    Returns:
        Indices (n, k), nearest first, and Euclidean distances (n, k).

    Raises:
        ValueError: as for `nearest_neighbours`.

    Example:
        >>> index, distance = nearest_codes(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0], [0.6, 0.8]]))
        >>> index.tolist(), distance.round(3).tolist()
        ([[1]], [[0.894]])
    """
    index, mean_squared = nearest_neighbours(queries, codes, num_neighbours)
    return index, np.sqrt(mean_squared * codes.shape[1])


def _candidates(queries: np.ndarray, images: np.ndarray, num_neighbours: int) -> list[np.ndarray]:
    """For each query the rows that may be among the nearest: those whose float32 distance is within rounding of the k-th."""
    query_norms = np.square(queries, dtype=np.float64).sum(1)
    lists = [_Shortlist(num_neighbours) for _ in queries]
    largest, first = 0.0, 0
    for block in blocks(images, block_bytes=BLOCK_BYTES):
        norms = np.einsum("ij,ij->i", block, block).astype(np.float64)
        largest = max(largest, float(norms.max()))
        distances = query_norms[:, None] - 2 * (block @ queries.T).T.astype(np.float64) + norms  # (n, rows)
        for shortlist, row, query_norm in zip(lists, distances, query_norms, strict=True):
            shortlist.add(first, row, _rounding(query_norm, largest, queries.shape[1]))
        first += len(block)
        _let_go(images)
    return [shortlist.rows for shortlist in lists]


def _rounding(query_norm: float, largest: float, entries: int) -> float:
    """How far a float32 distance can be off: D u |q| |x| bounds a product of D terms (Higham, 2002, section 3.1); |x|^2 adds its own."""
    return (entries + 8) * 2.0**-24 * (2 * np.sqrt(query_norm * largest) + largest)


class _Shortlist:
    """Rows that may still be among the nearest to one query."""

    def __init__(self, num_neighbours: int):
        self.rows, self._distances = np.zeros(0, np.int64), np.zeros(0)
        self._num_neighbours = num_neighbours

    def add(self, first: int, distances: np.ndarray, rounding: float) -> None:
        """Rows ``first``, ``first + 1``, ... at these distances; everyone beyond twice the rounding of the k-th is struck off."""
        rows = np.append(self.rows, np.arange(first, first + len(distances)))
        distances = np.append(self._distances, distances)
        if len(rows) > self._num_neighbours:
            close = distances <= np.partition(distances, self._num_neighbours - 1)[self._num_neighbours - 1] + 2 * rounding
            rows, distances = rows[close], distances[close]
        self.rows, self._distances = rows, distances


def _nearest_exactly(query: np.ndarray, images: np.ndarray, rows: np.ndarray, num_neighbours: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of these rows and their squared distances, in float64."""
    squared = []
    for start in range(0, len(rows), EXACT_ROWS):
        values = images[rows[start : start + EXACT_ROWS]]
        scaled = values.astype(np.float64) / 127.5 - 1 if values.dtype == np.uint8 else values.astype(np.float64)
        squared.append(np.square(scaled.reshape(len(scaled), -1) - query).sum(axis=1))
    distances = np.concatenate(squared)
    order = np.argsort(distances, kind="stable")[:num_neighbours]
    return rows[order], distances[order]


def _let_go(images: np.ndarray) -> None:
    """Give a memory-mapped file's pages back, which else would count as this program's memory until the whole file does."""
    file = getattr(images, "base", None)
    if isinstance(file, mmap.mmap) and getattr(images, "mode", "") == "r" and hasattr(file, "madvise"):
        file.madvise(mmap.MADV_DONTNEED)
