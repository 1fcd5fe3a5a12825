"""slim's transposed convolution by faster routes, with the same arguments, the same variables and, up to rounding, the same results.

The first and the last layer of the decoder are computed in another way than by TensorFlow (`conv2d_transpose`). In bfloat16, moreover, the
gradients for the kernels of small layers of stride 2 are computed by another route (`kernel_gradients_for`).

Let the layer map pixels x (batch, side, side, c_in) to y (batch, 2 side, 2 side, c_out), and let g be the gradient with respect to y. Up
to padding, the gradient for the kernel is ``W'[a, b, o, i] = sum over n, p, q of g[n, 2 p + a, 2 q + b, o] x[n, p, q, i]``. This is an
ordinary convolution with exchanged roles: g is its input, with the output channels o as images and the images n as channels; x is its
kernel of side x side pixels, whose taps lie two pixels apart (dilation 2); and the k x k result is the gradient. The exchange pays for
maps of up to 8 pixels a side (``benchmarks/README.md``), because oneDNN computes ordinary convolutions in bfloat16 twice as fast as in
float32, but gradients of kernels no faster, and for small maps with many channels even more slowly.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from glo_lib.graph.backend import tf, v1
from glo_lib.graph.slim import slim

FEW_CHANNELS = 4  # the four phases of 4 channels fit into one vector register of 16 numbers
BFLOAT16_GRADIENT = "TransposedConvolutionInBfloat16"  # for ``tf.Graph.gradient_override_map``
LARGEST_SIDE = 8  # pixels of x, which is also the size of the kernel in the exchanged convolution


@slim.add_arg_scope
def conv2d_transpose(
    inputs: tf.Tensor,
    num_outputs: int,
    kernel_size: int,
    stride: int = 1,
    padding: str = "SAME",
    activation_fn: Callable[[tf.Tensor], tf.Tensor] | None = tf.nn.relu,
    normalizer_fn: Callable[..., tf.Tensor] | None = None,
    normalizer_params: dict | None = None,
    weights_initializer: Callable = slim.xavier_initializer(),  # noqa: B008 - as in slim
    outputs_collections: str | None = None,
    scope: str | None = None,
) -> tf.Tensor:
    """Compute ``slim.conv2d_transpose``, two kinds of layers by faster routes.

    A normalised layer whose input is a single pixel is computed as a matrix product, and a layer of stride 2 with a bias and up to four
    output channels by `doubling_to_few_channels`. Every other layer is passed to slim.

    Args:
        inputs: (batch, height, width, c_in).
        num_outputs: number of output channels, c_out.
        kernel_size: side of the kernel, in pixels.
        stride: factor by which height and width grow.
        padding: "SAME" or "VALID".
        activation_fn: applied last; None for a linear layer.
        normalizer_fn: normalization layer, such as ``slim.batch_norm``. A layer with normalization has no bias.
        normalizer_params: arguments of ``normalizer_fn``.
        weights_initializer: initializer of the kernel (kernel_size, kernel_size, c_out, c_in).
        outputs_collections: name of a graph collection that receives the output.
        scope: variable scope of the layer.

    Returns:
        (batch, height * stride, width * stride, c_out); (batch, kernel_size, kernel_size, c_out) of a single pixel with "VALID".

    Example:
        >>> with tf.Graph().as_default():
        ...     conv2d_transpose(tf.zeros([8, 32, 32, 64]), 3, 4, stride=2, activation_fn=tf.nn.tanh, scope="deconv5").shape
        TensorShape([8, 64, 64, 3])
    """
    one_pixel = inputs.shape[1:3] == [1, 1] and (stride, padding) == (1, "VALID") and normalizer_fn
    few_channels = num_outputs <= FEW_CHANNELS and (stride, padding) == (2, "SAME") and kernel_size >= 2 and not normalizer_fn
    if not one_pixel and not few_channels:
        return slim.conv2d_transpose(
            inputs,
            num_outputs,
            kernel_size,
            stride,
            padding,
            activation_fn=activation_fn,
            normalizer_fn=normalizer_fn,
            normalizer_params=normalizer_params,
            weights_initializer=weights_initializer,
            outputs_collections=outputs_collections,
            scope=scope,
        )
    with v1.variable_scope(scope, "Conv2d_transpose", [inputs]) as layer:
        shape = [kernel_size, kernel_size, num_outputs, inputs.shape[3]]
        kernel = tf.convert_to_tensor(slim.model_variable("weights", shape, inputs.dtype, initializer=weights_initializer))
        if normalizer_fn:  # a single pixel
            net = normalizer_fn(from_one_pixel(inputs, kernel), **(normalizer_params or {}))
        else:
            bias = tf.convert_to_tensor(slim.model_variable("biases", [num_outputs], inputs.dtype, initializer=tf.zeros_initializer()))
            net = doubling_to_few_channels(inputs, kernel, bias)
        return slim.utils.collect_named_outputs(outputs_collections, layer.name, activation_fn(net) if activation_fn else net)


def from_one_pixel(pixels: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Compute a VALID transposed convolution of a single pixel as a matrix product: the sum of the kernels, weighted by the channels.

    Args:
        pixels: (batch, 1, 1, c_in).
        kernel: (k, k, c_out, c_in).

    Returns:
        (batch, k, k, c_out).
    """
    kernels = tf.reshape(kernel, (-1, kernel.shape[3]))  # (k * k * c_out, c_in)
    patches = tf.matmul(tf.reshape(pixels, (-1, pixels.shape[3])), kernels, transpose_b=True)  # (batch, k * k * c_out)
    return tf.reshape(patches, (-1, *kernel.shape[:3]))


