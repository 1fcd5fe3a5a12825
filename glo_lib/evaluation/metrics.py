"""Numbers that say how good images are: near to their originals, sharp, like the data as a set, and not copied from it.

Everything is computed block by block: the images may stay in their file and be larger than the memory. Images are (n, height, width,
channels), uint8 or float in [-1, 1]; features are (n, k), from any function of images.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from glo_lib.graph.backend import tf
from glo_lib.images.pixels import BLOCK_BYTES, flat_blocks, slices, to_floats
from glo_lib.inference.neighbours import nearest_rows

v1 = tf.compat.v1
SSIM_WINDOW = 11  # pixels a side of the Gaussian window of Wang et al. (2004)
LUMA = {1: (1.0,), 3: (0.299, 0.587, 0.114)}  # weights of the channels in the grey value, ITU-R BT.601
MOST_DISTANCES = 2**22  # held at once: 32 MB


class PrecisionRecall(NamedTuple):
    """How far two sets of features cover each other.

    Attributes:
        precision: share of the samples that lie where the data are.
        recall: share of the data that lie where the samples are.
    """

    precision: float
    recall: float


def psnr(images: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of each image, 10 log10(4 / MSE) for the range [-1, 1], whose peak is 2.

    Args:
        images: (n, ...) uint8, or float in [-1, 1].
        reconstructions: the same shape; values outside [-1, 1] are clipped, as a display would.

    Returns:
        (n,) float64, in dB; infinite where both are equal.

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> psnr(np.zeros((1, 4)), np.full((1, 4), 0.2)).round(2).tolist()
        [20.0]
    """
    errors = [np.square(a - b).reshape(len(a), -1).mean(axis=1) for a, b in _pairs(images, reconstructions)]
    with np.errstate(divide="ignore"):
        return 10 * np.log10(4 / np.concatenate(errors))


def ssim(images: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """Structural similarity of each image (Wang et al., 2004), by ``tf.image.ssim`` with its window of 11 pixels.

    It compares local means, which must not be negative: the images are taken to [0, 1] first.

    Args:
        images: (n, height, width, channels) uint8, or float in [-1, 1]; at least 11 pixels a side.
        reconstructions: the same shape; values outside [-1, 1] are clipped.

    Returns:
        (n,) float32, at most 1, which only equal images reach.

    Raises:
        ValueError: the shapes differ, or the images are smaller than the window.

    Example:
        >>> images = np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3))
        >>> ssim(images, images).tolist()
        [1.0, 1.0]
    """
    pairs = _pairs(images, reconstructions)
    if np.ndim(images) != 4 or min(images.shape[1:3]) < SSIM_WINDOW:
        raise ValueError(
            f"images have shape {np.shape(images)}; SSIM takes (n, height, width, channels) of at least {SSIM_WINDOW} pixels a side"
        )
    with tf.Graph().as_default(), v1.Session() as session:
        first, second = (v1.placeholder(tf.float32, [None, *images.shape[1:]]) for _ in range(2))
        similarity = tf.image.ssim(first / 2 + 0.5, second / 2 + 0.5, max_val=1.0)  # (rows,)
        return np.concatenate([session.run(similarity, {first: a, second: b}) for a, b in pairs])


def laplacian_variance(images: np.ndarray) -> np.ndarray:
    """Variance of the Laplacian of each image's grey values: large where there are edges, zero where all is smooth.

    The Laplacian is the sum of the four neighbours less four times the pixel, at the pixels that have four neighbours.

    Args:
        images: (n, height, width, 1 or 3) uint8, or float in [-1, 1]; at least 3 pixels a side.

    Returns:
        (n,) float64.

    Raises:
        ValueError: another shape.

    Example:
        Black and white pixels in turns give values of 8 and -8.

        >>> board = np.indices((4, 4)).sum(axis=0) % 2 * 2.0 - 1
        >>> laplacian_variance(board[None, :, :, None]).tolist()
        [64.0]
    """
    shape = np.shape(images)
    if len(shape) != 4 or shape[3] not in LUMA or min(shape[1:3]) < 3:
        raise ValueError(f"images have shape {shape}; give (n, height, width, 1 or 3) with at least 3 pixels a side")
    variances = [np.zeros(0)]
    for block in _image_blocks(images):
        grey = block @ np.array(LUMA[shape[3]])  # (rows, height, width)
        inner = grey[:, 1:-1, 1:-1]
        neighbours = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
        variances.append((neighbours - 4 * inner).var(axis=(1, 2)))
    return np.concatenate(variances)


def relative_sharpness(images: np.ndarray, data: np.ndarray) -> float:
    """Mean variance of the Laplacian of images, as a share of that of the data: 1 is as sharp, less is blurred.

    Noise is sharp too: more than 1 is no praise.

    Args:
        images: (n, height, width, channels) uint8, or float in [-1, 1].
        data: (m, height, width, channels), of the same size: the measure depends on the size of a pixel.

    Raises:
        ValueError: images of another size than the data's, no images, or data without any edge.
    """
    if np.shape(images)[1:] != np.shape(data)[1:]:
        raise ValueError(f"images are {np.shape(images)[1:]} and data {np.shape(data)[1:]}; sharpness can be compared at one size only")
    _check_number(1, images=images, data=data)
    reference = float(laplacian_variance(data).mean())
    if reference == 0:
        raise ValueError("the data have no edges at all (variance of the Laplacian 0); sharpness relative to them is not defined")
    return float(laplacian_variance(images).mean()) / reference


def frechet_distance(features: np.ndarray, other_features: np.ndarray) -> float:
    """Fréchet distance between the Gaussians that have the features' means and covariances (Heusel et al., 2017, equation 6).

    ``|m - m'|^2 + tr(C + C' - 2 (C C')^(1/2))``, in squared units of the features. Means and covariances of few images are uncertain,
    which only adds to the distance: compare sets of equal numbers, and see what two sets of real images give.

    Args:
        features: (n, k).
        other_features: (m, k).

    Returns:
        The distance, at least 0.

    Raises:
        ValueError: widths that differ, fewer than two rows, or a number that is not finite.

    Example:
        >>> here = np.array([[-1.0], [1.0]])
        >>> round(frechet_distance(here, here + 3), 6)
        9.0
    """
    _check_comparable(2, features=features, other_features=other_features)
    (mean, covariance), (other_mean, other_covariance) = _moments(features), _moments(other_features)
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    # (C C')^(1/2) has the trace of the symmetric (C^(1/2) C' C^(1/2))^(1/2), whose eigenvalues are real whatever is rounded.
    crossed = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ other_covariance @ root), 0)).sum()
    distance = np.square(mean - other_mean).sum() + np.trace(covariance) + np.trace(other_covariance) - 2 * crossed
    return max(float(distance), 0.0)


