"""Half precision on GPUs: activations and kernels are cast, variables stay float32, and float16 has its loss scaled.

On CPUs none of this is used: there TensorFlow's rewriter makes the casts after the graph is built (`glo_lib.graph.devices`).
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeAlias

import numpy as np

from glo_lib.graph.backend import tf, v1

KEPT_IN_FLOAT32 = "TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_DENYLIST_ADD"
DEPTHWISE_OPERATIONS = "DepthwiseConv2dNative,DepthwiseConv2dNativeBackpropInput,DepthwiseConv2dNativeBackpropFilter"
Gradient: TypeAlias = tf.Tensor | tf.IndexedSlices


@contextmanager
def depthwise_in_float32(wanted: bool = True) -> Iterator[None]:
    """Inside, TensorFlow's rewriter for CPUs leaves depthwise convolutions in float32.

    oneDNN takes much longer for them in bfloat16. Only the network of the perceptual loss has them. The rewriter reads the environment when
    a graph is first run, and other graphs become slower by this setting (a wide decoder takes 1.7 times as long), so it is not made for all
    of them.

    Args:
        wanted: whether anything is done. A value that is already in the environment is kept.
    """
    if not wanted or KEPT_IN_FLOAT32 in os.environ:
        yield
        return
    os.environ[KEPT_IN_FLOAT32] = DEPTHWISE_OPERATIONS
    try:
        yield
    finally:
        del os.environ[KEPT_IN_FLOAT32]


def float32_variables() -> AbstractContextManager:
    """Inside, a layer that asks for a variable in half precision gets a float32 variable, cast when it is read.

    The optimiser then adds its small steps to float32 numbers, and a checkpoint is the same in every precision.

    Example:
        >>> with tf.Graph().as_default(), float32_variables():
        ...     read = v1.get_variable("weights", [2], tf.float16)
        ...     read.dtype.name, v1.global_variables()[0].dtype.base_dtype.name
        ('float16', 'float32')
    """

    def get(getter: Callable[..., tf.Variable], *arguments: Any, **settings: Any) -> tf.Variable | tf.Tensor:
        wanted = tf.as_dtype(settings.get("dtype") or tf.float32)
        if wanted not in (tf.float16, tf.bfloat16):
            return getter(*arguments, **settings)
        return tf.cast(getter(*arguments, **{**settings, "dtype": tf.float32}), wanted)

    return v1.variable_scope(v1.get_variable_scope(), custom_getter=get, auxiliary_name_scope=False)


def in_precision(layers: Callable[[tf.Tensor], Any], inputs: tf.Tensor, precision: str) -> Any:
    """Apply layers in half precision: cast their input, read their variables as halves, and cast their output back to float32.

    Args:
        layers: function of one tensor that builds layers; it returns a tensor, or a named tuple of tensors.
        inputs: float32.
        precision: ``float16`` or ``bfloat16``; with ``float32`` the layers are applied without any cast.

    Returns:
        The output of the layers, in float32.
    """
    if precision == "float32":
        return layers(inputs)
    with float32_variables():
        return tf.nest.map_structure(lambda output: tf.cast(output, tf.float32), layers(tf.cast(inputs, precision)))


def loss_scale_variables() -> list[tf.Variable]:
    """The variables of `LossScaling` in the default graph: none, unless it trains in float16."""
    return [variable for variable in v1.global_variables() if variable.op.name in ("current_loss_scale", "good_steps")]


class LossScaling:
    """TensorFlow's dynamic loss scaling, for float16, whose smallest gradients would become zero.

    The loss is multiplied by a factor before its gradients are computed, and the gradients are divided by it. When one of them is not
    finite, the step changes no variable and the factor is halved, but not below 1; after two thousand good steps it is doubled.

    Args:
        initial: the first factor.
    """

    def __init__(self, initial: float = 2.0**15):
        self._scale = v1.mixed_precision.DynamicLossScale(initial_loss_scale=initial)

    def scaled(self, loss: tf.Tensor) -> tf.Tensor:
        """The loss to differentiate."""
        return loss * self._scale()

    def may_overflow(self) -> tf.Tensor:
        """Whether gradients that are not finite may be due to the factor, a scalar: at a factor of 1 they are not, and no step helps."""
        return self._scale() > 1

    def unscaled(self, gradients: Sequence[Gradient]) -> list[Gradient]:
        """The gradients of the loss itself. Each is divided by the factor where it is."""
        factor = 1 / self._scale()

        def divided(values: tf.Tensor) -> tf.Tensor:
            return _in_place(lambda each: each * factor, values)

        return [
            tf.IndexedSlices(divided(gradient.values), gradient.indices, gradient.dense_shape)
            if isinstance(gradient, tf.IndexedSlices)
            else divided(gradient)
            for gradient in gradients
        ]

    def apply_if_finite(self, gradients: Sequence[Gradient], apply: Callable[[], tf.Operation]) -> tf.Operation:
        """Apply updates when every gradient is finite, and adapt the factor."""
        values = [gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient for gradient in gradients]
        are_finite = [_in_place(lambda each: tf.reduce_all(tf.math.is_finite(each)), value) for value in values]
        # TensorFlow's class would look at all gradients where the factor is. It is given one number that is finite if they all are.
        mark = tf.where(tf.reduce_all(tf.stack(are_finite)), 0.0, np.inf)
        adapt, finite = self._scale.update([mark])
        return tf.group(adapt, tf.cond(finite, lambda: tf.group(apply()), tf.no_op))


def _in_place(function: Callable[[tf.Tensor], tf.Tensor], values: tf.Tensor) -> tf.Tensor:
    """Apply a function on the device of its argument, so that this does not travel."""
    with tf.device(None), tf.device(values.device or None):
        return function(values)
