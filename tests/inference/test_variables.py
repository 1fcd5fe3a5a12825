"""The variables of a trained graph get the right values: raw or averaged weights of the right model, or arrays that fit."""

import numpy as np
import pytest

from glo_lib.decoder import decoder
from glo_lib.graph.backend import tf
from glo_lib.inference.model import TrainedModel
from glo_lib.inference.variables import from_arrays, from_checkpoint
from glo_lib.runs.checkpoints import DATA

v1 = tf.compat.v1
SHAPES = {"net/weights": (2, 3), "net/moving_mean": (3,)}
BOTH = tuple(SHAPES)
AVERAGE = "/ExponentialMovingAverage"


def variables_of(shapes, dtype=tf.float32):
    """Variables in the current graph; only weights are trained."""
    return [
        v1.get_variable(name, shape, dtype, trainable=name.endswith("weights"), use_resource=True, initializer=tf.zeros_initializer())
        for name, shape in shapes.items()
    ]


def save_all(session, folder):
    """Give every variable of the graph a number of its own, and save them; the checkpoint's prefix, and the values by name."""
    values = {}
    for number, variable in enumerate(v1.global_variables(), start=1):
        values[variable.op.name] = np.full(variable.shape, number, variable.dtype.as_numpy_dtype)
        variable.load(values[variable.op.name], session)
    return v1.train.Saver().save(session, str(folder / "model.ckpt"), global_step=10, write_meta_graph=False), values


def write_checkpoint(folder, with_adam=False, averaged=(), shapes=SHAPES, dtype=tf.float32):
    """A checkpoint, with or without Adam's slots, with averages of the variables of these names."""
    with tf.Graph().as_default(), v1.Session() as session:
        variables = variables_of(shapes, dtype)
        if averaged:
            v1.train.ExponentialMovingAverage(0.9).apply([variable for variable in variables if variable.op.name in averaged])
        if with_adam:
            v1.train.AdamOptimizer().minimize(tf.reduce_sum(tf.square(variables[0])))
        v1.train.get_or_create_global_step()
        return save_all(session, folder)


def filled(fill, shapes=SHAPES):
    """Which weights a graph with these variables has after it was filled, and their values by name."""
    with tf.Graph().as_default(), v1.Session() as session:
        variables = variables_of(shapes)
        weights = fill(session, variables)
        return weights, dict(zip(shapes, session.run(variables), strict=True))


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


# ------------------------------------------------------------------------------------------------------ from_checkpoint


@pytest.mark.parametrize("with_adam", [False, True])
def test_without_averages_the_weights_themselves_are_used(with_adam, tmp_path):
    checkpoint, stored = write_checkpoint(tmp_path, with_adam)
    assert ("net/weights/Adam" in stored and "net/weights/Adam_1" in stored) == with_adam
    weights, found = filled(from_checkpoint(checkpoint))
    assert weights == "raw"
    assert_equal(found, {name: stored[name] for name in SHAPES})


@pytest.mark.parametrize("with_adam", [False, True])
def test_averages_are_used_where_there_are_averages(with_adam, tmp_path):
    checkpoint, stored = write_checkpoint(tmp_path, with_adam, averaged=BOTH)
    assert ("net/weights/Adam" in stored and "net/weights/Adam_1" in stored) == with_adam
    weights, found = filled(from_checkpoint(checkpoint))
    assert weights == "averaged"
    assert_equal(found, {name: stored[name + AVERAGE] for name in SHAPES})


@pytest.mark.parametrize("averaged", [("net/weights",), ("net/moving_mean",)])
def test_averages_of_a_part_are_not_mixed_with_weights(averaged, tmp_path):
    checkpoint, stored = write_checkpoint(tmp_path, with_adam=True, averaged=averaged)
    weights, found = filled(from_checkpoint(checkpoint))
    assert weights == "raw"
    assert_equal(found, {name: stored[name] for name in SHAPES})


def test_averages_of_other_variables_do_not_count(tmp_path):
    """A graph needs a part of the checkpoint only: the decoder of a run, or its encoder."""
    shapes = {**SHAPES, "other/weights": (4,)}
    checkpoint, stored = write_checkpoint(tmp_path, averaged=("other/weights",), shapes=shapes)
    assert filled(from_checkpoint(checkpoint))[0] == "raw"
    weights, found = filled(from_checkpoint(checkpoint), {"other/weights": (4,)})
    assert weights == "averaged"
    assert_equal(found, {"other/weights": stored["other/weights" + AVERAGE]})


