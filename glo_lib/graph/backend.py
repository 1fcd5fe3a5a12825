"""TensorFlow, imported once, quietly and with the settings that this library relies on.

Every module says ``from glo_lib.graph.backend import tf``. Three settings have to be made before the import and cannot be made after it:

- ``TF_ENABLE_ONEDNN_OPTS=1``: TensorFlow switches oneDNN's convolutions on by itself only on recent Intel server processors;
  on the others they make the decoder 1.3 to 1.8 times faster (``benchmarks/README.md``).
- ``TF_CPP_MIN_LOG_LEVEL=3``: what matters arrives as an exception; the log is noise in a notebook.
- ``TF_USE_LEGACY_KERAS=1``: tf-slim needs the Keras of graph mode, ``tf_keras``, and nothing here needs Keras 3, whose import takes
  more than a second (it imports scikit-learn and matplotlib in turn).

All are defaults: a value that is already in the environment stays.

Example:
    >>> from glo_lib.graph.backend import tf
    >>> tf.__version__.split(".")[0]
    '2'
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# Lines which TensorFlow writes to the error stream before it has read TF_CPP_MIN_LOG_LEVEL: no reader can act on them.
HARMLESS = (
    b"before absl::InitializeLog()",
    b"cudart_stub.cc",
    b"oneDNN custom operations are on",
    b"cuda_platform.cc",
    b"cpu_feature_guard.cc",
)


@contextmanager
def without_harmless_lines() -> Iterator[None]:
    """Hold back file descriptor 2 while TensorFlow loads, then pass on every line that is not one of `HARMLESS`."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        original = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(original, 2)
            held.seek(0)
            for line in held:
                if not any(mark in line for mark in HARMLESS):
                    os.write(original, line)
            os.close(original)


def _import_tensorflow():
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    with without_harmless_lines():
        import tensorflow

        # The list of devices is made on first use, with log lines of its own: make it here, where they are held back.
        tensorflow.config.list_physical_devices()
    tensorflow.get_logger().setLevel("ERROR")
    return tensorflow


tf = _import_tensorflow()
