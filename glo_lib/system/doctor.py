"""``python -m glo_lib doctor``: what this machine offers to a training run, and what to do where something is missing."""

import os
import platform
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from glo_lib.system import locks
from glo_lib.system.cache import CACHE_VARIABLE, cache_root

PYTHONS = ((3, 10), (3, 13))
NEEDED_MEMORY, NEEDED_DISK = 2 * 10**9, 2 * 10**9  # bytes: the default run takes about so much
LEAST_DISK = 200 * 10**6  # without that the embedded faces cannot even be drawn


class Finding(NamedTuple):
    """The result of one check.

    Attributes:
        name: what was checked.
        found: what there is.
        advice: what to do; empty if nothing has to be done.
        fatal: whether training could not start.
    """

    name: str
    found: str
    advice: str = ""
    fatal: bool = False

    def __str__(self) -> str:
        mark = "NO " if self.fatal else "!  " if self.advice else "ok "
        return f"{mark} {self.name:11} {self.found}" + (f"\n                {self.advice}" if self.advice else "")


def examine() -> list[Finding]:
    """Check everything that a training run needs. Nothing changes, except that a file in the cache folder is created and removed."""
    return [check() for check in CHECKS]


def _python() -> Finding:
    found, (oldest, newest) = f"{platform.python_version()} on {platform.uname().system} ({platform.machine()})", PYTHONS
    if oldest <= sys.version_info[:2] <= newest:
        return Finding("Python", found)
    return Finding("Python", found, f"use Python {oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]}", fatal=True)


def _tensorflow() -> Finding:
    try:
        from glo_lib.graph.backend import tf
    except ImportError as error:
        return Finding("TensorFlow", f"cannot be imported: {error}", "pip install -r requirements.txt", fatal=True)
    return Finding("TensorFlow", tf.__version__)


def _slim() -> Finding:
    try:
        from glo_lib.graph import slim  # noqa: F401 - whether it can be imported is the question
    except ImportError as error:
        return Finding("tf-slim", f"cannot be imported: {error}", "pip install -r requirements.txt", fatal=True)
    return Finding("tf-slim", _version("tf-slim"))


def _devices() -> Finding:
    try:
        from glo_lib.graph.devices import COMPILATION, choose_devices, find_gpus, why_compiled, why_no_gpu
    except ImportError:
        return Finding("devices", "unknown without TensorFlow")
    gpus = find_gpus()
    if gpus:
        names = ", ".join(f"{gpu.name or 'GPU'} (compute capability {gpu.capability[0]}.{gpu.capability[1]})" for gpu in gpus)
        found, reason = f"{names}; precision auto is {choose_devices(1).precision}", why_compiled(gpus)
        return Finding("devices", f"{found}; {reason}" if reason else found, COMPILATION if reason else "")
    found, (reason, _, cure) = f"{os.cpu_count()} CPU cores; precision auto is {choose_devices(1).precision}", why_no_gpu().partition("\n")
    return Finding("devices", f"{found}; {reason}" if reason else f"{found}; no GPU", cure)


def _memory() -> Finding:
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        total, free = (int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError):
        return Finding("memory", "unknown on this system")
    found = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free"
    return Finding("memory", found, "" if free >= NEEDED_MEMORY else "close other programs, or give a smaller batch_size")


def _disk() -> Finding:
    folder = next(path for path in (cache_root(), *cache_root().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    found = f"{free / 1e9:.1f} GB free for the cache"
    if free >= NEEDED_DISK:
        return Finding("disk", found)
    return Finding("disk", found, f"make room, or set {CACHE_VARIABLE} to a folder on a larger disk", fatal=free < LEAST_DISK)


def _cache() -> Finding:
    folder = cache_root()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        advice = f"set {CACHE_VARIABLE} to a folder that you may write to"
        return Finding("cache", f"{folder} cannot be written ({error.strerror})", advice, fatal=True)
    return Finding("cache", str(folder))


def _locks() -> Finding:
    try:
        with warnings.catch_warnings(), tempfile.NamedTemporaryFile(dir=cache_root()) as file:
            warnings.simplefilter("ignore")
            lock = locks.acquire(file.name)
    except OSError as error:
        return Finding("locks", f"cannot be tried ({error.strerror})")
    if lock is None or not lock.holds:
        reason = f" ({lock.why_not})" if lock else ""
        return Finding("locks", f"none in the cache folder{reason}", "see that no two processes use one run folder at the same time")
    lock.release()
    return Finding("locks", "work in the cache folder")


def _fonts() -> Finding:
    from matplotlib import font_manager

    found = Path(font_manager.findfont(font_manager.FontProperties()))
    return Finding("fonts", found.stem, "" if found.exists() else "reinstall matplotlib, which brings DejaVu Sans")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"


CHECKS: tuple[Callable[[], Finding], ...] = (_python, _tensorflow, _slim, _devices, _memory, _disk, _cache, _locks, _fonts)
