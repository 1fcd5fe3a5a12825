"""Exact nearest neighbours among all training images, all codes or all features, without holding them in memory.

Exact means: the neighbours, and their order, are those of distances computed in float64. Matrix products over blocks of rows, in float32,
find every row that could be among the nearest when their rounding is allowed for; only those few are compared again in float64. A library
for approximate search would be faster and could miss a copied training image, and scikit-learn's exact search needs all rows in memory.
"""

import mmap

import numpy as np

from glo_lib.images.pixels import flat_blocks, slices, to_floats

BLOCK_BYTES = 8 * 2**20  # float32 rows held at once: few enough for the processor's caches
QUERY_BYTES = 256 * 2**20  # float32 queries held at once; more queries cost another pass over the rows
EXACT_ROWS = 64  # rows whose distances are computed in float64 at once


def nearest_neighbours(queries: np.ndarray, images: np.ndarray, num_neighbours: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Find the training images nearest to each query, by mean squared difference of pixels, among all images.

    Args:
        queries: (n, height, width, channels), uint8 or float in [-1, 1].
        images: (N, height, width, channels), uint8 or float in [-1, 1]; an array, a memory map or `glo_lib.images.store.StoredImages`.
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
    index, squared = nearest_rows(queries, images, num_neighbours)
    return index, squared / np.prod(images.shape[1:])


def nearest_codes(queries: np.ndarray, codes: np.ndarray, num_neighbours: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Find the codes nearest to each query code; on the sphere the order is that of the angles.

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
    index, squared = nearest_rows(queries, codes, num_neighbours)
    return index, np.sqrt(squared)


def nearest_rows(
    queries: np.ndarray, rows: np.ndarray, num_neighbours: int = 1, among_themselves: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Find the rows nearest to each query: the search behind `nearest_neighbours`, `nearest_codes` and the metrics.

    Args:
        queries: (n, ...), uint8 or float.
        rows: (N, ...) of the same shape behind the first axis; an array, a memory map or `glo_lib.images.store.StoredImages`.
        num_neighbours: k.
        among_themselves: queries and rows are the same, and a row is no neighbour of itself.

    Returns:
        Indices (n, k), nearest first (of equally near ones the first), and squared Euclidean distances (n, k), float64.

    Raises:
        ValueError: no queries, shapes that differ, or more neighbours than rows.

    Example:
        >>> points = np.array([[0.0], [1.0], [5.0]])
        >>> index, squared = nearest_rows(points, points, among_themselves=True)
        >>> index.ravel().tolist(), squared.ravel().tolist()
        ([1, 0, 1], [1.0, 1.0, 16.0])
    """
    if queries.shape[1:] != rows.shape[1:]:
        raise ValueError(f"queries are {queries.shape[1:]} and images {rows.shape[1:]}; they must be alike")
    if not len(queries):
        raise ValueError("there are no queries; give at least one")
    most = len(rows) - among_themselves
    if not 1 <= num_neighbours <= most:
        raise ValueError(f"num_neighbours is {num_neighbours}; with {len(rows)} images it can be 1 to {most}")
    entries = int(np.prod(rows.shape[1:]))
    found = []
    for part in slices(len(queries), max(1, QUERY_BYTES // (4 * entries))):
        some = np.asarray(queries[part]).reshape(part.stop - part.start, entries)
        excluded = np.arange(part.start, part.stop) if among_themselves else np.full(len(some), -1)
        candidates = _candidates(to_floats(some), rows, num_neighbours, excluded)
        found += [_nearest_exactly(query, rows, numbers, num_neighbours) for query, numbers in zip(some, candidates, strict=True)]
    return np.stack([index for index, _ in found]), np.stack([distance for _, distance in found])


def _candidates(queries: np.ndarray, rows: np.ndarray, num_neighbours: int, excluded: np.ndarray) -> list[np.ndarray]:
    """For each query the numbers of the rows that may be among the nearest: their float32 distance is within rounding of the k-th."""
    query_norms = np.square(queries, dtype=np.float64).sum(1)
    lists = [_Shortlist(num_neighbours) for _ in queries]
    largest, first = 0.0, 0
    for block in flat_blocks(rows, block_bytes=BLOCK_BYTES):
        norms = np.einsum("ij,ij->i", block, block).astype(np.float64)
        largest = max(largest, float(norms.max()))
        distances = query_norms[:, None] - 2 * (block @ queries.T).T.astype(np.float64) + norms  # (n, rows of the block)
        here = np.flatnonzero((excluded >= first) & (excluded < first + len(block)))
        distances[here, excluded[here] - first] = np.inf
        for shortlist, row, query_norm in zip(lists, distances, query_norms, strict=True):
            shortlist.add(first, row, _rounding(query_norm, largest, queries.shape[1]))
        first += len(block)
        _release_pages(rows)
    return [shortlist.rows for shortlist in lists]


def _rounding(query_norm: float, largest: float, entries: int) -> float:
    """How far a float32 distance can be off: D u |q| |x| bounds a product of D terms (Higham, 2002, section 3.1); |x|^2 adds its own.

    The twelve terms more than D allow for the conversion of both to float32.
    """
    return (entries + 12) * 2.0**-24 * (2 * np.sqrt(query_norm * largest) + largest)


class _Shortlist:
    """Rows that may still be among the nearest to one query."""

    def __init__(self, num_neighbours: int):
        self.rows, self._distances = np.zeros(0, np.int64), np.zeros(0)
        self._num_neighbours = num_neighbours

    def add(self, first: int, distances: np.ndarray, rounding: float) -> None:
        """Add the rows ``first``, ``first + 1``, ...; drop every row further than the k-th by more than twice the rounding."""
        near = np.isfinite(distances)
        if len(self.rows) >= self._num_neighbours:  # most rows of a block are too far at once
            near &= distances <= np.partition(self._distances, self._num_neighbours - 1)[self._num_neighbours - 1] + 2 * rounding
        rows = np.append(self.rows, first + np.flatnonzero(near))
        distances = np.append(self._distances, distances[near])
        if len(rows) > self._num_neighbours:
            close = distances <= np.partition(distances, self._num_neighbours - 1)[self._num_neighbours - 1] + 2 * rounding
            rows, distances = rows[close], distances[close]
        self.rows, self._distances = rows, distances


def _nearest_exactly(query: np.ndarray, rows: np.ndarray, numbers: np.ndarray, num_neighbours: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the rows with these numbers the nearest, and their squared distances, in float64."""
    query, squared = to_floats(query, np.float64), []
    for part in slices(len(numbers), EXACT_ROWS):
        values = to_floats(rows[numbers[part]], np.float64)
        squared.append(np.square(values.reshape(len(values), -1) - query).sum(axis=1))
    distances = np.concatenate(squared)
    order = np.argsort(distances, kind="stable")[:num_neighbours]
    return numbers[order], distances[order]


def _release_pages(rows: np.ndarray) -> None:
    """Release the pages of a memory-mapped file, which otherwise count as this program's memory until the whole file does."""
    file = getattr(rows, "base", None)
    if isinstance(file, mmap.mmap) and getattr(rows, "mode", "") == "r" and hasattr(file, "madvise"):
        file.madvise(mmap.MADV_DONTNEED)
