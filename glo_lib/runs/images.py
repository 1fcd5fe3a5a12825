"""Find the images that a run was trained on, in the order of its codes, wherever they are now."""

import glob
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from glo_lib.config import TrainConfig
from glo_lib.images.files import is_result_folder, list_images
from glo_lib.images.identity import MAX_NAMED, FileDigest, Identity, changes, identify, read_digests
from glo_lib.images.sources import find_files
from glo_lib.images.split import find_images, find_split
from glo_lib.images.store import DecodedImages, decode_as_in
from glo_lib.runs.folder import read_config, read_json
from glo_lib.runs.packed import refuse_pretrained


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
    return decode_as_in(config, files, None if _is_pattern(source) else source)


def _all_files(config: TrainConfig, data_dir: str | Path | None) -> list[str]:
    """Return all image files that are where the training images are looked for, those that were held out included."""
    source = str(data_dir or config.data_dir)
    if not source:
        split = find_split(config)
        return [*split.training, *split.held_out]
    return find_files(source) if _is_pattern(source) else list_images(source)


def _is_pattern(source: str | Path) -> bool:
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
