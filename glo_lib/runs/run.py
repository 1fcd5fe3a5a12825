"""A run, opened once: its images, its folder, and its newest checkpoint.

`open_run` is for whoever writes to the folder: it locks it, compares settings and images with those the run began with, and repairs the
checkpoints. `read_run` is for whoever only looks at it. Both verify the checkpoint, once; training, evaluation and loading take the result.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from glo_lib.config import TrainConfig
from glo_lib.images.identity import Identity, changes, identify, read_digests, write_digests
from glo_lib.images.split import find_images
from glo_lib.images.store import DecodedImages, decode_images
from glo_lib.runs import checkpoints
from glo_lib.runs.folder import (
    Progress,
    lock_run_folder,
    note_skipped,
    progress_of,
    read_config,
    read_json,
    run_dir_of,
    write_json,
)
from glo_lib.system.locks import Lock


@dataclass(frozen=True)
class Run:
    """A run as its folder holds it.

    Attributes:
        folder: the run folder.
        config: the settings.
        checkpoint: prefix of the newest checkpoint, verified; None before the first.
        progress: steps and seconds of that checkpoint.
    """

    folder: Path
    config: TrainConfig
    checkpoint: str | None
    progress: Progress


@dataclass(frozen=True)
class OpenRun(Run):
    """A run that this process may write to.

    Attributes:
        images: the training images, decoded.
        lock: on the folder.
    """

    images: DecodedImages
    lock: Lock

    def at(self, checkpoint: str | None) -> "OpenRun":
        """The same run at a newer checkpoint, which this process has written and verified."""
        return OpenRun(self.folder, self.config, checkpoint, progress_of(checkpoint), self.images, self.lock)


@contextmanager
def open_run(config: TrainConfig) -> Iterator[OpenRun]:
    """Find the images and the folder of a run, and lock the folder until the block is left.

    Args:
        config: the settings.

    Yields:
        `OpenRun`.

    Raises:
        ValueError: settings that do not fit the images or the folder, images that cannot be read, or no checkpoint that can be used.
        FileNotFoundError: no such data.
        RunFolderInUse: another process is training in the folder.
        OSError: the disk is full; the message names the checkpoint that is left.

    Example:
        ``with open_run(TrainConfig()) as run: print(run.progress.step)``
    """
    files = identify(find_images(config))
    config.check_fits(len(files.files))
    images = decode_images(files, config.image_size, config.tight_crop, progress=True, on_bad_image=config.on_bad_image)
    config.check_fits(images.num_images)
    files = files.without(images.skipped)
    folder = run_dir_of(config, files.manifest())
    with lock_run_folder(folder) as lock, checkpoints.disk_full_explained(folder):
        begin_or_compare(folder, config, files)
        note_skipped(folder, images.skipped)
        checkpoint = checkpoints.repair_checkpoints(folder)
        yield OpenRun(folder, config, checkpoint, progress_of(checkpoint), images, lock)


def read_run(folder: str | Path) -> Run:
    """Look at a run without writing to its folder; it may be training at the same time.

    Args:
        folder: run folder.

    Returns:
        `Run`, at the newest complete checkpoint.

    Raises:
        FileNotFoundError: the folder holds no run, or no checkpoint yet.
        ValueError: a damaged ``config.json``, or no checkpoint that can be used. (If only the newest checkpoint is damaged, a warning
            names it, and the one before is used.)

    Example:
        ``read_run("my_run").progress``
    """
    folder = Path(folder)
    config = read_config(folder)
    checkpoint = checkpoints.newest_checkpoint(folder)
    if checkpoint is None:
        raise FileNotFoundError(f"{str(folder)!r} holds no checkpoint; train first, or give the folder of another run")
    return Run(folder, config, checkpoint, progress_of(checkpoint))


def begin_or_compare(folder: Path, config: TrainConfig, files: Identity) -> None:
    """Write settings, manifest and digests to a new run folder; compare those of a run that has begun.

    Args:
        folder: run folder, locked.
        config: the settings.
        files: the images; those whose size or times changed are read, and their content is compared.

    Raises:
        ValueError: the folder belongs to a run with other settings or other images; every difference is named.
    """
    begun = (folder / "config.json").exists()
    before = read_digests(folder / "images.csv") if begun else []
    now = files.digests(before)
    if begun:
        _refuse_another_run(folder, config, files, changes(before, now) if before else [])
    if now != before:
        write_digests(folder / "images.csv", now)
    write_json(folder / "manifest.json", files.manifest())
    write_json(folder / "config.json", config.as_dict())  # last: a folder without it has not begun


def _refuse_another_run(folder: Path, config: TrainConfig, files: Identity, changes_of_images: list[str]) -> None:
    differences = config.differences(read_config(folder))
    before, manifest = read_json(folder / "manifest.json"), files.manifest()
    if before != manifest:
        differences.append(f"images: {manifest['num_images']:,} with digest {manifest['digest']}, not {before}")
    differences += changes_of_images
    if differences:
        listed = "\n  ".join(differences)
        raise ValueError(f"run_dir {str(folder)!r} belongs to another run; give another folder or remove this one. It differs:\n  {listed}")


def training_images(run_dir: str | Path, data_dir: str | None = None) -> DecodedImages:
    """Find the training images of a run again, and decode them if they are no longer in the cache.

    Args:
        run_dir: run folder.
        data_dir: where the images are now; default: where they were in training.

    Returns:
        `glo_lib.images.store.DecodedImages`; image i belongs to row i of the codes.

    Raises:
        FileNotFoundError: the folder holds no run, or the images are gone.
        ValueError: the images are not those of the training: another number, other names or other sizes.
    """
    config = read_config(run_dir)
    if data_dir is not None:
        config = TrainConfig.from_parameters({**config.as_dict(), "data_dir": data_dir})
    files = identify(find_images(config))
    trained_on, found = read_json(Path(run_dir) / "manifest.json"), files.manifest()
    if found["num_images"] != trained_on.get("num_images"):
        raise ValueError(
            f"the run has {trained_on.get('num_images')} codes, and there are {found['num_images']} images; "
            "row i of the codes belongs to image i, so give the images of the training"
        )
    if found != trained_on:
        raise ValueError("these images have other names or sizes than those of the training; row i of the codes would not be image i")
    return decode_images(files, config.image_size, config.tight_crop)
