"""The files of a run folder, and the functions that read and write them.

::

    config.json     the settings           history.csv   step, seconds, loss
    hardware.json   what it was computed with
    manifest.json   the data's digest      metrics.json  what the run achieved
    landmarks.json  that of the landmarks, if the crop follows them
    images.csv      each image's digest    skipped.json  images that cannot be read
    checkpoint, model.ckpt-*               codes.npy     (N, d) projected codes
    events.out.*    for TensorBoard        figures/      PNG
    .lock           locked by the process that trains

Nothing in the folder is ever unpickled. Files are written under a temporary name and renamed when they are complete, so that a process
that is killed while writing leaves the previous file intact.
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

SECONDS_NAME = "training_seconds"  # name of a variable in each checkpoint
UNREPORTED_NAME = "unreported_loss"  # name of a variable in each checkpoint: sum and number of the losses since the last history row
# The images are identified by the manifest, whatever it was that chose them.
NOT_PART_OF_RUN_NAME = ("run_dir", "data_dir", "held_out_by", "on_bad_image", "max_megapixels", "answer_seconds")
# A setting that was added later is left out at its default, so that the default folders of earlier runs keep their names.
LATER_DEFAULTS = {
    "model": "glo",
    "kl_weight": 1.0,
    "held_out": 0.0,
    "change_precision": False,
    "layer_route": "auto",
    "deterministic": "auto",
    "gpu_code_megabytes": 1024,
    "phases": "",
    "perceptual_blocks": 6,
    "optimizer": "adam",
    "crop": "square",
    "learned_noise": False,
}


class Progress(NamedTuple):
    """The progress of a run.

    Attributes:
        step: number of steps taken.
        seconds: seconds that these steps took.
    """

    step: int
    seconds: float


class HistoryRow(NamedTuple):
    """A row of the loss history.

    Attributes:
        step: number of steps taken.
        seconds: seconds of training.
        loss: mean loss of the steps since the previous row.
    """

    step: int
    seconds: float
    loss: float


class RunFolderInUse(RuntimeError):
    """Raised when another process is training in the run folder."""


def default_run_dir(config: TrainConfig, manifest: dict[str, Any]) -> Path:
    """Return a folder in the cache that is named by a digest of the settings and the manifest, so that the same call finds the same run."""
    settings = {name: value for name, value in config.as_dict().items() if name not in NOT_PART_OF_RUN_NAME}
    settings = {name: value for name, value in settings.items() if name not in LATER_DEFAULTS or value != LATER_DEFAULTS[name]}
    if settings.get("crop") == "tight":
        del settings["crop"]  # tight_crop says the same, and is older
    return cache_root() / "runs" / digest_of(json.dumps(settings, sort_keys=True), json.dumps(manifest, sort_keys=True))


def run_dir_of(config: TrainConfig, manifest: dict[str, Any]) -> Path:
    """Return the folder given in the settings, or the default folder if none is given."""
    return Path(config.run_dir).expanduser() if config.run_dir else default_run_dir(config, manifest)


def lock_run_folder(folder: Path) -> locks.Lock:
    """Lock a run folder until the lock is released or the process ends. The folder is created if it does not exist.

    Args:
        folder: run folder.

    Returns:
        The lock, which is also a context manager.

    Raises:
        RunFolderInUse: another process is training there.
        ValueError: the folder cannot be written.

    Example:
        ``with lock_run_folder(Path("my_run")): ...``
    """
    _ensure_writable(folder)
    lock = locks.acquire(folder / ".lock")
    if lock is None:
        holder = (folder / ".lock").read_text(errors="replace").strip()[:200] or "another process"
        raise RunFolderInUse(f"run_dir {str(folder)!r} is in use by {holder}; wait until it ends, stop it, or give another folder")
    (folder / ".lock").write_text(locks.this_process() + "\n")
    return lock


def _ensure_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"run_dir is {str(folder)!r}, which cannot be written ({error.strerror}); give another folder") from None


def write_skipped(folder: Path, skipped: Mapping[str, str]) -> None:
    """Write ``skipped.json``, which maps each image file that cannot be read to the reason. If there is none, remove the file."""
    if skipped:
        write_json(folder / "skipped.json", {"num_skipped": len(skipped), "files": dict(skipped)})
        print(f"{len(skipped)} image file(s) cannot be read and are skipped; skipped.json in the run folder lists them", flush=True)
    else:
        (folder / "skipped.json").unlink(missing_ok=True)


def read_config(folder: str | Path) -> TrainConfig:
    """Read the settings of a run.

    Args:
        folder: run folder.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: ``config.json`` is damaged, or holds a setting that is not allowed.

    Example:
        ``read_config("my_run").num_dims``
    """
    path = Path(folder) / "config.json"
    settings = read_json(path)
    try:
        return TrainConfig.from_stored(settings)
    except ValueError as error:
        raise ValueError(f"{str(path)!r} holds a setting that is not allowed: {error}") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file of a run folder.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read or does not hold an object; the message names the file.

    Example:
        ``read_json(Path("my_run/metrics.json"))["psnr_db"]``
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
    """Write a JSON object to a file, replacing any earlier file."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def progress_of(checkpoint: str | None) -> Progress:
    """Read step and seconds from a checkpoint. Without a checkpoint (None), both are zero."""
    if checkpoint is not None:
        checkpoints.check_fits(checkpoint, {"global_step": (), SECONDS_NAME: ()})
    step, seconds = (checkpoints.read_values(checkpoint, name, 0) for name in ("global_step", SECONDS_NAME))
    return Progress(int(step), float(seconds))


