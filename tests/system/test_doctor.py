"""The doctor finds what is missing, says what to do, and tells what would stop a training run."""

import errno
import shutil
import sys

import pytest

from glo_lib.__main__ import main
from glo_lib.graph import devices
from glo_lib.system import doctor, locks


def finding(name):
    return next(found for found in doctor.examine() if found.name.lower() == name)


def test_on_this_machine_training_can_start(capsys):
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("ok")][:3] == ["Python", "TensorFlow", "tf-slim"]


def test_a_cache_that_cannot_be_written_is_named_and_ends_with_status_one(monkeypatch, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GLO_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "NO  cache" in said and "set GLO_CACHE_DIR to a folder that you may write to" in said


@pytest.mark.parametrize(("free", "fatal", "advised"), [(10**8, True, True), (10**9, False, True), (10**10, False, False)])
def test_room_on_the_disk(monkeypatch, free, fatal, advised):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage._replace(free=free))
    found = finding("disk")
    assert (found.fatal, bool(found.advice)) == (fatal, advised)


def test_an_old_python_is_fatal(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    assert finding("python").fatal


def test_a_file_system_without_locks_is_no_obstacle_but_said_with_the_reason(monkeypatch):
    def flock(*_):
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    found = finding("locks")
    assert not found.fatal and "no two processes" in found.advice and found.found == "none in the cache folder (Bad file descriptor)"


def test_a_gpu_that_tensorflow_does_not_see_is_explained(monkeypatch):
    monkeypatch.setattr(devices, "has_nvidia_gpu", lambda: True)
    monkeypatch.setattr(devices, "gpus_are_hidden", lambda: False)
    monkeypatch.setattr(devices, "_log_of_a_fresh_tensorflow", lambda: ["Could not find cuda drivers on your machine"])
    found = finding("devices")
    assert "Could not find cuda drivers" in found.found and "requirements-gpu.txt" in found.advice and not found.fatal


def test_gpus_are_listed_with_their_capability(monkeypatch):
    monkeypatch.setattr(devices, "find_gpus", lambda: [devices.Gpu("NVIDIA A100", (8, 0))])
    assert finding("devices").found == "NVIDIA A100 (compute capability 8.0); precision auto is bfloat16"


def test_a_gpu_for_which_tensorflow_has_no_kernels_gets_advice(monkeypatch):
    monkeypatch.setattr(devices.tf.sysconfig, "get_build_info", lambda: {"cuda_compute_capabilities": ["sm_80", "sm_89", "compute_90"]})
    monkeypatch.setattr(devices, "find_gpus", lambda: [devices.Gpu("NVIDIA A100", (8, 0)), devices.Gpu("RTX 5080", (12, 0), 1)])
    found = finding("devices")
    assert found.found.endswith("; this TensorFlow has no kernels for the compute capability of RTX 5080 (12.0)")
    assert "30 minutes" in found.advice and "CUDA_CACHE_PATH" in found.advice and "driver of version 555" in found.advice
    assert not found.fatal
