"""The folder of a run: to whom it belongs, what it holds, and how far it has come.

::

    config.json     the settings           history.csv   step, seconds, loss
    manifest.json   the data's digest      metrics.json  what the run achieved
    images.csv      each image's digest    skipped.json  images that cannot be read
    checkpoint, model.ckpt-*               codes.npy     (N, d) projected codes
    events.out.*    for TensorBoard        figures/      PNG
    .lock           held by the process that trains

Nothing in it is ever unpickled. Whatever is written anew is written under another name first and renamed when it is whole.
"""

import csv
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from glo_lib import checkpoints, locks
from glo_lib.cache import cache_root, digest_of
from glo_lib.config import TrainConfig
from glo_lib.image_list import changes, list_facts, read_facts, write_facts

SECONDS_NAME = "training_seconds"
UNREPORTED_NAME = "unreported_loss"  # sum and number of the losses since the last row of the history
OF_NO_ACCOUNT = ("run_dir", "data_dir", "on_bad_image")  # what the images are, the manifest says
# Settings that came later do not change the names of runs that do without them.
LATER_DEFAULTS = {"model": "glo", "kl_weight": 1.0, "held_out": 0.0}


class Progress(NamedTuple):
    """How far a run has come: steps taken, and seconds they took."""

    step: int
    seconds: float


class HistoryRow(NamedTuple):
    """Mean loss of the steps since the row before."""

    step: int
    seconds: float
    loss: float


class RunFolderInUse(RuntimeError):
    """Another process trains in this folder."""


def data_manifest(filenames: Sequence[str]) -> dict[str, Any]:
    """What identifies the data of a run: number, names (below their common folder) and sizes of the images, as a digest."""
    folder = os.path.commonpath([os.path.dirname(os.path.abspath(filename)) for filename in filenames])
    parts = (f"{os.path.relpath(filename, folder)}\t{os.stat(filename).st_size}" for filename in filenames)
    return {"num_images": len(filenames), "digest": digest_of(*parts)}


def default_run_dir(config: TrainConfig, manifest: dict[str, Any]) -> Path:
    """A folder in the cache, named after everything that determines the result: the same call finds the same run again."""
    settings = {name: value for name, value in config.as_dict().items() if name not in OF_NO_ACCOUNT}
    settings = {name: value for name, value in settings.items() if name not in LATER_DEFAULTS or value != LATER_DEFAULTS[name]}
    return cache_root() / "runs" / digest_of(json.dumps(settings, sort_keys=True), json.dumps(manifest, sort_keys=True))


def run_dir_of(config: TrainConfig, manifest: dict[str, Any]) -> Path:
    """The folder that was asked for, or the default one."""
    return Path(config.run_dir).expanduser() if config.run_dir else default_run_dir(config, manifest)


