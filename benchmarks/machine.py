"""The machine and the versions with which something was measured."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

from benchmarks.turns import torch_python

CPUINFO = Path("/proc/cpuinfo")
UNITS = ("avx512_bf16", "amx_bf16")  # flags of processors that multiply bfloat16 in hardware
NOT_INSTALLED = "not installed"


def machine() -> dict[str, str | int]:
    """Describe this machine and the versions of the packages that are measured."""
    versions = {"python": platform.python_version(), **{name: _version(name) for name in ("tensorflow", "numpy")}, "torch": torch_version()}
    return {**processor(CPUINFO.read_text() if CPUINFO.exists() else ""), "cores": os.cpu_count() or 0, **versions}


def processor(cpuinfo: str) -> dict[str, str]:
    """Return the name of the processor and, on Linux, what tells its generation: processors of several generations share a name.

    Args:
        cpuinfo: text of ``/proc/cpuinfo``; empty on other systems.
    """
    lines = dict(tuple(map(str.strip, line.split(":", 1))) for line in reversed(cpuinfo.splitlines()) if ":" in line)
    found = {"processor": lines.get("model name") or platform.processor() or platform.machine()}
    names = {"family": "cpu family", "model": "model"}
    found |= {name: lines[field] for name, field in names.items() if field in lines}
    if "flags" in lines:
        found["bfloat16"] = " ".join(unit for unit in UNITS if unit in lines["flags"].split()) or "without units"
    return found


def torch_version() -> str:
    """Return the version of the PyTorch that is measured, which may be in an environment of its own."""
    if torch_python() == sys.executable:
        return _version("torch")
    command = [torch_python(), "-c", "from importlib.metadata import version; print(version('torch'))"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return NOT_INSTALLED


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return NOT_INSTALLED
