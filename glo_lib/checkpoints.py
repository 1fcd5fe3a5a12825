"""Checkpoints that are whole, or are not used.

TensorFlow writes a checkpoint as two files, ``model.ckpt-<step>.index`` and ``.data-00000-of-00001``. When both are there, a third one,
``.sums.json``, notes their sizes and CRC-32 sums. Whoever reads a checkpoint compares first: a truncated or altered one is named, and
the one before it is used. The list that TensorFlow keeps in the file ``checkpoint`` is not believed, but written anew from what is
found to be whole.
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

from glo_lib.backend import tf

v1 = tf.compat.v1
BASENAME = "model.ckpt"
SUMS = ".sums.json"
KEPT = 3
DATA = ".data-00000-of-00001"
OF_A_CHECKPOINT = re.compile(rf"{re.escape(BASENAME)}-(\d+)\.")
TEMPORARY = re.compile(rf"{re.escape(BASENAME)}-\d+_temp")
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
BLOCK = 2**22  # bytes


def newest(folder: str | Path) -> str | None:
    """The newest whole checkpoint of a folder, as a prefix for TensorFlow; newer ones that are damaged are named in a warning.

    Args:
        folder: run folder; nothing in it is changed.

    Returns:
        The prefix, as in ``run/model.ckpt-500``; None where there is no checkpoint yet.

    Raises:
        ValueError: there are checkpoints, and none of them can be used.
    """
    damaged: list[str] = []
    for prefix in _prefixes(folder):
        problem = what_is_wrong(prefix)
        if not problem:
            _tell(damaged, f"{Path(prefix).name} is used")
            return prefix
        damaged.append(problem)
    _refuse_if_steps_are_lost(folder, damaged)
    return None


def settle(folder: str | Path) -> str | None:
    """Make a folder ready for training to go on: only whole checkpoints are left under their names, and TensorFlow's list names them.

    What a killed process left half written or half removed is removed. A damaged checkpoint keeps its files under names that begin with
    ``damaged-``; of several, those newer than what is used are named in the warning.

    Args:
        folder: run folder, which nobody else writes to (see `glo_lib.run_folder.lock_run_folder`).

    Returns:
        As `newest`.

    Raises:
        ValueError: as `newest`; the folder is then left as it was.
    """
    folder = Path(folder)
    problems = {prefix: what_is_wrong(prefix) for prefix in _prefixes(folder)}
    whole = [prefix for prefix, problem in problems.items() if not problem]
    newer = list(problems.values())[: list(problems).index(whole[0]) if whole else None]
    damaged = [problem for problem in newer if problem]
    if not whole:
        _refuse_if_steps_are_lost(folder, damaged)
    for prefix in problems.keys() - set(whole):
        _set_aside(prefix)
    for entry in folder.iterdir():
        if TEMPORARY.match(entry.name):
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    _write_list(folder, [Path(prefix).name for prefix in whole])
    _tell(damaged, f"the run goes on from {Path(whole[0]).name}" if whole else "it is the first, and the run begins anew")
    return whole[0] if whole else None


def _write_list(folder: Path, names: Sequence[str]) -> None:
    """TensorFlow's own list of checkpoints; it restores the first, and removes the oldest when there are too many."""
    if not names:
        (folder / "checkpoint").unlink(missing_ok=True)
        return
    lines = [f'model_checkpoint_path: "{names[0]}"', *(f'all_model_checkpoint_paths: "{name}"' for name in reversed(names))]
    partial = folder / ".checkpoint.partial"
    partial.write_text("\n".join(lines) + "\n")
    os.replace(partial, folder / "checkpoint")


