"""Gradients of the decoder's layers that TensorFlow computes more slowly than they can be computed: the same numbers by another route.

The *first* layer, whose image is a single pixel, is a matrix product in disguise (`ONE_PIXEL`). And the *kernels* of those of stride 2
have such gradients in bfloat16 (`kernel_gradients_for`).

A layer of stride 2 maps pixels x (batch, side, side, c_in) to y (batch, 2 side, 2 side, c_out); with g the gradient at y, that for
its kernel is ``W'[a, b, o, i] = sum over n, p, q of g[n, 2 p + a, 2 q + b, o] x[n, p, q, i]``, up to the padding. Read with the roles
exchanged, that is an ordinary convolution: the output channels o are its images, the images n its channels, x is its kernel of
side x side pixels whose taps lie two pixels apart (dilation 2), and its k x k result is the gradient. oneDNN computes the gradient
of kernels in bfloat16 no faster than in float32, and that of small maps with many channels slower; ordinary convolutions it computes at
twice the speed of float32. For maps of up to 8 pixels the exchange pays (``benchmarks/README.md``).
"""

from collections.abc import Iterator
from contextlib import contextmanager

from glo_lib.backend import tf

# Names for ``tf.Graph.gradient_override_map``.
ONE_PIXEL = "TransposedConvolutionOfOnePixel"
IN_BFLOAT16 = "TransposedConvolutionInBfloat16"

LARGEST_SIDE = 8  # pixels of x; the kernel of the exchanged convolution is as large


@tf.RegisterGradient(ONE_PIXEL)
def _gradient_of_one_pixel(op: tf.Operation, grad: tf.Tensor) -> list[tf.Tensor | None]:
    """Gradient of a VALID transposed convolution of a single pixel.

    TensorFlow's own gradient treats it as two convolutions whose image is one pixel large, an order of magnitude slower.
    """
    _, kernel, pixels = op.inputs  # (4, 4, channels, d), (batch, 1, 1, d)
    flat_grad = tf.reshape(grad, (-1, kernel.shape[:3].num_elements()))  # (batch, 16 * channels)
    kernel_grad = tf.matmul(flat_grad, tf.reshape(pixels, (-1, pixels.shape[3])), transpose_a=True)  # (16 * channels, d)
    pixels_grad = tf.matmul(flat_grad, tf.reshape(kernel, (-1, pixels.shape[3])))  # (batch, d)
    return [None, tf.reshape(kernel_grad, kernel.shape), tf.reshape(pixels_grad, tf.shape(pixels))]


@contextmanager
def kernel_gradients_for(precision: str) -> Iterator[None]:
    """Layers that are built inside compute the gradients for their kernels in the way that is fastest for these numbers.

    Args:
        precision: ``bfloat16``, or ``float32``, which changes nothing.

    Example:
        ``with kernel_gradients_for("bfloat16"): decoder(latent_z, num_filters)``
    """
    if precision != "bfloat16":
        yield
        return
    with tf.compat.v1.get_default_graph().gradient_override_map({"Conv2DBackpropInput": IN_BFLOAT16}):
        yield


@tf.RegisterGradient(IN_BFLOAT16)
def _gradient_in_bfloat16(op: tf.Operation, grad: tf.Tensor) -> list[tf.Tensor | None]:
    """Gradients of a transposed convolution: for its sizes (none), its kernel and its pixels."""
    _, kernel, pixels = op.inputs  # (k, k, c_out, c_in), (batch, side, side, c_in)
    geometry = {"strides": op.get_attr("strides"), "padding": op.get_attr("padding").decode()}
    pixels_grad = tf.raw_ops.Conv2D(input=grad, filter=kernel, **geometry)  # (batch, side, side, c_in)
    if _is_suited(kernel, pixels, grad, geometry):
        kernel_grad = kernel_gradient(grad, pixels, kernel.shape[0])
    else:
        kernel_grad = tf.raw_ops.Conv2DBackpropFilter(input=grad, filter_sizes=tf.shape(kernel), out_backprop=pixels, **geometry)
    return [None, kernel_grad, pixels_grad]


def _is_suited(kernel: tf.Tensor, pixels: tf.Tensor, grad: tf.Tensor, geometry: dict) -> bool:
    doubles = geometry == {"strides": [1, 2, 2, 1], "padding": "SAME"} and grad.shape[1:3] == [2 * side for side in pixels.shape[1:3]]
    square = kernel.shape[0] == kernel.shape[1] and pixels.shape[1] == pixels.shape[2]
    return doubles and square and kernel.shape[0] >= 2 and pixels.shape[1] <= LARGEST_SIDE


def kernel_gradient(grad: tf.Tensor, pixels: tf.Tensor, kernel_size: int) -> tf.Tensor:
    """Gradient for the kernel of a transposed convolution of stride 2 with padding "SAME", with the roles exchanged.

    Args:
        grad: (batch, 2 side, 2 side, c_out) gradient at its output.
        pixels: (batch, side, side, c_in) its input.
        kernel_size: k, at least 2.

    Returns:
        (k, k, c_out, c_in).

    Example:
        >>> with tf.Graph().as_default():
        ...     kernel_gradient(tf.zeros([32, 8, 8, 96]), tf.zeros([32, 4, 4, 256]), kernel_size=3).shape
        TensorShape([3, 3, 96, 256])
    """
    before, after = (kernel_size - 2) // 2, (kernel_size - 1) // 2  # padding of the stride-2 convolution that it transposes
    # No casts here: TensorFlow's rewriter turns this convolution to bfloat16 with its neighbours, and explicit casts would be made on top.
    images = tf.transpose(grad, (3, 1, 2, 0))  # (c_out, 2 side, 2 side, batch)
    images = tf.pad(images, [[0, 0], [before, after], [before, after], [0, 0]])
    taps = tf.transpose(pixels, (1, 2, 0, 3))  # (side, side, batch, c_in)
    result = tf.nn.conv2d(images, taps, strides=1, padding="VALID", dilations=2)  # (c_out, k, k, c_in)
    return tf.transpose(result, (1, 2, 0, 3))  # (k, k, c_out, c_in)
