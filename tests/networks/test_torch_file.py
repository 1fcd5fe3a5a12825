"""PyTorch's older file format is read without PyTorch: arrays in the right order, and nothing in the file is run."""

import collections
import io
import os
import pickle
import sys
import types

import numpy as np
import pytest

from glo_lib.networks.torch_file import MAGIC, PROTOCOL, read_torch_file

NUMBERS = np.arange(24, dtype=np.float32)


def named(module, name):
    """Return a class that a pickle refers to by this name, as it refers to those of PyTorch."""
    return type(name, (), {"__module__": module, "__qualname__": name})


class Tensor(tuple):
    """A tensor as PyTorch pickles it: storage, offset, shape, strides."""

    __slots__ = ()


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return ("storage", *value[1:]) if isinstance(value, tuple) and value[:1] == ("storage",) else None

    def reducer_override(self, value):
        if isinstance(value, Tensor):
            return sys.modules["torch._utils"]._rebuild_tensor_v2, (*value, False, collections.OrderedDict())
        return NotImplemented


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Function that writes a file of tensors, each (offset, shape, strides) of one storage, and returns its path."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch.FloatStorage, torch.BoolStorage, torch._utils = named("torch", "FloatStorage"), named("torch", "BoolStorage"), utils
    utils._rebuild_tensor_v2 = named("torch._utils", "_rebuild_tensor_v2")
    for module in (torch, utils):
        monkeypatch.setitem(sys.modules, module.__name__, module)

    def write_file(views, storage="FloatStorage", announced=24, numbers=NUMBERS, start=(MAGIC, PROTOCOL)):
        reference = ("storage", getattr(torch, storage), "0", "cpu", announced, None)
        tensors = collections.OrderedDict((name, Tensor((reference, *view))) for name, view in views.items())
        file = io.BytesIO()
        for part in (*start, {"little_endian": True}, tensors, ["0"]):
            Pickler(file, protocol=2).dump(part)
        path = tmp_path / "weights.pth"
        path.write_bytes(file.getvalue() + len(numbers).to_bytes(8, "little") + numbers.tobytes())
        return path

    return write_file


def test_strides_say_where_the_numbers_of_a_tensor_are(write):
    """Each of these shapes could be had by reshaping, with the numbers in a wrong order."""
    views = {"rows": (0, (4, 6), (6, 1)), "columns": (0, (6, 4), (1, 6)), "kernel": (0, (2, 3, 4), (1, 8, 2)), "part": (7, (2,), (3,))}
    arrays = read_torch_file(write(views))
    np.testing.assert_array_equal(arrays["rows"], NUMBERS.reshape(4, 6))
    np.testing.assert_array_equal(arrays["columns"], NUMBERS.reshape(4, 6).T)
    np.testing.assert_array_equal(arrays["kernel"], NUMBERS.reshape(3, 4, 2).transpose(2, 0, 1))
    np.testing.assert_array_equal(arrays["part"], [7, 10])
    assert all(array.flags.c_contiguous and array.dtype == np.float32 for array in arrays.values())


def test_scalars_and_empty_tensors_are_arrays_too(write):
    arrays = read_torch_file(write({"scalar": (5, (), ()), "empty": (24, (0, 3), (3, 1))}))
    assert arrays["scalar"] == 5 and arrays["scalar"].shape == () and arrays["empty"].shape == (0, 3)


@pytest.mark.parametrize(
    ("view", "part"),
    [((1, (4, 6), (6, 1)), "24 numbers"), ((0, (2,), (24,)), "24 numbers"), ((-1, (1,), (1,)), "beyond"), ((5, (2,), (-1,)), "beyond")],
)
def test_a_tensor_that_reaches_beyond_its_numbers_is_refused(write, view, part):
    with pytest.raises(ValueError, match=rf"weights.pth' is not a PyTorch file that can be read safely: .*{part}"):
        read_torch_file(write({"x": view}))


@pytest.mark.parametrize("kept", [0, 5, 60, -97, -1])
def test_a_truncated_file_is_refused(write, kept):
    path = write({"x": (0, (24,), (1,))})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="is not a PyTorch file that can be read safely"):
        read_torch_file(path)


def test_other_files_are_refused(write, tmp_path):
    view = {"x": (0, (24,), (1,))}
    for options in ({"start": (MAGIC, 1000)}, {"start": (1, PROTOCOL)}, {"announced": 23}, {"storage": "BoolStorage"}):
        with pytest.raises(ValueError, match="is not a PyTorch file that can be read safely"):
            read_torch_file(write(view, **options))
    with pytest.raises(FileNotFoundError):
        read_torch_file(tmp_path / "none.pth")


class Command:
    """Unpickling it calls ``os.system``."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_file_that_calls_another_function_is_refused_and_nothing_is_called(tmp_path):
    path, trace = tmp_path / "evil.pth", tmp_path / "called"
    path.write_bytes(b"".join(pickle.dumps(part) for part in (MAGIC, PROTOCOL, {}, {"x": Command(f"touch {trace}")}, [])))
    with pytest.raises(ValueError, match=rf"it names {os.system.__module__}.system, which is not part of a tensor"):
        read_torch_file(path)
    assert not trace.exists()


def test_an_error_without_a_message_is_named_by_its_kind(write, monkeypatch):
    def fail(file):
        raise EOFError

    monkeypatch.setattr("glo_lib.networks.torch_file._load", fail)
    with pytest.raises(ValueError, match=r"safely: EOFError$"):
        read_torch_file(write({"x": (0, (24,), (1,))}))
