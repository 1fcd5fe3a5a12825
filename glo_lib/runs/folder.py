"""The files of a run folder, and how each is read and written.

::

    config.json     the settings           history.csv   step, seconds, loss
    manifest.json   the data's digest      metrics.json  what the run achieved
    images.csv      each image's digest    skipped.json  images that cannot be read
    checkpoint, model.ckpt-*               codes.npy     (N, d) projected codes
    events.out.*    for TensorBoard        figures/      PNG
    .lock           locked by the process that trains

Nothing in the folder is ever unpickled. Files are written under a temporary name and renamed when they are complete.
"""

import csv
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from glo_lib.config import TrainConfig
from glo_lib.runs import checkpoints
from glo_lib.system import locks
from glo_lib.system.cache import cache_root, digest_of
from glo_lib.system.replace import replacing, write_text

SECONDS_NAME = "training_seconds"  # variable of a checkpoint
UNREPORTED_NAME = "unreported_loss"  # variable of a checkpoint: sum and number of the losses since the last row of the history
NOT_PART_OF_RUN_NAME = ("run_dir", "data_dir", "on_bad_image")  # the manifest identifies the images
# Settings that were added later do not change the names of earlier runs.
LATER_DEFAULTS = {"model": "glo", "kl_weight": 1.0, "held_out": 0.0}


class Progress(NamedTuple):
    """How far a run has come: the steps taken, and the seconds that they took."""

    step: int
    seconds: float


class HistoryRow(NamedTuple):
    """Mean loss of the steps since the row before."""

    step: int
    seconds: float
    loss: float


class RunFolderInUse(RuntimeError):
    """Another process is training in this folder."""


def default_run_dir(config: TrainConfig, manifest: dict[str, Any]) -> Path:
    """Return a folder in the cache, named after everything that determines the result, so that the same call finds the same run."""
    settings = {name: value for name, value in config.as_dict().items() if name not in NOT_PART_OF_RUN_NAME}
    settings = {name: value for name, value in settings.items() if name not in LATER_DEFAULTS or value != LATER_DEFAULTS[name]}
    return cache_root() / "runs" / digest_of(json.dumps(settings, sort_keys=True), json.dumps(manifest, sort_keys=True))


def run_dir_of(config: TrainConfig, manifest: dict[str, Any]) -> Path:
    """Return the folder given in the settings, or else the default one."""
    return Path(config.run_dir).expanduser() if config.run_dir else default_run_dir(config, manifest)


def lock_run_folder(folder: Path) -> locks.Lock:
    """Lock a run folder for this process, until the lock is released or the process ends; the folder is created if necessary.

    Raises:
        RunFolderInUse: another process is training there.
        ValueError: the folder cannot be written.
    """
    _make_writable(folder)
    lock = locks.acquire(folder / ".lock")
    if lock is None:
        holder = (folder / ".lock").read_text(errors="replace").strip()[:200] or "another process"
        raise RunFolderInUse(f"run_dir {str(folder)!r} is in use by {holder}; wait until it ends, stop it, or give another folder")
    (folder / ".lock").write_text(locks.this_process() + "\n")
    return lock


def _make_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"run_dir is {str(folder)!r}, which cannot be written ({error.strerror}); give another folder") from None


def note_skipped(folder: Path, skipped: Mapping[str, str]) -> None:
    """Write ``skipped.json``, the images that could not be read, each with its reason; without such images, remove it."""
    if skipped:
        write_json(folder / "skipped.json", {"num_skipped": len(skipped), "files": dict(skipped)})
        print(f"{len(skipped)} image file(s) cannot be read and are skipped; skipped.json in the run folder lists them", flush=True)
    else:
        (folder / "skipped.json").unlink(missing_ok=True)


