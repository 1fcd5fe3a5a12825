"""One holder at a time, and none left behind by a process that was killed."""

import os
import signal
import subprocess
import sys

import pytest

from glo_lib.system import locks
from glo_lib.system.locks import acquire, remove_abandoned

HOLDER = """
import sys, time
from glo_lib.system import locks
lock = locks.acquire(sys.argv[1])
print("held" if lock else "refused", flush=True)
time.sleep(600)
"""


def holder(path) -> subprocess.Popen:
    """Another process that holds a lock, until it is killed."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def kill(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_lock_has_one_holder_and_ends_with_it(tmp_path, kind):
    path = tmp_path if kind == "folder" else tmp_path / "lock"
    first = acquire(path)
    assert first.holds and acquire(path) is None
    first.release()
    first.release()
    with acquire(path) as second:
        assert second.holds and acquire(path) is None
    assert acquire(path).holds


def test_a_killed_process_leaves_no_lock_behind(tmp_path):
    process = holder(tmp_path / "lock")
    try:
        assert acquire(tmp_path / "lock") is None
    finally:
        kill(process)
    assert acquire(tmp_path / "lock").holds


def test_a_lock_that_is_forgotten_is_released(tmp_path):
    lock = acquire(tmp_path / "lock")
    del lock
    assert acquire(tmp_path / "lock").holds


def test_without_locks_in_the_system_a_warning_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    with pytest.warns(UserWarning, match="cannot lock files: see that no second process"):
        lock = acquire(tmp_path / "lock")
    assert not lock.holds
    lock.release()


def test_a_file_system_that_knows_no_locks_is_said_to(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(locks.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", no_locks)
    with pytest.warns(UserWarning, match=r"lock cannot be locked \(No locks available\)"):
        assert not acquire(tmp_path / "lock").holds


def test_only_old_things_that_nobody_holds_are_removed(tmp_path):
    for name in ("decoding-old", "decoding-held", "decoding-young", "other"):
        (tmp_path / name).write_text("")
    (tmp_path / "decoding-folder" / "a").mkdir(parents=True)
    for name in ("decoding-old", "decoding-held", "other", "decoding-folder"):
        os.utime(tmp_path / name, (1, 1))
    with acquire(tmp_path / "decoding-held"):
        remove_abandoned(tmp_path, "decoding-")
        assert sorted(os.listdir(tmp_path)) == ["decoding-held", "decoding-young", "other"]
    remove_abandoned(tmp_path, "decoding-")
    assert sorted(os.listdir(tmp_path)) == ["decoding-young", "other"]
    remove_abandoned(tmp_path / "nowhere", "decoding-")


def test_without_locks_nothing_is_removed(tmp_path, monkeypatch):
    (tmp_path / "decoding-old").write_text("")
    os.utime(tmp_path / "decoding-old", (1, 1))
    monkeypatch.setattr(locks, "fcntl", None)
    remove_abandoned(tmp_path, "decoding-")
    assert os.listdir(tmp_path) == ["decoding-old"]


def test_a_process_has_a_name():
    assert locks.this_process().startswith(f"process {os.getpid()} on ")
