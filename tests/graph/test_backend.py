"""TensorFlow arrives once, quietly, and with settings that the reader's own come before."""

import logging
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from glo_lib.graph import backend
from glo_lib.graph.backend import HARMLESS, tf, without_harmless_lines


def what_is_passed_on(capfd, *written):
    capfd.readouterr()
    with without_harmless_lines():
        for piece in written:
            os.write(2, piece)
    return capfd.readouterr().err


@pytest.mark.parametrize("mark", HARMLESS)
def test_line_with_a_harmless_mark_is_held_back(mark, capfd):
    assert what_is_passed_on(capfd, b"I0000 00:00 " + mark + b" and more\n") == ""


def test_lines_as_tensorflow_writes_them_are_held_back(capfd):
    lines = (
        b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n",
        b"I0000 00:00:1 1 port.cc:153] oneDNN custom operations are on. You may see slightly different numerical results.\n",
        b"I0000 00:00:1 1 cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU will not be used.\n",
        b"I0000 00:00:1 1 cpu_feature_guard.cc:227] This TensorFlow binary is optimized to use available CPU instructions.\n",
    )
    assert what_is_passed_on(capfd, *lines) == ""


def test_every_other_line_is_passed_on_unchanged_and_in_order(capfd):
    harmless = b"it says that oneDNN custom operations are on\n"
    passed = what_is_passed_on(capfd, b"first\n", harmless, b"\n", harmless, b"second, \xc3\xa9t\xc3\xa9\n", b"no end of line")
    assert passed == "first\n\nsecond, été\nno end of line"


def test_lines_are_told_apart_however_they_were_cut_into_writes(capfd):
    assert what_is_passed_on(capfd, b"cuda", b"rt_stub.cc: not a word\nan er", b"ror\n") == "an error\n"


def test_many_lines_are_passed_on_to_the_last(capfd):
    lines = [f"line {number}\n" for number in range(5000)]
    assert what_is_passed_on(capfd, "".join(lines).encode()) == "".join(lines)


def test_what_other_programs_write_meanwhile_is_filtered_too(capfd):
    """File descriptor 2 itself is redirected, not only Python's own stream."""
    capfd.readouterr()
    with without_harmless_lines():
        subprocess.run(["sh", "-c", "echo a problem >&2; echo cudart_stub.cc >&2"], check=True)
    assert capfd.readouterr().err == "a problem\n"


def test_after_the_block_lines_go_straight_to_the_error_stream(capfd):
    with without_harmless_lines():
        pass
    os.write(2, b"cudart_stub.cc, written later\n")
    assert capfd.readouterr().err == "cudart_stub.cc, written later\n"


def test_exception_in_the_block_restores_the_stream_and_loses_no_line(capfd):
    capfd.readouterr()
    before = os.fstat(2)
    with pytest.raises(ZeroDivisionError), without_harmless_lines():
        os.write(2, b"the reason\n")
        raise ZeroDivisionError
    after = os.fstat(2)
    assert (before.st_dev, before.st_ino) == (after.st_dev, after.st_ino)
    assert capfd.readouterr().err == "the reason\n"


def test_no_file_descriptor_is_left_open():
    def free():
        descriptors = [os.dup(1) for _ in range(20)]
        for descriptor in descriptors:
            os.close(descriptor)
        return descriptors

    before = free()
    with without_harmless_lines():
        pass
    assert free() == before


def read_module_again():
    """Run the module's own lines; TensorFlow is loaded already, which makes it quick."""
    return runpy.run_path(backend.__file__)


def test_settings_are_made_where_the_environment_has_none(monkeypatch):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    read_module_again()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1"
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"


def test_settings_of_the_reader_stay(monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    read_module_again()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0"
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"


def test_backend_hands_out_tensorflow_itself_with_its_python_log_quietened():
    assert tf is sys.modules["tensorflow"]
    tf.get_logger().setLevel("INFO")
    read_module_again()
    assert tf.get_logger().level == logging.ERROR


def in_a_fresh_process(code):
    """Run with this very library, and without TensorFlow's settings in the environment, which loading the backend here has made."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    folder = Path(backend.__file__).parents[2]
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=True)


def test_importing_the_package_alone_does_not_import_tensorflow():
    code = "import sys, glo_lib; print('tensorflow' in sys.modules, 'numpy' in sys.modules, glo_lib.__version__)"
    imported = in_a_fresh_process(code).stdout.split()
    assert imported[:2] == ["False", "False"]
    assert imported[2][0].isdigit()


@pytest.mark.skipif(
    sys.platform != "linux" or bool(tf.config.list_physical_devices("GPU")), reason="other systems, and GPUs, log lines of their own"
)
def test_importing_the_backend_in_a_fresh_process_writes_nothing():
    """The one test that pays for loading TensorFlow again: only a first load writes the lines that are to be held back."""
    process = in_a_fresh_process("import glo_lib.graph.backend")
    assert process.stdout + process.stderr == ""
