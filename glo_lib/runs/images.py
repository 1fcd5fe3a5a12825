"""Find the images that a run was trained on, in the order of its codes, and those that it was not, wherever they are now."""

import glob
import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from glo_lib.config import TrainConfig
from glo_lib.images.files import is_result_folder, list_images
from glo_lib.images.identity import MAX_NAMED, FileDigest, Identity, changes, identify, read_digests
from glo_lib.images.people import find_people
from glo_lib.images.sources import find_files
from glo_lib.images.split import find_images, find_split
from glo_lib.images.store import DecodedImages, decode_as_in
from glo_lib.runs.folder import read_config, read_json
from glo_lib.runs.packed import refuse_pretrained


class HeldOut(NamedTuple):
    """Images that a run was not trained on.

    Attributes:
        filenames: their files.
        kind: what they are, in words.
        note: what has to be known about them, in words; empty if they are those that were held out in training.
    """

    filenames: list[str]
    kind: str = "held-out images"
    note: str = ""


def training_images(run_dir: str | Path, data_dir: str | Path | None = None) -> DecodedImages:
    """Find the training images of a run, and decode them if they are no longer in the cache.

    The run folder lists its images by name (``images.csv``), and exactly these are looked for. Files that were added since are left out.
    So are those that could not be read in training and were skipped, even if they can be read now: row i of the codes belongs to image i.

    Args:
        run_dir: run folder.
        data_dir: where the images are now: a folder, a zip archive, or a pattern such as ``"photos/*.jpg"``; see
            `glo_lib.images.sources.find_files`. Default: where they were in training.

    Returns:
        `glo_lib.images.store.DecodedImages`; image i belongs to row i of the codes.

    Raises:
        FileNotFoundError: the folder holds no run, or the images do not exist.
        ValueError: images of the training are missing or were altered; the message names them.

    Example:
        ``training_images("my_run").array()[0]``
    """
    refuse_pretrained(run_dir, "its training images")
    run_dir, config = Path(run_dir), read_config(run_dir)
    trained_on = read_digests(run_dir / "images.csv")
    files = _select(_all_files(config, data_dir), trained_on) if trained_on else _files_of_an_early_version(run_dir, config, data_dir)
    if (run_dir / "skipped.json").exists() and data_dir is None:
        # Training decoded these files together with those that it skipped. If nothing has changed, its cache can be used.
        with_skipped = decode_as_in(config, find_images(config), config.data_dir, progress=False, on_bad_image="skip")
        if with_skipped.filenames == files.filenames:
            return with_skipped
    source = data_dir or config.data_dir
    return decode_as_in(config, files, None if is_pattern(source) else source)


def held_out_images(run_dir: str | Path, trained_files: Collection[str], data_dir: str | Path | None = None) -> HeldOut:
    """Find the held-out images of a run, and never one that it was trained on.

    As long as the folder is as it was in training, they are the held-out part of its split (`glo_lib.images.split.find_split`). If files
    were added or removed since, the same settings would split the folder in another way. Then they are all images in the common folder of
    the training images, and below, that the run was not trained on; after a split by identity, of people that it was not trained on. The
    same holds if a pattern names the images. Copies of training images are left out, which are recognised by their digests.

    Args:
        run_dir: run folder.
        trained_files: the files of its training images, ``filenames`` of `training_images` with the same ``data_dir``.
        data_dir: where the images are now, see `training_images`.

    Returns:
        `HeldOut`, perhaps without any file.

    Raises:
        ValueError, FileNotFoundError: see `glo_lib.images.split.find_split` and `glo_lib.images.sources.find_files`.

    Example:
        ``held_out_images("my_run", training_images("my_run").filenames).filenames``
    """
    config, trained = read_config(run_dir), set(map(os.path.abspath, trained_files))
    everything, source = _all_files(config, data_dir), str(data_dir or config.data_dir)
    # There may be fewer images now than the settings ask for.
    settings = replace(config, data_dir=source, num_samples=min(config.num_samples, len(everything)))
    by_split = [] if is_pattern(source) else find_split(settings).held_out
    if by_split and trained.isdisjoint(map(os.path.abspath, by_split)):
        files, kind, notes = by_split, "held-out images", []
    else:
        files, kind = _not_trained_on(config, source, everything, trained), "images that the run was not trained on"
        notes = ["files were added to the folder or removed from it since"] if by_split else []
    unseen = _without_copies(files, read_digests(Path(run_dir) / "images.csv"))
    if len(unseen) < len(files):
        notes.append(f"left out: {len(files) - len(unseen):,} that are copies of training images")
    return HeldOut(unseen, kind, "; ".join(notes))


