"""tf-slim on the TensorFlow of today: found, aliased once, usable and quiet."""

import importlib
import re
import sys
import types
import warnings

import numpy as np
import pytest

from glo_lib.graph import slim as slim_module
from glo_lib.graph.backend import tf
from glo_lib.graph.slim import MOVED_NAMES, OLD_NAME, register_legacy_layers, slim

v1 = tf.compat.v1


@pytest.fixture
def registered():
    """What is registered under the old name is put back after the test."""
    before = {name: module for name, module in sys.modules.items() if name.startswith(OLD_NAME)}
    yield before
    for name in [name for name in sys.modules if name.startswith(OLD_NAME)]:
        del sys.modules[name]
    sys.modules.update(before)


@pytest.fixture
def made_up_package(tmp_path, monkeypatch):
    """A package with one submodule, as tf_keras might name it next."""
    folder = tmp_path / "made_up_layers"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "normalization.py").write_text("HERE = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "made_up_layers"
    for name in ("made_up_layers", "made_up_layers.normalization"):
        sys.modules.pop(name, None)


def forget(registered):
    for name in registered:
        del sys.modules[name]


def test_layers_are_found_and_can_be_imported_under_the_old_name():
    assert register_legacy_layers() in MOVED_NAMES
    assert importlib.import_module(OLD_NAME).__name__ in MOVED_NAMES
    layers = {"base": "Layer", "convolutional": "Conv2DTranspose", "core": "Dense", "normalization": "BatchNormalization"}
    for submodule, layer in layers.items():
        module = importlib.import_module(f"{OLD_NAME}.{submodule}")
        assert isinstance(getattr(module, layer), type)


def test_old_name_leads_to_the_very_modules_of_tf_keras_not_to_copies():
    register_legacy_layers()
    package = sys.modules[OLD_NAME]
    for name in (name for name in list(sys.modules) if name.startswith(f"{OLD_NAME}.")):
        assert sys.modules[name] is importlib.import_module(f"{package.__name__}.{name.rsplit('.', 1)[1]}")


def test_registering_again_changes_nothing():
    register_legacy_layers()
    before = {name: module for name, module in sys.modules.items() if name.startswith("tf_keras")}
    register_legacy_layers()
    after = {name: module for name, module in sys.modules.items() if name.startswith("tf_keras")}
    assert before.keys() == after.keys()
    assert all(before[name] is after[name] for name in before)


def test_first_candidate_that_exists_is_registered_with_its_submodules(registered, made_up_package):
    forget(registered)
    assert register_legacy_layers(candidates=("no_such_package", made_up_package, *MOVED_NAMES)) == made_up_package
    assert sys.modules[OLD_NAME].__name__ == made_up_package
    assert sys.modules[f"{OLD_NAME}.normalization"].HERE


def test_module_that_is_there_already_is_not_replaced(registered, made_up_package):
    forget(registered)
    sys.modules[OLD_NAME] = present = types.ModuleType(OLD_NAME)
    register_legacy_layers(candidates=(made_up_package,))
    assert sys.modules[OLD_NAME] is present


def test_unknown_tensorflow_is_named_with_what_was_tried_and_what_to_install():
    with pytest.raises(ImportError) as raised:
        register_legacy_layers("9.87.0", candidates=("no_such_package", "tf_keras.no_such_layers"))
    message = str(raised.value)
    assert "none of no_such_package, tf_keras.no_such_layers can be imported beside TensorFlow 9.87.0" in message
    assert "tested with TensorFlow 2.21" in message
    assert re.search(r"pip install 'tensorflow==2\.21\.\*' 'tf_keras==2\.21\.\*'", message)


def test_layer_with_batch_norm_builds_and_learns():
    draw = np.random.default_rng(0)
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(0)
        inputs = tf.constant(draw.standard_normal((4, 4, 4, 3)), tf.float32)
        targets = tf.constant(draw.uniform(0, 1, (4, 8, 8, 2)), tf.float32)
        outputs = slim.conv2d_transpose(inputs, 2, 3, stride=2, normalizer_fn=slim.batch_norm, scope="layer")
        loss = tf.reduce_mean(tf.square(outputs - targets))
        with tf.control_dependencies(v1.get_collection(v1.GraphKeys.UPDATE_OPS)):
            step = v1.train.AdamOptimizer(0.05).minimize(loss)
        session.run(v1.global_variables_initializer())
        before, moving_before = session.run([loss, *v1.global_variables("layer/BatchNorm/moving_mean")])
        for _ in range(20):
            session.run(step)
        after, moving_after = session.run([loss, *v1.global_variables("layer/BatchNorm/moving_mean")])
    assert after < 0.8 * before
    assert np.all(moving_before != moving_after)


def build_a_layer():
    with tf.Graph().as_default():
        slim.conv2d_transpose(tf.zeros([2, 4, 4, 3]), 2, 3, normalizer_fn=slim.batch_norm)


def test_building_a_layer_warns_of_nothing():
    """The filter is set when the module is read; the test runner puts every filter back, hence the second reading."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        importlib.reload(slim_module)
        build_a_layer()
    assert [str(warning.message) for warning in caught] == []


def test_only_the_one_warning_is_silenced():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        importlib.reload(slim_module)
        warnings.warn("something else of a layer", UserWarning, stacklevel=1)
        warnings.warn("`layer.apply` is deprecated and will be removed", DeprecationWarning, stacklevel=1)
    assert len(caught) == 2


def test_slim_has_the_layers_that_the_decoder_is_made_of():
    assert slim_module.slim is sys.modules["tf_slim"]
    for name in ("conv2d_transpose", "batch_norm", "arg_scope", "xavier_initializer"):
        assert callable(getattr(slim, name))
