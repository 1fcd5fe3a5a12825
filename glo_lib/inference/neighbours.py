"""Find exact nearest neighbours among all training images, codes or features, without loading them all into memory.

"Exact" means that the neighbours and their order are those of distances computed in float64. The search has two steps. Matrix products in
float32 over blocks of rows find every row that may be among the nearest, given a bound on the rounding error. Then only these candidates
are compared in float64. A library for approximate search would be faster but could miss a copied training image, and the exact search of
scikit-learn needs all rows in memory.
"""

import mmap

import numpy as np

from glo_lib.images.pixels import ImageRows, flat_blocks, slices, to_floats

BLOCK_BYTES = 8 * 2**20  # float32 rows held at once, few enough for the caches of the processor
QUERY_BYTES = 256 * 2**20  # float32 queries held at once; each further block of queries takes another pass over the rows
DISTANCES = 2**20  # float64 distances held at once; more would be slower as well, because they do not fit in the caches
FLOAT64_ROWS = 64  # candidates that are compared in float64 at once


def nearest_neighbours(queries: np.ndarray, images: ImageRows, num_neighbours: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Find the training images nearest to each query, by the mean squared difference of pixels.

    Args:
        queries: (n, height, width, channels), uint8 or float in [-1, 1].
        images: (N, height, width, channels), uint8 or float in [-1, 1]; an array, a memory map or `glo_lib.images.store.StoredImages`.
        num_neighbours: k.

    Returns:
        Indices (n, k), nearest first (equally near images in the order of their indices), and mean squared differences (n, k) float64.

    Raises:
        ValueError: there are no queries, the shapes of queries and images differ, or k is not between 1 and N.

    Example:
        >>> images = np.array([0, 255, 100], np.uint8).reshape(3, 1, 1, 1)
        >>> nearest_neighbours(np.full((1, 1, 1, 1), -0.9), images, num_neighbours=2)[0].tolist()
        [[0, 2]]
    """
    index, squared = nearest_rows(queries, images, num_neighbours)
    return index, squared / np.prod(images.shape[1:])


def nearest_codes(queries: np.ndarray, codes: np.ndarray, num_neighbours: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Find the codes nearest to each query, by Euclidean distance. On the sphere this is the order of the angles.

    Args:
        queries: (n, d) codes, projected.
        codes: (N, d) codes, projected.
        num_neighbours: k.

    Returns:
        Indices (n, k), nearest first, and Euclidean distances (n, k) float64.

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
    queries: np.ndarray, rows: ImageRows, num_neighbours: int = 1, among_themselves: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Find the rows nearest to each query. `nearest_neighbours`, `nearest_codes` and the metrics use this search.

    Args:
        queries: (n, ...), uint8 or float. uint8 values are mapped to [-1, 1].
        rows: (N, ...), with the same shape as the queries except for the first axis; an array, a memory map or
            `glo_lib.images.store.StoredImages`.
        num_neighbours: k.
        among_themselves: queries and rows are the same array, and a row is not a neighbour of itself.

    Returns:
        Indices (n, k), nearest first (equally near rows in the order of their indices), and squared Euclidean distances (n, k) float64.

    Raises:
        ValueError: there are no queries, the shapes differ, or k is larger than the number of rows that can be neighbours.

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
        found += [_nearest_in_float64(query, rows, numbers, num_neighbours) for query, numbers in zip(some, candidates, strict=True)]
    return np.stack([index for index, _ in found]), np.stack([distance for _, distance in found])


def _candidates(queries: np.ndarray, rows: ImageRows, num_neighbours: int, excluded: np.ndarray) -> list[np.ndarray]:
    """For each query, return the indices of the rows whose float32 distance is, within rounding, at most that of the k-th nearest row."""
    query_norms = np.einsum("ij,ij->i", queries, queries, dtype=np.float64)
    lists = [_Shortlist(num_neighbours) for _ in queries]
    largest, first = 0.0, 0
    for block in flat_blocks(rows, block_bytes=BLOCK_BYTES):
        norms = np.einsum("ij,ij->i", block, block).astype(np.float64)
        largest = max(largest, float(norms.max()))
        for part in slices(len(queries), max(1, DISTANCES // len(block))):
            distances = query_norms[part, None] - 2 * (block @ queries[part].T).T.astype(np.float64) + norms  # (queries, rows of the block)
            _exclude(distances, excluded[part] - first)
            for shortlist, row, query_norm in zip(lists[part], distances, query_norms[part], strict=True):
                shortlist.add(first, row, _rounding_bound(query_norm, largest, queries.shape[1]))
        first += len(block)
        _release_pages(rows)
    return [shortlist.rows for shortlist in lists]


def _exclude(distances: np.ndarray, columns: np.ndarray) -> None:
    """Make one distance of each query infinite, if the column is one of the block."""
    here = np.flatnonzero((columns >= 0) & (columns < distances.shape[1]))
    distances[here, columns[here]] = np.inf


def _rounding_bound(query_norm: float, largest: float, entries: int) -> float:
    """Bound the rounding error of a squared distance |q|^2 - 2 q.x + |x|^2 in float32.

    The error of a product of D terms is at most D u |q| |x|, where u is the unit roundoff (Higham, 2002, section 3.1), and that of |x|^2 is
    at most D u |x|^2. Twelve terms are added to D to allow for the conversion of both vectors to float32.
    """
    return (entries + 12) * 2.0**-24 * (2 * np.sqrt(query_norm * largest) + largest)


class _Shortlist:
    """The rows that may still be among the nearest to one query."""

    def __init__(self, num_neighbours: int):
        self.rows: np.ndarray = np.zeros(0, np.int64)
        self._distances: np.ndarray = np.zeros(0)
        self._num_neighbours = num_neighbours

    def add(self, first: int, distances: np.ndarray, rounding: float) -> None:
        """Add the rows ``first``, ``first + 1``, ...; drop rows whose distance exceeds the k-th by more than twice the rounding bound."""
        near = np.isfinite(distances)
        if len(self.rows) >= self._num_neighbours:  # this alone excludes most rows of a block
            near &= distances <= np.partition(self._distances, self._num_neighbours - 1)[self._num_neighbours - 1] + 2 * rounding
        rows = np.append(self.rows, first + np.flatnonzero(near))
        distances = np.append(self._distances, distances[near])
        if len(rows) > self._num_neighbours:
            close = distances <= np.partition(distances, self._num_neighbours - 1)[self._num_neighbours - 1] + 2 * rounding
            rows, distances = rows[close], distances[close]
        self.rows, self._distances = rows, distances


def _nearest_in_float64(query: np.ndarray, rows: ImageRows, numbers: np.ndarray, num_neighbours: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest of the numbered rows and their squared distances, computed in float64."""
    query, squared = to_floats(query, np.float64), []
    for part in slices(len(numbers), FLOAT64_ROWS):
        values = to_floats(rows[numbers[part]], np.float64)
        squared.append(np.square(values.reshape(len(values), -1) - query).sum(axis=1))
    distances = np.concatenate(squared)
    order = np.argsort(distances, kind="stable")[:num_neighbours]
    return numbers[order], distances[order]


def _release_pages(rows: ImageRows) -> None:
    """Release the pages of a memory-mapped file that have been read, because they count as memory of this process otherwise."""
    file = getattr(rows, "base", None)
    if isinstance(file, mmap.mmap) and getattr(rows, "mode", "") == "r" and hasattr(file, "madvise"):
        file.madvise(mmap.MADV_DONTNEED)
