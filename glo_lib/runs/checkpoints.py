"""Checkpoints that are verified before they are used.

TensorFlow writes a checkpoint as two files, ``model.ckpt-<step>.index`` and ``model.ckpt-<step>.data-00000-of-00001``. On several machines
there are more files of data, numbered likewise, because each machine writes its own variables. After all have been written, another file,
``model.ckpt-<step>.sums.json``, records their sizes and CRC-32 checksums. The files of a checkpoint are compared
with this record before the checkpoint is used. If they were truncated or altered, a warning names the checkpoint, and the previous one is
used. TensorFlow's own list of checkpoints, the file ``checkpoint``, may be out of date, so it is rewritten from the checkpoints that pass.
"""

import errno
import json
import math
import os
import re
import shutil
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from glo_lib.graph.backend import tf, v1
from glo_lib.graph.half_precision import loss_scale_variables
from glo_lib.system.replace import write_text

BASENAME = "model.ckpt"
CHECKSUMS = ".sums.json"
MAX_TO_KEEP = 3
DATA = ".data-00000-of-00001"
DATA_FILE = re.compile(r"\.data-\d{5}-of-(\d{5})")  # the ending of a file of data, with the number of such files
CHECKPOINT_FILE = re.compile(rf"{re.escape(BASENAME)}-(\d+)\.")
TEMPORARY_FILE = re.compile(rf"{re.escape(BASENAME)}-\d+_temp|\.{re.escape(BASENAME)}-\d+\..*partial")
DISK_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
BLOCK_BYTES = 2**22


def newest_checkpoint(folder: str | Path) -> str | None:
    """Return the newest complete checkpoint of a folder, and name newer ones that are damaged in a warning.

    Args:
        folder: run folder; nothing in it is changed.

    Returns:
        The prefix of the checkpoint, such as ``run/model.ckpt-500``, or None if there is no checkpoint yet.

    Raises:
        ValueError: there are checkpoints, but none of them can be used.

    Example:
        ``newest_checkpoint("my_run")``
    """
    damaged: list[str] = []
    for prefix in _all_prefixes(folder):
        problem = find_damage(prefix)
        if not problem:
            _warn_of_damage(damaged, f"{Path(prefix).name} is used")
            return prefix
        damaged.append(problem)
    _refuse_if_steps_would_be_lost(folder, damaged)
    return None


def repair_checkpoints(folder: str | Path) -> str | None:
    """Prepare a folder so that training can continue from its newest complete checkpoint.

    Partial files that a killed process left behind are deleted. The files of a damaged checkpoint are renamed so that their names begin
    with ``damaged-``, and a warning names the damaged checkpoints that are newer than the one used. TensorFlow's list of checkpoints is
    rewritten and names the complete ones only.

    Args:
        folder: run folder, locked by this process (see `glo_lib.runs.folder.lock_run_folder`).

    Returns:
        The prefix of the newest complete checkpoint, or None, as in `newest_checkpoint`.

    Raises:
        ValueError: there are checkpoints, but none of them can be used; the folder is then left unchanged.

    Example:
        ``repair_checkpoints("my_run")``
    """
    folder = Path(folder)
    problems = {prefix: find_damage(prefix) for prefix in _all_prefixes(folder)}
    complete = [prefix for prefix, problem in problems.items() if not problem]
    newer = list(problems.values())[: list(problems).index(complete[0]) if complete else None]
    damaged = [problem for problem in newer if problem]
    if not complete:
        _refuse_if_steps_would_be_lost(folder, damaged)
    for prefix in problems.keys() - set(complete):
        _set_aside(prefix)
    for entry in folder.iterdir():
        if TEMPORARY_FILE.match(entry.name):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)  # a server may still be writing to it, after another one was lost
            else:
                entry.unlink()
    _write_checkpoint_list(folder, [Path(prefix).name for prefix in complete])
    _warn_of_damage(damaged, f"the run goes on from {Path(complete[0]).name}" if complete else "it is the first, and the run begins anew")
    return complete[0] if complete else None


