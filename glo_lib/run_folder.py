"""The folder of a run: to whom it belongs, what it holds, and how far it has come.

::

    config.json     the settings           history.csv   step, seconds, loss
    manifest.json   the data's digest      metrics.json  what the run achieved
    checkpoint, model.ckpt-*               codes.npy     (N, d) projected codes
    events.out.*    for TensorBoard        figures/      PNG
"""

import csv
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from glo_lib.backend import tf
from glo_lib.cache import cache_root, digest_of
from glo_lib.config import TrainConfig

SECONDS_NAME = "training_seconds"


class Progress(NamedTuple):
    """How far a run has come: steps taken, and seconds they took."""

    step: int
    seconds: float


class HistoryRow(NamedTuple):
    """Mean loss of the steps since the row before."""

    step: int
    seconds: float
    loss: float


def data_manifest(filenames: Sequence[str]) -> dict[str, Any]:
    """What identifies the data of a run: number, names (below their common folder) and sizes of the images, as a digest."""
    folder = os.path.commonpath([os.path.dirname(os.path.abspath(filename)) for filename in filenames])
    parts = (f"{os.path.relpath(filename, folder)}\t{os.stat(filename).st_size}" for filename in filenames)
    return {"num_images": len(filenames), "digest": digest_of(*parts)}


def default_run_dir(config: TrainConfig, manifest: dict[str, Any]) -> Path:
    """A folder in the cache, named after everything that determines the result: the same call finds the same run again."""
    settings = {name: value for name, value in config.as_dict().items() if name not in ("run_dir", "data_dir")}
    return cache_root() / "runs" / digest_of(json.dumps(settings, sort_keys=True), json.dumps(manifest, sort_keys=True))


def open_run_folder(config: TrainConfig, manifest: dict[str, Any]) -> Path:
    """Make the run's folder, or find it and see that it belongs to these settings and these images.

    Raises:
        ValueError: the folder belongs to another configuration or other data, or cannot be written.
    """
    folder = Path(config.run_dir).expanduser() if config.run_dir else default_run_dir(config, manifest)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"run_dir is {str(folder)!r}, which cannot be written ({error.strerror}); give another folder") from None
    if (folder / "config.json").exists():
        _refuse_another_run(folder, config, manifest)
    write_json(folder / "manifest.json", manifest)
    write_json(folder / "config.json", config.as_dict())
    return folder


def _refuse_another_run(folder: Path, config: TrainConfig, manifest: dict[str, Any]) -> None:
    differences = config.differences(read_config(folder))
    before = read_json(folder / "manifest.json")
    if before != manifest:
        differences.append(f"images: {manifest['num_images']:,} with digest {manifest['digest']}, not {before}")
    if differences:
        listed = "\n  ".join(differences)
        raise ValueError(f"run_dir {str(folder)!r} belongs to another run; give another folder or remove this one. It differs:\n  {listed}")


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
    """Step and seconds of the newest checkpoint; zero where there is none."""
    checkpoint = tf.train.latest_checkpoint(str(folder))
    if checkpoint is None:
        return Progress(0, 0.0)
    reader = tf.train.load_checkpoint(checkpoint)
    return Progress(int(reader.get_tensor("global_step")), float(reader.get_tensor(SECONDS_NAME)))


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
        csv.writer(file).writerow([row.step, f"{row.seconds:.3f}", repr(row.loss)])
