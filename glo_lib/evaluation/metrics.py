"""Metrics of images: fidelity of reconstructions, sharpness, distance from the distribution of the data, and memorisation.

Everything is computed in blocks, so the images may stay in a file that is larger than the memory. Images are (n, height, width, channels),
uint8 or float in [-1, 1]. Features are (n, k), from any function of images.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from glo_lib.graph.backend import tf, v1
from glo_lib.graph.session import open_session
from glo_lib.images.pixels import BLOCK_BYTES, ImageRows, slices, to_floats
from glo_lib.inference.neighbours import nearest_rows

SSIM_WINDOW = 11  # side of the Gaussian window of Wang et al. (2004), in pixels
LUMA = {1: (1.0,), 3: (0.299, 0.587, 0.114)}  # number of channels -> weights of the channels in the grey value (ITU-R BT.601)
MAX_DISTANCES = 2**22  # distances held at once, 32 MB
NUM_COMPONENTS = 128  # of features, for the Fréchet distance


class PrecisionRecall(NamedTuple):
    """How much two sets of features cover each other.

    Attributes:
        precision: share of the samples that lie in the region of the data.
        recall: share of the data that lie in the region of the samples.
    """

    precision: float
    recall: float


class FeatureComponents(NamedTuple):
    """Principal components of features.

    Attributes:
        mean: (k,).
        axes: (k, components), orthonormal columns.
    """

    mean: np.ndarray
    axes: np.ndarray

    def transform(self, features: np.ndarray) -> np.ndarray:
        """Return the coefficients (n, components) of features (n, k)."""
        return np.concatenate([(block - self.mean) @ self.axes for _, block in _numbered_blocks(features)])


class KernelDistance(NamedTuple):
    """A kernel distance of two sets of features.

    Attributes:
        value: unbiased estimate, which can be negative where both sets come from the same distribution.
        standard_error: of the value, for other images drawn from the same two distributions.
    """

    value: float
    standard_error: float


def psnr(images: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """Compute the peak signal-to-noise ratio of each image: 10 log10(4 / MSE), because the range [-1, 1] has a peak of 2.

    Args:
        images: (n, ...) uint8 or float in [-1, 1].
        reconstructions: array of the same shape. Values outside of [-1, 1] are clipped, as on a display.

    Returns:
        (n,) float64, in dB. Equal images have infinite PSNR.

    Raises:
        ValueError: the shapes differ, or there are no images.

    Example:
        >>> psnr(np.zeros((1, 4)), np.full((1, 4), 0.2)).round(2).tolist()
        [20.0]
    """
    errors = [np.square(a - b).reshape(len(a), -1).mean(axis=1) for a, b in _block_pairs(images, reconstructions)]
    with np.errstate(divide="ignore"):
        return 10 * np.log10(4 / np.concatenate(errors))


def ssim(images: np.ndarray, reconstructions: np.ndarray) -> np.ndarray:
    """Compute the structural similarity of each image (Wang et al., 2004), with ``tf.image.ssim`` and its window of 11 pixels.

    The images are mapped to [0, 1] first, because SSIM compares local means, which must not be negative.

    Args:
        images: (n, height, width, channels) uint8 or float in [-1, 1], at least 11 pixels a side.
        reconstructions: array of the same shape. Values outside of [-1, 1] are clipped.

    Returns:
        (n,) float32, at most 1. Only equal images have an SSIM of 1.

    Raises:
        ValueError: the shapes differ, there are no images, or they are smaller than the window.

    Example:
        >>> images = np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3))
        >>> ssim(images, images).tolist()
        [1.0, 1.0]
    """
    pairs = _block_pairs(images, reconstructions)
    if np.ndim(images) != 4 or min(images.shape[1:3]) < SSIM_WINDOW:
        raise ValueError(
            f"images have shape {np.shape(images)}; SSIM takes (n, height, width, channels) of at least {SSIM_WINDOW} pixels a side"
        )
    with tf.Graph().as_default(), open_session() as session:
        first, second = (v1.placeholder(tf.float32, [None, *images.shape[1:]]) for _ in range(2))
        similarity = tf.image.ssim(first / 2 + 0.5, second / 2 + 0.5, max_val=1.0)  # (rows,)
        return np.concatenate([session.run(similarity, {first: a, second: b}) for a, b in pairs])


def laplacian_variance(images: np.ndarray) -> np.ndarray:
    """Compute the variance of the Laplacian of the grey values of each image, which is large for sharp images and small for blurred ones.

    The Laplacian is the sum of the four neighbours minus four times the pixel. It is computed at all pixels that have four neighbours.

    Args:
        images: (n, height, width, 1 or 3) uint8 or float in [-1, 1], at least 3 pixels a side.

    Returns:
        (n,) float64.

    Raises:
        ValueError: the images have another shape.

    Example:
        The Laplacian of a chessboard of black and white pixels is 8 or -8.

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
    """Return the mean variance of the Laplacian of images, divided by that of the data.

    Images that are as sharp as the data have the value 1, and blurred images have smaller values. Noise increases the value too, so a value
    above 1 does not mean better images.

    Args:
        images: (n, height, width, channels) uint8 or float in [-1, 1].
        data: (m, height, width, channels), of the same height and width, because the measure depends on the resolution.

    Raises:
        ValueError: the sizes of images and data differ, one of them is empty, or the data have no edges at all.
    """
    if np.shape(images)[1:] != np.shape(data)[1:]:
        raise ValueError(f"images are {np.shape(images)[1:]} and data {np.shape(data)[1:]}; sharpness can be compared at one size only")
    _check_num_rows(1, images=images, data=data)
    reference = float(laplacian_variance(data).mean())
    if reference == 0:
        raise ValueError("the data have no edges at all (variance of the Laplacian 0); sharpness relative to them is not defined")
    return float(laplacian_variance(images).mean()) / reference


