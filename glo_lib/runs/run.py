"""Opening a run: its images, its folder, and its newest checkpoint.

`open_run` opens a run for writing. It locks the folder, compares settings and images with those that the run began with, and repairs the
checkpoints. `read_run` opens a run for reading only. Both verify the checkpoint once, and their result is passed on to training, evaluation
and loading, which therefore need not verify it again.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from glo_lib.config import TrainConfig
from glo_lib.images.identity import Identity, changes, identify, read_digests, write_digests
from glo_lib.images.split import find_images
from glo_lib.images.store import DecodedImages, decode_as_in
from glo_lib.runs import checkpoints
from glo_lib.runs.folder import (
    Progress,
    lock_run_folder,
    progress_of,
    read_config,
    read_hardware,
    read_json,
    record_hardware,
    run_dir_of,
    write_json,
    write_skipped,
)
from glo_lib.runs.packed import refuse_pretrained
from glo_lib.system.locks import Lock


@dataclass(frozen=True)
class Run:
    """A run that is stored in a folder.

    Attributes:
        folder: the run folder.
        config: the settings.
        checkpoint: prefix of the newest checkpoint, which has been verified; None if there is no checkpoint yet.
        progress: steps and seconds up to that checkpoint.
    """

    folder: Path
    config: TrainConfig
    checkpoint: str | None
    progress: Progress

    def trained_checkpoint(self) -> str:
        """Return the checkpoint.

        Raises:
            FileNotFoundError: there is none yet.
        """
        if self.checkpoint is None:
            raise FileNotFoundError(f"{str(self.folder)!r} holds no checkpoint; train first, or give the folder of another run")
        return self.checkpoint


@dataclass(frozen=True)
class OpenRun(Run):
    """A run that this process may write to.

    Attributes:
        images: the decoded training images.
        lock: the lock on the folder.
    """

    images: DecodedImages
    lock: Lock

    def at(self, checkpoint: str | None) -> "OpenRun":
        """Return the same run at a newer checkpoint, which this process has written and verified."""
        return OpenRun(self.folder, self.config, checkpoint, progress_of(checkpoint), self.images, self.lock)


@contextmanager
def open_run(config: TrainConfig) -> Iterator[OpenRun]:
    """Open a run for writing: find its images and its folder, and lock the folder until the end of the ``with`` block.

    Args:
        config: the settings.

    Yields:
        `OpenRun`.

    Raises:
        ValueError: the settings do not fit the images or the folder, images cannot be read, or no checkpoint can be used.
        FileNotFoundError: the data do not exist.
        RunFolderInUse: another process is training in the folder.
        OSError: the disk is full; the message names the checkpoint that can still be used.

    Example:
        ``with open_run(TrainConfig()) as run: print(run.progress.step)``
    """
    files = identify(find_images(config, announce=True))
    config.check_fits(len(files.files))
    if config.run_dir:
        _refuse_folder_of_images(Path(config.run_dir).expanduser(), files)
    images = decode_as_in(config, files, config.data_dir, on_bad_image=config.on_bad_image)
    config.check_fits(images.num_images)
    files = files.without(images.skipped)
    folder = run_dir_of(config, files.manifest())
    with lock_run_folder(folder) as lock, checkpoints.disk_full_explained(folder):
        begin_or_compare(folder, config, files)
        _begin_or_compare_landmarks(folder, images.landmarks_digest)
        write_skipped(folder, images.skipped)
        checkpoint = checkpoints.repair_checkpoints(folder)
        yield OpenRun(folder, config, checkpoint, progress_of(checkpoint), images, lock)


def _refuse_folder_of_images(folder: Path, files: Identity) -> None:
    """Raise a `ValueError` if images of the training are in the run folder: with its figures, the run would add to its own data."""
    inside = os.path.join(os.path.realpath(folder), "")
    folders = {os.path.dirname(file.path) for file in files.files}
    if any(os.path.join(os.path.realpath(path), "").startswith(inside) for path in folders):
        own = str(folder / "run")
        raise ValueError(f"run_dir is {str(folder)!r}, which holds images of the training; give a folder of its own, such as {own!r}")


def read_run(folder: str | Path) -> Run:
    """Open a run for reading, without writing to its folder. Another process may be training in the folder at the same time.

    Args:
        folder: run folder.

    Returns:
        `Run` at the newest complete checkpoint. If a newer one is damaged, a warning names it.

    Raises:
        FileNotFoundError: the folder holds no run, or no checkpoint yet.
        ValueError: ``config.json`` is damaged, or none of the checkpoints can be used.

    Example:
        ``read_run("my_run").progress``
    """
    refuse_pretrained(folder, "its checkpoints")
    folder = Path(folder)
    config = read_config(folder)
    checkpoint = checkpoints.newest_checkpoint(folder)
    run = Run(folder, config, checkpoint, progress_of(checkpoint))
    run.trained_checkpoint()  # raises an error if there is none
    return run


def begin_or_compare(folder: Path, config: TrainConfig, files: Identity) -> None:
    """Write settings, manifest and digests to a run folder, after comparing them with those in the folder if the run has already begun.

    Args:
        folder: run folder, locked by this process.
        config: the settings.
        files: the images. Files whose size or times have changed are read again, so that their content can be compared.

    Raises:
        ValueError: the folder belongs to a run with other settings or other images; the message lists every difference.
        FileNotFoundError: the run has begun, and its manifest is missing.

    Example:
        ``begin_or_compare(Path("my_run"), config, identify(filenames))``
    """
    begun = (folder / "config.json").exists()
    before = read_digests(folder / "images.csv") if begun else []
    now = files.digests(before)
    if begun:
        _raise_on_differences(folder, config, files, changes(before, now) if before else [])
        _record_precision_of_an_earlier_version(folder)
    if now != before:
        write_digests(folder / "images.csv", now)
    write_json(folder / "manifest.json", files.manifest())
    write_json(folder / "config.json", config.as_dict())  # written last, because its presence marks a run as begun


def _begin_or_compare_landmarks(folder: Path, digest: str) -> None:
    """Write the digest of the landmarks to a run folder, after comparing it with the one that is there: they determine the crop."""
    if not digest:
        return
    path, content = folder / "landmarks.json", {"digest": digest}
    if path.exists() and read_json(path) != content:
        raise ValueError(
            f"run_dir {str(folder)!r} belongs to a run with other landmarks, so its images were cropped in another way; give another "
            "folder, or the list of landmarks with which the run began"
        )
    write_json(path, content)


def _raise_on_differences(folder: Path, config: TrainConfig, files: Identity, image_changes: list[str]) -> None:
    differences = config.differences(read_config(folder))
    before, manifest = read_json(folder / "manifest.json"), files.manifest()
    if before != manifest:
        differences.append(f"images: {manifest['num_images']:,} with digest {manifest['digest']}, not {before}")
    differences += image_changes
    if differences:
        listed = "\n  ".join(differences)
        raise ValueError(f"run_dir {str(folder)!r} belongs to another run; give another folder or remove this one. It differs:\n  {listed}")


def _record_precision_of_an_earlier_version(folder: Path) -> None:
    """Versions that wrote no ``hardware.json`` have the precision in the metrics, or in settings that name one."""
    if read_hardware(folder):
        return
    metrics = read_json(folder / "metrics.json") if (folder / "metrics.json").exists() else {}
    precision = metrics.get("precision", read_config(folder).precision)
    if precision != "auto":
        record_hardware(folder, {"precision": precision, "devices": metrics.get("devices", [])})
