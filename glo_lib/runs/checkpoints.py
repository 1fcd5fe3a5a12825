"""Checkpoints that are verified before they are used.

TensorFlow writes a checkpoint as two files, ``model.ckpt-<step>.index`` and ``.data-00000-of-00001``. When both are written, a third
file, ``.sums.json``, records their sizes and CRC-32 checksums. Before a checkpoint is used, its files are compared with these: a truncated
or altered checkpoint is named in a warning, and the one before it is used. TensorFlow's own list of checkpoints, the file ``checkpoint``,
may be older than the files, so it is written again from the checkpoints that passed.
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

from glo_lib.graph.backend import tf
from glo_lib.system.replace import write_text

v1 = tf.compat.v1
BASENAME = "model.ckpt"
CHECKSUMS = ".sums.json"
MAX_TO_KEEP = 3
DATA = ".data-00000-of-00001"
CHECKPOINT_FILE = re.compile(rf"{re.escape(BASENAME)}-(\d+)\.")
TEMPORARY_FILE = re.compile(rf"{re.escape(BASENAME)}-\d+_temp|\.{re.escape(BASENAME)}-\d+\..*partial")
DISK_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
BLOCK_BYTES = 2**22


def newest_checkpoint(folder: str | Path) -> str | None:
    """Return the newest complete checkpoint of a folder; newer ones that are damaged are named in a warning.

    Args:
        folder: run folder; nothing in it is changed.

    Returns:
        Its prefix, as in ``run/model.ckpt-500``; None if there is no checkpoint yet.

    Raises:
        ValueError: there are checkpoints, but none of them can be used.
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
    """Prepare a folder for training to continue: only complete checkpoints keep their names, and TensorFlow's list names these.

    Files that a killed process left half written or half removed are removed. A damaged checkpoint keeps its files under names that begin
    with ``damaged-``; a warning names the damaged ones that are newer than the one used.

    Args:
        folder: run folder, locked by this process (see `glo_lib.runs.folder.lock_run_folder`).

    Returns:
        The same as `newest_checkpoint`.

    Raises:
        ValueError: the same as `newest_checkpoint`; the folder is then left as it was.
    """
    folder = Path(folder)
    problems = {prefix: find_damage(prefix) for prefix in _all_prefixes(folder)}
    whole = [prefix for prefix, problem in problems.items() if not problem]
    newer = list(problems.values())[: list(problems).index(whole[0]) if whole else None]
    damaged = [problem for problem in newer if problem]
    if not whole:
        _refuse_if_steps_would_be_lost(folder, damaged)
    for prefix in problems.keys() - set(whole):
        _set_aside(prefix)
    for entry in folder.iterdir():
        if TEMPORARY_FILE.match(entry.name):
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    _write_checkpoint_list(folder, [Path(prefix).name for prefix in whole])
    _warn_of_damage(damaged, f"the run goes on from {Path(whole[0]).name}" if whole else "it is the first, and the run begins anew")
    return whole[0] if whole else None


def _write_checkpoint_list(folder: Path, names: Sequence[str]) -> None:
    """Write TensorFlow's own list of checkpoints; it restores the first, and removes the oldest when there are too many."""
    if not names:
        (folder / "checkpoint").unlink(missing_ok=True)
        return
    lines = [f'model_checkpoint_path: "{names[0]}"', *(f'all_model_checkpoint_paths: "{name}"' for name in reversed(names))]
    write_text(folder / "checkpoint", "\n".join(lines) + "\n")


