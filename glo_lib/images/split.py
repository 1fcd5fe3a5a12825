"""Split the images into training images and held-out images.

CelebA's list ``list_eval_partition`` defines the split; without such a list the images are split at random, with a fixed seed. Or whole
people are held out (`glo_lib.images.people`).
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from glo_lib import faces
from glo_lib.config import SPLITS, TrainConfig
from glo_lib.images.celeba import TRAINING, Search, find_list, look_up, read_partition
from glo_lib.images.files import survey_images
from glo_lib.images.people import find_people, hold_out_people
from glo_lib.images.release import PARTITION, advice, where_to_get
from glo_lib.system.cache import cache_root, shown

EMBEDDED_IMAGES = 4096


class Split(NamedTuple):
    """Two disjoint lists of image files, each in sorted order.

    Attributes:
        training: files of the training images.
        held_out: files of the held-out images.
        how: one line that says how the split was made; empty if no image is held out.
        found: a line or a few that say which images were found, and what was passed over (`glo_lib.images.files.Listing.describe`).
    """

    training: list[str]
    held_out: list[str]
    how: str = ""
    found: str = ""


class ImpossibleSplit(ValueError):
    """Raised when there are too few images for a split.

    Attributes:
        num_images: number of training images that there would be with the ``cures``.
        cures: settings with which the split is possible.
    """

    def __init__(self, message: str, num_images: int, cures: Mapping[str, Any] = MappingProxyType({})):
        super().__init__(message)
        self.num_images, self.cures = num_images, cures


def find_images(config: TrainConfig, announce: bool = False) -> list[str]:
    """Return the training images of a run, from ``data_dir`` or from the embedded faces; see `find_split`.

    Args:
        config: the settings.
        announce: print which images were found in ``data_dir``, and, if some are held out, how they were split; not for a folder in the
            cache, whose images this library has made.
    """
    split = find_split(config)
    if announce and config.data_dir and not Path(config.data_dir).is_relative_to(cache_root()):  # there are only the embedded faces
        print(*filter(None, (split.found, split.how)), sep="\n", flush=True)
    return split.training


def find_split(config: TrainConfig) -> Split:
    """Return the training and held-out images of a run; no image is held out if the setting ``held_out`` is 0.

    Args:
        config: the settings.

    Returns:
        `Split`; `glo_lib.inputs.decode_images` reads either part.

    Raises:
        ValueError: a part would be empty, or a list is damaged or missing. If there are too few images, the message names the other
            settings that do not fit so few images as well.
        FileNotFoundError: see `glo_lib.images.files.list_images`; the message says where CelebA is to be had if that is what is missing.

    Example:
        ``find_split(TrainConfig(held_out=0.1)).held_out``
    """
    data_dir: str | Path = config.data_dir
    num_samples = config.num_samples
    if not data_dir:
        data_dir, num_samples = faces.load_faces(config.num_samples or EMBEDDED_IMAGES), 0
    try:
        return split_images(data_dir, config.held_out, num_samples, by=config.held_out_by)
    except ImpossibleSplit as error:
        raise ValueError(config.describe_misfit(error.num_images, [str(error)], error.cures)) from None
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}{advice(data_dir)}") from None


def split_images(data_dir: str | Path, held_out: float, num_samples: int = 0, seed: int = 0, by: str = "auto") -> Split:
    """Split the images of a folder or archive into training images and held-out images.

    The seed is not the seed of the training, so that runs with different seeds are trained and evaluated on the same images.

    Args:
        data_dir: see `glo_lib.images.files.list_images`.
        held_out: share of the held-out images, at least 0 and below 1. With 0 all images are training images, whatever ``by`` says. If
            a list determines the split and ``num_samples`` is 0, the list alone determines it for any other share.
        num_samples: number of images in both parts together; 0: all.
        seed: seed of the random split.
        by: one of

            - ``"partition"``: the validation and test images of CelebA's list are held out (`glo_lib.images.celeba.find_list`).
            - ``"share"``: a share of the images, drawn at random.
            - ``"identity"``: whole people, so that nobody is in both parts (`glo_lib.images.people`); the share is met as nearly as whole
              people allow.
            - ``"auto"``: ``"partition"`` if there is a list, else ``"share"``.

    Returns:
        `Split`.

    Raises:
        ValueError: the share is out of range, a list is damaged or missing, or lacks an image.
        ImpossibleSplit: a part would be empty, or have fewer images than asked for.
        FileNotFoundError: see `glo_lib.images.files.list_images`.

    Example:
        ``split_images("photographs", held_out=0.1).held_out``
    """
    if not 0 <= held_out < 1:
        raise ValueError(f"held_out is {held_out}; it must be a share of at least 0 and below 1")
    if by not in SPLITS:
        raise ValueError(f"by is {by!r}; allowed are {', '.join(SPLITS)}")
    if num_samples < 0:
        raise ValueError(f"num_samples is {num_samples}; give the number of images to use, or 0 for all of them")
    listing = survey_images(data_dir)
    filenames, found = list(listing.filenames), listing.describe()
    if num_samples > len(filenames):
        message = f"num_samples is {num_samples}, and {str(data_dir)!r} holds {len(filenames)} images; give at most that, or 0"
        training = math.floor((1 - held_out) * len(filenames))
        raise ImpossibleSplit(message, training or len(filenames), {"num_samples": 0, **({} if training else _without_holding_out(by))})
    if not held_out:
        return Split(filenames[:num_samples] if num_samples else filenames, [], found=found)
    if len(filenames) == 1 or num_samples == 1:
        raise ImpossibleSplit(f"held_out is {held_out}, and 1 image cannot be divided; give held_out 0", 1, _without_holding_out(by))
    if by == "identity":
        split = _split_by_identity(filenames[:num_samples] if num_samples else filenames, data_dir, held_out, seed)
    else:
        split = _split_by_partition_or_seed(filenames, data_dir, held_out, num_samples, seed, by)
    _check_sizes(split, data_dir, held_out, num_samples, by)
    how = f"{len(split.held_out):,} of {len(split.training) + len(split.held_out):,} images are held out: {split.how}"
    return split._replace(how=how, found=found)


def _split_by_identity(filenames: list[str], data_dir: str | Path, held_out: float, seed: int) -> Split:
    """Hold out the images of people drawn at random."""
    people = find_people(data_dir, filenames)
    is_held_out = hold_out_people(people.names, held_out, seed)
    number = len({name for name, out in zip(people.names, is_held_out, strict=True) if out})
    how = f"all those of {number:,} of {len(set(people.names)):,} people, according to {people.source}"
    return _divide(filenames, is_held_out)._replace(how=how)


def _split_by_partition_or_seed(filenames: list[str], data_dir: str | Path, held_out: float, num_samples: int, seed: int, by: str) -> Split:
    """Hold out what CelebA's list says, or a random share."""
    search = Search(None, ()) if by == "share" else find_list(PARTITION, data_dir, filenames)
    where = f"no {PARTITION}.txt or .csv in {', '.join(map(shown, search.folders))}, nor in Eval or Anno there"
    if search.path is not None:
        split = _split_by_partition(filenames, search.path)
    elif by == "partition":
        raise ValueError(
            f"held_out_by is 'partition', and there is {where}; add the list, or give another held_out_by{where_to_get(filenames)}"
        )
    else:
        split = _split_by_seed(filenames, held_out, seed)._replace(
            how=f"drawn at random with seed {seed}" + (f" ({where})" if by == "auto" else "")
        )
    if not num_samples:
        return split
    num_held_out = math.ceil(num_samples * held_out)
    return split._replace(training=split.training[: num_samples - num_held_out], held_out=split.held_out[:num_held_out])


