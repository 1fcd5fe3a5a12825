"""What the layers of a decoder cost, read from the graph: shapes, parameters and floating-point operations."""

from typing import NamedTuple

from glo_lib.backend import tf


class LayerCost(NamedTuple):
    """One transposed convolution.

    Attributes:
        name: the layer's variable scope, as in ``"decoder/deconv1"``.
        shape: (height, width, channels) of its output.
        parameters: numbers in its trainable variables.
        flops: floating-point operations per image, a multiplication and its addition counting two.
    """

    name: str
    shape: tuple[int, int, int]
    parameters: int
    flops: int


def layer_costs(graph: tf.Graph | None = None) -> list[LayerCost]:
    """The transposed convolutions of a graph, in the order in which they were built.

    Every input pixel lays down one whole kernel: a layer takes 2 * (input pixels) * (numbers in the kernel) operations per image. The parts
    that SAME cuts off at the border are counted; bias, batch normalization and activation are not: they take a few operations per value.

    Args:
        graph: default: the current one. A layer that is used several times is listed as often.

    Returns:
        A `LayerCost` for each transposed convolution; the batch size may be unknown.

    Example:
        >>> from glo_lib.decoder import decoder
        >>> with tf.Graph().as_default() as graph:
        ...     images = decoder(tf.zeros([1, 10]), num_filters=(6, 5))
        >>> layer_costs(graph)[0]
        LayerCost(name='decoder/deconv1', shape=(4, 4, 6), parameters=972, flops=1920)
    """
    graph = graph or tf.compat.v1.get_default_graph()
    return [_cost(op) for op in graph.get_operations() if op.type == "Conv2DBackpropInput"]


def _cost(op: tf.Operation) -> LayerCost:
    _, kernel, pixels = op.inputs  # (side, side, channels out, channels in), (batch, height, width, channels in)
    scope = kernel.op.inputs[0].op.name.rsplit("/", 1)[0]  # of the variable: a second use has operations elsewhere, variables here
    with op.graph.as_default():
        variables = tf.compat.v1.trainable_variables(f"{scope}/")
    return LayerCost(
        name=scope,
        shape=tuple(op.outputs[0].shape[1:].as_list()),
        parameters=sum(variable.shape.num_elements() for variable in variables),
        flops=2 * pixels.shape[1:3].num_elements() * kernel.shape.num_elements(),
    )