def _all_prefixes(folder: str | Path) -> list[str]:
    """Prefixes of all checkpoints of which there is any file, newest first."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    steps = {int(match[1]) for match in map(CHECKPOINT_FILE.match, names) if match and len(match[1]) < 19}
    return [str(Path(folder) / f"{BASENAME}-{step}") for step in sorted(steps, reverse=True)]


def _refuse_if_steps_would_be_lost(folder: str | Path, damaged: Sequence[str]) -> None:
    # The first checkpoint holds no training: a run whose process was killed while writing it simply starts again.
    if any(not os.path.basename(prefix).endswith("-0") for prefix in _all_prefixes(folder)):
        listed = "\n  ".join(damaged)
        raise ValueError(f"no checkpoint in {str(folder)!r} can be used; remove the folder to begin anew, or give another:\n  {listed}")


def _warn_of_damage(damaged: Sequence[str], what_follows: str) -> None:
    if damaged:
        warnings.warn(f"{'; '.join(damaged)}; {what_follows}", stacklevel=3)


def _files_of(prefix: str) -> list[Path]:
    folder, name = os.path.split(prefix)
    return [Path(folder) / entry for entry in sorted(os.listdir(folder)) if entry.startswith(f"{name}.")]


def _set_aside(prefix: str) -> None:
    finished = all(os.path.exists(prefix + ending) for ending in (".index", DATA, CHECKSUMS))
    for path in _files_of(prefix):
        if finished:
            os.replace(path, path.with_name(f"damaged-{path.name}"))
        else:
            path.unlink()


def find_damage(prefix: str) -> str:
    """Check every byte of a checkpoint.

    Args:
        prefix: as in ``run/model.ckpt-500``.

    Returns:
        What is wrong, with the name of the file; empty if the checkpoint is complete.
    """
    for path in (f"{prefix}.index", prefix + DATA):
        if not os.path.isfile(path):
            return f"{os.path.basename(path)} is missing"
    sums = _read_checksums(prefix)
    try:
        if sums is None:  # the process was killed before they were written, or an early version wrote the checkpoint
            return _find_damage_by_reading(prefix)
        for path in (f"{prefix}.index", prefix + DATA):
            name = os.path.basename(path)
            size = os.path.getsize(path)
            if size != sums[name][0]:
                return f"{name} has {size:,} bytes, not {sums[name][0]:,}"
            if _crc32(path) != sums[name][1]:
                return f"{name} is not what was written (its checksum differs)"
    except OSError as error:
        return f"{os.path.basename(prefix)} cannot be read ({error.strerror})"
    return ""


def _read_checksums(prefix: str) -> dict[str, tuple[int, int]] | None:
    try:
        noted = json.loads(Path(prefix + CHECKSUMS).read_text())
        names = [os.path.basename(prefix) + ending for ending in (".index", DATA)]
        return {name: (int(noted[name][0]), int(noted[name][1])) for name in names}
    except (OSError, ValueError, TypeError, LookupError, RecursionError, OverflowError):
        return None


def _crc32(path: str | Path) -> int:
    crc = 0
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(BLOCK_BYTES), b""):
            crc = zlib.crc32(block, crc)
    return crc


def _find_damage_by_reading(prefix: str) -> str:
    """Read every tensor: TensorFlow compares a checksum of its own for each."""
    name = os.path.basename(prefix)
    try:
        reader = tf.train.load_checkpoint(prefix)
        sizes = _tensor_sizes(reader)
        if sum(sizes.values()) > os.path.getsize(prefix + DATA):  # a wrong size could otherwise take all memory
            return f"{name} declares {sum(sizes.values()):,} bytes of tensors, more than its file holds"
        for tensor in sizes:
            reader.get_tensor(tensor)
    except Exception as error:  # the reader raises almost anything on damaged files
        return f"{name} cannot be read ({str(error).splitlines()[0][:200] if str(error) else type(error).__name__})"
    return ""


def _tensor_sizes(reader: Any) -> dict[str, int]:
    types = reader.get_variable_to_dtype_map()
    return {name: math.prod(shape) * max(1, types[name].size or 1) for name, shape in reader.get_variable_to_shape_map().items()}


def check_fits(prefix: str, expected: Mapping[str, tuple[int | None, ...]]) -> None:
    """Refuse a checkpoint of another model before any of its tensors is read.

    Args:
        prefix: complete checkpoint.
        expected: shape of each variable that will be read; None for an axis of any length.

    Raises:
        ValueError: a variable is missing, has another shape or another type, or is larger than the file.
    """
    reader = tf.train.load_checkpoint(prefix)
    shapes, types, sizes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map(), _tensor_sizes(reader)
    room = os.path.getsize(prefix + DATA)
    for name, shape in expected.items():
        found = tuple(shapes[name]) if name in shapes else None
        fits = found is not None and len(found) == len(shape) and all(e in (None, f) for e, f in zip(shape, found, strict=True))
        if not fits or types[name] not in (tf.float32, tf.float64, tf.int64) or sizes[name] > room:
            holds = "is missing" if found is None else f"is {types[name].name} {list(found)}"
            raise ValueError(
                f"{prefix!r} is not a checkpoint of this model: {name} is {list(shape)}, and there it {holds}; "
                "it was made with other settings or by another version; give another folder"
            )


class VerifiedSaver(v1.train.Saver):
    """TensorFlow's saver, which also writes checksums, refuses checkpoints of other models, and explains a full disk.

    Args:
        restored: the checkpoint that the run continues from; it is not written a second time.
        settings: those of ``tf.compat.v1.train.Saver``.

    Attributes:
        newest: prefix of the checkpoint that was written last, or else of the restored one; verified in both cases.
    """

    def __init__(self, restored: str | None = None, **settings: Any):
        super().__init__(max_to_keep=MAX_TO_KEEP, save_relative_paths=True, **settings)  # a run folder may be moved
        self._restored = self.newest = restored

    def restore(self, sess, save_path):
        """See the base class; raises a `ValueError` for a checkpoint of another model."""
        check_fits(save_path, {variable.op.name: tuple(variable.shape) for variable in v1.global_variables()})
        super().restore(sess, save_path)

    def save(self, sess, save_path, global_step=None, **settings):
        """See the base class; raises an `OSError` that names the previous checkpoint if the disk has no room for this one."""
        prefix = f"{save_path}-{global_step}"
        if self._restored and os.path.realpath(prefix) == os.path.realpath(self._restored):
            return prefix  # writing it again could only damage it
        with disk_full_explained(os.path.dirname(save_path)):
            # Checksums of an earlier file of this name would make the new one look damaged.
            Path(prefix + CHECKSUMS).unlink(missing_ok=True)
            written = super().save(sess, save_path, global_step=global_step, **settings)
            write_checksums(prefix)
            _remove_orphaned_checksums(os.path.dirname(save_path))
        self.newest = prefix
        return written


def write_checksums(prefix: str) -> None:
    """Write the sizes and checksums of a checkpoint's files beside them; from then on the checkpoint counts as complete."""
    sums = {os.path.basename(path): (os.path.getsize(path), _crc32(path)) for path in (f"{prefix}.index", prefix + DATA)}
    write_text(prefix + CHECKSUMS, json.dumps(sums) + "\n")


def _remove_orphaned_checksums(folder: str) -> None:
    for path in Path(folder).glob(f"{BASENAME}-*{CHECKSUMS}"):
        if not os.path.exists(str(path).removesuffix(CHECKSUMS) + ".index"):
            path.unlink()


@contextmanager
def disk_full_explained(folder: str | Path) -> Iterator[None]:
    """Turn the error of a full disk, raised inside, into a message that says which checkpoint is left and what to do.

    Raises:
        OSError: with the number of the original error, such as that of a full disk (``ENOSPC``).
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
    """The operating system's number of an error; TensorFlow passes on its text only."""
    if isinstance(error, OSError):
        return error.errno
    return next((number for number in DISK_FULL_ERRORS if os.strerror(number) in str(error)), None)


def read_values(prefix: str | None, name: str, default: Sequence[float]) -> np.ndarray:
    """Read a small variable of a checkpoint; the default if there is no checkpoint, or no such variable in it."""
    if prefix is None:
        return np.asarray(default)
    reader = tf.train.load_checkpoint(prefix)
    return reader.get_tensor(name) if reader.has_tensor(name) else np.asarray(default)
