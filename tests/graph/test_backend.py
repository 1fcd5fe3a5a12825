"""Importing TensorFlow: once, without harmless log lines, and without overriding the user's own settings."""

import gc
import logging
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from glo_lib.graph import backend
from glo_lib.graph.backend import hide_harmless_log_lines, tf

SETTINGS = ("TF_ENABLE_ONEDNN_OPTS", "TF_CPP_MIN_LOG_LEVEL", "TF_USE_LEGACY_KERAS")


def passed_on(capfd, *written):
    """Return what reaches the error stream when these pieces are written inside the block."""
    capfd.readouterr()
    with hide_harmless_log_lines():
        for piece in written:
            os.write(2, piece)
    return capfd.readouterr().err


def test_log_lines_of_tensorflow_are_hidden(capfd):
    lines = (
        b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n",
        b"I0000 00:00:1 1 port.cc:153] oneDNN custom operations are on. You may see slightly different numerical results.\n",
        b"I0000 00:00:1 1 cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU will not be used.\n",
        b"E0000 00:00:1 1 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error\n",
        b"I0000 00:00:1 1 cpu_feature_guard.cc:227] This TensorFlow binary is optimized to use available CPU instructions.\n",
    )
    assert passed_on(capfd, *lines) == ""


def test_all_other_lines_are_passed_on_in_order_however_they_are_split_into_writes(capfd):
    harmless = b"it says that oneDNN custom operations are on\n"
    pieces = (b"first\n", harmless, b"\n", b"cuda", b"rt_stub.cc: hidden\nan er", b"ror, \xc3\xa9t\xc3\xa9\n", harmless, b"no end of line")
    assert passed_on(capfd, *pieces) == "first\n\nan error, été\nno end of line"


def test_file_descriptor_2_is_redirected_also_for_other_programs(capfd):
    capfd.readouterr()
    with hide_harmless_log_lines():
        subprocess.run(["sh", "-c", "echo a problem >&2; echo cudart_stub.cc >&2"], check=True)
    os.write(2, b"cudart_stub.cc, written after the block\n")
    assert capfd.readouterr().err == "a problem\ncudart_stub.cc, written after the block\n"


def test_an_exception_restores_the_stream_and_loses_no_line_and_no_file_descriptor(capfd):
    def free_descriptors():
        descriptors = [os.dup(1) for _ in range(4)]
        for descriptor in descriptors:
            os.close(descriptor)
        return descriptors

    capfd.readouterr()
    gc.collect()
    gc.disable()  # it could close files of other tests in the meantime
    try:
        before = os.fstat(2).st_ino, free_descriptors()
        with pytest.raises(ZeroDivisionError), hide_harmless_log_lines():
            os.write(2, b"the reason\n")
            raise ZeroDivisionError
        assert (os.fstat(2).st_ino, free_descriptors()) == before
    finally:
        gc.enable()
    assert capfd.readouterr().err == "the reason\n"


def test_settings_are_made_only_where_the_environment_has_none_and_the_logger_is_set_to_errors(monkeypatch):
    """The lines of the module are run again; TensorFlow is loaded already, so this is quick."""
    for given, expected in ((None, ["1", "3", "1"]), ("0", ["0", "0", "0"])):
        for name in SETTINGS:
            monkeypatch.delenv(name, raising=False)
            if given is not None:
                monkeypatch.setenv(name, given)
        tf.get_logger().setLevel("INFO")
        assert runpy.run_path(backend.__file__)["tf"] is sys.modules["tensorflow"]
        assert tf.get_logger().level == logging.ERROR
        assert [os.environ[name] for name in SETTINGS] == expected


@pytest.mark.parametrize(
    ("device_file", "visible", "level"),
    [
        ("/dev/nvidia0", None, "1"),
        ("/dev/dxg", "0,1", "1"),
        ("/dev/nvidia0", "-1", "3"),
        ("/dev/nvidia0", "", "3"),
        ("/dev/null", None, "3"),
    ],
)
def test_warnings_are_logged_where_there_may_be_a_gpu_because_they_hold_the_reasons_of_its_errors(monkeypatch, device_file, visible, level):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(os.path, "exists", lambda path: path == device_file)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda: [])
    runpy.run_path(backend.__file__)
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == level


def test_float32_is_not_tensor_float_32():
    """GPUs of compute capability 8.0 and later would otherwise multiply with 10 bits of the 23."""
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


@pytest.mark.parametrize("is_used_already", [False, True])
def test_eager_mode_is_left_without_gpus(monkeypatch, is_used_already):
    """TensorFlow prepares it when a graph is built, and would start CUDA on all GPUs, even on those that another program has filled."""
    asked = []

    def set_visible_devices(*arguments):
        asked.append(arguments)
        if is_used_already:
            raise RuntimeError("Visible devices cannot be modified after being initialized")

    monkeypatch.setattr(tf.config, "set_visible_devices", set_visible_devices)
    runpy.run_path(backend.__file__)
    assert asked == [([], "GPU")]


def run_in_a_fresh_process(code):
    """Run code with this library, without the settings that the import of the backend has made here."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    folder = Path(backend.__file__).parents[2]
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=True)


def test_importing_the_package_does_not_import_tensorflow():
    code = "import sys, glo_lib; print('tensorflow' in sys.modules, 'numpy' in sys.modules, glo_lib.__version__[0].isdigit())"
    assert run_in_a_fresh_process(code).stdout.split() == ["False", "False", "True"]


@pytest.mark.skipif(
    sys.platform != "linux" or bool(tf.config.list_physical_devices("GPU")), reason="other systems, and GPUs, log lines of their own"
)
def test_importing_the_backend_in_a_fresh_process_writes_nothing():
    """Only the first import of TensorFlow writes the log lines, so this test pays for a second one (four seconds)."""
    process = run_in_a_fresh_process("import glo_lib.graph.backend")
    assert process.stdout + process.stderr == ""