@pytest.mark.parametrize("averaged", [(), BOTH])
@pytest.mark.parametrize(
    ("shapes", "name", "message"),
    [
        ({**SHAPES, "net/moving_mean": (4,)}, "net/moving_mean", r" is \[4\], and there it is float32 \[3\]"),
        ({**SHAPES, "net/weights": (3, 2)}, "net/weights", r" is \[3, 2\], and there it is float32 \[2, 3\]"),
        ({**SHAPES, "net/weights": (2, 3, 1)}, "net/weights", r" is \[2, 3, 1\], and there it is float32 \[2, 3\]"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused_by_name(shapes, name, message, averaged, tmp_path):
    checkpoint, _ = write_checkpoint(tmp_path, with_adam=True, averaged=averaged)
    named = name + AVERAGE if averaged else name
    with pytest.raises(ValueError, match=rf"model\.ckpt-10' is not a checkpoint of this model: {named}{message}"):
        filled(from_checkpoint(checkpoint), shapes)


@pytest.mark.parametrize("averaged", [(), BOTH])
def test_a_checkpoint_without_one_of_the_variables_is_refused_by_name(averaged, tmp_path):
    checkpoint, _ = write_checkpoint(tmp_path, averaged=averaged)
    with pytest.raises(ValueError, match=r"net/biases is \[7\], and there it is missing; it was made with other settings"):
        filled(from_checkpoint(checkpoint), {**SHAPES, "net/biases": (7,)})


def test_a_checkpoint_of_another_type_is_refused(tmp_path):
    checkpoint, _ = write_checkpoint(tmp_path, dtype=tf.float64)
    with pytest.raises(ValueError, match=r"model\.ckpt-10' cannot be read"):
        filled(from_checkpoint(checkpoint))


@pytest.mark.parametrize(
    ("ending", "content"),
    [(".index", None), (".index", b""), (".index", b"nothing of the kind"), (DATA, b""), (DATA, b"nothing of the kind")],
)
def test_a_checkpoint_that_cannot_be_read_is_named(ending, content, tmp_path):
    checkpoint, _ = write_checkpoint(tmp_path)
    file = tmp_path / f"model.ckpt-10{ending}"
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.ckpt-10'"):
        filled(from_checkpoint(checkpoint))


def test_a_decoder_trained_with_several_towers_gets_the_averages(trained_model, tmp_path):
    """Its checkpoint holds weights, Adam's slots and averages of each; batch-norm statistics are averaged too."""
    config = trained_model.config
    with tf.Graph().as_default(), v1.Session() as session:
        images = decoder(tf.zeros([2, config.num_dims]), config.num_filters, config.kernel_size)
        variables = v1.global_variables("decoder")
        v1.train.AdamOptimizer(name="DecoderAdam").minimize(tf.reduce_sum(images))
        v1.train.ExponentialMovingAverage(0.9).apply(variables)
        checkpoint, stored = save_all(session, tmp_path)
    model = TrainedModel(config, trained_model.codes, from_checkpoint(checkpoint))
    assert model.weights == "averaged" and "decoder/deconv1/weights/DecoderAdam" in stored
    assert_equal(model.variables, {name: stored[name + AVERAGE] for name in trained_model.variables})


# ---------------------------------------------------------------------------------------------------------- from_arrays


def arrays(**changes):
    return {**{name: np.random.default_rng(0).standard_normal(shape, np.float32) for name, shape in SHAPES.items()}, **changes}


@pytest.mark.parametrize("weights", ["raw", "averaged"])
def test_arrays_are_used_as_they_are(weights):
    found_weights, found = filled(from_arrays(arrays(unused=np.zeros(9)), weights))
    assert found_weights == weights
    assert_equal(found, arrays())


def test_arrays_are_raw_weights_unless_it_is_said():
    assert filled(from_arrays(arrays()))[0] == "raw"


@pytest.mark.parametrize("missing", SHAPES)
def test_a_missing_array_is_named(missing):
    values = arrays()
    del values[missing]
    with pytest.raises(ValueError, match=rf"{missing} is missing; the settings ask for \({SHAPES[missing][0]},"):
        filled(from_arrays(values))


@pytest.mark.parametrize("shape", [(3, 2), (2, 4), (6,), (1, 2, 3), ()])
def test_an_array_of_another_shape_is_named(shape):
    with pytest.raises(ValueError) as raised:
        filled(from_arrays(arrays(**{"net/weights": np.zeros(shape, np.float32)})))
    assert str(raised.value) == f"net/weights has shape {shape}; the settings ask for (2, 3): weights and settings differ"
