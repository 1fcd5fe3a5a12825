"""The variables of a trained graph get the right values: raw or averaged weights of the right model, or arrays of the right shape."""

import numpy as np
import pytest

from glo_lib.graph.backend import tf
from glo_lib.inference.variables import from_arrays, from_checkpoint
from glo_lib.runs.checkpoints import DATA

v1 = tf.compat.v1
SHAPES = {"net/weights": (2, 3), "net/moving_mean": (3,)}
BOTH = tuple(SHAPES)
AVERAGE = "/ExponentialMovingAverage"


def variables_of(shapes, dtype=tf.float32):
    """Make variables in the current graph. Only weights are trainable."""
    return [
        v1.get_variable(name, shape, dtype, trainable=name.endswith("weights"), use_resource=True, initializer=tf.zeros_initializer())
        for name, shape in shapes.items()
    ]


def write_checkpoint(folder, averaged=(), shapes=SHAPES, dtype=tf.float32):
    """Write a checkpoint with Adam's slots and averages of the named variables; return its prefix and the values by name."""
    values = {}
    with tf.Graph().as_default(), v1.Session() as session:
        variables = variables_of(shapes, dtype)
        if averaged:
            v1.train.ExponentialMovingAverage(0.9).apply([variable for variable in variables if variable.op.name in averaged])
        v1.train.AdamOptimizer().minimize(tf.reduce_sum(tf.square(variables[0])))
        for number, variable in enumerate(v1.global_variables(), start=1):
            values[variable.op.name] = np.full(variable.shape, number, variable.dtype.as_numpy_dtype)
            variable.load(values[variable.op.name], session)
        return v1.train.Saver().save(session, str(folder / "model.ckpt"), global_step=10, write_meta_graph=False), values


def assert_filled(fill, weights, expected):
    """Fill a graph that has variables like these arrays, and compare."""
    with tf.Graph().as_default(), v1.Session() as session:
        variables = variables_of({name: value.shape for name, value in expected.items()})
        assert fill(session, variables) == weights
        for found, value in zip(session.run(variables), expected.values(), strict=True):
            np.testing.assert_array_equal(found, value)


@pytest.mark.parametrize(("averaged", "weights"), [((), "raw"), (("net/weights",), "raw"), (BOTH, "averaged")])
def test_averages_are_used_where_the_checkpoint_has_them_for_every_variable(averaged, weights, tmp_path):
    checkpoint, stored = write_checkpoint(tmp_path, averaged)
    suffix = AVERAGE if weights == "averaged" else ""
    assert_filled(from_checkpoint(checkpoint), weights, {name: stored[name + suffix] for name in SHAPES})


def test_averages_of_other_variables_do_not_count(tmp_path):
    """A graph needs only a part of the checkpoint: the decoder of a run, or its encoder."""
    checkpoint, stored = write_checkpoint(tmp_path, averaged=("other/weights",), shapes={**SHAPES, "other/weights": (4,)})
    assert_filled(from_checkpoint(checkpoint), "raw", {name: stored[name] for name in SHAPES})
    assert_filled(from_checkpoint(checkpoint), "averaged", {"other/weights": stored["other/weights" + AVERAGE]})


@pytest.mark.parametrize(
    ("name", "shape", "averaged", "message"),
    [
        ("net/moving_mean", (4,), (), r"net/moving_mean is \[4\], and there it is float32 \[3\]"),
        ("net/weights", (2, 3, 1), BOTH, rf"net/weights{AVERAGE} is \[2, 3, 1\], and there it is float32 \[2, 3\]"),
        ("net/biases", (7,), BOTH, r"net/biases is \[7\], and there it is missing; it was made with other settings"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused_with_the_name_of_the_variable(name, shape, averaged, message, tmp_path):
    checkpoint, stored = write_checkpoint(tmp_path, averaged)
    expected = {**{known: stored[known] for known in SHAPES}, name: np.zeros(shape)}
    with pytest.raises(ValueError, match=rf"model\.ckpt-10' is not a checkpoint of this model: {message}"):
        assert_filled(from_checkpoint(checkpoint), "raw", expected)


@pytest.mark.parametrize(("ending", "content"), [(".index", None), (".index", b"nothing of the kind"), (DATA, b"")])
def test_a_damaged_checkpoint_is_named(ending, content, tmp_path):
    checkpoint, stored = write_checkpoint(tmp_path)
    file = tmp_path / f"model.ckpt-10{ending}"
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.ckpt-10'"):
        assert_filled(from_checkpoint(checkpoint), "raw", {name: stored[name] for name in SHAPES})


def test_a_checkpoint_of_another_type_is_refused(tmp_path):
    checkpoint, stored = write_checkpoint(tmp_path, dtype=tf.float64)
    with pytest.raises(ValueError, match=r"model\.ckpt-10' cannot be read"):
        assert_filled(from_checkpoint(checkpoint), "raw", {name: stored[name] for name in SHAPES})


ARRAYS = {name: np.random.default_rng(0).standard_normal(shape, np.float32) for name, shape in SHAPES.items()}


def test_arrays_are_used_unchanged_and_must_be_there_in_the_right_shape():
    assert_filled(from_arrays({**ARRAYS, "unused": np.zeros(9)}, "averaged"), "averaged", ARRAYS)
    assert_filled(from_arrays(ARRAYS), "raw", ARRAYS)
    for value, found in ((None, "is missing"), (np.zeros((3, 2)), r"has shape \(3, 2\)"), (np.zeros(6), r"has shape \(6,\)")):
        with pytest.raises(ValueError, match=rf"net/weights {found}; the settings ask for \(2, 3\): weights and settings differ"):
            assert_filled(from_arrays({**ARRAYS, "net/weights": value}), "raw", ARRAYS)
