"""The table of latent codes: where it starts, and how it is learned at a cost that does not grow with the number of images.

There is one row per training image, so the table grows with the data: 202,599 images of CelebA and d = 100 make 20 million parameters, more
than the decoder has. Three things here deal with that: a start which already knows the data (principal component analysis), an Adam
that touches only the rows of the batch, and blocks instead of whole tables.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from glo_lib.backend import tf

CODE_INITS = ("pca", "normal")
PCA_IMAGES = 20_000  # more images move the first few hundred components no further than sampling noise does
PCA_BYTES = 512 * 2**20
BLOCK_BYTES = 64 * 2**20  # float32 images held at once


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
        return np.concatenate([(block - self.mean) @ self.components.T for block in blocks(images)])

    def inverse_transform(self, coefficients: np.ndarray) -> np.ndarray:
        """Flat images (n, D) from coefficients (n, d); not clipped to [-1, 1]."""
        return coefficients @ self.components + self.mean


def fit_pca(images: np.ndarray, num_dims: int, seed: int = 0, power_iterations: int = 4) -> Pca:
    """Principal components by randomized subspace iteration over blocks of images (Halko et al., 2011, algorithm 4.4).

    Only a block of the images is ever held as float32. Of more than 20,000 images every second is used, of more than 40,000 every third.

    Args:
        images: (N, height, width, channels), uint8 (mapped to [-1, 1]) or float32 already in [-1, 1]; may
            be a `glo_lib.stored_images.StoredImages`.
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
        images, every = np.concatenate(list(blocks(images, every))), 1
    mean = sum(block.sum(axis=0, dtype=np.float64) for block in blocks(images, every)) / used
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


def normal_codes(num_images: int, num_dims: int, seed: int = 0) -> np.ndarray:
    """Codes drawn from a unit Gaussian, the start of the post: (num_images, num_dims) float32."""
    return np.random.default_rng(seed).standard_normal((num_images, num_dims), dtype=np.float32)


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


def blocks(images: np.ndarray, every: int = 1, block_bytes: int = BLOCK_BYTES) -> Iterator[np.ndarray]:
    """Every image, or every n-th, as flat float32 rows (n, D) in [-1, 1], block after block; uint8 images are mapped from [0, 255]."""
    entries = int(np.prod(images.shape[1:]))
    rows = max(1, block_bytes // (4 * entries)) * every
    for start in range(0, len(images), rows):
        block = np.asarray(images[start : start + rows : every]).reshape(-1, entries)
        yield _from_bytes(block) if block.dtype == np.uint8 else block.astype(np.float32, copy=False)


def _from_bytes(block: np.ndarray) -> np.ndarray:
    floats = block.astype(np.float32)
    floats /= 127.5  # in place: these are the largest arrays there are, and memory is what limits their speed
    floats -= 1
    return floats


def _covariance_times(images: np.ndarray, every: int, mean: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """(D, k): the covariance matrix of the images times a basis, without ever forming the (D, D) matrix."""
    product, used = np.zeros_like(basis), 0
    for block in blocks(images, every):
        centred = block - mean
        product += centred.T @ (centred @ basis)
        used += len(block)
    return product / (used - 1)


def _with_fixed_signs(components: np.ndarray) -> np.ndarray:
    """Largest entry of each component positive: the sign of an eigenvector is arbitrary, results should not be."""
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    return (components * np.where(largest < 0, -1, 1)).astype(np.float32)


def large_zeros(shape: Sequence[int], dtype: tf.DType = tf.float32, partition_info: object = None) -> tf.Tensor:
    """Initial value of a large table, each time a tensor of its own.

    TensorFlow folds the zeros of its own initialiser into one constant, which the session keeps, and which every table shares until it
    is first written to: one more table in memory, and a step that copies all of them.

    Args:
        shape: of the table.
        dtype: of its entries.
        partition_info: of no use here; TensorFlow passes it to initialisers.

    Example:
        >>> with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        ...     session.run(large_zeros([1, 3])).tolist()
        [[0.0, 0.0, 0.0]]
    """
    return tf.raw_ops.Empty(shape=tf.TensorShape(shape).as_list(), dtype=dtype, init=True)


class RowwiseAdam(tf.compat.v1.train.Optimizer):
    """Adam that reads and writes only the rows in the batch, for variables that are looked up with ``tf.gather``.

    TensorFlow's own Adam decays both moments of *every* row at every step, and moves rows whose image was not in the batch: its cost
    grows with the number of images. Here each row is its own little Adam (Kingma and Ba, 2015, section 2, the last form before 2.1),
    with its own count of visits for the correction of the start; a row that is not looked up stays bit-identical. When every row is
    in every batch it does what ``tf.compat.v1.train.AdamOptimizer`` does.

    Args:
        learning_rate: float or scalar tensor.
        beta1: decay of the first moment, per visit.
        beta2: decay of the second moment, per visit.
        epsilon: added to the root of the second moment.
        project: applied to the rows after the step, (rows, d) -> (rows, d); `glo_lib.projection.project` puts them back on the
            sphere, so that their norm, and with it the effective learning rate, cannot drift. Default: leave them.

    Example:
        >>> with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        ...     codes = tf.compat.v1.get_variable("codes", initializer=tf.ones([3, 2]))
        ...     loss = tf.reduce_sum(tf.gather(codes, [1]))
        ...     step = RowwiseAdam(learning_rate=0.5).minimize(loss)
        ...     _ = session.run(tf.compat.v1.global_variables_initializer())
        ...     _ = session.run(step)
        ...     session.run(codes).round(3).tolist()
        [[1.0, 1.0], [0.5, 0.5], [1.0, 1.0]]
    """

    def __init__(
        self,
        learning_rate: float | tf.Tensor = 0.1,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        project: Callable[[tf.Tensor], tf.Tensor] | None = None,
        name: str = "RowwiseAdam",
    ):
        super().__init__(use_locking=False, name=name)
        self._learning_rate = learning_rate
        self._beta1, self._beta2, self._epsilon = beta1, beta2, epsilon
        self._project = project or tf.identity

    def _create_slots(self, var_list):
        for var in var_list:
            # Counts in float32, which is exact up to 16 million visits: TensorFlow cannot scatter whole numbers on a GPU.
            for slot, columns in (("m", var.shape[1]), ("v", var.shape[1]), ("visits", 1)):
                shape = tf.TensorShape([var.shape[0], columns])
                self._get_or_make_slot_with_initializer(var, large_zeros, shape, tf.float32, slot, self._name)

    def _resource_apply_sparse(self, grad, handle, indices):
        # The base class has already summed the gradients of a row that is in the batch more than once.
        var, m, v, visits = handle, *(self.get_slot(handle, name) for name in ("m", "v", "visits"))
        t = tf.gather(visits, indices) + 1  # (rows, 1)
        m_t = self._beta1 * tf.gather(m, indices) + (1 - self._beta1) * grad
        v_t = self._beta2 * tf.gather(v, indices) + (1 - self._beta2) * tf.square(grad)
        rate = self._learning_rate * tf.sqrt(1 - self._beta2**t) / (1 - self._beta1**t)
        rows = self._project(tf.gather(var, indices) - rate * m_t / (tf.sqrt(v_t) + self._epsilon))
        return tf.group(
            *(tf.compat.v1.scatter_update(table, indices, value) for table, value in ((var, rows), (m, m_t), (v, v_t), (visits, t)))
        )

    def _resource_apply_dense(self, grad, handle):
        return self._resource_apply_sparse(grad, handle, tf.range(tf.shape(grad)[0]))