def _not_trained_on(config: TrainConfig, source: str, files: Sequence[str], trained: Collection[str]) -> list[str]:
    """Return the files in the common folder of the training images, and below, of images or people that the run was not trained on.

    All paths are absolute, because a pattern may name the same file in two ways.
    """
    folder = os.path.commonpath([os.path.dirname(path) for path in trained])
    inside = [path for path in dict.fromkeys(map(os.path.abspath, files)) if path.startswith(os.path.join(folder, ""))]
    if config.held_out_by != "identity":
        return [path for path in inside if path not in trained]
    people = find_people(folder if is_pattern(source) else source, inside).names
    known = {person for person, path in zip(people, inside, strict=True) if path in trained}
    return [path for person, path in zip(people, inside, strict=True) if person not in known]


def _without_copies(files: Sequence[str], trained_on: Sequence[FileDigest]) -> list[str]:
    """Return the files that do not have the content of a training image; only those that have the size of one are read."""
    contents = {entry.content for entry in trained_on}
    sizes = {size for size, _ in contents}
    doubtful = Identity(tuple(file for file in identify(files).files if file.size in sizes))
    copies = {file.path for file, entry in zip(doubtful.files, doubtful.digests(), strict=True) if entry.content in contents}
    return [file for file in files if file not in copies]


def _all_files(config: TrainConfig, data_dir: str | Path | None) -> list[str]:
    """Return all image files that are where the training images are looked for, those that were held out included."""
    source = str(data_dir or config.data_dir)
    if not source:
        split = find_split(config)
        return [*split.training, *split.held_out]
    return find_files(source) if is_pattern(source) else list_images(source)


def is_pattern(source: str | Path) -> bool:
    """Return whether a source of images is a pattern such as ``"photos/*.jpg"``. A name that exists is not taken for a pattern.

    Example:
        >>> is_pattern("photos/*.jpg"), is_pattern("photos")
        (True, False)
    """
    return glob.has_magic(str(source)) and not os.path.exists(source)


def _select(filenames: Sequence[str], trained_on: Sequence[FileDigest]) -> Identity:
    """Return the files of the training, in its order; the folder that their names are relative to may be another one now."""
    by_path = {os.path.abspath(filename): filename for filename in filenames}
    first, ending = trained_on[0].name, os.sep + trained_on[0].name
    differences = [f"{first!r} is missing"]
    for folder in sorted(path.removesuffix(ending) for path in by_path if path.endswith(ending)):
        paths = [os.path.join(folder, entry.name) for entry in trained_on]
        missing = [entry.name for entry, path in zip(trained_on, paths, strict=True) if path not in by_path]
        if missing:
            more = [f"... and {len(missing) - MAX_NAMED:,} more are missing"] if len(missing) > MAX_NAMED else []
            differences = [*(f"{name!r} is missing" for name in missing[:MAX_NAMED]), *more]
            continue
        files = identify([by_path[path] for path in paths])
        differences = changes(trained_on, files.digests(trained_on))
        if not differences:
            return files
    listed = "\n  ".join(differences)
    raise ValueError(
        f"the run was trained on {len(trained_on):,} images, and they are not all among the {len(filenames):,} here; "
        f"row i of the codes belongs to image i, so give the images of the training:\n  {listed}"
    )


def check_not_among_images(run_dir: str | Path, picture: str | Path) -> None:
    """Refuse a name for a new picture with which it would be one of the images when the same folder is trained on again.

    Args:
        run_dir: run folder.
        picture: path of the new picture.

    Raises:
        ValueError: the picture would be in the folder of the images or below, and not in the folder of a run.

    Example:
        ``check_not_among_images("my_run", "samples.png")``
    """
    images = read_digests(Path(run_dir) / "images.csv")
    for folder in Path(os.path.realpath(picture)).parents:
        if folder.name.startswith(".") or is_result_folder(folder):
            return  # what is in there is never an image of the training
        if images and all((folder / entry.name).exists() for entry in (images[0], images[-1])):
            raise ValueError(
                f"{str(picture)!r} would be among the images in {str(folder)!r}, and the next training would take it for one of them; "
                f"give another place, such as {os.path.join(run_dir, os.path.basename(picture))!r}"
            )


def _files_of_an_early_version(run_dir: Path, config: TrainConfig, data_dir: str | Path | None) -> Identity:
    """Return the files of a run whose folder does not list them, after comparing their number, names and sizes with the manifest."""
    files = identify(find_images(config if data_dir is None else replace(config, data_dir=str(data_dir))))
    trained_on, found = read_json(run_dir / "manifest.json"), files.manifest()
    if found["num_images"] != trained_on.get("num_images"):
        raise ValueError(
            f"the run has {trained_on.get('num_images')} codes, and there are {found['num_images']} images; "
            "row i of the codes belongs to image i, so give the images of the training"
        )
    if found != trained_on:
        raise ValueError("these images have other names or sizes than those of the training; row i of the codes would not be image i")
    return files