def frechet_distance(features: np.ndarray, other_features: np.ndarray) -> float:
    """Compute the Fréchet distance of two sets of features, approximated by Gaussians (Heusel et al., 2017, equation 6).

    The distance is ``|m - m'|^2 + tr(C + C' - 2 (C C')^(1/2))`` with the means m, m' and covariances C, C' of the sets, in squared units of
    the features. The estimates from few images are uncertain, and this increases the distance. So compare sets of equal size, and use the
    distance of two sets of real images as the baseline.

    Args:
        features: (n, k).
        other_features: (m, k).

    Returns:
        The distance, at least 0.

    Raises:
        ValueError: the widths differ, a set has fewer than two rows, or a value is not finite.

    Example:
        >>> here = np.array([[-1.0], [1.0]])
        >>> round(frechet_distance(here, here + 3), 6)
        9.0
    """
    _check_comparable(2, features=features, other_features=other_features)
    (mean, covariance), (other_mean, other_covariance) = _moments(features), _moments(other_features)
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    # (C C')^(1/2) has the same trace as (C^(1/2) C' C^(1/2))^(1/2), which is symmetric, so its eigenvalues are real despite rounding.
    crossed = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ other_covariance @ root), 0)).sum()
    distance = np.square(mean - other_mean).sum() + np.trace(covariance) + np.trace(other_covariance) - 2 * crossed
    return max(float(distance), 0.0)


def fit_components(reference: np.ndarray, num_components: int = NUM_COMPONENTS) -> FeatureComponents:
    """Compute the first principal components of features, for `frechet_distance_in_components`.

    Args:
        reference: (m, k), features of real images.
        num_components: number of components, or all that there are if these are fewer: k, or m - 1.

    Raises:
        ValueError: there are fewer than two rows, or a value is not finite.

    Example:
        >>> np.abs(fit_components(np.array([[0.0, 0.0], [1.0, 1.0]])).axes).round(3).tolist()
        [[0.707], [0.707]]
    """
    _check_comparable(2, reference=reference)
    mean, covariance = _moments(reference)
    _, vectors = np.linalg.eigh(covariance)  # in the order of increasing variance
    axes = vectors[:, -min(num_components, len(reference) - 1) :]
    return FeatureComponents(mean, axes)