def lock_run_folder(folder: Path) -> locks.Lock:
    """Make a folder for this process alone, until the lock is released or the process ends, however it ends.

    Raises:
        RunFolderInUse: another process trains there.
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


def open_run_folder(config: TrainConfig, manifest: dict[str, Any], filenames: Sequence[str] = ()) -> Path:
    """Make the run's folder, or find it and see that it belongs to these settings and these images.

    Args:
        config: the settings.
        manifest: from `data_manifest`.
        filenames: the images; their content is compared with what the run began with.

    Raises:
        ValueError: the folder belongs to another configuration or other data, or cannot be written.
    """
    folder = run_dir_of(config, manifest)
    _make_writable(folder)
    begun = (folder / "config.json").exists()
    before = read_facts(folder / "images.csv") if begun and filenames else []
    images = list_facts(filenames, before)
    if begun:
        _refuse_another_run(folder, config, manifest, changes(before, images) if before else [])
    with checkpoints.disk_full_explained(folder):
        if images and images != before:
            write_facts(folder / "images.csv", images)
        write_json(folder / "manifest.json", manifest)
        write_json(folder / "config.json", config.as_dict())  # last: a folder without it has not begun
    return folder


def _refuse_another_run(folder: Path, config: TrainConfig, manifest: dict[str, Any], of_images: list[str]) -> None:
    differences = config.differences(read_config(folder))
    before = read_json(folder / "manifest.json")
    if before != manifest:
        differences.append(f"images: {manifest['num_images']:,} with digest {manifest['digest']}, not {before}")
    differences += of_images
    if differences:
        listed = "\n  ".join(differences)
        raise ValueError(f"run_dir {str(folder)!r} belongs to another run; give another folder or remove this one. It differs:\n  {listed}")


def note_skipped(folder: Path, skipped: Mapping[str, str]) -> None:
    """Write ``skipped.json``: the images that could not be read, each with its reason; no such file where there are none."""
    if skipped:
        write_json(folder / "skipped.json", {"num_skipped": len(skipped), "files": dict(skipped)})
        print(f"{len(skipped)} image file(s) cannot be read and are skipped; skipped.json in the run folder lists them", flush=True)
    else:
        (folder / "skipped.json").unlink(missing_ok=True)


def read_config(folder: str | Path) -> TrainConfig:
    """The settings of a run.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: a file that is not what `write_json` wrote.
    """
    path = Path(folder) / "config.json"
    settings = read_json(path)
    try:
        return TrainConfig.from_parameters(settings)
    except ValueError as error:
        raise ValueError(f"{str(path)!r} holds a setting that is not allowed: {error}") from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of a run folder; errors name the file."""
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
    """Write a JSON object under a temporary name and rename it: a reader sees the old file or the new one, whole."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(partial, path)


def read_progress(folder: str | Path) -> Progress:
    """Step and seconds of the newest whole checkpoint; zero where there is none."""
    return progress_of(checkpoints.newest(folder))


def progress_of(checkpoint: str | None) -> Progress:
    """Step and seconds of a checkpoint; zero for None."""
    if checkpoint is not None:
        checkpoints.check_fits(checkpoint, {"global_step": (), SECONDS_NAME: ()})
    step, seconds = (checkpoints.read_values(checkpoint, name, 0) for name in ("global_step", SECONDS_NAME))
    return Progress(int(step), float(seconds))


def read_codes(folder: str | Path) -> np.ndarray:
    """The projected codes of a run, ``codes.npy``.

    Args:
        folder: run folder.

    Returns:
        (N, d) float32, memory-mapped.

    Raises:
        FileNotFoundError: the run has not come so far.
        ValueError: a file that is not what `write_codes` wrote; nothing in it is executed.
    """
    path = Path(folder) / "codes.npy"
    if not path.exists():
        raise FileNotFoundError(f"{str(folder)!r} holds no codes.npy; train first, or give the folder of another run")
    try:
        codes = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # the header is text that is parsed, and a damaged one makes numpy raise almost anything
        raise ValueError(f"{str(path)!r} cannot be read ({error}); remove it, and it is made again from the checkpoint") from None
    if not isinstance(codes, np.ndarray) or codes.ndim != 2 or codes.dtype != np.float32:
        raise ValueError(f"{str(path)!r} does not hold a table of codes; remove it, and it is made again from the checkpoint")
    return codes


def write_codes(folder: Path, codes: np.ndarray) -> None:
    """Write ``codes.npy``, whole or not at all."""
    partial = folder / ".codes.partial.npy"
    np.save(partial, codes, allow_pickle=False)
    os.replace(partial, folder / "codes.npy")


def read_history(folder: str | Path, up_to_step: int | None = None) -> list[HistoryRow]:
    """The loss over the run; rows after a step that was taken again are dropped."""
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
        whole_lines = path.read_text().rpartition("\n")[0]  # a run that was killed may have left half a line
        parsed = [HistoryRow(int(step), float(seconds), float(loss)) for step, seconds, loss in csv.reader(whole_lines.splitlines())]
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{str(path)!r} is damaged ({error}); remove it: only the curve of the loss is lost") from None
    return parsed


def append_history(folder: Path, row: HistoryRow) -> None:
    """Add a row to ``history.csv``."""
    with open(folder / "history.csv", "a", newline="") as file:
        _write_rows(file, [row])


def write_history(folder: Path, rows: Sequence[HistoryRow]) -> None:
    """Replace ``history.csv``: a process that is killed meanwhile loses no row."""
    partial = folder / ".history.csv.partial"
    with open(partial, "w", newline="") as file:
        _write_rows(file, rows)
    os.replace(partial, folder / "history.csv")


def _write_rows(file: TextIO, rows: Iterable[HistoryRow]) -> None:
    csv.writer(file).writerows([row.step, f"{row.seconds:.3f}", repr(row.loss)] for row in rows)