def _write_checkpoint_list(folder: Path, names: Sequence[str]) -> None:
    """Write TensorFlow's list of checkpoints. TensorFlow restores the first one, and deletes the oldest when there are too many."""
    if not names:
        (folder / "checkpoint").unlink(missing_ok=True)
        return
    lines = [f'model_checkpoint_path: "{names[0]}"', *(f'all_model_checkpoint_paths: "{name}"' for name in reversed(names))]
    write_text(folder / "checkpoint", "\n".join(lines) + "\n")


def _all_prefixes(folder: str | Path) -> list[str]:
    """Return the prefixes of all checkpoints with at least one file, newest first."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    steps = {int(match[1]) for match in map(CHECKPOINT_FILE.match, names) if match and len(match[1]) < 19}
    return [str(Path(folder) / f"{BASENAME}-{step}") for step in sorted(steps, reverse=True)]


def _refuse_if_steps_would_be_lost(folder: str | Path, damaged: Sequence[str]) -> None:
    # The checkpoint of step 0 precedes all training, so a run that was killed while writing it can start again without losing a step.
    if any(not os.path.basename(prefix).endswith("-0") for prefix in _all_prefixes(folder)):
        listed = "\n  ".join(damaged)
        raise ValueError(f"no checkpoint in {str(folder)!r} can be used; remove the folder to begin anew, or give another:\n  {listed}")


def _warn_of_damage(damaged: Sequence[str], consequence: str) -> None:
    if damaged:
        warnings.warn(f"{'; '.join(damaged)}; {consequence}", stacklevel=3)


def _files_of(prefix: str) -> list[Path]:
    folder, name = os.path.split(prefix)
    return [Path(folder) / entry for entry in sorted(os.listdir(folder)) if entry.startswith(f"{name}.")]


def _set_aside(prefix: str) -> None:
    finished = all(map(os.path.exists, [f"{prefix}.index", *_data_files(prefix), prefix + CHECKSUMS]))
    for path in _files_of(prefix):
        if finished:
            os.replace(path, path.with_name(f"damaged-{path.name}"))
        else:
            path.unlink()


def _data_files(prefix: str) -> list[str]:
    """Return the paths of all files of data that a checkpoint must have; their number is in the names of those that are there."""
    endings = (path.name.removeprefix(os.path.basename(prefix)) for path in _files_of(prefix))
    number = next((int(found[1]) for found in map(DATA_FILE.fullmatch, endings) if found), 1)
    return [f"{prefix}.data-{i:05d}-of-{number:05d}" for i in range(number)]


def find_damage(prefix: str) -> str:
    """Check every byte of a checkpoint.

    Args:
        prefix: such as ``run/model.ckpt-500``.

    Returns:
        A description of the damage that names the file, or an empty string if the checkpoint is complete.

    Example:
        ``find_damage("my_run/model.ckpt-500")``
    """
    paths = [f"{prefix}.index", *_data_files(prefix)]
    for path in paths:
        if not os.path.isfile(path):
            return f"{os.path.basename(path)} is missing"
    sums = _read_checksums(prefix, paths)
    try:
        if sums is None:  # the process was killed before writing them, or an early version of this library wrote the checkpoint
            return _find_damage_by_reading(prefix)
        for path in paths:
            name = os.path.basename(path)
            size = os.path.getsize(path)
            if size != sums[name][0]:
                return f"{name} has {size:,} bytes, not {sums[name][0]:,}"
            if _crc32(path) != sums[name][1]:
                return f"{name} is not what was written (its checksum differs)"
    except OSError as error:
        return f"{os.path.basename(prefix)} cannot be read ({error.strerror})"
    return ""


def _read_checksums(prefix: str, paths: Sequence[str]) -> dict[str, tuple[int, int]] | None:
    try:
        recorded = json.loads(Path(prefix + CHECKSUMS).read_text())
        names = map(os.path.basename, paths)
        return {name: (int(recorded[name][0]), int(recorded[name][1])) for name in names}
    except (OSError, ValueError, TypeError, LookupError, RecursionError, OverflowError):
        return None


def _crc32(path: str | Path) -> int:
    crc = 0
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(BLOCK_BYTES), b""):
            crc = zlib.crc32(block, crc)
    return crc


def _find_damage_by_reading(prefix: str) -> str:
    """Find damage without a checksum file by reading every tensor, because TensorFlow verifies a checksum of its own for each."""
    name = os.path.basename(prefix)
    try:
        reader = tf.train.load_checkpoint(prefix)
        sizes = _tensor_sizes(reader)
        if sum(sizes.values()) > _data_bytes(prefix):  # otherwise a corrupt size could exhaust the memory
            return f"{name} declares {sum(sizes.values()):,} bytes of tensors, more than its file holds"
        for tensor in sizes:
            reader.get_tensor(tensor)
    except Exception as error:  # the reader raises exceptions of many types on damaged files
        return f"{name} cannot be read ({str(error).splitlines()[0][:200] if str(error) else type(error).__name__})"
    return ""


def _data_bytes(prefix: str) -> int:
    return sum(map(os.path.getsize, _data_files(prefix)))


def _tensor_sizes(reader: Any) -> dict[str, int]:
    types = reader.get_variable_to_dtype_map()
    return {name: math.prod(shape) * max(1, types[name].size or 1) for name, shape in reader.get_variable_to_shape_map().items()}


def check_fits(prefix: str, expected: Mapping[str, tuple[int | None, ...]]) -> None:
    """Refuse a checkpoint of another model before any of its tensors is read.

    Args:
        prefix: complete checkpoint.
        expected: shape of each variable that will be read; None stands for an axis of any length.

    Raises:
        ValueError: a variable is missing, has another shape or another type, or is larger than the file.

    Example:
        ``check_fits("my_run/model.ckpt-500", {"codes": (None, 100)})``
    """
    reader = tf.train.load_checkpoint(prefix)
    shapes, types, sizes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map(), _tensor_sizes(reader)
    file_bytes = _data_bytes(prefix)
    for name, shape in expected.items():
        found = tuple(shapes[name]) if name in shapes else None
        fits = found is not None and len(found) == len(shape) and all(e in (None, f) for e, f in zip(shape, found, strict=True))
        if not fits or types[name] not in (tf.float32, tf.float64, tf.int64) or sizes[name] > file_bytes:
            holds = "is missing" if found is None else f"is {types[name].name} {list(found)}"
            raise ValueError(
                f"{prefix!r} is not a checkpoint of this model: {name} is {list(shape)}, and there it {holds}; "
                "it was made with other settings or by another version; give another folder"
            )


class VerifiedSaver(v1.train.Saver):
    """A ``tf.compat.v1.train.Saver`` that also writes checksums, refuses checkpoints of other models, and explains a full disk.

    A run that has changed its precision to float16 restores a checkpoint without the variables of the loss scaling. They begin anew.

    Args:
        restored: the checkpoint that the run continues from; it is not written a second time.
        settings: further arguments of ``tf.compat.v1.train.Saver``.

    Attributes:
        newest: prefix of the checkpoint that was written last, or of the restored one if none has been written; verified in both cases.
    """

    def __init__(self, restored: str | None = None, **settings: Any):
        super().__init__(max_to_keep=MAX_TO_KEEP, save_relative_paths=True, **settings)  # so that a run folder can be moved
        self._restored = self.newest = restored
        scaling = loss_scale_variables() if restored else []
        held = tf.train.load_checkpoint(restored).get_variable_to_shape_map() if scaling else {}
        missing = [variable for variable in scaling if variable.op.name not in held]
        names = {variable.op.name for variable in missing}
        self._expected = [variable for variable in v1.global_variables() if variable.op.name not in names]
        self._initialise_missing = v1.variables_initializer(missing)
        self._without_missing = v1.train.Saver(self._expected, **settings) if missing else None

    def restore(self, sess: v1.Session, save_path: str) -> None:
        """Restore the variables as the base class does; raise a `ValueError` for a checkpoint of another model."""
        check_fits(save_path, dict(map(_saved_name_and_shape, self._expected)))
        if self._without_missing:
            self._without_missing.restore(sess, save_path)
            sess.run(self._initialise_missing)
        else:
            super().restore(sess, save_path)

    def save(self, sess: v1.Session, save_path: str, global_step: int | None = None, **settings: Any) -> str:
        """Save the variables as the base class does; if the disk is full, raise an `OSError` that names the previous checkpoint."""
        prefix = f"{save_path}-{global_step}"
        if self._restored and os.path.realpath(prefix) == os.path.realpath(self._restored):
            return prefix  # it is complete already, and an interrupted second write would damage it
        with disk_full_explained(os.path.dirname(save_path)):
            # Outdated checksums of an earlier checkpoint with this name would make the new one look damaged.
            Path(prefix + CHECKSUMS).unlink(missing_ok=True)
            written = super().save(sess, save_path, global_step=global_step, **settings)
            write_checksums(prefix)
            _remove_orphaned_checksums(os.path.dirname(save_path))
        self.newest = prefix
        return written


def _saved_name_and_shape(variable: tf.Variable) -> tuple[str, tuple[int, ...]]:
    """Name and shape in a checkpoint; a part of a table that is split over several machines is saved under the name of the whole."""
    part = variable._get_save_slice_info()
    return (part.full_name, tuple(part.full_shape)) if part else (variable.op.name, tuple(variable.shape))


def write_checksums(prefix: str) -> None:
    """Write a file with the sizes and checksums of a checkpoint's files, next to them. It marks the checkpoint as complete."""
    sums = {os.path.basename(path): (os.path.getsize(path), _crc32(path)) for path in (f"{prefix}.index", *_data_files(prefix))}
    write_text(prefix + CHECKSUMS, json.dumps(sums) + "\n")


