"""Check at every step that loss and gradients are finite, and find the first tensor that is not."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from glo_lib.graph.backend import tf, v1

NOT_FINITE = "a loss or a gradient is not finite"
TENSORS_PER_FETCH = 16  # all activations of a step together may not fit into memory
Gradient: TypeAlias = tf.Tensor | tf.IndexedSlices


def assert_finite(loss: tf.Tensor, gradients: Sequence[Gradient], may_overflow: tf.Tensor | None = None) -> tf.Operation:
    """Return an operation that fails with `NOT_FINITE` before anything is updated, so the state stays that before the step.

    Args:
        loss: scalar.
        gradients: gradients of the loss; for a table of codes, those of the rows that were looked up.
        may_overflow: truth value, a scalar; where it is true only the loss is checked. It is for float16, where the step leaves out
            gradients that overflow by itself, and tries again with a smaller factor.
    """
    values = [gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient for gradient in gradients]
    checks = [all_finite(value, value.device) for value in values]
    with tf.device("/cpu:0"):
        if may_overflow is not None:
            checks = [tf.logical_or(check, may_overflow) for check in checks]
        is_finite = tf.reduce_all(tf.stack([all_finite(loss, loss.device), *checks]))
        return tf.raw_ops.Assert(condition=is_finite, data=[tf.constant(NOT_FINITE)])


def all_finite(tensor: tf.Tensor, device: str) -> tf.Tensor:
    """Whether every number is finite, a scalar computed on the device that holds the numbers: one truth value travels, and not a table."""
    with tf.device(None), tf.device(device or None):
        return tf.reduce_all(tf.math.is_finite(tensor))


def first_not_finite(
    session: v1.Session, targets: Sequence[Gradient], feed: Mapping[tf.Tensor, np.ndarray]
) -> tuple[str, np.ndarray] | None:
    """Return the first tensor that is not finite among those that the targets are computed from.

    Tensors are checked in the order of their construction: variables as they are read, then layers, losses and gradients.

    Args:
        session: session with the state in question; nothing is updated.
        targets: tensors such as a loss and its gradients.
        feed: the batch in question, by placeholder.

    Returns:
        Name and value of the tensor, or None if everything is finite.
    """
    tensors = _upstream_tensors(targets, feed)
    for start in range(0, len(tensors), TENSORS_PER_FETCH):
        part = tensors[start : start + TENSORS_PER_FETCH]
        for tensor, value in zip(part, session.run(part, feed), strict=True):
            if not np.isfinite(value).all():
                return _readable_name(tensor), value
    return None


def _readable_name(tensor: tf.Tensor) -> str:
    """Return the name of the variable if the tensor reads one, otherwise that of the tensor."""
    variables = [source.op.name for source in tensor.op.inputs if source.dtype == tf.resource]
    return variables[0] if variables else tensor.name


def _upstream_tensors(targets: Sequence[Gradient], feed: Mapping[tf.Tensor, np.ndarray]) -> list[tf.Tensor]:
    """Return the floating-point tensors that the targets are computed from, in the order of their construction."""
    graph = v1.get_default_graph()
    fed = {tensor.name for tensor in feed}
    waiting = [target.values if isinstance(target, tf.IndexedSlices) else target for target in targets]
    found: dict[str, tf.Tensor] = {}
    while waiting:
        tensor = waiting.pop()
        if tensor.name in found or tensor.name in fed:
            continue
        found[tensor.name] = tensor
        waiting.extend(tensor.op.inputs)
    rank = {operation.name: number for number, operation in enumerate(graph.get_operations())}
    floats = [tensor for tensor in found.values() if tensor.dtype.is_floating and graph.is_fetchable(tensor)]
    return sorted(floats, key=lambda tensor: (rank[tensor.op.name], tensor.name))


def describe_non_finite(value: np.ndarray) -> str:
    """Count the entries that are not finite, as in "nan in 3 of 128 entries".

    Example:
        >>> describe_non_finite(np.array([1.0, np.nan, np.inf]))
        'nan in 1 and infinite in 1 of 3 entries'
    """
    nan, infinite = int(np.isnan(value).sum()), int(np.isinf(value).sum())
    parts = [f"{word} in {count:,}" for word, count in (("nan", nan), ("infinite", infinite)) if count]
    return f"{' and '.join(parts)} of {np.size(value):,} entries"
