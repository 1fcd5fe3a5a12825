"""Errors of GPUs during training. TensorFlow reports them by a page of text, without the cause, or not at all: say what is wrong."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from glo_lib.graph.backend import tf, v1
from glo_lib.graph.devices import Devices
from glo_lib.runs import checkpoints

# What TensorFlow raises when CUDA, one of its libraries or the driver fails. The reason is in TensorFlow's log only.
WITHOUT_REASON = (tf.errors.InternalError, tf.errors.UnknownError, tf.errors.FailedPreconditionError)
WHERE_THE_REASON_IS = "TensorFlow's log may say why; set TF_CPP_MIN_LOG_LEVEL=0 and run again to see all of it"
OUT_OF_MEMORY = re.compile(r"OOM when allocating .*?shape ?(\[[\d,]*\]).* on (\S*device:GPU:\d+)")


@contextmanager
def gpu_errors_explained(devices: Devices, folder: Path) -> Iterator[None]:
    """Say what can be done about an error of a GPU inside the block.

    Args:
        devices: of the run. Errors of CPUs are left as they are.
        folder: run folder.

    Raises:
        MemoryError: a GPU is full; the message names the GPU, the tensor for which there was no room, and the checkpoint that is kept.

    Example:
        ``with gpu_errors_explained(setting.devices, setting.run.folder): session.run(step)``
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        full = OUT_OF_MEMORY.search(error.message)
        if full is None:
            raise
        raise MemoryError(_full_gpu(folder, shape=full[1], device=full[2])) from None
    except WITHOUT_REASON as error:
        if not devices.on_gpus:
            raise
        raise type(error)(error.node_def, error.op, f"{error.message}\n{WHERE_THE_REASON_IS}") from error


def _full_gpu(folder: Path, shape: str, device: str) -> str:
    kept = checkpoints.newest_checkpoint(folder)
    left = f"the newest checkpoint, {Path(kept).name}, is kept" if kept else "there was no checkpoint yet"
    return (
        f"{device} has no room for a tensor of shape {shape}; {left} in {folder}. nvidia-smi shows which programs use the GPU; a smaller "
        "gpu_code_megabytes keeps the codes of this run on the host, and a new run may have a smaller batch_size or smaller num_filters"
    )


class DevicesCheck(v1.train.SessionRunHook):
    """Session hook that raises a `RuntimeError` if a new session lacks a tower's GPU.

    TensorFlow would place the tower on the CPU without a word. Where TensorFlow finds no GPU, the towers are on CPUs (or a test pretends
    GPUs), and nothing is checked.
    """

    def __init__(self, towers: Sequence[str]):
        self._towers = towers

    def after_create_session(self, session: v1.Session, coord: tf.train.Coordinator) -> None:
        """Compare the devices of the session with those of the towers."""
        if not tf.config.list_physical_devices("GPU"):
            return
        missing = missing_devices(self._towers, [device.name for device in session.list_devices()])
        if missing:
            raise RuntimeError(
                f"the session has no device {', '.join(missing)}, so TensorFlow would train on the CPU; set TF_CPP_MIN_LOG_LEVEL=0 and run "
                "again to see why, or CUDA_VISIBLE_DEVICES=-1 to train on the CPU"
            )


def missing_devices(wanted: Sequence[str], found: Sequence[str]) -> list[str]:
    """Return the devices that are not among those of a session, whose names are complete.

    Example:
        >>> missing_devices(["/gpu:0", "/gpu:1"], ["/job:localhost/replica:0/task:0/device:GPU:0"])
        ['/gpu:1']
    """
    there = {_identity(name) for name in found}
    return [name for name in dict.fromkeys(wanted) if _identity(name) not in there]


def _identity(name: str) -> tuple[str, int, str, int]:
    spec = tf.DeviceSpec.from_string(name)
    return spec.job or "localhost", spec.task or 0, spec.device_type, spec.device_index
