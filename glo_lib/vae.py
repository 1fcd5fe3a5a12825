"""The variational auto-encoder (VAE) that GLO is compared with: the same decoder, and an encoder that mirrors it.

GLO looks the latent code of an image up in a table. A VAE computes a Gaussian over latent codes from the image instead (`encoder`; Kingma
and Welling, 2014). One code is drawn from this Gaussian (`reparameterise`) and decoded. The loss adds a KL divergence, which keeps the
Gaussian close to N(0, I) (`negative_elbo`).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from glo_lib.config import FIRST_SIZE, image_size_of
from glo_lib.graph.backend import tf
from glo_lib.graph.slim import slim
from glo_lib.losses import get_glo_loss

ACTIVE_VARIANCE = 0.01  # variance of the posterior means above which a dimension counts as active (Burda et al., 2016, appendix C)


class Posterior(NamedTuple):
    """A Gaussian over latent codes for each image, with a diagonal covariance: q(z|x) = N(mean, diag(exp(log_variance))).

    Attributes:
        mean: (batch, d) means.
        log_variance: (batch, d) natural logarithms of the variances.
    """

    mean: tf.Tensor
    log_variance: tf.Tensor


def encoder(
    images: tf.Tensor,
    num_dims: int,
    num_filters: Sequence[int],
    kernel_size: int = 3,
    batch_norm_decay: float = 0.99,
    is_training: bool = True,
    reuse: bool | None = False,
    scope: str = "encoder",
) -> Posterior:
    """Encode images into Gaussians over latent codes. The layers are those of `glo_lib.decoder.decoder` in reverse order.

    Shapes, for d = 100 and ``num_filters = (256, 128, 64, 64, 32)``::

        (batch, 128, 128, 3) -> (batch, 64, 64, 32) -> (batch, 32, 32, 64) -> (batch, 16, 16, 64)
                             -> (batch, 8, 8, 128) -> (batch, 4, 4, 256) -> twice (batch, 100)

    Each convolution has stride 2 and is followed by batch normalisation and ReLU. The last layer would be a 4x4 convolution with VALID
    padding; on a 4x4 feature map this is a fully connected layer, so it is written as one.

    Args:
        images: (batch, size, size, channels) in [-1, 1], where ``size = 4 * 2**len(num_filters)``.
        num_dims: dimensions d of the latent codes.
        num_filters: the decoder's numbers of filters, in the decoder's order; the encoder uses them in reverse.
        kernel_size: side of the kernels, in pixels.
        batch_norm_decay: see `glo_lib.decoder.decoder`.
        is_training: see `glo_lib.decoder.decoder`.
        reuse: see `glo_lib.decoder.decoder`.
        scope: name of the variable scope.

    Returns:
        `Posterior` with mean and log-variance of shape (batch, d).

    Raises:
        ValueError: the images do not have the size that a decoder with these filters generates, or ``num_dims`` is less than 1.

    Example:
        >>> with tf.Graph().as_default():
        ...     encoder(tf.zeros([8, 128, 128, 3]), num_dims=100, num_filters=(256, 128, 64, 64, 32)).mean.shape
        TensorShape([8, 100])
    """
    _check_arguments(images, num_dims, num_filters)
    batch_norm_params = {"decay": batch_norm_decay, "scale": True, "is_training": is_training, "fused": True}
    with (
        tf.compat.v1.variable_scope(scope, values=[images], reuse=reuse),
        slim.arg_scope([slim.conv2d, slim.fully_connected], weights_initializer=slim.xavier_initializer()),
        slim.arg_scope([slim.conv2d], stride=2, normalizer_fn=slim.batch_norm, normalizer_params=batch_norm_params),
    ):
        net = images
        for layer, width in enumerate(reversed(num_filters), start=1):
            net = slim.conv2d(net, width, kernel_size, activation_fn=tf.nn.relu, scope=f"conv{layer}")  # (batch, side / 2, side / 2, width)
        net = tf.reshape(net, (-1, FIRST_SIZE**2 * num_filters[0]))  # (batch, 16 * num_filters[0])
        both = slim.fully_connected(net, 2 * num_dims, activation_fn=None, scope="posterior")  # (batch, 2 d)
    return Posterior(both[:, :num_dims], both[:, num_dims:])


def _check_arguments(images: tf.Tensor, num_dims: int, num_filters: Sequence[int]) -> None:
    size = image_size_of(num_filters)
    if num_dims < 1:
        raise ValueError(f"num_dims is {num_dims}; a code needs at least one dimension")
    if images.shape.rank != 4 or images.shape[1:3].as_list() != [size, size]:
        widths = "-".join(map(str, num_filters))
        raise ValueError(f"images have shape {images.shape}; an encoder of the widths {widths} takes (batch, {size}, {size}, channels)")


def reparameterise(posterior: Posterior, seed: tf.Tensor | Sequence[int]) -> tf.Tensor:
    """Draw a latent code from each image's Gaussian so that gradients reach its mean and variance (the reparameterisation trick).

    z = mean + exp(log_variance / 2) * noise, where the noise comes from N(0, I) (Kingma and Welling, 2014, section 2.4).

    Args:
        posterior: from `encoder`.
        seed: two integers. The noise is a pure function of them, so a resumed run draws the same numbers as an uninterrupted one.

    Returns:
        (batch, d) latent codes.

    Example:
        >>> with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        ...     certain = Posterior(tf.constant([[1.0, 2.0]]), tf.constant([[-200.0, -200.0]]))
        ...     session.run(reparameterise(certain, seed=(0, 1))).tolist()
        [[1.0, 2.0]]
    """
    noise = tf.random.stateless_normal(tf.shape(posterior.mean), seed)  # (batch, d)
    return posterior.mean + tf.exp(posterior.log_variance / 2) * noise


def kl_divergence(posterior: Posterior) -> tf.Tensor:
    """Compute the KL divergence from N(0, 1) for each dimension of each image's Gaussian, in nats (Kingma and Welling, 2014, appendix B).

    Args:
        posterior: from `encoder`.

    Returns:
        (batch, d) values (mean^2 + variance - 1 - log variance) / 2. Their sum over d is the image's KL divergence from N(0, I).

    Example:
        >>> with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        ...     session.run(kl_divergence(Posterior(tf.constant([[0.0, 2.0]]), tf.zeros([1, 2])))).tolist()
        [[0.0, 2.0]]
    """
    mean, log_variance = posterior
    return (tf.square(mean) + tf.exp(log_variance) - 1 - log_variance) / 2


def noise_variance(images: tf.Tensor, reconstructions: tf.Tensor) -> tf.Tensor:
    """Estimate the variance of the pixels' noise: the mean squared error of the batch, which is its maximum-likelihood value.

    As ``kl_weight`` in `negative_elbo` it makes a VAE that learns its noise. The gradient of -ELBO for noise of variance v with respect to
    the networks is D / (2 v) times that of ``loss + v * 2 / D * KL``, and for given networks the best v is the squared error (Rybkin et
    al., 2021). So such a VAE settles where beta equals its own squared error.

    Args:
        images: (batch, size, size, channels) in [-1, 1].
        reconstructions: the same shape, decoded from one latent code drawn for each image.

    Returns:
        Scalar, without a gradient, because it is the best value for the networks as they are.

    Example:
        >>> with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        ...     float(session.run(noise_variance(tf.ones([2, 4, 4, 3]), tf.zeros([2, 4, 4, 3]))))
        1.0
    """
    return tf.stop_gradient(get_glo_loss(images, reconstructions))


def negative_elbo(
    images: tf.Tensor,
    reconstructions: tf.Tensor,
    posterior: Posterior,
    kl_weight: float | tf.Tensor = 1.0,
    loss_function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = get_glo_loss,
) -> tf.Tensor:
    """Compute the loss of a VAE on the scale of GLO's loss: ``loss + kl_weight * 2 / D * KL``, where D is the number of values per image.

    Assume that a pixel is the decoder's output plus Gaussian noise of variance one. Then
    ``-ELBO = |x - g(z)|^2 / 2 + KL + (D / 2) log 2 pi``. With the mean squared error and ``kl_weight = 1``, the loss is 2 / D times this
    negative evidence lower bound (ELBO), up to a constant. With noise of variance v, minus v times the ELBO gives the same loss with
    ``kl_weight = v``. Choosing beta (Higgins et al., 2017) is therefore the same as choosing the variance of the noise.

    Args:
        images: (batch, size, size, channels) in [-1, 1].
        reconstructions: the same shape, decoded from one latent code drawn for each image.
        posterior: from `encoder`.
        kl_weight: the weight beta of the KL divergence; 0 turns the VAE into an auto-encoder, `noise_variance` makes it learn its noise.
        loss_function: function of images and reconstructions, from `glo_lib.losses`.

    Returns:
        Scalar, the mean over the batch.

    Example:
        >>> with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        ...     images, posterior = tf.zeros([1, 2, 2, 3]), Posterior(tf.constant([[2.0]]), tf.zeros([1, 1]))
        ...     round(float(session.run(negative_elbo(images, images, posterior))), 4)  # 2 / 12 of 2 nats
        0.3333
    """
    entries = images.shape[1:].num_elements()
    divergence = tf.reduce_mean(tf.reduce_sum(kl_divergence(posterior), axis=1))  # nats per image
    return loss_function(images, reconstructions) + kl_weight * 2 / entries * divergence


def active_units(means: np.ndarray, threshold: float = ACTIVE_VARIANCE) -> np.ndarray:
    """Find the active dimensions, those that carry information about the image because the posterior means vary in them.

    In a collapsed dimension the Gaussian of every image equals the prior, so the decoder receives only noise there. The criterion is from
    Burda et al. (2016, appendix C).

    Args:
        means: (n, d) posterior means of n images.
        threshold: variance above which a dimension is active.

    Returns:
        (d,) bool, True for an active dimension.

    Raises:
        ValueError: fewer than two images.

    Example:
        >>> active_units(np.array([[0.0, 1.0], [0.1, -1.0]])).tolist()
        [False, True]
    """
    if np.ndim(means) != 2 or len(means) < 2:
        raise ValueError(f"means have shape {np.shape(means)}; give (n, d) of at least two images, whose variance can be seen")
    return np.var(means, axis=0) > threshold
