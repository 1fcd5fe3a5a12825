"""Principal component analysis of images, for initial codes that already describe them."""

from typing import NamedTuple

import numpy as np

from glo_lib.images.pixels import ImageRows, flat_blocks

MAX_PCA_IMAGES = 20_000  # further images change the first few hundred components by no more than sampling noise
MAX_CONVERTED_BYTES = 512 * 2**20  # of float32 images that are held at once


class Pca(NamedTuple):
    """Principal components of images as vectors of D = height * width * channels entries in [-1, 1].

    Attributes:
        mean: (D,) mean image.
        components: (d, D) orthonormal rows, by decreasing variance.
        scales: (d,) standard deviation of the images along each component.
    """

    mean: np.ndarray
    components: np.ndarray
    scales: np.ndarray

    def transform(self, images: ImageRows) -> np.ndarray:
        """Return the coefficients (n, d) of uint8 or float images (n, height, width, channels), computed in blocks."""
        return np.concatenate([(block - self.mean) @ self.components.T for block in flat_blocks(images)])

    def inverse_transform(self, coefficients: np.ndarray) -> np.ndarray:
        """Return flat images (n, D) from coefficients (n, d), not clipped to [-1, 1]."""
        return coefficients @ self.components + self.mean


def fit_pca(images: ImageRows, num_dims: int, seed: int = 0, power_iterations: int = 4) -> Pca:
    """Compute principal components by randomized subspace iteration over blocks of images (Halko et al., 2011, algorithm 4.4).

    Large sets of images are converted to float32 block by block. Of more than 20,000 images only every second one is used, of more than
    40,000 every third, and so on.

    Args:
        images: (N, height, width, channels), uint8, or float32 in [-1, 1]; may be a `glo_lib.images.store.StoredImages`.
        num_dims: number d of components, from 1 to N - 1 and to D.
        seed: seed of the random initial basis.
        power_iterations: passes over the images after the first. With four, the captured variance is exact to 1e-6 for photographs, and
            to about 1e-2 for white noise, whose components all have the same variance.

    Returns:
        `Pca`.

    Raises:
        ValueError: ``num_dims`` is below 1, or larger than the number of components that the images can have.

    Example:
        >>> images = np.random.default_rng(0).integers(0, 255, (50, 8, 8, 3)).astype(np.uint8)
        >>> fit_pca(images, num_dims=5).components.shape
        (5, 192)
    """
    entries = int(np.prod(images.shape[1:]))
    most = min(len(images) - 1, entries)
    if not 1 <= num_dims <= most:
        raise ValueError(f"num_dims is {num_dims}; {len(images)} images of {entries} entries have 1 to {most} principal components")
    every = -(-len(images) // MAX_PCA_IMAGES)
    used = -(-len(images) // every)
    if 4 * used * entries <= MAX_CONVERTED_BYTES:  # convert them once instead of at every pass
        images, every = np.concatenate(list(flat_blocks(images, every))), 1
    mean = sum(block.sum(axis=0, dtype=np.float64) for block in flat_blocks(images, every)) / used
    mean = mean.astype(np.float32)
    width = min(num_dims + 20, entries, used)  # oversampling, so that the last components converge as well
    basis = np.random.default_rng(seed).standard_normal((entries, width), dtype=np.float32)
    for _ in range(power_iterations + 1):
        basis, _ = np.linalg.qr(_covariance_times(images, every, mean, basis))
    # Rayleigh-Ritz: compute the exact principal axes within the subspace.
    small = basis.T @ _covariance_times(images, every, mean, basis)
    variances, axes = np.linalg.eigh((small + small.T) / 2)
    order = np.argsort(variances)[::-1][:num_dims]
    components = _with_fixed_signs((basis @ axes[:, order]).T)
    return Pca(mean, components, np.sqrt(np.maximum(variances[order], 0)).astype(np.float32))


def pca_codes(images: np.ndarray, pca: Pca, whitening: float = 0.5) -> np.ndarray:
    """Return initial codes from principal component coefficients, so similar images start with similar codes.

    Whitening divides each coefficient by its standard deviation. Then the hundredth component, which is hardly visible in the images, has
    the same weight as the first. Dividing by the square root of the standard deviation keeps the order of importance, so the decoder
    learns the important components first (0.4 dB after the same number of steps, ``benchmarks/README.md``).

    Args:
        images: (N, height, width, channels) uint8 or float32, as for `fit_pca`.
        pca: principal components, as many as the codes have dimensions.
        whitening: power of the standard deviation by which each coefficient is divided; 1 whitens, 0 keeps the coefficients.

    Returns:
        (N, d) float32. The mean variance of the columns that vary is one, as for `normal_codes`.
    """
    scales = pca.scales.astype(np.float64)
    varies = scales > 1e-6 * scales[0]
    factors = np.zeros_like(scales)  # the codes of a component without variance are zero for every power
    factors[varies] = scales[varies] ** -whitening
    if varies.any():
        factors /= np.sqrt(np.mean((factors * scales)[varies] ** 2))
    return (pca.transform(images) * factors.astype(np.float32)).astype(np.float32)


def _covariance_times(images: ImageRows, every: int, mean: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Return the covariance matrix of the images times a basis, (D, k), without forming the (D, D) matrix."""
    product, used = np.zeros_like(basis), 0
    for block in flat_blocks(images, every):
        centred = block - mean
        product += centred.T @ (centred @ basis)
        used += len(block)
    return product / (used - 1)


def _with_fixed_signs(components: np.ndarray) -> np.ndarray:
    """Make the largest entry of each component positive, because the sign of an eigenvector is arbitrary."""
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    return (components * np.where(largest < 0, -1, 1)).astype(np.float32)
