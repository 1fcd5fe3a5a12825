"""Programs that are measured side by side take turns: a change in the machine's speed then falls on all of them."""

import contextlib
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
    """A line of the table.

    Attributes:
        name: what was measured.
        value: the number.
        unit: its unit; empty for a ratio.
        target: what it should be, in words; empty where there is none.
    """

    name: str
    value: float
    unit: str
    target: str = ""

    def __str__(self) -> str:
        return f"{self.name:75} {self.value:12,.3f} {self.unit:9} {self.target}"


class Measurement(NamedTuple):
    """One turn of one program.

    Attributes:
        seconds: per unit of work.
        resident_mb: memory of the process at the end of the turn.
        anonymous_mb: the part of it that is not a file's.
    """

    seconds: float
    resident_mb: float
    anonymous_mb: float


def take_turns(commands: dict[str, list[str]], work: dict[str, int], rounds: int) -> dict[str, list[Measurement]]:
    """Start each module with its arguments as a process of its own; give each its work in turn, round by round.

    Args:
        commands: ``[module, argument, ...]`` by name; the module answers as `answer` does.
        work: units of work per turn, by name. A first turn, of two units, warms up and is not counted.
        rounds: how often each has its turn.

    Returns:
        By name, one measurement per round.
    """
    servers = {
        name: subprocess.Popen(
            [sys.executable, "-m", *map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ
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
                seconds, resident, anonymous = json.loads(line)
                if turn:
                    results[name].append(Measurement(seconds / amount, resident, anonymous))
    finally:
        for server in servers.values():
            server.kill()
            server.wait()
    return results


def ratio(above: list[float], below: list[float]) -> float:
    """Median over the rounds: what changes the machine's speed falls on both parts of a round."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def answer(do: Callable[[int], None]) -> None:
    """In the process: for each number read, do so much work; print the seconds it took and the memory now held."""
    for line in sys.stdin:
        began = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            do(int(line))
        print(json.dumps([time.perf_counter() - began, *memory_megabytes()]), flush=True)


def memory_megabytes(pid: int | str = "self") -> tuple[float, float]:
    """Resident memory of a process, and of that what belongs to no file (Linux; elsewhere zeros)."""
    try:
        with open(f"/proc/{pid}/status") as file:
            lines = dict(line.split(":", 1) for line in file if ":" in line)
        return int(lines["VmRSS"].split()[0]) / 1024, int(lines["RssAnon"].split()[0]) / 1024
    except (OSError, KeyError):
        return 0.0, 0.0