def frechet_distance_in_components(features: np.ndarray, reference: np.ndarray, components: FeatureComponents | None = None) -> float:
    """Compute the Fréchet distance of two sets of features in the first principal components of the reference.

    A covariance matrix of more than a thousand features cannot be estimated from a thousand images, and most of the Fréchet distance would
    be an effect of that. In 128 components it is much smaller. The distance is not the one that is known as FID, which takes all 2,048
    features of another network.

    Args:
        features: (n, k).
        reference: (m, k), features of real images.
        components: from `fit_components` for the reference, if they have been computed already. Default: the first 128.

    Returns:
        The distance, at least 0.

    Raises:
        ValueError: as for `frechet_distance`.

    Example:
        ``frechet_distance_in_components(judge.features(samples), judge.features(held_out))``
    """
    _check_comparable(2, features=features, reference=reference)
    components = components or fit_components(reference)
    return frechet_distance(components.transform(features), components.transform(reference))


def kernel_distance(features: np.ndarray, reference: np.ndarray, paired: bool = False) -> KernelDistance:
    """Compute the squared maximum mean discrepancy of two sets of features, with the kernel ``(x.y / k + 1)^3``.

    Bińkowski et al. (2018) introduced it; with features of Inception v3 it is known as KID. The estimate is the mean of the kernel over all
    pairs of different rows of the features, plus that of the reference, minus twice the mean over all pairs of one row each. It is
    unbiased for sets of any size, unlike the Fréchet distance. The standard error is that of the jackknife, which leaves out one row at a
    time of either set. On average it is not too small (Efron and Stein, 1981).

    If row i of the features was made from row i of the reference, as reconstructions of the reference are, the two rows are alike, and
    their pair would make the distance too small: for a thousand reconstructed faces by 1.2 thousandths with EfficientNet-Lite0, and by 0.4
    with the face recogniser. With ``paired`` the n pairs are left out (lemma 6 of Gretton et al., 2012), and the jackknife leaves out both
    rows of a pair.

    Args:
        features: (n, k).
        reference: (m, k).
        paired: each row of the features was made from the row of the reference with the same number, so m = n.

    Returns:
        `KernelDistance`. The time grows with (n + m)^2, the memory does not.

    Raises:
        ValueError: the widths differ, a set has fewer than three rows, a value is not finite, or paired sets have different sizes.

    Example:
        >>> round(kernel_distance(np.array([[0.0], [0.0], [0.0]]), np.array([[1.0], [1.0], [1.0]])).value, 6)
        7.0
    """
    _check_comparable(3, features=features, reference=reference)
    if paired and len(features) != len(reference):
        raise ValueError(f"there are {len(features)} rows of features and {len(reference)} of the reference; paired sets have equally many")
    within = [_kernel_sums(rows, rows) - _kernel(np.square(_norms(rows)), rows.shape[1]) for rows in (features, reference)]
    across = [_kernel_sums(features, reference), _kernel_sums(reference, features)]
    n, m = len(features), len(reference)
    if paired:
        return _paired_kernel_distance(sum(within) - sum(across), _kernel(np.vecdot(features, reference), features.shape[1]))
    value = within[0].sum() / (n * (n - 1)) + within[1].sum() / (m * (m - 1)) - 2 * across[0].sum() / (n * m)
    variance = sum(_jackknife_variance(own, others, count) for own, others, count in zip(within, across, (m, n), strict=True))
    return KernelDistance(float(value), float(np.sqrt(variance)))


def _paired_kernel_distance(sums: np.ndarray, of_pairs: np.ndarray) -> KernelDistance:
    """Return the distance from the sums of each pair's kernels with all rows, (n,), and from the kernel of its own two rows, (n,)."""
    n, with_others = len(sums), sums + 2 * of_pairs
    left_out = (with_others.sum() - 2 * with_others) / ((n - 1) * (n - 2))
    return KernelDistance(float(with_others.sum() / (n * (n - 1))), float(np.sqrt((n - 1) * left_out.var())))


def _jackknife_variance(within: np.ndarray, across: np.ndarray, num_others: int) -> float:
    """Return the variance that the rows of one set contribute, from the sums of each row's kernel with its own set and with the other."""
    n = len(within)
    left_out = (within.sum() - 2 * within) / ((n - 1) * (n - 2)) - 2 * (across.sum() - across) / ((n - 1) * num_others)
    return (n - 1) * left_out.var()