def read_config(folder: str | Path) -> TrainConfig:
    """Read the settings of a run.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: ``config.json`` is damaged.
    """
    path = Path(folder) / "config.json"
    settings = read_json(path)
    try:
        return TrainConfig.from_parameters(settings)
    except ValueError as error:
        raise ValueError(f"{str(path)!r} holds a setting that is not allowed: {error}") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file of a run folder.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read, or holds something else; the message names it.
    """
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise FileNotFoundError(f"{str(path.parent)!r} holds no {path.name}; it is not the folder of a run") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{str(path)!r} holds a {type(content).__name__}, not the object it should")
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Make or replace a file that holds a JSON object."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def progress_of(checkpoint: str | None) -> Progress:
    """Read step and seconds from a checkpoint; both are zero for None."""
    if checkpoint is not None:
        checkpoints.check_fits(checkpoint, {"global_step": (), SECONDS_NAME: ()})
    step, seconds = (checkpoints.read_values(checkpoint, name, 0) for name in ("global_step", SECONDS_NAME))
    return Progress(int(step), float(seconds))


def read_codes(folder: str | Path) -> np.ndarray:
    """Read the projected codes of a run, ``codes.npy``.

    Args:
        folder: run folder.

    Returns:
        (N, d) float32, memory-mapped.

    Raises:
        FileNotFoundError: the run has not been evaluated yet.
        ValueError: the file is damaged; nothing in it is executed.
    """
    path = Path(folder) / "codes.npy"
    if not path.exists():
        raise FileNotFoundError(f"{str(folder)!r} holds no codes.npy; train first, or give the folder of another run")
    try:
        codes = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy parses the header, and raises almost anything on a damaged one
        raise ValueError(f"{str(path)!r} cannot be read ({error}); remove it, and it is made again from the checkpoint") from None
    if not isinstance(codes, np.ndarray) or codes.ndim != 2 or codes.dtype != np.float32:
        raise ValueError(f"{str(path)!r} does not hold a table of codes; remove it, and it is made again from the checkpoint")
    return codes


def write_codes(folder: Path, codes: np.ndarray) -> None:
    """Make or replace ``codes.npy``."""
    with replacing(folder / "codes.npy") as partial:
        np.save(partial, codes, allow_pickle=False)


def read_history(folder: str | Path, up_to_step: int | None = None) -> list[HistoryRow]:
    """Read the loss over the run.

    Args:
        folder: run folder.
        up_to_step: drop later rows.

    Returns:
        Rows by rising step. When steps were taken again after a crash, only their last rows are kept.

    Raises:
        ValueError: ``history.csv`` is damaged.
    """
    rows: list[HistoryRow] = []
    path = Path(folder) / "history.csv"
    if not path.exists():
        return rows
    for row in _parse_history(path):
        while rows and rows[-1].step >= row.step:
            rows.pop()
        if up_to_step is None or row.step <= up_to_step:
            rows.append(row)
    return rows


def _parse_history(path: Path) -> list[HistoryRow]:
    try:
        whole_lines = path.read_text().rpartition("\n")[0]  # a killed process may have left half a line
        parsed = [HistoryRow(int(step), float(seconds), float(loss)) for step, seconds, loss in csv.reader(whole_lines.splitlines())]
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{str(path)!r} is damaged ({error}); remove it: only the curve of the loss is lost") from None
    return parsed


def append_history(folder: Path, row: HistoryRow) -> None:
    """Append a row to ``history.csv``."""
    with open(folder / "history.csv", "a", newline="") as file:
        _write_rows(file, [row])


def write_history(folder: Path, rows: Sequence[HistoryRow]) -> None:
    """Make or replace ``history.csv``; a process that is killed meanwhile loses no row."""
    with replacing(folder / "history.csv") as partial, open(partial, "w", newline="") as file:
        _write_rows(file, rows)


def _write_rows(file: TextIO, rows: Iterable[HistoryRow]) -> None:
    csv.writer(file).writerows([row.step, f"{row.seconds:.3f}", repr(row.loss)] for row in rows)
