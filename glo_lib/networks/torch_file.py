"""Read the arrays of a PyTorch checkpoint without PyTorch, and without running anything that the file may contain.

A ``.pth`` file of the older format is a sequence of pickles, followed by the numbers of every tensor. A pickle can call any function, so
unpickling a file from elsewhere is as dangerous as running it. The unpickler here knows the four names that tensors need and refuses every
other one.
"""

import collections
import pickle
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of the file
PROTOCOL = 1001  # the second one
TYPES = {"FloatStorage": np.dtype("<f4"), "DoubleStorage": np.dtype("<f8"), "HalfStorage": np.dtype("<f2"), "LongStorage": np.dtype("<i8")}


class _Storage(NamedTuple):
    """The numbers of one or several tensors, which follow the pickles in the file."""

    key: str
    dtype: np.dtype
    size: int


class _Tensor(NamedTuple):
    """A view of a storage, as PyTorch describes it."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch_file(path: str | Path) -> dict[str, np.ndarray]:
    """Read the arrays of a PyTorch state dictionary in the format that PyTorch wrote before version 1.6.

    The numbers of a tensor need not be stored in the order of its axes: the strides say how far apart the neighbours along each axis are.
    Reshaping the numbers without regard to the strides would give arrays of the right shape with the wrong contents.

    Args:
        path: ``.pth`` file.

    Returns:
        Name -> array, contiguous.

    Raises:
        ValueError: the file has another format, is damaged, or names something that is not part of a tensor.
        FileNotFoundError: there is no such file.

    Example:
        ``read_torch_file("efficientnet-lite0.pth")["_conv_stem.weight"].shape``
    """
    with open(path, "rb") as file:
        try:
            if _load(file) != MAGIC or _load(file) != PROTOCOL:
                raise pickle.UnpicklingError("the file does not begin as PyTorch's older format does")
            _load(file)  # byte order and sizes of the types of the machine that wrote it
            tensors, keys = _load(file), _load(file)
            storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
            numbers = {key: _read_storage(file, storages[key]) for key in keys}
            return {name: _array(tensor, numbers[tensor.storage.key]) for name, tensor in tensors.items()}
        except Exception as error:  # a damaged pickle can raise almost any exception
            reason = str(error) or type(error).__name__
            raise ValueError(f"{str(path)!r} is not a PyTorch file that can be read safely: {reason}") from error


class _TensorsOnly(pickle.Unpickler):
    """An unpickler that builds dictionaries and tensors, and refuses all other names."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: _Tensor(storage, offset, shape, strides)
        if module == "torch" and name in TYPES:
            return TYPES[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is not part of a tensor")

    def persistent_load(self, reference: Any) -> _Storage:
        _, dtype, key, _, size, _ = reference  # the word "storage", type, key, device, number of entries, view
        return _Storage(key, dtype, size)


def _load(file: BinaryIO) -> Any:
    return _TensorsOnly(file).load()


def _read_storage(file: BinaryIO, storage: _Storage) -> np.ndarray:
    """Read the number of entries, which must be the announced one, and the entries."""
    size = int.from_bytes(file.read(8), "little")
    if size != storage.size:
        raise ValueError(f"storage {storage.key} has {size} entries, and {storage.size} were announced")
    values = file.read(size * storage.dtype.itemsize)
    if len(values) != size * storage.dtype.itemsize:
        raise ValueError(f"the file ends within storage {storage.key}")
    return np.frombuffer(values, storage.dtype)


def _array(tensor: _Tensor, numbers: np.ndarray) -> np.ndarray:
    """Return the tensor as a contiguous array. Strides that lead out of the storage would read any memory of this process."""
    last = tensor.offset + sum((side - 1) * stride for side, stride in zip(tensor.shape, tensor.strides, strict=True))
    if min((tensor.offset, *tensor.shape, *tensor.strides), default=0) < 0 or (0 not in tensor.shape and last >= len(numbers)):
        raise ValueError(f"a tensor of shape {tensor.shape} with strides {tensor.strides} reaches beyond its {len(numbers)} numbers")
    strides = [stride * numbers.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides, writeable=False).copy()