def precision_recall(features: np.ndarray, samples: np.ndarray, num_neighbours: int = 3) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al., 2019, equations 1 and 2).

    A set is taken to cover the balls around its members that reach as far as the member's k-th nearest neighbour in the set.
    Precision is the share of the samples in a ball of the data, recall the share of the data in a ball of the samples.

    Args:
        features: (n, d) of the data; n and m should be alike, since balls shrink as a set grows.
        samples: (m, d) features of the samples.
        num_neighbours: k, less than n and m.

    Raises:
        ValueError: widths that differ, too few rows for k, or a number that is not finite.

    Example:
        >>> data = np.arange(6.0)[:, None]
        >>> precision_recall(data, data + 100, num_neighbours=2)
        PrecisionRecall(precision=0.0, recall=0.0)
    """
    if num_neighbours < 1:
        raise ValueError(f"num_neighbours is {num_neighbours}; give at least 1")
    _check_comparable(num_neighbours + 1, features=features, samples=samples)
    return PrecisionRecall(_covered(samples, features, num_neighbours), _covered(features, samples, num_neighbours))


def memorisation_ratio(samples: np.ndarray, held_out: np.ndarray, training: np.ndarray) -> float:
    """How much nearer samples lie to the training images than held-out images do: about 1 is new, near 0 is copied.

    The median distance of the samples to their nearest training image, over that of the held-out images. Blurred samples lie near to
    everything, hence read it beside the sharpness.

    Args:
        samples: (n, ...) images or features.
        held_out: (m, ...) images that were not trained on.
        training: (N, ...) images that were.

    Raises:
        ValueError: shapes that differ, no images, a number that is not finite, or held-out images that are training images.

    Example:
        >>> memorisation_ratio(np.array([[0.0], [4.5]]), np.array([[2.0], [3.0]]), np.array([[0.0], [4.0], [5.0]]))
        0.1666...
    """
    _check_comparable(1, samples=samples, held_out=held_out, training=training)
    reference = float(np.median(nearest_distances(held_out, training)))
    if reference == 0:
        raise ValueError("the held-out images lie at distance 0 from the training images: they are training images")
    return float(np.median(nearest_distances(samples, training))) / reference


def nearest_distances(queries: np.ndarray, references: np.ndarray, num_neighbours: int = 1, among_themselves: bool = False) -> np.ndarray:
    """Distance of each query to its k-th nearest reference, exact, in blocks of both.

    Args:
        queries: (n, ...) images or features.
        references: (m, ...) of the same width.
        num_neighbours: k.
        among_themselves: queries and references are the same rows, and a row is no neighbour of itself.

    Returns:
        (n,) float64 Euclidean distances between the flat rows.

    Raises:
        ValueError: widths that differ, too few references for k, no rows, or a number that is not finite.

    Example:
        >>> nearest_distances(np.array([[0.0], [10.0]]), np.array([[1.0], [2.0]]), num_neighbours=2).tolist()
        [2.0, 9.0]
    """
    _check_comparable(1, queries=queries, references=references)
    _check_number(num_neighbours + among_themselves, references=references)
    _, squared = nearest_rows(queries, references, num_neighbours, among_themselves)
    return np.sqrt(squared[:, -1])


def _covered(queries: np.ndarray, centres: np.ndarray, num_neighbours: int) -> float:
    """Share of the queries that lie in a ball around a centre, as wide as the centre's k-th nearest neighbour is far."""
    radii = nearest_rows(centres, centres, num_neighbours, among_themselves=True)[1][:, -1]
    inside = []
    for _, rows in _numbered(queries):
        covered = np.zeros(len(rows), bool)
        for start, others in _numbered(centres):
            covered |= (_squared_distances(rows, others) <= radii[start : start + len(others)]).any(axis=1)
        inside.append(covered)
    return float(np.concatenate(inside).mean())


