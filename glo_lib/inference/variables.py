"""Where the variables of a trained graph get their values: from a run's checkpoint, or from arrays.

A graph in inference mode is built first, with the variables that it needs. Then one of these functions fills them, the same for the decoder
and the encoder. Runs with several towers keep an average of the weights beside them; where a checkpoint has it, it is used.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from glo_lib.graph.backend import tf
from glo_lib.runs import checkpoints

v1 = tf.compat.v1
Fill = Callable[[v1.Session, Sequence[tf.Variable]], str]  # fills the variables, and returns which weights they are now


def from_checkpoint(checkpoint: str) -> Fill:
    """Values from a checkpoint: the averages of the weights where there are averages, else the weights themselves.

    Args:
        checkpoint: prefix of a complete checkpoint.

    Returns:
        A function of a session and the variables of its graph, which returns ``"averaged"`` or ``"raw"``. It raises a `ValueError` for a
        checkpoint of another model, or one that cannot be read.
    """

    def fill(session: v1.Session, variables: Sequence[tf.Variable]) -> str:
        try:
            stored = {name for name, _ in tf.train.list_variables(checkpoint)}
        except (tf.errors.OpError, ValueError, RuntimeError) as error:
            raise damaged(checkpoint, error) from None
        averages = v1.train.ExponentialMovingAverage(0.0).variables_to_restore(variables)
        weights = "averaged" if averages.keys() <= stored else "raw"
        names = averages if weights == "averaged" else {variable.op.name: variable for variable in variables}
        checkpoints.check_fits(checkpoint, {name: tuple(variable.shape) for name, variable in names.items()})
        try:
            v1.train.Saver(names).restore(session, checkpoint)
        except (tf.errors.OpError, ValueError) as error:
            raise damaged(checkpoint, error) from None
        return weights

    return fill


def from_arrays(values: Mapping[str, np.ndarray], weights: str = "raw") -> Fill:
    """Values from arrays, such as those of an exported file.

    Args:
        values: array of each variable, by the variable's name.
        weights: which weights they are, ``"averaged"`` or ``"raw"``.

    Returns:
        A function of a session and the variables of its graph, which returns ``weights``. It raises a `ValueError` for a variable without
        an array, or an array of another shape.
    """

    def fill(session: v1.Session, variables: Sequence[tf.Variable]) -> str:
        for variable in variables:
            value = values.get(variable.op.name)
            if value is None or value.shape != tuple(variable.shape):
                found = "is missing" if value is None else f"has shape {value.shape}"
                raise ValueError(f"{variable.op.name} {found}; the settings ask for {tuple(variable.shape)}: weights and settings differ")
            variable.load(value, session)
        return weights

    return fill


def damaged(checkpoint: str, error: Exception) -> ValueError:
    """The error to raise for a checkpoint that TensorFlow cannot read."""
    return ValueError(f"checkpoint {checkpoint!r} cannot be read ({str(error).splitlines()[0]}); remove it to use the one before")
