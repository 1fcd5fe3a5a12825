"""Reconstruction losses: mean squared error, pairwise squared error, Laplacian pyramid, features of a trained network.

The text of the post says mean squared error (`get_glo_loss`), and its training loop uses the pairwise squared error
(`get_pairwise_loss`). As far as its readers report, the paper uses the squared error, alone or together with a Laplacian pyramid
(`laplacian_pyramid_loss`). Later work compares features of a trained network (`perceptual_loss`). All of them take images
and reconstructions of shape (batch, height, width, channels) in [-1, 1], and return a scalar; `get_loss` returns one of them or a weighted
sum.
"""

from collections.abc import Callable, Mapping

import numpy as np

from glo_lib.config import LOSSES as NAMES
from glo_lib.graph.backend import tf
from glo_lib.networks import efficientnet
from glo_lib.recipe import parse_loss

BINOMIAL = np.array([1, 4, 6, 4, 1], np.float64) / 16  # the generating kernel of Burt and Adelson (1983), a = 3/8
MOST_PIXELS_MOVED = 7  # all positions within the four halvings of the first nine blocks would be 16; 8 suffice (benchmarks/README.md)
SMALLEST_LEVEL = 4  # pixels a side; in smaller images the five taps of the kernel would reach beyond both edges


def get_glo_loss(images: tf.Tensor, reconstructions: tf.Tensor, weight: float = 1.0) -> tf.Tensor:
    """Compute the mean squared error over all entries, the loss in the text of the post.

    Args:
        images: (batch, height, width, channels), in [-1, 1].
        reconstructions: the same shape and range.
        weight: factor of the loss.

    Returns:
        Scalar ``weight * mean((images - reconstructions)**2)``, in squared units of the range [-1, 1].

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        ...     float(session.run(get_glo_loss(tf.ones([1, 2, 2, 3]), tf.zeros([1, 2, 2, 3]))))
        1.0
    """
    images, reconstructions = _as_tensors_of_one_shape(images, reconstructions)
    return weight * tf.reduce_mean(tf.square(images - reconstructions))


def get_pairwise_loss(images: tf.Tensor, reconstructions: tf.Tensor, weight: float = 1.0) -> tf.Tensor:
    """Compute the mean pairwise squared error, the loss in the training loop of the post (Eigen et al., 2014, equation 2).

    With the error e = reconstruction - image, this is the mean of (e_a - e_b)^2 over all pairs a != b of the n entries of one image,
    averaged over the batch. The loss does not change when a constant is added to a whole image, because the constant cancels in every
    difference. It is computed in closed form, as 2 n / (n - 1) times the variance of e, which takes n operations instead of n^2.

    The function of the post, ``tf.compat.v1.losses.mean_pairwise_squared_error``, sums over the images of the batch instead of averaging.
    Adam does not notice this factor. It also loses digits to cancellation.

    Args:
        images: (batch, height, width, channels), in [-1, 1].
        reconstructions: the same shape and range.
        weight: factor of the loss.

    Returns:
        Scalar, in squared units of the range [-1, 1].

    Raises:
        ValueError: the shapes differ, or height, width or channels are not known when the graph is built.

    Example:
        >>> with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        ...     float(session.run(get_pairwise_loss(tf.ones([1, 2, 2, 3]), tf.zeros([1, 2, 2, 3]))))
        0.0
    """
    images, reconstructions = _as_tensors_of_one_shape(images, reconstructions)
    error = reconstructions - images
    entries = _static_shape(error, "the pairwise error").num_elements()
    centred = error - tf.reduce_mean(error, axis=[1, 2, 3], keepdims=True)
    return weight * 2.0 * entries / (entries - 1) * tf.reduce_mean(tf.square(centred))


def laplacian_pyramid_loss(images: tf.Tensor, reconstructions: tf.Tensor, weight: float = 1.0, levels: int | None = None) -> tf.Tensor:
    """Compute the Laplacian pyramid loss Lap1 (after Ling and Okada, 2006), which the paper adds to the squared error.

    ``Lap1(x, x') = sum over levels j of 2^(2j) |L_j(x) - L_j(x')|_1``, where L_j is level j of the Laplacian pyramid and the last level
    is a small blurred image, the remainder of the band-pass levels. As far as its readers report, this is the formula of the paper's
    version of ICML 2018; the first version on arXiv has 2^(-2j). Level j has 4^j times fewer entries than the image, so the weight
    2^(2j) gives the *mean* error of each level the same weight. Here the sum is divided by the number of entries of the image. This makes
    it the sum of the mean absolute errors of the levels, which has the same minimum, and lets one learning rate suit images of all sizes.

    The pyramid is linear, so L_j(x) - L_j(x') = L_j(x - x'), and one pyramid of the difference is enough.

    Args:
        images: (batch, size, size, channels), in [-1, 1]; size a power of two, at least 8.
        reconstructions: the same shape and range.
        weight: factor of the loss.
        levels: number of levels, including the last, blurred one. Default: as many as give a last level of 4x4.

    Returns:
        Scalar, in units of the range [-1, 1].

    Raises:
        ValueError: the shapes differ or are unknown when the graph is built, the side is not a power of two from 8, or the images are too
            small for that many levels.

    Example:
        A constant difference is zero in every band-pass level, so it counts only once, in the last level.

        >>> with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        ...     loss = laplacian_pyramid_loss(tf.ones([1, 8, 8, 3]), tf.zeros([1, 8, 8, 3]))
        ...     round(float(session.run(loss)), 6)
        1.0
    """
    images, reconstructions = _as_tensors_of_one_shape(images, reconstructions)
    pyramid = laplacian_pyramid(images - reconstructions, levels)
    return weight * tf.add_n([tf.reduce_mean(tf.abs(level)) for level in pyramid])


