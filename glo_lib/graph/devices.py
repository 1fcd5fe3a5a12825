"""Choose the devices of the towers and the precision: real GPUs where there are any, otherwise as many CPU devices."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from glo_lib.graph.backend import gpus_are_hidden, has_gpu_device_file, tf
from glo_lib.graph.session import gpu_number, session_config

BFLOAT16_UNITS = {"amx_bf16", "avx512_bf16"}  # flags of /proc/cpuinfo
CURE = (
    "install the CUDA libraries that belong to this TensorFlow (pip install -r requirements-gpu.txt, or pip install -e '.[gpu]'); "
    "nvidia-smi must show the GPU, with a driver of version 525 or later"
)
COMPILATION = (
    "CUDA compiles them in the first step, which can take 30 minutes and needs a driver of version 555 or later. For the next run it keeps "
    "them in the folder CUDA_CACHE_PATH (default: ~/.nv/ComputeCache). If the run fails with CUDA_ERROR_INVALID_PTX, which was reported "
    "for compute capability 12.0, take another GPU, or a TensorFlow that was built for this one"
)


class Gpu(NamedTuple):
    """A GPU that TensorFlow can use.

    Attributes:
        name: such as "NVIDIA A100-SXM4-40GB"; empty where TensorFlow does not know it.
        capability: its compute capability, such as (8, 0); (0, 0) where it is not known.
        number: CUDA's number, see `glo_lib.graph.session.gpu_number`. TensorFlow's own names, such as ``/gpu:0``, count the GPUs in use.
    """

    name: str
    capability: tuple[int, int]
    number: int = 0


class Devices(NamedTuple):
    """The devices and the precision of a run, without any ``auto``.

    Attributes:
        towers: a device for each tower, such as ``/gpu:0``; several towers may share one.
        parameters: the device that holds the network's variables.
        precision: ``float32``, ``bfloat16`` or ``float16``.
        route: ``fast`` or ``slim``, the layers of the decoder.
        deterministic: whether every operation must give the same bits each time.
        description: lines to print at the start of a run.
        session_config: configuration for ``tf.compat.v1.Session``.
        servers: with several machines, the devices of the parameter servers, which hold the variables; otherwise empty.
        job: with several machines, the prefix of the devices of the process that trains, such as ``/job:chief/task:0``; otherwise empty.
        master: with several machines, the address of the server that runs the sessions; otherwise empty.
        saved_by_servers: with several machines, whether each writes its own variables to the run folder; otherwise the process that trains
            fetches them all and writes them.
    """

    towers: tuple[str, ...]
    parameters: str
    precision: str
    route: str
    deterministic: bool
    description: str
    session_config: tf.compat.v1.ConfigProto
    servers: tuple[str, ...] = ()
    job: str = ""
    master: str = ""
    saved_by_servers: bool = False

    @property
    def on_gpus(self) -> bool:
        """Whether the towers run on GPUs."""
        return "/gpu:" in self.towers[0]

    @property
    def cast_precision(self) -> str:
        """The precision that the graph itself casts to: on CPUs none, because there TensorFlow rewrites the finished graph to bfloat16."""
        return self.precision if self.on_gpus else "float32"

    @property
    def rewrite_precision(self) -> str:
        """The precision that TensorFlow rewrites the finished graph to: on GPUs none, because there the graph itself casts."""
        return "float32" if self.on_gpus else self.precision


def choose_devices(gpus: int, precision: str = "auto", route: str = "auto", deterministic: str = "auto") -> Devices:
    """Choose the devices for a number of towers.

    Args:
        gpus: number of towers. Real GPUs are used where there are any; towers share them when there are fewer GPUs than towers, which
            gives the same result. Without a GPU the CPU is divided into that many devices, which run the same graph.
        precision: ``float32``, ``bfloat16``, ``float16`` (GPUs only) or ``auto``: on a CPU bfloat16 if it has units for it; on GPUs
            bfloat16 from compute capability 8.0 on, float16 on 7.x; float32 otherwise.
        route: ``fast``, ``slim`` or ``auto``: the faster layers of `glo_lib.graph.layers` on CPUs, for which they were made and measured,
            and slim's own layers on GPUs.
        deterministic: ``true``, ``false`` or ``auto``: true on CPUs, whose operations give the same bits each time anyway, and false on
            GPUs, where it makes some operations slower.

    Raises:
        ValueError: fewer than one tower, or float16 without a GPU.

    Example:
        >>> choose_devices(gpus=2, precision="float32").towers
        ('/cpu:0', '/cpu:1')
    """
    if gpus < 1:
        raise ValueError(f"gpus is {gpus}; it must be a whole number of at least 1")
    found = find_gpus()
    if not found and precision == "float16":
        raise ValueError("precision is 'float16', which needs a GPU; on CPUs give 'auto', 'bfloat16' or 'float32'")
    used = found[: min(gpus, len(found))]
    kind = "gpu" if found else "cpu"
    towers = tuple(f"/{kind}:{number % len(used) if found else number}" for number in range(gpus))
    decided = _precision(used) if precision == "auto" else precision
    return Devices(
        towers=towers,
        # The variables lie on the device of the towers if there is only one. Towers on several devices share them on the host, so that no
        # tower is slower than another.
        parameters=towers[0] if len(set(towers)) == 1 else "/cpu:0",
        precision=decided,
        route=route_on(bool(found), route),
        deterministic=not found if deterministic == "auto" else deterministic == "true",
        description=_description(gpus, found, used, decided),
        session_config=_session_config(used, gpus, decided),
    )


def route_on(gpus: bool, route: str = "auto") -> str:
    """Return which layers a decoder on GPUs or on CPUs has, see `choose_devices`."""
    return ("slim" if gpus else "fast") if route == "auto" else route


def find_gpus() -> list[Gpu]:
    """Return the GPUs that TensorFlow can use."""
    found = []
    for device in tf.config.list_physical_devices("GPU"):
        try:
            details = tf.config.experimental.get_device_details(device)
        except (RuntimeError, ValueError):
            details = {}
        capability = tuple(details.get("compute_capability") or (0, 0))
        found.append(Gpu(details.get("device_name", ""), capability, gpu_number(device)))
    return found


def why_compiled(gpus: list[Gpu]) -> str:
    """Say for which GPUs this TensorFlow has no compiled kernels, so that CUDA compiles them when they are first used.

    Returns:
        An empty string if there are none, or if TensorFlow does not say what it was built for.

    Example:
        >>> why_compiled([Gpu("NVIDIA A100", (8, 0)), Gpu("", (0, 0))])
        ''
    """
    built_for = tf.sysconfig.get_build_info().get("cuda_compute_capabilities", [])
    kernels = [(int(name[3:-1]), int(name[-1])) for name in built_for if name.startswith("sm_")]
    names = [f"{gpu.name or 'a GPU'} ({gpu.capability[0]}.{gpu.capability[1]})" for gpu in gpus if not _has_kernels(gpu, kernels)]
    if not kernels or not names:
        return ""
    return f"this TensorFlow has no kernels for the compute capability of {', '.join(dict.fromkeys(names))}"


def _has_kernels(gpu: Gpu, kernels: list[tuple[int, int]]) -> bool:
    """Return whether one of the kernels, given by their capabilities, runs on a GPU: those of the same generation, up to its own number."""
    generation, number = gpu.capability
    return generation == 0 or any(generation == built and number >= least for built, least in kernels)


def codes_device(devices: Devices, num_bytes: int, most_bytes: int) -> str:
    """Return the device of the table of codes and of its two moments: the first GPU if they fit into a limit, otherwise the host.

    With deterministic operations it is the host, because TensorFlow's deterministic update of some rows on a GPU copies the whole table to
    the host and back.

    Args:
        devices: from `choose_devices`.
        num_bytes: of codes and moments, 12 * N * d.
        most_bytes: the limit.

    Example:
        >>> codes_device(choose_devices(gpus=1), num_bytes=2**40, most_bytes=2**30)
        '/cpu:0'
    """
    return "/gpu:0" if devices.on_gpus and not devices.deterministic and num_bytes <= most_bytes else "/cpu:0"


def _precision(used: list[Gpu]) -> str:
    """Return the precision that ``auto`` stands for on these GPUs, or on the CPU if there are none."""
    if not used:
        return "bfloat16" if has_bfloat16_units() else "float32"
    capability = min(gpu.capability for gpu in used)
    return "bfloat16" if capability >= (8, 0) else "float16" if capability >= (7, 0) else "float32"


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


def _description(gpus: int, found: list[Gpu], used: list[Gpu], precision: str) -> str:
    towers = f"{gpus} tower{'s' if gpus > 1 else ''}"
    if not found:
        lines = f"{towers} on {gpus} CPU device{'s' if gpus > 1 else ''} (no GPU found; {platform.machine()}), {precision}"
        reason = "" if gpus_are_hidden() else why_no_gpu()
        return f"{lines}\n{reason}" if reason else lines
    reason = why_compiled(used)
    note = f"\n{reason}; {COMPILATION}" if reason else ""
    if gpus > len(used):
        shared = "1 GPU, which they share" if len(used) == 1 else f"{len(used)} GPUs, which they share"
        return f"{towers} on {shared} (the result is the same as on {gpus}), {precision}{note}"
    return f"{towers} on {len(used)} of {len(found)} GPU{'s' if len(found) > 1 else ''}, {precision}{note}"


def _session_config(used: list[Gpu], towers: int, precision: str) -> tf.compat.v1.ConfigProto:
    if used:
        return session_config([gpu.number for gpu in used])
    config = session_config()
    config.device_count["CPU"] = towers
    if towers == 1:
        # Run one operation at a time on all cores, because two at once compete for cores and caches (benchmarks/README.md).
        config.inter_op_parallelism_threads = 1
        config.use_per_session_threads = True  # otherwise the first session of the process decides for all
    rewrite_on_cpus(config, precision)
    return config


def rewrite_on_cpus(config: tf.compat.v1.ConfigProto, precision: str) -> None:
    """Let TensorFlow rewrite graphs for CPUs if the precision is ``bfloat16``, so that their matrix products take bfloat16 numbers."""
    if precision == "bfloat16":
        rewriter = type(config.graph_options.rewrite_options)
        config.graph_options.rewrite_options.auto_mixed_precision_onednn_bfloat16 = rewriter.ON


def has_nvidia_gpu() -> bool:
    """Return whether this machine seems to have an NVIDIA GPU, even if TensorFlow does not see it."""
    return has_gpu_device_file() or shutil.which("nvidia-smi") is not None


def why_no_gpu() -> str:
    """Explain why TensorFlow sees no GPU on a machine that seems to have one, and what to do.

    Returns:
        An empty string on a machine without a GPU. If ``CUDA_VISIBLE_DEVICES`` hides the GPUs, this is said without advice, because they
        are then hidden on purpose.
    """
    if not has_nvidia_gpu() or tf.config.list_physical_devices("GPU"):
        return ""
    if gpus_are_hidden():
        return f"CUDA_VISIBLE_DEVICES is {os.environ['CUDA_VISIBLE_DEVICES']!r}, which hides the GPU of this machine"
    log = _log_of_a_fresh_tensorflow()
    reason = f"TensorFlow says: {' '.join(log)}" if log else "TensorFlow does not say why"
    return f"this machine seems to have an NVIDIA GPU, but TensorFlow does not see it; {reason}\nto use it, {CURE}"


def _log_of_a_fresh_tensorflow() -> list[str]:
    """Import TensorFlow in a new process with its log switched on, and return the log lines about GPUs, without times and file names.

    A new process is needed, because the log level of this one was fixed when it imported TensorFlow.
    """
    code = "import tensorflow; tensorflow.config.list_physical_devices('GPU')"
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}
    try:
        process = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = [line.partition("] ")[2].strip() for line in process.stderr.splitlines() if "cuda" in line.lower() or "gpu" in line.lower()]
    return list(dict.fromkeys(line for line in lines if line))