def _remove_orphaned_checksums(folder: str) -> None:
    for path in Path(folder).glob(f"{BASENAME}-*{CHECKSUMS}"):
        if not os.path.exists(str(path).removesuffix(CHECKSUMS) + ".index"):
            path.unlink()


@contextmanager
def disk_full_explained(folder: str | Path) -> Iterator[None]:
    """If the block fails because the disk is full, say which checkpoint can still be used and what to do. Other errors pass unchanged.

    Args:
        folder: run folder.

    Raises:
        OSError: the disk is full; ``errno`` is that of the original error, such as ``ENOSPC``.

    Example:
        ``with disk_full_explained("my_run"): saver.save(session, "my_run/model.ckpt", 500)``
    """
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        number = _error_number(error)
        if number not in DISK_FULL_ERRORS:
            raise
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kept = next((prefix for prefix in _all_prefixes(folder) if not find_damage(prefix)), None)
        left = f"the checkpoint before, {os.path.basename(kept)}, is whole" if kept else "there was no checkpoint yet"
        reason = os.strerror(number)
        raise OSError(
            number, f"nothing more can be written to {str(folder)!r} ({reason}); {left}: make room, and the same call goes on from there"
        ) from error


def _error_number(error: Exception) -> int | None:
    """Return the ``errno`` of an error. A TensorFlow error holds only its text, so the number is found by that text."""
    if isinstance(error, OSError):
        return error.errno
    return next((number for number in DISK_FULL_ERRORS if os.strerror(number) in str(error)), None)


def read_values(prefix: str | None, name: str, default: float | Sequence[float]) -> np.ndarray:
    """Read a small variable of a checkpoint; return the default if there is no checkpoint or it has no such variable."""
    if prefix is None:
        return np.asarray(default)
    reader = tf.train.load_checkpoint(prefix)
    return reader.get_tensor(name) if reader.has_tensor(name) else np.asarray(default)
