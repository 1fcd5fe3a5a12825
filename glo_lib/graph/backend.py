"""Import TensorFlow once, without log lines, and with the settings that this library relies on.

Every module uses ``from glo_lib.graph.backend import tf``, and ``v1`` for ``tf.compat.v1``, the interface of graph mode. Some settings take
effect only when they are made before the import:

- ``TF_ENABLE_ONEDNN_OPTS=1``: by default TensorFlow uses the convolutions of oneDNN only on recent Intel server processors, but on other
  processors, too, they make the decoder 1.3 to 1.8 times faster (``benchmarks/README.md``).
- ``TF_CPP_MIN_LOG_LEVEL=3``: on CPUs errors are raised as exceptions anyway, and log lines would clutter the notebooks. Where there may be
  a GPU it is 1, which shows warnings and errors: CUDA's exceptions often lack the reason, which only the log has.
- ``TF_FORCE_GPU_ALLOW_GROWTH=true``: otherwise the first session of a process takes the memory of all GPUs.
- ``TF_USE_LEGACY_KERAS=1``: tf-slim needs the Keras of graph mode, ``tf_keras``. Nothing here needs Keras 3, whose import takes more
  than a second because it also imports scikit-learn and matplotlib.

All of these are defaults: a value that is already in the environment is kept.

TensorFloat-32 is switched off, because with it GPUs of compute capability 8.0 and later would multiply float32 numbers with the 10 bits of
a float16 mantissa, while older GPUs and CPUs do not. ``precision="float32"`` means the same everywhere.

Eager mode, which this library does not use, is left without GPUs. TensorFlow prepares it as soon as a graph has a loop or a pipeline of
images, and would then start CUDA on every GPU of the machine. `glo_lib.graph.session` says which GPUs a session gets.

Example:
    >>> from glo_lib.graph.backend import tf
    >>> tf.__version__.split(".")[0]
    '2'
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

GPU_DEVICE_FILES = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/dxg")  # the last under Windows' subsystem for Linux

# TensorFlow writes lines with these parts to the error stream before it reads TF_CPP_MIN_LOG_LEVEL. A user cannot act on them.
HARMLESS_LOG_PARTS = (
    b"before absl::InitializeLog()",
    b"cudart_stub.cc",
    b"oneDNN custom operations are on",
    b"cuda_platform.cc",
    b"cpu_feature_guard.cc",
)


@contextmanager
def hide_harmless_log_lines() -> Iterator[None]:
    """Capture file descriptor 2 inside the block; afterwards write every line to it that has none of `HARMLESS_LOG_PARTS`."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as captured:
        original = os.dup(2)
        os.dup2(captured.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(original, 2)
            captured.seek(0)
            for line in captured:
                if not any(part in line for part in HARMLESS_LOG_PARTS):
                    os.write(original, line)
            os.close(original)


def has_gpu_device_file() -> bool:
    """Return whether the system has a device file of an NVIDIA GPU."""
    return any(os.path.exists(path) for path in GPU_DEVICE_FILES)


def gpus_are_hidden() -> bool:
    """Return whether ``CUDA_VISIBLE_DEVICES`` hides all GPUs from this process."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1")


def _import_tensorflow() -> Any:  # TensorFlow has no type hints
    log_level_is_set = "TF_CPP_MIN_LOG_LEVEL" in os.environ
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1" if has_gpu_device_file() and not gpus_are_hidden() else "3")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    # A user who sets the log level wants to read the log.
    with nullcontext() if log_level_is_set else hide_harmless_log_lines():
        import tensorflow

        # TensorFlow lists its devices on first use, and writes log lines of its own. List them here, where the lines are hidden.
        tensorflow.config.list_physical_devices()
        with suppress(RuntimeError):  # the user's own program has used eager mode before
            tensorflow.config.set_visible_devices([], "GPU")
    tensorflow.get_logger().setLevel("ERROR")
    tensorflow.config.experimental.enable_tensor_float_32_execution(False)
    return tensorflow


tf = _import_tensorflow()
v1 = tf.compat.v1
