"""Errors of GPUs are explained, and towers are not placed on the CPU unseen. The errors are raised here, and the GPUs are faked."""

import re
from types import SimpleNamespace

import pytest

from glo_lib.graph import devices
from glo_lib.graph.backend import tf
from glo_lib.graph.devices import Gpu
from glo_lib.training import train
from glo_lib.training.gpu_errors import missing_devices

pytestmark = pytest.mark.usefixtures("no_figures")
FULL = (
    "Graph execution error:\n\nDetected at node 'tower_0/conv' defined at (most recent call last):\n  a page of text\n"
    "OOM when allocating tensor with shape[16,384,32,32] and type float on /job:localhost/replica:0/task:0/device:{device}:0 by allocator "
    "an_allocator\n\t [[{{{{node tower_0/conv}}}}]]\nHint: If you want to see a list of allocated tensors"
)


@pytest.fixture
def train_until(small_config, small_images, tmp_path, monkeypatch):
    """A function that trains on a number of faked GPUs, and raises an error after the third step."""

    def run(error, gpus=1):
        monkeypatch.setattr(devices, "find_gpus", lambda: [Gpu("fake", (8, 0))] * gpus)

        def on_step(progress, loss):
            if progress.step == 3:
                raise error

        return train(small_config(small_images, tmp_path), on_step)

    return run


def test_a_full_gpu_is_named_with_what_needs_less_of_its_memory(train_until, tmp_path):
    expected = (
        rf"^/job:localhost/replica:0/task:0/device:GPU:0 has no room for a tensor of shape \[16,384,32,32\]; the newest checkpoint, "
        rf"model\.ckpt-0, is kept in {tmp_path}\. nvidia-smi shows .* gpu_code_megabytes .* a new run may have a smaller batch_size"
    )
    with pytest.raises(MemoryError, match=expected) as error:
        train_until(tf.errors.ResourceExhaustedError(None, None, FULL.format(device="GPU")))
    assert "page of text" not in str(error.value) and error.value.__suppress_context__


@pytest.mark.parametrize("message", [FULL.format(device="CPU"), "too many files are open"])
def test_other_resources_that_are_exhausted_are_not_taken_for_a_full_gpu(train_until, message):
    with pytest.raises(tf.errors.ResourceExhaustedError, match=re.escape(message[-20:])):
        train_until(tf.errors.ResourceExhaustedError(None, None, message))


@pytest.mark.parametrize("kind", [tf.errors.InternalError, tf.errors.UnknownError, tf.errors.FailedPreconditionError])
def test_an_error_of_a_gpu_says_where_its_reason_is(train_until, kind):
    with pytest.raises(kind, match=r"^cuDNN failed\nTensorFlow's log may say why; set TF_CPP_MIN_LOG_LEVEL=0"):
        train_until(kind(None, None, "cuDNN failed"))


def test_errors_of_cpus_are_left_as_they_are(train_until):
    with pytest.raises(tf.errors.InternalError, match=r"^failed$"):
        train_until(tf.errors.InternalError(None, None, "failed"), gpus=0)


def test_towers_are_not_placed_on_the_cpu_where_tensorflow_lists_a_gpu_and_then_does_not_use_it(train_until, monkeypatch):
    """Without a GPU in TensorFlow's list, as in the other tests, this is what faked GPUs are for."""
    gpu = SimpleNamespace(name="/physical_device:GPU:0")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [gpu] if kind == "GPU" else [])
    with pytest.raises(RuntimeError, match="the session has no device /gpu:0, so TensorFlow would train on the CPU"):
        train_until(None)


@pytest.mark.parametrize(
    ("wanted", "missing"),
    [
        (["/cpu:0", "/gpu:0", "/gpu:0"], []),
        (["/gpu:1", "/gpu:1", "/gpu:0"], ["/gpu:1"]),
        (["/job:worker/task:1/gpu:0", "/job:worker/replica:0/task:1/device:GPU:0"], []),
        (["/job:worker/task:1/gpu:1", "/job:worker/task:0/gpu:0"], ["/job:worker/task:1/gpu:1", "/job:worker/task:0/gpu:0"]),
    ],
)
def test_devices_of_a_session_are_compared_by_job_task_kind_and_number(wanted, missing):
    here = [f"/job:localhost/replica:0/task:0/device:{name}" for name in ("CPU:0", "GPU:0")]
    assert missing_devices(wanted, [*here, "/job:worker/replica:0/task:1/device:GPU:0"]) == missing
