"""Principal component analysis of images, the start of the codes that already knows the data."""

from typing import NamedTuple

import numpy as np

from glo_lib.images.pixels import flat_blocks

PCA_IMAGES = 20_000  # more images move the first few hundred components no further than sampling noise does
PCA_BYTES = 512 * 2**20


class Pca(NamedTuple):
    """Principal components of images seen as vectors of D = height * width * channels entries in [-1, 1].

    Attributes:
        mean: (D,) mean image.
        components: (d, D) orthonormal rows, by falling variance.
        scales: (d,) standard deviation of the images along each component.
    """

    mean: np.ndarray
    components: np.ndarray
    scales: np.ndarray

    def transform(self, images: np.ndarray) -> np.ndarray:
        """Coefficients (n, d) of uint8 or float images (n, height, width, channels), computed in blocks."""
        return np.concatenate([(block - self.mean) @ self.components.T for block in flat_blocks(images)])

    def inverse_transform(self, coefficients: np.ndarray) -> np.ndarray:
        """Flat images (n, D) from coefficients (n, d); not clipped to [-1, 1]."""
        return coefficients @ self.components + self.mean


def fit_pca(images: np.ndarray, num_dims: int, seed: int = 0, power_iterations: int = 4) -> Pca:
    """Principal components by randomized subspace iteration over blocks of images (Halko et al., 2011, algorithm 4.4).

    Only a block of the images is ever held as float32. Of more than 20,000 images every second is used, of more than 40,000 every third.

    Args:
        images: (N, height, width, channels), uint8 (mapped to [-1, 1]) or float32 already in [-1, 1]; may
            be a `glo_lib.images.store.StoredImages`.
        num_dims: number d of components, at most N - 1 and at most D.
        seed: of the random start.
        power_iterations: passes over the images beyond the first; with four the captured variance of photographs is exact to 1e-6 (that
            of white noise, whose components are all alike, to about 1e-2).

    Returns:
        `Pca`.

    Raises:
        ValueError: more components than the images can have.

    Example:
        >>> images = np.random.default_rng(0).integers(0, 255, (50, 8, 8, 3)).astype(np.uint8)
        >>> fit_pca(images, num_dims=5).components.shape
        (5, 192)
    """
    entries = int(np.prod(images.shape[1:]))
    most = min(len(images) - 1, entries)
    if not 1 <= num_dims <= most:
        raise ValueError(f"num_dims is {num_dims}; {len(images)} images of {entries} entries have 1 to {most} principal components")
    every = -(-len(images) // PCA_IMAGES)
    used = -(-len(images) // every)
    if 4 * used * entries <= PCA_BYTES:  # so few that they may be converted once instead of at every pass
        images, every = np.concatenate(list(flat_blocks(images, every))), 1
    mean = sum(block.sum(axis=0, dtype=np.float64) for block in flat_blocks(images, every)) / used
    mean = mean.astype(np.float32)
    width = min(num_dims + 20, entries, used)  # oversampling, so that the last components converge too
    basis = np.random.default_rng(seed).standard_normal((entries, width), dtype=np.float32)
    for _ in range(power_iterations + 1):
        basis, _ = np.linalg.qr(_covariance_times(images, every, mean, basis))
    # Rayleigh-Ritz: the exact principal axes inside the subspace that was found.
    small = basis.T @ _covariance_times(images, every, mean, basis)
    variances, axes = np.linalg.eigh((small + small.T) / 2)
    order = np.argsort(variances)[::-1][:num_dims]
    components = _with_fixed_signs((basis @ axes[:, order]).T)
    return Pca(mean, components, np.sqrt(np.maximum(variances[order], 0)).astype(np.float32))


def pca_codes(images: np.ndarray, pca: Pca, whitening: float = 0.5) -> np.ndarray:
    """Codes from principal component coefficients: alike images start with alike codes, and there is something smooth to fit at once.

    The paper whitens the coefficients: each is divided by its standard deviation, and the hundredth component, which hardly shows in the
    image, then speaks as loudly as the first. Dividing by the root of the standard deviation keeps the order of importance, and
    the decoder learns what matters first (0.4 dB after the same number of steps, ``benchmarks/README.md``).

    Args:
        images: (N, height, width, channels) uint8 or float32, as for `fit_pca`.
        pca: fitted with as many components as the codes have dimensions.
        whitening: power of the standard deviation that each coefficient is divided by: 1 whitens, 0 leaves the coefficients.

    Returns:
        (N, d) float32; the variance is one, as that of `normal_codes`, on average over the columns that vary.
    """
    scales = pca.scales.astype(np.float64)
    varies = scales > 1e-6 * scales[0]
    factors = np.zeros_like(scales)  # a component without variance is left at zero, whatever the power
    factors[varies] = scales[varies] ** -whitening
    if varies.any():
        factors /= np.sqrt(np.mean((factors * scales)[varies] ** 2))
    return (pca.transform(images) * factors.astype(np.float32)).astype(np.float32)


def _covariance_times(images: np.ndarray, every: int, mean: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """(D, k): the covariance matrix of the images times a basis, without ever forming the (D, D) matrix."""
    product, used = np.zeros_like(basis), 0
    for block in flat_blocks(images, every):
        centred = block - mean
        product += centred.T @ (centred @ basis)
        used += len(block)
    return product / (used - 1)


def _with_fixed_signs(components: np.ndarray) -> np.ndarray:
    """Largest entry of each component positive: the sign of an eigenvector is arbitrary, results should not be."""
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    return (components * np.where(largest < 0, -1, 1)).astype(np.float32)