@tf.custom_gradient
def doubling_to_few_channels(pixels: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """Compute a transposed convolution of stride 2 with padding "SAME" and a bias as a sub-pixel convolution.

    TensorFlow takes as long for three output channels as for sixteen. But the even and the odd rows and columns of the result (its four
    phases) depend on the same few pixels of the input, each through every second tap of the kernel. So one ordinary convolution computes
    all four phases as channels, which are then interleaved (Shi et al., 2016, "Real-time single image and video super-resolution using
    an efficient sub-pixel convolutional neural network"). The gradients for pixels and kernel are computed by TensorFlow.

    Args:
        pixels: (batch, height, width, c_in).
        kernel: (k, k, c_out, c_in), k at least 2.
        bias: (c_out,).

    Returns:
        (batch, 2 height, 2 width, c_out).
    """
    (height, width), size = pixels.shape[1:3], kernel.shape[0]
    before = (size - 2) // 2  # number of pixels that "SAME" crops before the first
    rows, columns = (phases_padding(side, size) for side in (height, width))
    blocks = tf.nn.conv2d(pixels, phases_as_channels(kernel), strides=1, padding=[[0, 0], rows, columns, [0, 0]])
    blocks = tf.nn.bias_add(blocks, tf.tile(bias, [4]))  # (batch, pairs of rows, pairs of columns, 4 * c_out)
    image = tf.nn.depth_to_space(blocks, 2)
    if before % 2:  # one row and one column of the first pair, and of the last, are cropped
        image = image[:, 1 : 2 * height + 1, 1 : 2 * width + 1]  # (batch, 2 height, 2 width, c_out)

    def gradients(grad: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        geometry = {"strides": [1, 2, 2, 1], "padding": "SAME"}
        kernel_grad = tf.raw_ops.Conv2DBackpropFilter(input=grad, filter_sizes=kernel.shape, out_backprop=pixels, **geometry)
        return tf.raw_ops.Conv2D(input=grad, filter=kernel, **geometry), kernel_grad, _sum_over_pixels(grad)

    return image, gradients


def phases_padding(side: int, kernel_size: int) -> list[int]:
    """Return the pixels of padding before and after the input of the convolution that computes the phases.

    Its result are the pairs that hold the pixels ``before`` ... ``before + 2 side - 1`` of the uncropped transposed convolution, of which
    "SAME" crops the first ``before = (kernel_size - 2) // 2``.

    Example:
        >>> phases_padding(8, 3), phases_padding(8, 4)
        ([1, 0], [1, 1])
    """
    taps, before = -(-kernel_size // 2), (kernel_size - 2) // 2
    first, last = before // 2, (before + 2 * side - 1) // 2
    return [taps - 1 - first, last - (side - 1)]


def phases_as_channels(kernel: tf.Tensor) -> tf.Tensor:
    """Rearrange a kernel (k, k, c_out, c_in) to (taps, taps, c_in, 4 * c_out), for an ordinary convolution that computes four phases.

    Tap a = 2 t + r of the kernel becomes tap t, reversed, of phase r.
    """
    size, _, c_out, c_in = kernel.shape
    taps = -(-size // 2)
    kernel = tf.pad(kernel, [[0, 2 * taps - size], [0, 2 * taps - size], [0, 0], [0, 0]])
    kernel = tf.reshape(kernel, (taps, 2, taps, 2, c_out, c_in))[::-1, :, ::-1]
    return tf.reshape(tf.transpose(kernel, (0, 2, 5, 1, 3, 4)), (taps, taps, c_in, 4 * c_out))


def _sum_over_pixels(images: tf.Tensor) -> tf.Tensor:
    """Sum (batch, height, width, channels) to (channels,): first over all rows, each as one long vector, then over the pixels of a row.

    TensorFlow would add one pixel, three numbers, at a time, which is slow for millions of pixels.
    """
    width, channels = images.shape[2:]
    row = tf.reduce_sum(tf.reshape(images, (-1, width * channels)), axis=0)  # (width * channels,)
    return tf.reduce_sum(tf.reshape(row, (width, channels)), axis=0)


@contextmanager
def kernel_gradients_for(precision: str) -> Iterator[None]:
    """Let layers that are built inside compute the gradients for their kernels by the fastest route for a precision.

    Args:
        precision: ``bfloat16``; ``float32`` changes nothing.

    Example:
        ``with kernel_gradients_for("bfloat16"): decoder(latent_z, num_filters)``
    """
    if precision != "bfloat16":
        yield
        return
    with tf.compat.v1.get_default_graph().gradient_override_map({"Conv2DBackpropInput": BFLOAT16_GRADIENT}):
        yield


@tf.RegisterGradient(BFLOAT16_GRADIENT)
def _gradient_in_bfloat16(op: tf.Operation, grad: tf.Tensor) -> list[tf.Tensor | None]:
    """Return the gradients of a transposed convolution for its sizes (None), its kernel and its pixels."""
    _, kernel, pixels = op.inputs  # (k, k, c_out, c_in), (batch, side, side, c_in)
    geometry = {"strides": op.get_attr("strides"), "padding": op.get_attr("padding").decode()}
    pixels_grad = tf.raw_ops.Conv2D(input=grad, filter=kernel, **geometry)  # (batch, side, side, c_in)
    if _can_exchange_roles(kernel, pixels, grad, geometry):
        kernel_grad = kernel_gradient(grad, pixels, kernel.shape[0])
    else:
        kernel_grad = tf.raw_ops.Conv2DBackpropFilter(input=grad, filter_sizes=tf.shape(kernel), out_backprop=pixels, **geometry)
    return [None, kernel_grad, pixels_grad]


def _can_exchange_roles(kernel: tf.Tensor, pixels: tf.Tensor, grad: tf.Tensor, geometry: dict) -> bool:
    doubles = geometry == {"strides": [1, 2, 2, 1], "padding": "SAME"} and grad.shape[1:3] == [2 * side for side in pixels.shape[1:3]]
    square = kernel.shape[0] == kernel.shape[1] and pixels.shape[1] == pixels.shape[2]
    return doubles and square and kernel.shape[0] >= 2 and pixels.shape[1] <= LARGEST_SIDE


def kernel_gradient(grad: tf.Tensor, pixels: tf.Tensor, kernel_size: int) -> tf.Tensor:
    """Compute the gradient for the kernel of a transposed convolution of stride 2 with padding "SAME" by the exchange of roles above.

    Args:
        grad: (batch, 2 side, 2 side, c_out) gradient with respect to its output.
        pixels: (batch, side, side, c_in) input of the layer.
        kernel_size: k, at least 2.

    Returns:
        (k, k, c_out, c_in).

    Example:
        >>> with tf.Graph().as_default():
        ...     kernel_gradient(tf.zeros([32, 8, 8, 96]), tf.zeros([32, 4, 4, 256]), kernel_size=3).shape
        TensorShape([3, 3, 96, 256])
    """
    before, after = (kernel_size - 2) // 2, (kernel_size - 1) // 2  # padding of the stride-2 convolution whose transpose the layer is
    # There are no casts here, because TensorFlow's rewriter turns this convolution to bfloat16, and explicit casts would only add to that.
    images = tf.transpose(grad, (3, 1, 2, 0))  # (c_out, 2 side, 2 side, batch)
    images = tf.pad(images, [[0, 0], [before, after], [before, after], [0, 0]])
    taps = tf.transpose(pixels, (1, 2, 0, 3))  # (side, side, batch, c_in)
    result = tf.nn.conv2d(images, taps, strides=1, padding="VALID", dilations=2)  # (c_out, k, k, c_in)
    return tf.transpose(result, (1, 2, 0, 3))  # (k, k, c_out, c_in)