def _prefixes(folder: str | Path) -> list[str]:
    """Prefixes of which there is any file, newest first."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    steps = {int(match[1]) for match in map(OF_A_CHECKPOINT.match, names) if match and len(match[1]) < 19}
    return [str(Path(folder) / f"{BASENAME}-{step}") for step in sorted(steps, reverse=True)]


def _refuse_if_steps_are_lost(folder: str | Path, damaged: Sequence[str]) -> None:
    # The first checkpoint holds no training: a process killed while writing it is simply begun again.
    if any(not os.path.basename(prefix).endswith("-0") for prefix in _prefixes(folder)):
        listed = "\n  ".join(damaged)
        raise ValueError(f"no checkpoint in {str(folder)!r} can be used; remove the folder to begin anew, or give another:\n  {listed}")


def _tell(damaged: Sequence[str], what_follows: str) -> None:
    if damaged:
        warnings.warn(f"{'; '.join(damaged)}; {what_follows}", stacklevel=3)


def _files(prefix: str) -> list[Path]:
    folder, name = os.path.split(prefix)
    return [Path(folder) / entry for entry in sorted(os.listdir(folder)) if entry.startswith(f"{name}.")]


def _set_aside(prefix: str) -> None:
    finished = all(os.path.exists(prefix + ending) for ending in (".index", DATA, SUMS))
    for path in _files(prefix):
        if finished:
            os.replace(path, path.with_name(f"damaged-{path.name}"))
        else:
            path.unlink()


def what_is_wrong(prefix: str) -> str:
    """Look at every byte of a checkpoint.

    Args:
        prefix: as in ``run/model.ckpt-500``.

    Returns:
        What is wrong, with the file's name; empty when it is whole.
    """
    for path in (f"{prefix}.index", prefix + DATA):
        if not os.path.isfile(path):
            return f"{os.path.basename(path)} is missing"
    sums = _noted_sums(prefix)
    try:
        if sums is None:  # killed between TensorFlow's last file and ours, or written by an earlier version
            return _read_to_the_end(prefix)
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


def _noted_sums(prefix: str) -> dict[str, tuple[int, int]] | None:
    try:
        noted = json.loads(Path(prefix + SUMS).read_text())
        names = [os.path.basename(prefix) + ending for ending in (".index", DATA)]
        return {name: (int(noted[name][0]), int(noted[name][1])) for name in names}
    except (OSError, ValueError, TypeError, LookupError, RecursionError, OverflowError):
        return None


def _crc32(path: str | Path) -> int:
    crc = 0
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(BLOCK), b""):
            crc = zlib.crc32(block, crc)
    return crc


def _read_to_the_end(prefix: str) -> str:
    """TensorFlow has a checksum of its own for each tensor, and compares it when the tensor is read."""
    name = os.path.basename(prefix)
    try:
        reader = tf.train.load_checkpoint(prefix)
        sizes = _sizes(reader)
        if sum(sizes.values()) > os.path.getsize(prefix + DATA):  # or a false size would take all memory
            return f"{name} declares {sum(sizes.values()):,} bytes of tensors, more than its file holds"
        for tensor in sizes:
            reader.get_tensor(tensor)
    except Exception as error:  # the reader raises almost anything on damaged files
        return f"{name} cannot be read ({str(error).splitlines()[0][:200] if str(error) else type(error).__name__})"
    return ""


def _sizes(reader: Any) -> dict[str, int]:
    types = reader.get_variable_to_dtype_map()
    return {name: math.prod(shape) * max(1, types[name].size or 1) for name, shape in reader.get_variable_to_shape_map().items()}


def check_fits(prefix: str, expected: Mapping[str, tuple[int | None, ...]]) -> None:
    """Refuse a checkpoint of another model before anything of it is read.

    Args:
        prefix: whole checkpoint.
        expected: shape of each variable that will be read; None for an axis of any length.

    Raises:
        ValueError: a variable is missing, has another shape or another type, or is larger than the file.
    """
    reader = tf.train.load_checkpoint(prefix)
    shapes, types, sizes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map(), _sizes(reader)
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


class CarefulSaver(v1.train.Saver):
    """TensorFlow's saver, which also notes checksums, refuses what does not fit, and explains a full disk.

    Args:
        restored: the checkpoint that the run goes on from; it is not written a second time.
        settings: as those of ``tf.compat.v1.train.Saver``.
    """

    def __init__(self, restored: str | None = None, **settings: Any):
        super().__init__(max_to_keep=KEPT, save_relative_paths=True, **settings)  # a run folder may be moved
        self._restored = restored

    def restore(self, sess, save_path):
        """See the base class; raises a `ValueError` for a checkpoint of another model."""
        check_fits(save_path, {variable.op.name: tuple(variable.shape) for variable in v1.global_variables()})
        super().restore(sess, save_path)

    def save(self, sess, save_path, global_step=None, **settings):
        """See the base class; raises an `OSError` that names the checkpoint before when there is no room for this one."""
        prefix = f"{save_path}-{global_step}"
        if self._restored and os.path.realpath(prefix) == os.path.realpath(self._restored):
            return prefix  # writing it again could only harm it
        with disk_full_explained(os.path.dirname(save_path)):
            # Notes of an earlier file of this name would call the new one damaged.
            Path(prefix + SUMS).unlink(missing_ok=True)
            written = super().save(sess, save_path, global_step=global_step, **settings)
            note_sums(prefix)
            _remove_notes_without_checkpoint(os.path.dirname(save_path))
        return written


def note_sums(prefix: str) -> None:
    """Write the sizes and sums of a checkpoint's files beside them: from now on it counts as finished."""
    sums = {os.path.basename(path): (os.path.getsize(path), _crc32(path)) for path in (f"{prefix}.index", prefix + DATA)}
    partial = Path(f"{prefix}_temp{SUMS}")
    partial.write_text(json.dumps(sums) + "\n")
    os.replace(partial, prefix + SUMS)


def _remove_notes_without_checkpoint(folder: str) -> None:
    for path in Path(folder).glob(f"{BASENAME}-*{SUMS}"):
        if not os.path.exists(str(path).removesuffix(SUMS) + ".index"):
            path.unlink()


@contextmanager
def disk_full_explained(folder: str | Path) -> Iterator[None]:
    """Around whatever writes to a run folder: a full disk becomes a message that says what is left and what to do.

    Raises:
        OSError: with the number of the original error, as of a full disk (``ENOSPC``).
    """
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        number = _number_of(error)
        if number not in NO_ROOM:
            raise
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kept = next((prefix for prefix in _prefixes(folder) if not what_is_wrong(prefix)), None)
        left = f"the checkpoint before, {os.path.basename(kept)}, is whole" if kept else "there was no checkpoint yet"
        reason = os.strerror(number)
        raise OSError(
            number, f"nothing more can be written to {str(folder)!r} ({reason}); {left}: make room, and the same call goes on from there"
        ) from error


def _number_of(error: Exception) -> int | None:
    """The operating system's number of an error; TensorFlow passes on only its text."""
    if isinstance(error, OSError):
        return error.errno
    return next((number for number in NO_ROOM if os.strerror(number) in str(error)), None)


def read_values(prefix: str | None, name: str, default: Sequence[float]) -> np.ndarray:
    """A small variable of a checkpoint, or a default where there is no checkpoint or no such variable in it."""
    if prefix is None:
        return np.asarray(default)
    reader = tf.train.load_checkpoint(prefix)
    return reader.get_tensor(name) if reader.has_tensor(name) else np.asarray(default)
