"""Measure several programs in turns, so that a change in the speed of the machine affects all of them equally."""

import contextlib
import importlib.util
import io
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple


class Row(NamedTuple):
    """A line of the table of results.

    Attributes:
        name: what was measured.
        value: the measured number.
        unit: its unit; empty for a ratio.
        target: the range in which the number should be, in words; empty if there is none.
    """

    name: str
    value: float
    unit: str
    target: str = ""

    def __str__(self) -> str:
        return f"{self.name:75} {self.value:12,.3f} {self.unit:9} {self.target}"


class Measurement(NamedTuple):
    """The measurement of one turn of one program.

    Attributes:
        seconds: seconds per unit of work.
        resident_mb: resident memory of the process at the end of the turn, in megabytes.
        anonymous_mb: the part of it that does not belong to a file, in megabytes.
        reported: what the program reports after the turn, such as a PSNR; NaN if it reports nothing.
    """

    seconds: float
    resident_mb: float
    anonymous_mb: float
    reported: float = float("nan")


def torch_python() -> str:
    """Return the Python that the programs in PyTorch run with: this one, or that of ``$TORCH_PYTHON``, an environment of its own."""
    return os.environ.get("TORCH_PYTHON", sys.executable)


def has_torch() -> bool:
    """Tell whether that Python has PyTorch."""
    if torch_python() == sys.executable:
        return importlib.util.find_spec("torch") is not None
    return subprocess.run([torch_python(), "-c", "import torch"], capture_output=True).returncode == 0


def take_turns(commands: dict[str, list[str]], work: dict[str, int], rounds: int) -> dict[str, list[Measurement]]:
    """Start each module as a process of its own and give the processes their work in turn.

    Args:
        commands: ``[module, argument, ...]`` by name; the module has to call `answer`.
        work: units of work per turn, by name. A first turn of two units is a warm-up and is not counted.
        rounds: number of turns of each process.

    Returns:
        One measurement per round, by name.

    Raises:
        RuntimeError: a process has ended.
    """
    servers = {
        name: subprocess.Popen(
            [torch_python() if "pytorch" in command[0] else sys.executable, "-m", *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        for name, command in commands.items()
    }
    results = {name: [] for name in commands}
    try:
        for turn in range(rounds + 1):
            for name, server in servers.items():
                amount = work[name] if turn else 2
                server.stdin.write(f"{amount}\n")
                server.stdin.flush()
                line = server.stdout.readline()
                if not line:
                    raise RuntimeError(f"{name} ({' '.join(map(str, commands[name]))}) ended with status {server.wait()}")
                seconds, *others = json.loads(line)
                if turn:
                    results[name].append(Measurement(seconds / amount, *others))
    finally:
        for server in servers.values():
            server.kill()
            server.wait()
    return results


def ratio(above: list[float], below: list[float]) -> float:
    """Return the median of the ratios of all rounds; a change in the speed of the machine affects both measurements of a round."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def answer(do: Callable[[int], None], report: Callable[[], float] | None = None) -> None:
    """Serve `take_turns`: for each number on the standard input, do so many units of work and print the seconds and the memory.

    Args:
        do: does a number of units of work.
        report: returns a number that is printed too; it is called after the seconds have been taken.
    """
    for line in sys.stdin:
        began = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            do(int(line))
        seconds = time.perf_counter() - began
        print(json.dumps([seconds, *memory_megabytes(), *([report()] if report else [])]), flush=True)


def memory_megabytes(pid: int | str = "self") -> tuple[float, float]:
    """Return the resident memory of a process and the part of it that belongs to no file, in megabytes (zeros except on Linux)."""
    try:
        with open(f"/proc/{pid}/status") as file:
            lines = dict(line.split(":", 1) for line in file if ":" in line)
        return int(lines["VmRSS"].split()[0]) / 1024, int(lines["RssAnon"].split()[0]) / 1024
    except (OSError, KeyError):
        return 0.0, 0.0
