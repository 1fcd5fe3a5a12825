"""Import tf-slim, and make it work with current TensorFlow. Other modules import ``slim`` from here.

tf-slim 1.1.0 was written for TensorFlow 2.1. Its layers still run, but ``slim.batch_norm`` looks for the module
``tf_keras.legacy_tf_layers``, which tf_keras has since moved to ``tf_keras.src.legacy_tf_layers``. It is enough to register
the moved modules under the old name before the first layer is built.

Example:
    >>> from glo_lib.graph.slim import slim
    >>> slim.conv2d_transpose.__name__
    'convolution2d_transpose'
"""

import importlib
import pkgutil
import sys
import types
import warnings

from glo_lib.graph.backend import tf

LEGACY_NAME = "tf_keras.legacy_tf_layers"
CANDIDATE_NAMES = (LEGACY_NAME, "tf_keras.src.legacy_tf_layers")
TESTED_TENSORFLOW = "2.21"


def register_legacy_layers(tensorflow_version: str = tf.__version__, candidates: tuple[str, ...] = CANDIDATE_NAMES) -> str:
    """Make ``tf_keras.legacy_tf_layers`` and its submodules importable, whatever their name in tf_keras is.

    Args:
        tensorflow_version: version for the error message, so that the user knows what to change.
        candidates: module names to try in order; the first is the name that tf-slim uses.

    Returns:
        The name under which the layers were found.

    Raises:
        ImportError: none of the candidates exists, as with a TensorFlow that this library does not support.
    """
    for name in candidates:
        try:
            package = importlib.import_module(name)
        except ImportError:
            continue
        _alias(package, LEGACY_NAME)
        return name
    raise ImportError(
        f"tf-slim needs the legacy layers of tf_keras, and none of {', '.join(candidates)} can be imported beside TensorFlow "
        f"{tensorflow_version}. This library is tested with TensorFlow {TESTED_TENSORFLOW}: "
        f"pip install 'tensorflow=={TESTED_TENSORFLOW}.*' 'tf_keras=={TESTED_TENSORFLOW}.*'"
    )


def _alias(package: types.ModuleType, name: str) -> None:
    sys.modules.setdefault(name, package)
    for submodule in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{submodule.name}")
        sys.modules.setdefault(f"{name}.{submodule.name}", module)


register_legacy_layers()
# tf-slim calls its layers by the deprecated method, which only a change of tf-slim could avoid.
warnings.filterwarnings("ignore", message="`layer.apply` is deprecated", category=UserWarning)

import tf_slim as slim  # noqa: E402 - after the layers that it imports lazily are registered

__all__ = ["slim", "register_legacy_layers"]
