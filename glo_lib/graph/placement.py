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


def device_of(operation: tf.Operation) -> str:
    """The device of an operation, in short, such as ``/gpu:0``: the one it asks for, else that of the variable it reads, else the host."""
    if not operation.device:
        handles = [tensor for tensor in operation.inputs if tensor.dtype == tf.resource]
        return device_of(handles[0].op) if handles else "/cpu:0"
    return _short(operation.device)


def _short(device: str) -> str:
    return "/" + device.lower().replace("/device:", "/").rpartition("/")[2] if device else "/cpu:0"


def bytes_between_devices(graph: tf.Graph, fetched: Iterable[tf.Operation]) -> Counter:
    """Count the bytes that one run moves between devices: the sizes of the tensors on edges that lead to another device.

    A tensor that several operations of a device need is counted once, because TensorFlow moves it once. Handles of variables are not
    counted, because they are no data. Neither are tensors whose size is not known when the graph is built.

    Args:
        graph: a graph; nothing is run.
        fetched: operations that are run, such as a training step; only what they need is counted.

    Returns:
        (from, to) -> bytes.
    """
    moved: dict[tuple[str, str], int] = {}
    for operation in _needed_by(fetched):
        target = device_of(operation)
        for tensor in operation.inputs:
            source = device_of(tensor.op)
            if source != target and tensor.dtype != tf.resource and tensor.shape.is_fully_defined():
                moved[tensor.name, target] = tensor.shape.num_elements() * (tensor.dtype.size or 0)
    counts: Counter = Counter()
    for (name, target), size in moved.items():
        counts[device_of(graph.get_tensor_by_name(name).op), target] += size
    return counts


def _needed_by(fetched: Iterable[tf.Operation]) -> list[tf.Operation]:
    waiting, found = list(fetched), {}
    while waiting:
        operation = waiting.pop()
        if operation.name not in found:
            found[operation.name] = operation
            waiting += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    return list(found.values())
