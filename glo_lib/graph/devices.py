"""Choose the devices of the towers and the precision: real GPUs where there are any, otherwise as many CPU devices."""

import platform
from pathlib import Path
from typing import NamedTuple

from glo_lib.graph.backend import tf

BFLOAT16_UNITS = {"amx_bf16", "avx512_bf16"}  # flags of /proc/cpuinfo


class Devices(NamedTuple):
    """The devices and the precision of a run.

    Attributes:
        towers: a device for each tower, such as ``/gpu:0``.
        parameters: the device that holds the variables.
        precision: ``float32`` or ``bfloat16``, never ``auto``.
        description: one line for the start of a run.
        session_config: configuration for ``tf.compat.v1.Session``.
    """

    towers: tuple[str, ...]
    parameters: str
    precision: str
    description: str
    session_config: tf.compat.v1.ConfigProto


def choose_devices(gpus: int, precision: str = "auto") -> Devices:
    """Choose the devices for a number of towers.

    Args:
        gpus: number of towers. Real GPUs are used where there are any. Otherwise the CPU is divided into as many devices, which run
            the same graph and give the same results.
        precision: ``float32``, ``bfloat16`` or ``auto``. On a CPU ``auto`` is bfloat16 if the processor has units for it, else float32. On
            GPUs ``auto`` is float32; recent GPUs compute its matrix products in TF32.

    Raises:
        ValueError: no tower, more towers than GPUs, or bfloat16 on GPUs, because TensorFlow rewrites graphs to bfloat16 only for CPUs.

    Example:
        >>> choose_devices(gpus=2, precision="float32").towers
        ('/cpu:0', '/cpu:1')
    """
    found = len(tf.config.list_physical_devices("GPU"))
    if gpus < 1:
        raise ValueError(f"gpus is {gpus}; it must be a whole number of at least 1")
    if found and gpus > found:
        raise ValueError(f"gpus is {gpus}, and this machine has {found}; give at most {found}")
    if found and precision == "bfloat16":
        raise ValueError("precision is 'bfloat16', which needs a CPU; on GPUs give 'auto' (float32, with TF32 where there is)")
    chosen = precision if precision != "auto" else "float32" if found or not has_bfloat16_units() else "bfloat16"
    kind = "gpu" if found else "cpu"
    towers = tuple(f"/{kind}:{i}" for i in range(gpus))
    # The variables lie on the device of a single tower. Several towers share them on the host, so that no tower is slower than another.
    parameters = towers[0] if gpus == 1 else "/cpu:0"
    return Devices(towers, parameters, chosen, _description(gpus, found, chosen), _session_config(0 if found else gpus, chosen))


def has_bfloat16_units(cpuinfo: str | None = None) -> bool:
    """Return whether the processor multiplies bfloat16 matrices in hardware. Without such units bfloat16 is slower than float32.

    Args:
        cpuinfo: text in the format of Linux's ``/proc/cpuinfo``. Default: that of this machine; on systems without it the result is False.
    """
    if cpuinfo is None:
        try:
            cpuinfo = Path("/proc/cpuinfo").read_text()
        except OSError:
            return False
    flags = next((line for line in cpuinfo.splitlines() if line.startswith("flags")), "")
    return not BFLOAT16_UNITS.isdisjoint(flags.split())


def _description(gpus: int, found: int, precision: str) -> str:
    towers = f"{gpus} tower{'s' if gpus > 1 else ''}"
    if found:
        return f"{towers} on {gpus} of {found} GPU{'s' if found > 1 else ''}, {precision}"
    return f"{towers} on {gpus} CPU device{'s' if gpus > 1 else ''} (no GPU found; {platform.machine()}), {precision}"


def _session_config(cpu_devices: int, precision: str) -> tf.compat.v1.ConfigProto:
    config = tf.compat.v1.ConfigProto(allow_soft_placement=True)
    config.gpu_options.allow_growth = True
    if cpu_devices:
        config.device_count["CPU"] = cpu_devices
    if cpu_devices == 1:
        # Run one operation at a time on all cores, because two at once compete for cores and caches (benchmarks/README.md).
        config.inter_op_parallelism_threads = 1
        config.use_per_session_threads = True  # otherwise the first session of the process decides for all
    if precision == "bfloat16":
        rewriter = type(config.graph_options.rewrite_options)
        config.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16 = rewriter.ON
    return config