def _split_by_seed(filenames: list[str], held_out: float, seed: int) -> Split:
    """Hold out a random share of the images."""
    is_held_out = np.zeros(len(filenames), bool)
    is_held_out[np.random.default_rng(seed).permutation(len(filenames))[: math.ceil(held_out * len(filenames))]] = True
    return _divide(filenames, is_held_out)


def _split_by_partition(filenames: list[str], partition: Path) -> Split:
    """Hold out the images that a list assigns to validation or test."""
    parts = look_up(read_partition(partition), filenames, partition)
    return _divide(filenames, [part != TRAINING for part in parts])._replace(how=f"validation and test according to {shown(partition)}")


def _divide(filenames: list[str], is_held_out: Sequence[bool] | np.ndarray) -> Split:
    pairs = list(zip(filenames, is_held_out, strict=True))
    return Split([filename for filename, out in pairs if not out], [filename for filename, out in pairs if out])


def _without_holding_out(by: str) -> dict[str, Any]:
    """Return the settings with which no image is held out."""
    return {"held_out": 0, **({} if by == "auto" else {"held_out_by": "auto"})}


def _check_sizes(split: Split, data_dir: str | Path, held_out: float, num_samples: int, by: str) -> None:
    found = len(split.training) + len(split.held_out)
    for name, part in (("training", split.training), ("held_out", split.held_out)):
        if not part:
            message = f"held_out is {held_out}, and with that no image of {str(data_dir)!r} is left for {name}; give another share"
            raise ImpossibleSplit(message, num_samples or found, _without_holding_out(by))
    if found < num_samples:
        raise ImpossibleSplit(
            f"num_samples is {num_samples} and held_out {held_out}; the list of the official split gives only {len(split.training)} images "
            f"to train on and {len(split.held_out)} to hold out for that; give fewer, or another share",
            len(split.training),
            {"num_samples": 0},
        )