def _kernel_sums(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the sum of each row's kernel with all others, (n,)."""
    return np.concatenate(
        [
            sum(_kernel(block @ other.T, block.shape[1]).sum(axis=1) for _, other in _numbered_blocks(others))
            for _, block in _numbered_blocks(rows)
        ]
    )


def _kernel(products: np.ndarray, num_features: int) -> np.ndarray:
    return (products / num_features + 1) ** 3


def _norms(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([np.linalg.norm(block, axis=1) for _, block in _numbered_blocks(rows)])


def precision_recall(features: np.ndarray, samples: np.ndarray, num_neighbours: int = 3) -> PrecisionRecall:
    """Compute the improved precision and recall (Kynkäänniemi et al., 2019, equations 1 and 2).

    The region of a set is the union of balls around its points. The radius of each ball is the distance of the point to its k-th nearest
    neighbour in the set. Precision is the share of the samples in the region of the data, and recall is the share of the data in the region
    of the samples.

    Args:
        features: (n, d) features of the data. The numbers n and m should be equal, because the balls become smaller as a set grows.
        samples: (m, d) features of the samples.
        num_neighbours: k, less than n and m.

    Raises:
        ValueError: the widths differ, a set has at most k rows, or a value is not finite.

    Example:
        >>> data = np.arange(6.0)[:, None]
        >>> precision_recall(data, data + 100, num_neighbours=2)
        PrecisionRecall(precision=0.0, recall=0.0)
    """
    if num_neighbours < 1:
        raise ValueError(f"num_neighbours is {num_neighbours}; give at least 1")
    _check_comparable(num_neighbours + 1, features=features, samples=samples)
    return PrecisionRecall(_coverage(samples, features, num_neighbours), _coverage(features, samples, num_neighbours))


def memorisation_ratio(samples: np.ndarray, held_out: np.ndarray, training: ImageRows) -> float:
    """Compute the median distance of samples to their nearest training image, divided by that of held-out images.

    New images have a ratio of about 1, and copies of training images a ratio near 0. Blurred samples are near to all images, so consider
    the ratio together with the sharpness.

    Args:
        samples: (n, ...) images or features.
        held_out: (m, ...) images or features that were not used for training.
        training: (N, ...) images or features that were used for training.

    Raises:
        ValueError: the shapes differ, a set is empty, a value is not finite, or the held-out images are training images.

    Example:
        >>> memorisation_ratio(np.array([[0.0], [4.5]]), np.array([[2.0], [3.0]]), np.array([[0.0], [4.0], [5.0]]))
        0.1666...
    """
    _check_comparable(1, samples=samples, held_out=held_out, training=training)
    reference = float(np.median(nearest_distances(held_out, training)))
    if reference == 0:
        raise ValueError("the held-out images lie at distance 0 from the training images: they are training images")
    return float(np.median(nearest_distances(samples, training))) / reference


def nearest_distances(queries: np.ndarray, references: ImageRows, num_neighbours: int = 1, among_themselves: bool = False) -> np.ndarray:
    """Compute the exact distance of each query to its k-th nearest reference, in blocks.

    Args:
        queries: (n, ...) images or features.
        references: (m, ...), with the same shape as the queries except for the first axis.
        num_neighbours: k.
        among_themselves: queries and references are the same array, and a row is not a neighbour of itself.

    Returns:
        (n,) float64 Euclidean distances between the flattened rows.

    Raises:
        ValueError: the shapes differ, a set is empty, there are too few references for k, or a value is not finite.

    Example:
        >>> nearest_distances(np.array([[0.0], [10.0]]), np.array([[1.0], [2.0]]), num_neighbours=2).tolist()
        [2.0, 9.0]
    """
    _check_comparable(1, queries=queries, references=references)
    _check_num_rows(num_neighbours + among_themselves, references=references)
    _, squared = nearest_rows(queries, references, num_neighbours, among_themselves)
    return np.sqrt(squared[:, -1])


def _coverage(queries: np.ndarray, centres: np.ndarray, num_neighbours: int) -> float:
    """Return the share of the queries that lie in a ball around a centre, with the distance to its k-th nearest neighbour as radius."""
    radii = nearest_rows(centres, centres, num_neighbours, among_themselves=True)[1][:, -1]
    inside = []
    for _, rows in _numbered_blocks(queries):
        covered = np.zeros(len(rows), bool)
        for start, others in _numbered_blocks(centres):
            covered |= _is_covered(rows, others, radii[start : start + len(others)])
        inside.append(covered)
    return float(np.concatenate(inside).mean())


def _is_covered(rows: np.ndarray, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Return which rows (n,) lie in a ball around one of the centres, given the squared radii.

    Squared distances are computed as |a|^2 - 2 a.b + |b|^2, with a matrix product. Where rounding could decide, they are computed again
    from the differences, as the radii are: copies of a centre lie in its ball even if the radius is 0.
    """
    norms, others = np.square(rows).sum(axis=1)[:, None], np.square(centres).sum(axis=1)
    squared = norms - 2 * rows @ centres.T + others  # (n, m)
    rounding = (rows.shape[1] + 4) * 2.0**-52 * (norms + others)
    covered = (squared <= radii - rounding).any(axis=1)
    uncertain = np.abs(squared - radii) <= rounding
    for row in np.flatnonzero(uncertain.any(axis=1) & ~covered):
        near = np.flatnonzero(uncertain[row])
        covered[row] = (np.square(centres[near] - rows[row]).sum(axis=1) <= radii[near]).any()
    return covered


def _numbered_blocks(rows: ImageRows) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the index of the first row and the flattened float64 rows of blocks. Two blocks have at most `MAX_DISTANCES` pairs of rows."""
    entries = max(1, int(np.prod(rows.shape[1:])))
    most = int(np.sqrt(MAX_DISTANCES))
    for part in slices(len(rows), max(1, min(most, BLOCK_BYTES // (8 * entries)))):
        yield part.start, to_floats(np.asarray(rows[part]).reshape(part.stop - part.start, entries), np.float64)


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the mean (k,) and covariance (k, k) in float64."""
    mean = sum(block.sum(axis=0) for _, block in _numbered_blocks(features)) / len(features)
    scatter = sum((block - mean).T @ (block - mean) for _, block in _numbered_blocks(features))
    return mean, scatter / (len(features) - 1)


def _image_blocks(images: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the images in blocks, as float64 in [-1, 1]."""
    rows = max(1, BLOCK_BYTES // (8 * int(np.prod(images.shape[1:]))))
    for part in slices(len(images), rows):
        yield to_floats(np.asarray(images[part]), np.float64)


def _block_pairs(images: np.ndarray, reconstructions: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Return an iterator over blocks of both as float64, with the reconstructions clipped to [-1, 1]."""
    if np.shape(images) != np.shape(reconstructions):
        raise ValueError(f"images have shape {np.shape(images)} and reconstructions {np.shape(reconstructions)}; they must be alike")
    _check_num_rows(1, images=images)
    return ((a, np.clip(b, -1, 1)) for a, b in zip(_image_blocks(images), _image_blocks(reconstructions), strict=True))


def _check_num_rows(least: int, **sets: ImageRows) -> None:
    for name, rows in sets.items():
        if len(rows) < least:
            raise ValueError(f"{name} has {len(rows)} row(s); at least {least} are needed")


def _check_comparable(least: int, **sets: ImageRows) -> None:
    """Check that the sets have enough rows, that all rows have the same shape, and that all values are finite."""
    _check_num_rows(least, **sets)
    shapes = {name: np.shape(rows)[1:] for name, rows in sets.items()}
    if len(set(shapes.values())) > 1 or () in shapes.values():
        widths = ", ".join(f"{name} (n, {', '.join(map(str, shape))})" for name, shape in shapes.items())
        raise ValueError(f"the sets have the shapes {widths}; rows must be alike, with at least one entry each")
    for name, rows in sets.items():
        bad = sum(int((~np.isfinite(block)).any(axis=1).sum()) for _, block in _numbered_blocks(rows))
        if bad:
            raise ValueError(f"{name} holds NaN or infinity in {bad} of {len(rows)} rows; remove them, or see where they come from")
