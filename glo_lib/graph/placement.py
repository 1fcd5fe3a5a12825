"""Find out where the operations of a graph are placed, whether a GPU can compute them, and what moves between devices.

The functions only read the graph. No GPU is needed, because TensorFlow's Linux package registers its GPU kernels on every machine.
"""

import functools
from collections import Counter
from collections.abc import Iterable
from typing import Any

from tensorflow.python.framework import kernels

from glo_lib.graph.backend import tf

GPU_KERNELS = ("GPU", "DEFAULT")  # kernels of the second kind work on every device
CONDITIONS = ("If", "StatelessIf")
HOST = "/cpu:0"


def operations_without_gpu_kernel(graph: tf.Graph) -> list[str]:
    """List the operations that ask for a GPU although no GPU kernel is registered for their types.

    Args:
        graph: a graph; nothing is run.

    Returns:
        A line "name (type, types)" for each; an empty list if every operation that asks for a GPU can be computed there.

    Example:
        >>> with tf.Graph().as_default() as graph, tf.device("/gpu:0"):
        ...     _ = tf.random.experimental.index_shuffle(tf.constant(1), [1, 2], 9), tf.matmul(tf.ones([2, 2]), tf.ones([2, 2]))
        >>> [line.split(" ")[1] for line in operations_without_gpu_kernel(graph)]
        ['(RandomIndexShuffle,']
    """
    graph_def = graph.as_graph_def()
    nodes = [*graph_def.node, *(node for function in graph_def.library.function for node in function.node_def)]
    return [
        f"{node.name} ({node.op}, {', '.join(kind.name for kind in _types(node))})"
        for node in nodes
        if _short(node.device).startswith("/gpu") and not _has_gpu_kernel(node)
    ]


def _has_gpu_kernel(node: tf.compat.v1.NodeDef) -> bool:
    return any(all(_allows(constraint, node) for constraint in kernel.constraint) for kernel in _gpu_kernels(node.op))


@functools.cache
def _gpu_kernels(operation_type: str) -> list:
    return [kernel for kernel in kernels.get_registered_kernels_for_op(operation_type).kernel if kernel.device_type in GPU_KERNELS]


def _allows(constraint: Any, node: tf.compat.v1.NodeDef) -> bool:
    attribute = node.attr[constraint.name]
    types = attribute.list.type if attribute.HasField("list") else [attribute.type]
    return set(types) <= set(constraint.allowed_values.list.type)


def _types(node: tf.compat.v1.NodeDef) -> list[tf.DType]:
    return [tf.as_dtype(attribute.type) for attribute in node.attr.values() if attribute.HasField("type")]


def device_of(operation: tf.Operation, preferred: str = HOST) -> str:
    """The device of an operation, in short, such as ``/gpu:0``.

    An operation on a variable runs where the variable is, whatever it asks for. Any other operation runs where it asks for.

    Args:
        operation: of a graph.
        preferred: the device for what asks for none, see `preferred_device`. An operation without a kernel for a GPU is then on the host.
    """
    handles = [tensor for tensor in operation.inputs if tensor.dtype == tf.resource]
    if handles and operation.type not in CONDITIONS:
        return device_of(handles[0].op, preferred)
    if operation.device or preferred == HOST:
        return _short(operation.device)
    return preferred if _has_gpu_kernel(operation.node_def) else HOST


def preferred_device(graph: tf.Graph) -> str:
    """The device that TensorFlow prefers for operations that ask for none: ``/gpu:0`` if any operation asks for a GPU, else the host."""
    return "/gpu:0" if any(_short(operation.device).startswith("/gpu") for operation in graph.get_operations()) else HOST


def _short(device: str) -> str:
    return "/" + device.lower().replace("/device:", "/").rpartition("/")[2] if device else HOST


def bytes_between_devices(graph: tf.Graph, fetched: Iterable[tf.Operation]) -> Counter:
    """Count the bytes that one run moves between devices: the sizes of the tensors on edges that lead to another device.

    A tensor that several operations of a device need is counted once, because TensorFlow moves it once. Handles of variables are not
    counted, because they are no data. Neither are tensors whose size is not known when the graph is built, nor what a condition is given:
    it stays where it is until an operation of the branch needs it, and branches are not looked into.

    Args:
        graph: a graph; nothing is run.
        fetched: operations that are run, such as a training step; only what they need is counted.

    Returns:
        (from, to) -> bytes.
    """
    preferred = preferred_device(graph)
    moved: dict[tuple[str, str, str], int] = {}
    for operation in needed_by(fetched):
        target = device_of(operation, preferred)
        for tensor in operation.inputs:
            source = device_of(tensor.op, preferred)
            if source != target and operation.type not in CONDITIONS and tensor.dtype != tf.resource and tensor.shape.is_fully_defined():
                moved[tensor.name, source, target] = tensor.shape.num_elements() * (tensor.dtype.size or 0)
    counts: Counter = Counter()
    for (_, source, target), size in moved.items():
        counts[source, target] += size
    return counts


def needed_by(fetched: Iterable[tf.Operation]) -> list[tf.Operation]:
    """List the operations that have to run, so that the fetched ones can: those, and all that they depend on."""
    waiting, found = list(fetched), {}
    while waiting:
        operation = waiting.pop()
        if operation.name not in found:
            found[operation.name] = operation
            waiting += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    return list(found.values())
