"""Set the variables of a trained graph, from the checkpoint of a run or from arrays.

First the graph is built in inference mode, with the variables that it needs. Then a function from this module sets their values. The
decoder and the encoder use the same functions. Runs with several towers also store moving averages of the weights, which are used where the
checkpoint contains them.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from glo_lib.graph.backend import tf, v1
from glo_lib.runs import checkpoints

Fill = Callable[[v1.Session, Sequence[tf.Variable]], str]  # sets the variables and returns "averaged" or "raw"


def from_checkpoint(checkpoint: str) -> Fill:
    """Set variables from a checkpoint, to the moving averages of the weights if all are stored, otherwise to the weights themselves.

    Args:
        checkpoint: prefix of a complete checkpoint.

    Returns:
        A function of a session and the variables of its graph. It sets the variables and returns ``"averaged"`` or ``"raw"``. It raises a
        `ValueError` if the checkpoint belongs to another model or cannot be read.
    """

    def fill(session: v1.Session, variables: Sequence[tf.Variable]) -> str:
        try:
            stored = {name for name, _ in tf.train.list_variables(checkpoint)}
        except (tf.errors.OpError, ValueError, RuntimeError) as error:
            raise unreadable_checkpoint(checkpoint, error) from None
        averages = v1.train.ExponentialMovingAverage(0.0).variables_to_restore(variables)
        weights = "averaged" if averages.keys() <= stored else "raw"
        names = averages if weights == "averaged" else {variable.op.name: variable for variable in variables}
        checkpoints.check_fits(checkpoint, {name: tuple(variable.shape) for name, variable in names.items()})
        try:
            v1.train.Saver(names).restore(session, checkpoint)
        except (tf.errors.OpError, ValueError) as error:
            raise unreadable_checkpoint(checkpoint, error) from None
        return weights

    return fill


def from_arrays(values: Mapping[str, np.ndarray], weights: str = "raw") -> Fill:
    """Set variables from arrays, such as those of an exported file.

    Args:
        values: name of a variable -> its value. Other entries are ignored.
        weights: ``"averaged"`` if the values are moving averages of the weights, otherwise ``"raw"``.

    Returns:
        A function of a session and the variables of its graph. It sets the variables and returns ``weights``. It raises a `ValueError` if
        the array of a variable is missing or has another shape.
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


def unreadable_checkpoint(checkpoint: str, error: Exception) -> ValueError:
    """Return the error to raise for a checkpoint that TensorFlow cannot read."""
    return ValueError(f"checkpoint {checkpoint!r} cannot be read ({str(error).splitlines()[0]}); remove it to use the one before")
