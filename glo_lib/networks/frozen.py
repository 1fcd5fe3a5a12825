"""Use trained weights as constants of a graph, so that an optimiser, a checkpoint or an initialiser never sees them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from glo_lib.graph.backend import tf, v1

Weights = Mapping[str, np.ndarray]


@contextmanager
def frozen_weights(weights: Weights, precision: str = "float32") -> Iterator[None]:
    """Inside the ``with`` block, every layer that asks for a variable gets the constant with its name instead.

    Args:
        weights: name of the variable -> its value. Names are relative to the variable scope in which the block begins, so that the same
            weights can be used anywhere in a graph.
        precision: type of the constants, for instance ``bfloat16``.

    Raises:
        KeyError: a layer asks for a name that is not among the weights.
        ValueError: a layer asks for another shape.

    Example:
        >>> with tf.Graph().as_default(), frozen_weights({"scale": np.ones([2], np.float32)}):
        ...     v1.get_variable("scale", [2]).op.type, v1.global_variables()
        ('Const', [])
    """

    outer = v1.get_variable_scope().name

    def get(getter: Callable[..., tf.Variable], name: str, shape: Any = None, *_: Any, **__: Any) -> tf.Tensor:
        name = name.removeprefix(f"{outer}/")
        value = weights[name]
        if shape is not None and tuple(tf.TensorShape(shape)) != value.shape:
            raise ValueError(f"the weights {name!r} have the shape {value.shape}, and the layer takes {tuple(tf.TensorShape(shape))}")
        return tf.cast(tf.constant(value, name=name.replace("/", "_")), precision)

    with v1.variable_scope(v1.get_variable_scope(), custom_getter=get, auxiliary_name_scope=False):
        yield