def laplacian_pyramid(images: tf.Tensor, levels: int | None = None) -> list[tf.Tensor]:
    """Compute the Laplacian pyramid of Burt and Adelson (1983): band-pass levels from fine to coarse, then the small blurred image.

    Each level takes two matrix products (rows, then columns) with a small constant matrix that blurs and halves, and two with one that
    doubles. The matrices include the mirroring at the edges, so the edges need no special treatment.

    Args:
        images: (batch, size, size, channels).
        levels: number of levels, including the last. Default: as many as give a last level of 4x4.

    Returns:
        List of tensors (batch, size / 2^j, size / 2^j, channels), j = 0, 1, ...

    Raises:
        ValueError: the size is unknown when the graph is built, the side is not a power of two from 8, or the images are too small for
            that many levels.
    """
    size, levels = _check_pyramid(images, levels)
    pyramid, current = [], images
    for _ in range(levels - 1):
        smaller = _apply_to_sides(current, _reduce_matrix(size))  # (batch, size / 2, size / 2, channels)
        pyramid.append(current - _apply_to_sides(smaller, _expand_matrix(size)))
        current, size = smaller, size // 2
    return [*pyramid, current]


def collapse_pyramid(pyramid: list[tf.Tensor]) -> tf.Tensor:
    """Return the images of a Laplacian pyramid; the inverse of `laplacian_pyramid`.

    Args:
        pyramid: levels from fine to coarse, as `laplacian_pyramid` returns them.

    Returns:
        (batch, size, size, channels).
    """
    image = pyramid[-1]
    for level in reversed(pyramid[:-1]):
        image = level + _apply_to_sides(image, _expand_matrix(level.shape[1]))
    return image


def perceptual_loss(
    images: tf.Tensor, reconstructions: tf.Tensor, weight: float = 1.0, num_blocks: int = 6, seed: tf.Tensor | None = None
) -> tf.Tensor:
    """Compare features of a trained network: the mean absolute difference of its maps, each divided by its usual size.

    A pixel loss is lowest where the decoder averages over everything that it cannot predict, and this average is blurred. The first blocks
    of a network that was trained to recognise objects respond to edges and textures, so a blurred image has other features than a sharp
    one. Hoshen et al. (2019, GLANN) train GLO with such a loss on features of VGG; here the network is EfficientNet-Lite0, which is
    smaller, and its weights come with a package (`glo_lib.networks.efficientnet`).

    The network halves its maps several times, so it hardly notices some fine patterns, for instance a chessboard of pixels, and a decoder
    that is trained with it draws them. With a seed both images are moved by a random number of pixels first, and mirrored half of the
    time. A pattern that the network overlooks at one place it notices at another.

    Args:
        images: (batch, size, size, 3), in [-1, 1].
        reconstructions: the same shape and range.
        weight: factor of the loss.
        num_blocks: the first blocks of the network, whose maps are compared.
        seed: (2,) int, another one for each step; None: the images are not moved.

    Returns:
        Scalar, in units of the usual size of a map's entries.

    Raises:
        ModuleNotFoundError: the package with the weights is not installed; the message says how to install it.
        ValueError: the shapes differ.

    Example:
        ``perceptual_loss(images, decoder(latent_z))``
    """
    images, reconstructions = _as_tensors_of_one_shape(images, reconstructions)
    weights = efficientnet.load_weights()
    if seed is not None:
        images, reconstructions = (_moved(x, seed) for x in (images, reconstructions))
    of_images, of_reconstructions = (efficientnet.efficientnet_lite0(x, weights, num_blocks).blocks for x in (images, reconstructions))
    differences = [
        tf.reduce_mean(tf.abs(theirs - tf.stop_gradient(ours))) / size
        for ours, theirs, size in zip(of_images, of_reconstructions, efficientnet.MEAN_SIZES, strict=False)
    ]
    return weight * tf.add_n(differences) / num_blocks


