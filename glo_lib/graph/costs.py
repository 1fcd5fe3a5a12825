"""The cost of the layers of a network, read from its graph: output shapes, parameters and floating-point operations."""

import re
from typing import NamedTuple

from glo_lib.graph.backend import tf, v1

GRADIENT_SCOPE = re.compile(r"(^|/)gradients(_\d+)?/")  # the scope that each call of tf.gradients opens
# Operations that may lie between a kernel and the convolution that uses it: reading it, and the rearrangements of the faster routes.
REARRANGEMENTS = {"Reshape", "Transpose", "Pad", "StridedSlice", "ReverseV2", "Identity", "Cast"}


class LayerCost(NamedTuple):
    """One layer: a convolution, a transposed convolution, or a fully connected layer.

    Attributes:
        name: the layer's variable scope, as in ``"decoder/deconv1"``.
        shape: (height, width, channels) of its output; (channels,) of a fully connected layer.
        parameters: number of entries of its trainable variables.
        flops: floating-point operations per image; a multiplication and an addition count as two.
    """

    name: str
    shape: tuple[int, ...]
    parameters: int
    flops: int


def layer_costs(graph: tf.Graph | None = None) -> list[LayerCost]:
    """Return the cost of all layers of a graph that have a kernel named ``weights``, in the order in which they were built.

    In a transposed convolution every input pixel is multiplied by the whole kernel, so it takes 2 * (input pixels) * (kernel entries)
    operations per image, whichever route computes it. Products that SAME crops at the border are counted. Bias, batch normalisation
    and activation are not counted, because they take only a few operations per value; neither are gradients.

    Args:
        graph: default: the current graph. A layer that is used several times is listed once for each use.

    Returns:
        A `LayerCost` for each use of a layer. The batch size may be unknown, because costs are per image.

    Raises:
        ValueError: a kernel is used by an operation that this function does not know, so the sum would be too small.

    Example:
        >>> from glo_lib.decoder import decoder
        >>> with tf.Graph().as_default() as graph:
        ...     images = decoder(tf.zeros([1, 10]), num_filters=(6, 5))
        >>> layer_costs(graph)[0]
        LayerCost(name='decoder/deconv1', shape=(4, 4, 6), parameters=972, flops=1920)
    """
    graph = graph or v1.get_default_graph()
    with graph.as_default():
        kernels = [variable for variable in v1.trainable_variables() if variable.op.name.endswith("/weights")]
    rank = {operation.name: number for number, operation in enumerate(graph.get_operations())}
    uses = [(rank[product.name], kernel, product) for kernel in kernels for product in _kernel_uses(graph, kernel)]
    return [_cost(kernel, product) for _, kernel, product in sorted(uses, key=lambda use: use[0])]


def _kernel_uses(graph: tf.Graph, kernel: tf.Variable) -> list[tf.Operation]:
    """Return the operations that multiply feature maps by a kernel, one for each use of the layer; gradients are left out."""
    reads = [op for op in kernel.handle.consumers() if op.type == "ReadVariableOp"] if hasattr(kernel, "handle") else [kernel.op]
    waiting, seen, found = list(reads), set(), []
    while waiting:
        operation = waiting.pop()
        for consumer in (op for output in operation.outputs for op in output.consumers()):
            if consumer.name in seen or GRADIENT_SCOPE.search(consumer.name):
                continue
            seen.add(consumer.name)
            if consumer.type in REARRANGEMENTS:
                waiting.append(consumer)
            elif consumer.type in COST_FUNCTIONS:
                found.append(consumer)
    if seen and not found:
        raise ValueError(f"{kernel.op.name} is used in a way whose cost is not known; known are {', '.join(COST_FUNCTIONS)}")
    return found


def _cost(kernel: tf.Variable, product: tf.Operation) -> LayerCost:
    scope = kernel.op.name.rsplit("/", 1)[0]
    with product.graph.as_default():
        variables = v1.trainable_variables(f"{scope}/")
    shape, positions = COST_FUNCTIONS[product.type](kernel, product)
    return LayerCost(
        name=scope,
        shape=shape,
        parameters=sum(variable.shape.num_elements() for variable in variables),
        flops=2 * positions * kernel.shape.num_elements(),
    )


def _transposed_convolution(kernel: tf.Variable, product: tf.Operation) -> tuple[tuple[int, ...], int]:
    """Return the shape of the output, and the number of positions at which the kernel is applied: the pixels of the input."""
    return tuple(product.outputs[0].shape[1:].as_list()), product.inputs[2].shape[1:3].num_elements()


def _convolution(kernel: tf.Variable, product: tf.Operation) -> tuple[tuple[int, ...], int]:
    """An ordinary convolution or, if its kernel holds the four phases of the variable, a transposed convolution of stride 2."""
    if product.inputs[1].shape == kernel.shape:
        return tuple(product.outputs[0].shape[1:].as_list()), product.outputs[0].shape[1:3].num_elements()
    height, width = product.inputs[0].shape[1:3].as_list()
    return (2 * height, 2 * width, kernel.shape[2]), height * width


def _matrix_product(kernel: tf.Variable, product: tf.Operation) -> tuple[tuple[int, ...], int]:
    """A fully connected layer, or a transposed convolution of a single pixel, whose output is as large as the kernel."""
    return (kernel.shape[1],) if kernel.shape.rank == 2 else tuple(kernel.shape[:3].as_list()), 1


COST_FUNCTIONS = {"Conv2DBackpropInput": _transposed_convolution, "Conv2D": _convolution, "MatMul": _matrix_product}
