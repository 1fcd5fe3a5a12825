"""A lock has one holder at a time, and a process that is killed leaves none behind."""

import errno
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


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_lock_has_one_holder_until_it_is_released(tmp_path, kind):
    path = tmp_path if kind == "folder" else tmp_path / "lock"
    first = acquire(path)
    assert first.holds and acquire(path) is None
    first.release()
    first.release()
    with acquire(path) as second:
        assert second.holds and acquire(path) is None
    third = acquire(path)
    assert third.holds
    del third
    assert acquire(path).holds


def test_a_killed_process_leaves_no_lock_behind(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n" and acquire(tmp_path / "lock") is None
        finally:
            process.send_signal(signal.SIGKILL)
    assert acquire(tmp_path / "lock").holds


def without_flock(monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)


def with_failing_flock(number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    return lambda monkeypatch: monkeypatch.setattr(locks.fcntl, "flock", flock)


@pytest.mark.parametrize(
    ("system", "reason"),
    [
        (without_flock, "this system cannot lock files"),
        # What network folders answer without locks, with a lock of a folder, and after they were lost.
        *(
            (with_failing_flock(number), os.strerror(number))
            for number in (errno.ENOLCK, errno.EBADF, errno.ENOTSUP, errno.EIO, errno.ESTALE)
        ),
    ],
)
def test_where_nothing_can_be_locked_a_warning_says_why_and_nothing_is_removed(tmp_path, monkeypatch, system, reason):
    (tmp_path / "decoding-old").write_text("")
    os.utime(tmp_path / "decoding-old", (1, 1))
    system(monkeypatch)
    with pytest.warns(UserWarning, match=rf"lock cannot be locked \({reason}\): see that no second process uses it") as warned:
        lock = acquire(tmp_path / "lock")
        remove_abandoned(tmp_path, "decoding-")
    assert not lock.holds and lock.why_not == reason and len(warned) == 1
    lock.release()
    assert (tmp_path / "decoding-old").exists()


def test_only_old_files_and_folders_that_nobody_holds_are_removed(tmp_path):
    (tmp_path / "decoding-folder" / "a").mkdir(parents=True)
    for name in ("decoding-old", "decoding-held", "decoding-young", "other"):
        (tmp_path / name).write_text("")
    for name in ("decoding-old", "decoding-held", "decoding-folder", "other"):
        os.utime(tmp_path / name, (1, 1))
    with acquire(tmp_path / "decoding-held"):
        remove_abandoned(tmp_path, "decoding-")
        assert sorted(os.listdir(tmp_path)) == ["decoding-held", "decoding-young", "other"]
    remove_abandoned(tmp_path, "decoding-")
    assert sorted(os.listdir(tmp_path)) == ["decoding-young", "other"]


def test_the_holder_of_a_lock_describes_itself_by_its_process():
    assert locks.this_process().startswith(f"process {os.getpid()} on ")
