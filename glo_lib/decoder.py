"""The decoder, which maps latent codes to images by transposed convolutions in tf-slim.

A VALID 4x4 transposed convolution turns the code into a 4x4 feature map. Each of the following transposed convolutions, of stride 2,
doubles its size. This is the generator of DCGAN (Radford et al., 2016), with the widths and the kernel size of the post.
"""

from collections.abc import Callable, Sequence

from glo_lib.config import FIRST_SIZE, IMAGE_SIZES, image_size_of, num_filters_for
from glo_lib.graph.backend import tf
from glo_lib.graph.layers import conv2d_transpose
from glo_lib.graph.slim import slim

__all__ = ["IMAGE_SIZES", "decoder", "decoder_arg_scope", "image_size_of", "num_filters_for"]


def decoder(
    latent_z: tf.Tensor,
    num_filters: Sequence[int],
    kernel_size: int = 3,
    channels: int = 3,
    batch_norm_decay: float = 0.99,
    is_training: bool = True,
    reuse: bool | None = False,
    outputs_collections: str | None = None,
    scope: str = "decoder",
    layer: Callable[..., tf.Tensor] = slim.conv2d_transpose,
) -> tf.Tensor:
    """Decode latent codes into images.

    Shapes, for a code of d = 100 dimensions and ``num_filters = (256, 128, 64, 64, 32)``::

        (batch, 100) -> (batch, 4, 4, 256) -> (batch, 8, 8, 128) -> (batch, 16, 16, 64)
                     -> (batch, 32, 32, 64) -> (batch, 64, 64, 32) -> (batch, 128, 128, 3)

    Args:
        latent_z: (batch, d) latent codes, projected.
        num_filters: channels after each transposed convolution except the last; L widths give images of 4 * 2^L pixels a side.
        kernel_size: side of the kernels of stride 2, in pixels; the post uses 3.
        channels: number of channels of the images.
        batch_norm_decay: decay of the moving averages of batch normalisation.
        is_training: True for training mode: normalise with the statistics of the batch, and collect updates of the moving averages in
            ``tf.GraphKeys.UPDATE_OPS``. False for inference mode: normalise with the moving averages.
        reuse: use the variables that an earlier call created in the same scope; ``tf.compat.v1.AUTO_REUSE`` creates them if needed.
        outputs_collections: name of a graph collection that receives the output of each layer.
        scope: name of the variable scope.
        layer: function that computes the transposed convolutions. `glo_lib.graph.layers.conv2d_transpose` is faster than slim's own,
            has the same variables, and gives the same images up to rounding.

    Returns:
        (batch, size, size, channels) images in [-1, 1], with ``size = 4 * 2**len(num_filters)``.

    Raises:
        ValueError: ``latent_z`` is not a matrix of known width, ``num_filters`` is empty or has a width below 1, or ``kernel_size`` is
            below 2.

    Example:
        >>> with tf.Graph().as_default():
        ...     decoder(tf.zeros([8, 100]), num_filters=(256, 128, 64, 64, 32)).shape
        TensorShape([8, 128, 128, 3])
    """
    _check_arguments(latent_z, num_filters, kernel_size)
    with (
        tf.compat.v1.variable_scope(scope, values=[latent_z], reuse=reuse),
        slim.arg_scope(decoder_arg_scope(is_training, batch_norm_decay, outputs_collections)),
        slim.arg_scope([layer], stride=2, kernel_size=kernel_size),
    ):
        net = latent_z[:, tf.newaxis, tf.newaxis, :]  # (batch, 1, 1, d)
        net = layer(net, num_filters[0], kernel_size=FIRST_SIZE, stride=1, padding="VALID", scope="deconv1")  # (batch, 4, 4, width)
        for number, width in enumerate(num_filters[1:], start=2):
            net = layer(net, width, scope=f"deconv{number}")  # (batch, 2 * side, 2 * side, width)
        last = f"deconv{len(num_filters) + 1}"
        return layer(net, channels, normalizer_fn=None, activation_fn=tf.nn.tanh, scope=last)  # (batch, size, size, channels)


def decoder_arg_scope(is_training: bool = True, batch_norm_decay: float = 0.99, outputs_collections: str | None = None) -> dict:
    """Return the defaults of the decoder's layers: Xavier weights, batch normalisation with scale, ReLU.

    Args:
        is_training: see `decoder`.
        batch_norm_decay: see `decoder`.
        outputs_collections: see `decoder`.

    Returns:
        An arg scope, to be entered with ``slim.arg_scope``.
    """
    batch_norm_params = {"decay": batch_norm_decay, "scale": True, "is_training": is_training, "fused": True}
    with slim.arg_scope(
        [slim.conv2d_transpose, conv2d_transpose],
        weights_initializer=slim.xavier_initializer(),
        activation_fn=tf.nn.relu,
        normalizer_fn=slim.batch_norm,
        normalizer_params=batch_norm_params,
        outputs_collections=outputs_collections,
    ) as scope:
        return scope


def _check_arguments(latent_z: tf.Tensor, num_filters: Sequence[int], kernel_size: int) -> None:
    if latent_z.shape.rank != 2 or latent_z.shape[1] is None:
        raise ValueError(f"latent_z has shape {latent_z.shape}; the decoder takes (batch, d) with a known number d of dimensions")
    if not num_filters or min(num_filters) < 1:
        raise ValueError(f"num_filters is {tuple(num_filters)}; at least one width is needed, each a whole number from 1")
    if kernel_size < 2:
        raise ValueError(f"kernel_size is {kernel_size}; with a stride of 2 a kernel below 2 pixels leaves gaps")
