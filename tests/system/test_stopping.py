"""Whoever ends the program, the work is saved first: signals, and the end of the papermill process that started the kernel."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import glo_lib
from glo_lib.system import locks
from glo_lib.system.stopping import stop_requests

SECONDS_TO_SAVE = 1.5  # the kernel's own thread would end it within one second
CELL = f"""
import time
from pathlib import Path

from glo_lib.system import locks
from glo_lib.system.stopping import stop_requests

lock = locks.acquire("lock")
with stop_requests() as stop:
    Path("began").touch()
    while not stop.wait(0.05):
        pass
    time.sleep({SECONDS_TO_SAVE})
    Path("saved").touch()
Path("went_on").touch()
"""


@pytest.fixture
def handled(monkeypatch):
    """Install handlers that only take notes, as a program around the block may have; return the notes."""
    notes, before = [], {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        before[number] = signal.signal(number, lambda number, frame: notes.append(number))
    yield notes
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "afterwards"), [(signal.SIGINT, []), (signal.SIGTERM, [signal.SIGTERM]), (signal.SIGHUP, [signal.SIGHUP])]
)
def test_a_signal_sets_the_event_and_one_that_ends_the_program_is_raised_again(handled, number, afterwards):
    with stop_requests() as stop:
        assert not stop.is_set()
        signal.raise_signal(number)
        signal.raise_signal(number)
        assert stop.is_set() and not handled
    assert handled == afterwards
    signal.raise_signal(number)
    assert handled == [*afterwards, number]


def test_a_signal_is_raised_again_after_an_error_too(handled):
    with pytest.raises(ZeroDivisionError), stop_requests():
        signal.raise_signal(signal.SIGTERM)
        raise ZeroDivisionError
    assert handled == [signal.SIGTERM]


def test_a_signal_that_the_program_ignores_is_still_ignored(handled):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    with stop_requests() as stop:
        signal.raise_signal(signal.SIGHUP)
        assert not stop.is_set()


def test_outside_the_main_thread_nothing_is_changed(handled):
    def wait():
        with stop_requests() as stop:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
            seen.append(stop.wait(0.2))

    seen = []
    thread = threading.Thread(target=wait)
    thread.start()
    thread.join()
    assert seen == [False] and handled == [signal.SIGTERM]


def wait_until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.05)


def is_free(path: Path) -> bool:
    lock = locks.acquire(path)
    if lock is not None:
        lock.release()
    return lock is not None


def heed_signals():
    """Undo what nohup and a shell's & do to the programs that they start: these would ignore the signals of the test."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope="module")
def ended_notebooks(tmp_path_factory):
    """Folders in which papermill ran a notebook until the papermill process alone received a signal, by signal."""
    environment = {**os.environ, "PYTHONPATH": str(Path(glo_lib.__file__).parents[1])}
    folders = {number: tmp_path_factory.mktemp("ended") for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)}
    processes = []
    for folder in folders.values():
        cell = {"cell_type": "code", "metadata": {}, "source": CELL, "outputs": [], "execution_count": None, "id": "cell"}
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        (folder / "in.ipynb").write_text(json.dumps({"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
        command = [sys.executable, "-m", "papermill", "in.ipynb", "out.ipynb"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        processes.append(subprocess.Popen(command, cwd=folder, env=environment, preexec_fn=heed_signals, **quiet))
    try:
        for (number, folder), process in zip(folders.items(), processes, strict=True):
            wait_until((folder / "began").exists)
            process.send_signal(number)
        for folder in folders.values():
            wait_until(lambda folder=folder: is_free(folder / "lock"))
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return folders


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_kernel_whose_papermill_has_ended_saves_and_ends_without_going_on(ended_notebooks, number):
    assert (ended_notebooks[number] / "saved").exists() and not (ended_notebooks[number] / "went_on").exists()


def test_a_kernel_whose_papermill_is_interrupted_saves_before_it_is_shut_down(ended_notebooks):
    assert (ended_notebooks[signal.SIGINT] / "saved").exists()