def _squared_distances(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n, m): |a - b|^2 = |a|^2 - 2 a.b + |b|^2, one matrix product; in float64, since the three nearly cancel for neighbours."""
    product = rows @ others.T
    return np.maximum(np.square(rows).sum(axis=1)[:, None] - 2 * product + np.square(others).sum(axis=1), 0)


def _numbered(rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks (number of the first row, flat float64 rows), small enough that two of them have at most `MOST_DISTANCES` pairs."""
    entries = max(1, int(np.prod(rows.shape[1:])))
    most = int(np.sqrt(MOST_DISTANCES))
    first = 0
    for block in flat_blocks(rows, block_bytes=min(BLOCK_BYTES, 4 * entries * most)):
        yield first, block.astype(np.float64)
        first += len(block)


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (k,) and covariance (k, k), in float64."""
    mean = sum(block.sum(axis=0) for _, block in _numbered(features)) / len(features)
    scatter = sum((block - mean).T @ (block - mean) for _, block in _numbered(features))
    return mean, scatter / (len(features) - 1)


def _image_blocks(images: np.ndarray) -> Iterator[np.ndarray]:
    """The images in blocks, float64 in [-1, 1]."""
    rows = max(1, BLOCK_BYTES // (8 * int(np.prod(images.shape[1:]))))
    for part in slices(len(images), rows):
        yield to_floats(np.asarray(images[part]), np.float64)


def _pairs(images: np.ndarray, reconstructions: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of both, the reconstructions clipped to [-1, 1]."""
    if np.shape(images) != np.shape(reconstructions):
        raise ValueError(f"images have shape {np.shape(images)} and reconstructions {np.shape(reconstructions)}; they must be alike")
    _check_number(1, images=images)
    return ((a, np.clip(b, -1, 1)) for a, b in zip(_image_blocks(images), _image_blocks(reconstructions), strict=True))


def _check_number(least: int, **sets: np.ndarray) -> None:
    for name, rows in sets.items():
        if len(rows) < least:
            raise ValueError(f"{name} has {len(rows)} row(s); at least {least} are needed")


def _check_comparable(least: int, **sets: np.ndarray) -> None:
    """Sets of rows that can be compared: enough of them, all of one width, every number finite."""
    _check_number(least, **sets)
    shapes = {name: np.shape(rows)[1:] for name, rows in sets.items()}
    if len(set(shapes.values())) > 1 or () in shapes.values():
        widths = ", ".join(f"{name} (n, {', '.join(map(str, shape))})" for name, shape in shapes.items())
        raise ValueError(f"the sets have the shapes {widths}; rows must be alike, with at least one entry each")
    for name, rows in sets.items():
        bad = sum(int((~np.isfinite(block)).any(axis=1).sum()) for block in flat_blocks(rows))
        if bad:
            raise ValueError(f"{name} holds NaN or infinity in {bad} of {len(rows)} rows; remove them, or see where they come from")
