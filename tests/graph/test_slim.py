"""tf-slim on current TensorFlow: its legacy layers are found, registered once, and cause no warning."""

import importlib
import sys
import warnings

import pytest

from glo_lib.graph import slim as slim_module
from glo_lib.graph.backend import tf
from glo_lib.graph.slim import CANDIDATE_NAMES, LEGACY_NAME, register_legacy_layers, slim


def test_the_legacy_name_leads_to_the_modules_of_tf_keras_and_not_to_copies():
    assert register_legacy_layers() in CANDIDATE_NAMES
    before = dict(sys.modules)
    register_legacy_layers()
    assert dict(sys.modules) == before
    package = sys.modules[LEGACY_NAME].__name__
    for submodule in ("base", "convolutional", "core", "normalization"):  # the ones that tf-slim imports
        assert sys.modules[f"{LEGACY_NAME}.{submodule}"] is importlib.import_module(f"{package}.{submodule}")


def test_the_first_candidate_that_exists_is_registered_with_its_submodules(tmp_path, monkeypatch):
    """A future tf_keras might have the layers under yet another name."""
    (tmp_path / "future_layers").mkdir()
    (tmp_path / "future_layers" / "__init__.py").write_text("")
    (tmp_path / "future_layers" / "normalization.py").write_text("HERE = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.startswith(LEGACY_NAME)]:
        monkeypatch.delitem(sys.modules, name)
    assert register_legacy_layers(candidates=("no_such_package", "future_layers", *CANDIDATE_NAMES)) == "future_layers"
    assert sys.modules[LEGACY_NAME].__name__ == "future_layers"
    assert sys.modules[f"{LEGACY_NAME}.normalization"].HERE


def test_on_an_unknown_tensorflow_the_error_says_what_was_tried_and_what_to_install():
    with pytest.raises(ImportError) as raised:
        register_legacy_layers("9.87.0", candidates=("no_such_package", "tf_keras.no_such_layers"))
    message = str(raised.value)
    assert "none of no_such_package, tf_keras.no_such_layers can be imported beside TensorFlow 9.87.0" in message
    assert "pip install 'tensorflow==2.21.*' 'tf_keras==2.21.*'" in message


def test_building_a_layer_warns_of_nothing_and_no_other_warning_is_silenced():
    """The filter is set when the module is imported; the test runner resets all filters, so the module is imported again."""
    with warnings.catch_warnings(record=True) as caught, tf.Graph().as_default():
        warnings.simplefilter("always")
        importlib.reload(slim_module)
        slim.conv2d_transpose(tf.zeros([2, 4, 4, 3]), 2, 3, normalizer_fn=slim.batch_norm)
        warnings.warn("something else of a layer", UserWarning, stacklevel=1)
        warnings.warn("`layer.apply` is deprecated and will be removed", DeprecationWarning, stacklevel=1)
    assert [str(warning.message)[:14] for warning in caught] == ["something else", "`layer.apply` "]
