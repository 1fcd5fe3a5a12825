"""Split the images into training images and held-out images.

CelebA's file ``list_eval_partition.txt`` defines the split; without such a file the images are split at random, with a fixed seed.
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glo_lib import faces
from glo_lib.config import TrainConfig
from glo_lib.images.files import CELEBA_FOLDER, list_images

EMBEDDED_IMAGES = 4096
PARTITION_NAME = "list_eval_partition.txt"
TRAINING = "0"  # CelebA: 0 training, 1 validation, 2 test
PARTS = ("0", "1", "2")


class Split(NamedTuple):
    """Two disjoint lists of image files, each in sorted order.

    Attributes:
        training: files of the training images.
        held_out: files of the held-out images.
    """

    training: list[str]
    held_out: list[str]


def find_images(config: TrainConfig) -> list[str]:
    """Return the training images of a run, from ``data_dir`` or from the embedded faces; see `find_split`."""
    return find_split(config).training


def find_split(config: TrainConfig) -> Split:
    """Return the training and held-out images of a run; no image is held out if the setting ``held_out`` is 0.

    Args:
        config: the settings.

    Returns:
        `Split`; `glo_lib.inputs.decode_images` reads either part.

    Raises:
        ValueError: a part would be empty, or ``list_eval_partition.txt`` is damaged.
        FileNotFoundError: see `glo_lib.images.files.list_images`.

    Example:
        ``find_split(TrainConfig(held_out=0.1)).held_out``
    """
    if config.data_dir:
        return split_images(config.data_dir, config.held_out, config.num_samples)
    return split_images(faces.load_faces(config.num_samples or EMBEDDED_IMAGES), config.held_out)


def split_images(data_dir: str | Path, held_out: float, num_samples: int = 0, seed: int = 0) -> Split:
    """Split the images of a folder or archive into training images and held-out images.

    If there is a file ``list_eval_partition.txt`` (in the folder, in its subfolder ``Eval``, or next to ``img_align_celeba`` or to the
    archive), its validation and test images are held out; otherwise a share of the images is drawn at random. The seed is not the seed of
    the training, so that runs with different seeds are trained and evaluated on the same images.

    Args:
        data_dir: see `glo_lib.images.files.list_images`.
        held_out: share of the held-out images, at least 0 and below 1. With 0 all images are training images, even if there is a list.
            If there is a list and ``num_samples`` is 0, the list alone determines the split for any other share.
        num_samples: number of images in both parts together; 0: all.
        seed: seed of the random split.

    Returns:
        `Split`.

    Raises:
        ValueError: the share is out of range, a part would be empty or have fewer images than asked for, or the list is damaged.
        FileNotFoundError: see `glo_lib.images.files.list_images`.

    Example:
        ``split_images("photographs", held_out=0.1).held_out``
    """
    if not 0 <= held_out < 1:
        raise ValueError(f"held_out is {held_out}; it must be a share of at least 0 and below 1")
    if not held_out:
        return Split(list_images(data_dir, num_samples), [])
    filenames = list_images(data_dir)
    if num_samples > len(filenames):
        raise ValueError(f"num_samples is {num_samples}, and {str(data_dir)!r} holds {len(filenames)} images; give at most that, or 0")
    partition = _find_partition(Path(data_dir).expanduser())
    split = _split_by_seed(filenames, held_out, seed) if partition is None else _split_by_partition(filenames, partition)
    if num_samples:
        num_held_out = math.ceil(num_samples * held_out)
        split = Split(split.training[: num_samples - num_held_out], split.held_out[:num_held_out])
    _check_sizes(split, data_dir, held_out, num_samples)
    return split


def _split_by_seed(filenames: list[str], held_out: float, seed: int) -> Split:
    """Hold out a random share of the images."""
    is_held_out = np.zeros(len(filenames), bool)
    is_held_out[np.random.default_rng(seed).permutation(len(filenames))[: math.ceil(held_out * len(filenames))]] = True
    return _divide(filenames, is_held_out)


def _split_by_partition(filenames: list[str], partition: Path) -> Split:
    """Hold out the images that a list assigns to validation or test."""
    parts = read_partition(partition)
    missing = [name for name in (Path(filename).name for filename in filenames) if name not in parts]
    if missing:
        raise ValueError(
            f"{str(partition)!r} lists {len(parts)} images, and not {missing[0]!r} ({len(missing)} missing); "
            "complete it, or remove it to have the images split by a seed"
        )
    return _divide(filenames, [parts[Path(filename).name] != TRAINING for filename in filenames])


def _divide(filenames: list[str], is_held_out) -> Split:
    pairs = list(zip(filenames, is_held_out, strict=True))
    return Split([filename for filename, out in pairs if not out], [filename for filename, out in pairs if out])


def _check_sizes(split: Split, data_dir: str | Path, held_out: float, num_samples: int) -> None:
    for name, part in split._asdict().items():
        if not part:
            raise ValueError(f"held_out is {held_out}, and with that no image of {str(data_dir)!r} is left for {name}; give another share")
    found = len(split.training) + len(split.held_out)
    if found < num_samples:
        raise ValueError(
            f"num_samples is {num_samples} and held_out {held_out}; {PARTITION_NAME} gives only {len(split.training)} images to train on "
            f"and {len(split.held_out)} to hold out for that; give fewer, or another share"
        )


def _find_partition(data_dir: Path) -> Path | None:
    """Return the path of ``list_eval_partition.txt``, or None if there is none."""
    search_parent = data_dir.is_file() or data_dir.name == CELEBA_FOLDER
    folders = [data_dir, data_dir / "Eval", *([data_dir.resolve().parent, data_dir.resolve().parent / "Eval"] if search_parent else [])]
    return next((folder / PARTITION_NAME for folder in folders if (folder / PARTITION_NAME).is_file()), None)


def read_partition(path: str | Path) -> dict[str, str]:
    """Read CelebA's ``list_eval_partition.txt``: each line has a file name and 0 (training), 1 (validation) or 2 (test).

    Args:
        path: the file.

    Returns:
        "0", "1" or "2" for each file name.

    Raises:
        ValueError: a line is something else, or a file name is listed twice; the message has the number of the line.

    Example:
        ``read_partition("Eval/list_eval_partition.txt")["000001.jpg"]``
    """
    parts: dict[str, str] = {}
    for number, line in enumerate(Path(path).read_text(errors="replace").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or words[1] not in PARTS:
            raise ValueError(f"{str(path)!r}, line {number}: {line[:80]!r} is not a file name and 0, 1 or 2")
        if words[0] in parts:
            raise ValueError(f"{str(path)!r}, line {number}: {words[0]!r} is listed twice")
        parts[words[0]] = words[1]
    return parts