def record_hardware(folder: Path, hardware: dict[str, Any], change_precision: bool = False) -> None:
    """Write ``hardware.json``: the precision and the devices of a run; a run keeps its precision wherever it is continued.

    Args:
        folder: run folder, locked.
        hardware: with ``precision`` and ``devices``, and what else there is to note.
        change_precision: accept another precision than the run began with.

    Raises:
        ValueError: the run was trained with another precision so far.
    """
    before, now = read_hardware(folder).get("precision"), hardware["precision"]
    if before not in (None, now) and not change_precision:
        on_gpus = any("gpu" in device.lower() for device in hardware["devices"])
        go_on = f"precision={before!r} to go on as before, or " if on_gpus or before != "float16" else ""  # float16 needs a GPU
        raise ValueError(
            f"run_dir {str(folder)!r} was trained in {before} so far, and would go on in {now} on this machine; "
            f"give {go_on}change_precision=True to go on in {now}"
        )
    write_json(folder / "hardware.json", hardware)


def read_hardware(folder: str | Path) -> dict[str, Any]:
    """Read ``hardware.json``; empty for a run that has not been trained yet, or was trained by a version that noted nothing.

    Raises:
        ValueError: the file is damaged.
    """
    path = Path(folder) / "hardware.json"
    return read_json(path) if path.exists() else {}


def read_codes(folder: str | Path) -> np.ndarray:
    """Read the projected codes of a run, ``codes.npy``.

    Args:
        folder: run folder.

    Returns:
        (N, d) float32, memory-mapped.

    Raises:
        FileNotFoundError: the run has not been evaluated yet.
        ValueError: the file is damaged. No code in it is executed, because it is never unpickled.

    Example:
        ``read_codes("my_run").shape``
    """
    path = Path(folder) / "codes.npy"
    if not path.exists():
        raise FileNotFoundError(f"{str(folder)!r} holds no codes.npy; train first, or give the folder of another run")
    try:
        codes = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy raises exceptions of many types on a damaged header
        raise ValueError(f"{str(path)!r} cannot be read ({error}); remove it, and it is made again from the checkpoint") from None
    if not isinstance(codes, np.ndarray) or codes.ndim != 2 or codes.dtype != np.float32:
        raise ValueError(f"{str(path)!r} does not hold a table of codes; remove it, and it is made again from the checkpoint")
    return codes


def write_codes(folder: Path, codes: np.ndarray) -> None:
    """Write ``codes.npy``, replacing any earlier file."""
    with replacing(folder / "codes.npy") as partial:
        np.save(partial, codes, allow_pickle=False)


def read_history(folder: str | Path, up_to_step: int | None = None) -> list[HistoryRow]:
    """Read the history of the loss.

    Args:
        folder: run folder.
        up_to_step: last step to include; default: all.

    Returns:
        Rows in ascending order of steps; an empty list if there is no history yet. Where steps were repeated after a crash, only the rows
        of the last repetition are returned.

    Raises:
        ValueError: ``history.csv`` is damaged.

    Example:
        ``read_history("my_run")[-1].loss``
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
        complete_lines = path.read_text().rpartition("\n")[0]  # a killed process may have left an incomplete last line
        parsed = [HistoryRow(int(step), float(seconds), float(loss)) for step, seconds, loss in csv.reader(complete_lines.splitlines())]
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{str(path)!r} is damaged ({error}); remove it: only the curve of the loss is lost") from None
    return parsed


def append_history(folder: Path, row: HistoryRow) -> None:
    """Append a row to ``history.csv``."""
    with open(folder / "history.csv", "a", newline="") as file:
        _write_rows(file, [row])


def write_history(folder: Path, rows: Sequence[HistoryRow]) -> None:
    """Write ``history.csv``, replacing any earlier file. If the process is killed meanwhile, the earlier file is still complete."""
    with replacing(folder / "history.csv") as partial, open(partial, "w", newline="") as file:
        _write_rows(file, rows)


def _write_rows(file: TextIO, rows: Iterable[HistoryRow]) -> None:
    csv.writer(file).writerows([row.step, f"{row.seconds:.3f}", repr(row.loss)] for row in rows)
