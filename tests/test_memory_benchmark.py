"""The benchmark of the peak memory, with few small images: the same run, whose decoded images are taken from a substitute."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import memory
from glo_lib.runs import run


@pytest.fixture
def in_this_process(monkeypatch, capsys):
    """Train in this process instead of in another one, which would have to import TensorFlow."""

    def call(command, **_):
        assert command[:3] == [sys.executable, "-m", "benchmarks.memory"]
        memory.main(command[3:])
        return subprocess.CompletedProcess(command, 0, stdout=capsys.readouterr().out)

    monkeypatch.setattr(run, "decode_as_in", run.decode_as_in)  # restored after the test, because the benchmark replaces it
    monkeypatch.setattr(memory.subprocess, "run", call)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc on this system")
def test_the_run_trains_on_the_substitute_although_its_files_are_empty(in_this_process, no_figures, capsys):
    memory.main(["--images", "130", "--size", "32", "--seconds", "0.2"])
    line = capsys.readouterr().out
    assert line.startswith("peak memory, N = 130 at 32 pixels, ") and "below 3,000" in line
    assert float(line.split(" metrics")[1].split()[0].replace(",", "")) > 50  # of all tests that this process has run
