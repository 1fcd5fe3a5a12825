"""The decoder in the form in which a browser computes it.

A browser has ordinary convolutions, matrix products and little else that is fast. So

- batch normalisation in inference mode, a factor and a constant for each channel, is folded into the kernel and the bias;
- the first layer sees a single pixel and is a matrix product;
- every other layer, a transposed convolution of stride 2, becomes an ordinary convolution that computes the four phases of its result as
  channels (`glo_lib.graph.layers.doubling_to_few_channels`), which are then interleaved. The page rearranges the kernels when it has loaded
  them, because as phases those of 3 x 3 would be stored with seven zeros more.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from glo_lib.graph.backend import tf
from glo_lib.graph.layers import phases_as_channels, phases_padding
from glo_lib.inference.model import SCOPE

BATCH_NORM_EPSILON = 0.001  # slim's default


class Layer(NamedTuple):
    """A layer as the page computes it.

    Attributes:
        kernel: (d, side * side * channels) of the first layer, (k, k, channels, c_in) of the others.
        bias: (channels,), or (4 * channels,), once for each phase.
        side: height and width of the result, in pixels.
        channels: channels of the result.
        padding: pixels of zeros above and below, and to the left and to the right of the input. None for the first layer.
        crop: rows and columns that are cut off at each border of the interleaved result.
        activation: ``"relu"`` or ``"tanh"``.
    """

    kernel: np.ndarray
    bias: np.ndarray
    side: int
    channels: int
    padding: list[int] | None
    crop: int
    activation: str


def fold_layers(variables: Mapping[str, np.ndarray], image_size: int) -> list[Layer]:
    """Return the layers of a decoder in the form in which a page computes them.

    Args:
        variables: name -> value, as `glo_lib.inference.model.TrainedModel.variables` has them.
        image_size: side of the images, in pixels.

    Example:
        ``fold_layers(model.variables, 64)[0].kernel.shape``
    """
    layers, side, number = [], 4, 1
    while f"{SCOPE}/deconv{number}/weights" in variables:
        kernel, bias = _without_batch_norm(variables, f"{SCOPE}/deconv{number}")
        channels = kernel.shape[2]  # (k, k, c_out, c_in)
        if number == 1:
            layers.append(Layer(kernel.reshape(-1, kernel.shape[3]).T, bias, side, channels, None, 0, "relu"))
        else:
            padding, crop = phases_padding(side, kernel.shape[0]), (kernel.shape[0] - 2) // 2 % 2
            side *= 2
            activation = "tanh" if side == image_size else "relu"
            layers.append(Layer(kernel, np.tile(bias, 4), side, channels, padding, crop, activation))
        number += 1
    return layers


def build_layers(codes: tf.Tensor, layers: Sequence[Layer]) -> tf.Tensor:
    """Build the decoder of these layers from operations that a browser has; the page does the same in JavaScript.

    Args:
        codes: (n, d), projected.
        layers: from `fold_layers`.

    Returns:
        (n, size, size, 3) in [-1, 1].
    """
    net = codes
    for layer in layers:
        kernel, bias = tf.constant(layer.kernel, tf.float32), tf.constant(layer.bias, tf.float32)
        if layer.padding is None:
            net = tf.reshape(tf.matmul(net, kernel), (-1, layer.side, layer.side, layer.channels)) + bias
        else:
            padding = [[0, 0], layer.padding, layer.padding, [0, 0]]
            net = _interleave(tf.nn.conv2d(net, phases_as_channels(kernel), strides=1, padding=padding) + bias, layer)
        net = tf.nn.relu(net) if layer.activation == "relu" else tf.tanh(net)
    return net


def _interleave(blocks: tf.Tensor, layer: Layer) -> tf.Tensor:
    """Turn (n, s, s, 4 channels) into (n, side, side, channels): reshape, transpose and crop, all of which have gradients in a browser."""
    pairs = blocks.shape[1]
    rows = tf.transpose(tf.reshape(blocks, (-1, pairs, 2, 2 * layer.channels)), (0, 2, 1, 3))  # (n s, 2, s, 2 channels)
    image = tf.reshape(rows, (-1, 2 * pairs, 2 * pairs, layer.channels))
    return image[:, layer.crop : layer.crop + layer.side, layer.crop : layer.crop + layer.side]


def _without_batch_norm(variables: Mapping[str, np.ndarray], scope: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the kernel (k, k, c_out, c_in) and the bias (c_out,) of a layer, with batch normalisation folded into them."""
    kernel = variables[f"{scope}/weights"].astype(np.float64)
    if f"{scope}/biases" in variables:
        return kernel, variables[f"{scope}/biases"]
    mean, variance, scale, shift = (
        variables[f"{scope}/BatchNorm/{name}"].astype(np.float64) for name in ("moving_mean", "moving_variance", "gamma", "beta")
    )
    factor = scale / np.sqrt(variance + BATCH_NORM_EPSILON)
    return kernel * factor[:, None], shift - mean * factor
