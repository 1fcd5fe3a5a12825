"""Which devices the towers run on, and with which numbers: real GPUs where there are any, else that many CPU devices."""

import platform
from pathlib import Path
from typing import NamedTuple

from glo_lib.graph.backend import tf

BFLOAT16_UNITS = {"amx_bf16", "avx512_bf16"}  # flags of /proc/cpuinfo


class Devices(NamedTuple):
    """Where a run computes.

    Attributes:
        towers: a device for each tower, such as ``/gpu:0``.
        parameters: the device that holds the variables.
        precision: ``float32`` or ``bfloat16``, settled.
        description: the one line that announces them.
        session_config: for ``tf.compat.v1.Session``.
    """

    towers: tuple[str, ...]
    parameters: str
    precision: str
    description: str
    session_config: tf.compat.v1.ConfigProto


def choose_devices(gpus: int, precision: str = "auto") -> Devices:
    """Devices for so many towers.

    Args:
        gpus: number of towers. Real GPUs are used where there are any; otherwise the CPU is divided into that many devices, which run
            the same graph with the same results.
        precision: ``float32``, ``bfloat16`` or ``auto``: bfloat16 on a CPU that has units for it, else float32.
            On GPUs ``auto`` is float32, whose matrix products recent GPUs compute in TF32.

    Raises:
        ValueError: more towers than GPUs, or bfloat16 on GPUs, for which TensorFlow has no rewrite of graphs.

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
    settled = precision if precision != "auto" else "float32" if found or not has_bfloat16_units() else "bfloat16"
    kind = "gpu" if found else "cpu"
    towers = tuple(f"/{kind}:{i}" for i in range(gpus))
    # One tower keeps its variables; several meet on the host, so that none of them is slower than the others.
    parameters = towers[0] if gpus == 1 else "/cpu:0"
    return Devices(towers, parameters, settled, _description(gpus, found, settled), _session_config(0 if found else gpus, settled))


def has_bfloat16_units(cpuinfo: str | None = None) -> bool:
    """Whether the processor multiplies bfloat16 matrices in hardware; without such units bfloat16 is slower than float32.

    Args:
        cpuinfo: text in the format of Linux's ``/proc/cpuinfo``; default: that of this machine (elsewhere than on Linux: False).
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
        # One operation at a time on all cores: two convolutions at once only take each other's cores and caches (benchmarks/README.md).
        config.inter_op_parallelism_threads = 1
        config.use_per_session_threads = True  # else the first session of the process settles it for all
    if precision == "bfloat16":
        rewriter = type(config.graph_options.rewrite_options)
        config.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16 = rewriter.ON
    return config