def _moved(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Move images down and to the right by up to `MOST_PIXELS_MOVED`, and mirror them or not, as the seed says."""
    down, right, mirrored = tf.unstack(tf.random.stateless_uniform([3], seed, 0, MOST_PIXELS_MOVED + 1, tf.int32))
    padded = tf.pad(images, [[0, 0], [MOST_PIXELS_MOVED, 0], [MOST_PIXELS_MOVED, 0], [0, 0]], "SYMMETRIC")
    height, width = images.shape[1:3]
    moved = padded[:, MOST_PIXELS_MOVED - down :, MOST_PIXELS_MOVED - right :][:, :height, :width]
    return tf.ensure_shape(tf.where(tf.equal(mirrored % 2, 0), moved, moved[:, :, ::-1]), images.shape)


LOSSES: dict[str, Callable[..., tf.Tensor]] = {
    "mse": get_glo_loss,
    "mpse": get_pairwise_loss,
    "lap1": laplacian_pyramid_loss,
    "perceptual": perceptual_loss,
}


def get_loss(text: str, **settings: Mapping[str, object]) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Return the loss function of a text: one loss, or a weighted sum of losses.

    Args:
        text: a key of `LOSSES`, or a sum such as ``mse+0.5*perceptual``, see `glo_lib.recipe.parse_loss`.
        settings: name of a loss -> further arguments of its function, for instance ``perceptual={"num_blocks": 3}``.

    Returns:
        Function of images and reconstructions.

    Raises:
        ValueError: there is no loss with such a name, or a weight is wrong.

    Example:
        >>> with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        ...     float(session.run(get_loss("mse+0.5*lap1")(tf.ones([1, 8, 8, 3]), tf.zeros([1, 8, 8, 3]))))
        1.5
    """
    terms = parse_loss(text, NAMES)

    def loss(images: tf.Tensor, reconstructions: tf.Tensor) -> tf.Tensor:
        values = [LOSSES[term.name](images, reconstructions, term.weight, **settings.get(term.name, {})) for term in terms]
        return values[0] if len(values) == 1 else tf.add_n(values)

    return loss


def _as_tensors_of_one_shape(images: tf.Tensor, reconstructions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Convert both to tensors, in case arrays are given, and check that their shapes agree."""
    images, reconstructions = tf.convert_to_tensor(images), tf.convert_to_tensor(reconstructions)
    if not images.shape.is_compatible_with(reconstructions.shape):
        raise ValueError(f"images have shape {images.shape} and reconstructions {reconstructions.shape}; they must be alike")
    return images, reconstructions


def _static_shape(images: tf.Tensor, asker: str) -> tf.TensorShape:
    """Return (height, width, channels), which the caller must know when the graph is built."""
    if images.shape.rank != 4 or not images.shape[1:].is_fully_defined():
        raise ValueError(
            f"images have shape {images.shape}; {asker} takes (batch, height, width, channels) and must know all but the batch when "
            "the graph is built: resize the images to one size, or state it with tf.ensure_shape(images, [None, height, width, channels])"
        )
    return images.shape[1:]


def _check_pyramid(images: tf.Tensor, levels: int | None) -> tuple[int, int]:
    height, width, _ = _static_shape(images, "the Laplacian pyramid")
    if height != width or height < 2 * SMALLEST_LEVEL or height & (height - 1):
        raise ValueError(f"images are {height}x{width} pixels; the pyramid takes squares of 8, 16, 32, 64, ... pixels a side")
    most = int(np.log2(height // SMALLEST_LEVEL)) + 1
    levels = most if levels is None else levels
    if not 1 <= levels <= most:
        raise ValueError(f"levels is {levels}; images of {height}x{height} pixels allow 1 to {most}")
    return height, levels


def _apply_to_sides(images: tf.Tensor, matrix: np.ndarray) -> tf.Tensor:
    """Compute matrix @ image @ matrix.T for every channel of every image."""
    out_size, size = matrix.shape
    channels = images.shape[3]
    rows = tf.reshape(images, (-1, size, size * channels))
    rows = tf.matmul(np.broadcast_to(matrix, (1, out_size, size)).astype(np.float32), rows)  # (batch, out, size * channels)
    columns = tf.reshape(rows, (-1, size * channels))
    # With the Kronecker product the channels, which are innermost in NHWC, stay in place, so no transposition is needed.
    columns = tf.matmul(columns, np.kron(matrix.T, np.eye(channels)).astype(np.float32))  # (batch * out, out * channels)
    return tf.reshape(columns, (-1, out_size, out_size, channels))


def _reduce_matrix(size: int) -> np.ndarray:
    """Return (size / 2, size): blur with the binomial kernel and keep every second pixel; the image is mirrored at its edges."""
    matrix = np.zeros((size // 2, size))
    for row in range(size // 2):
        for tap, value in zip(range(-2, 3), BINOMIAL, strict=True):
            matrix[row, _mirror(2 * row + tap, size)] += value
    return matrix


def _expand_matrix(size: int) -> np.ndarray:
    """Return (size, size / 2): put zeros between the pixels and blur; rows sum to one, so a constant image stays the same."""
    matrix = np.zeros((size, size // 2))
    for row in range(size):
        for tap, value in zip(range(-2, 3), 2 * BINOMIAL, strict=True):
            if (row + tap) % 2 == 0:
                matrix[row, _mirror((row + tap) // 2, size // 2)] += value
    return matrix


def _mirror(position: int, size: int) -> int:
    """Reflect a position about the centre of the first or of the last pixel."""
    position = abs(position)
    return position if position < size else 2 * (size - 1) - position
