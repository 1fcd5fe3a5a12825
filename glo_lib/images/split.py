"""Which images are trained on, and which are held out to see what was learned.

CelebA says it in ``list_eval_partition.txt``; any other data set is split by a seed.
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
    """Image files in sorted order, none in both parts.

    Attributes:
        training: what is trained on.
        held_out: what is not.
    """

    training: list[str]
    held_out: list[str]


def find_images(config: TrainConfig) -> list[str]:
    """The image files that a run is trained on: those of ``data_dir``, or the embedded faces, without the held-out ones."""
    return find_split(config).training


def find_split(config: TrainConfig) -> Split:
    """Training and held-out files of a run; nothing is held out when ``held_out`` is 0.

    Args:
        config: the settings.

    Returns:
        `Split`; `glo_lib.inputs.decode_images` reads either part.

    Raises:
        ValueError: a part that would be empty, or a damaged ``list_eval_partition.txt``.
        FileNotFoundError: no such data.
    """
    if config.data_dir:
        return split_images(config.data_dir, config.held_out, config.num_samples)
    return split_images(faces.load_faces(config.num_samples or EMBEDDED_IMAGES), config.held_out)


def split_images(data_dir: str | Path, held_out: float, num_samples: int = 0, seed: int = 0) -> Split:
    """Divide the images of a folder or archive into those that are trained on and those that are held out.

    Where there is a ``list_eval_partition.txt`` (in the folder, in its folder ``Eval``, or beside ``img_align_celeba`` or the archive),
    validation and test images are held out; otherwise a share is drawn. The seed is not that of the training: runs that differ in
    their seed are trained and judged on the same images.

    Args:
        data_dir: see `glo_lib.images.files.list_images`.
        held_out: share of the images, from 0 to below 1. 0: every image is trained on, whatever the list says. With a list, and
            without ``num_samples``, any other number holds out what the list says.
        num_samples: number of images in both parts together; 0: all.
        seed: of the draw.

    Returns:
        `Split`.

    Raises:
        ValueError: a share outside the range, a part that would be empty or has fewer images than asked for, or a damaged list.
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
    split = _drawn(filenames, held_out, seed) if partition is None else _listed(filenames, partition)
    if num_samples:
        wanted = math.ceil(num_samples * held_out)
        split = Split(split.training[: num_samples - wanted], split.held_out[:wanted])
    _check(split, data_dir, held_out, num_samples)
    return split


def _drawn(filenames: list[str], held_out: float, seed: int) -> Split:
    is_held_out = np.zeros(len(filenames), bool)
    is_held_out[np.random.default_rng(seed).permutation(len(filenames))[: math.ceil(held_out * len(filenames))]] = True
    return _divided(filenames, is_held_out)


def _listed(filenames: list[str], partition: Path) -> Split:
    parts = read_partition(partition)
    missing = [name for name in (Path(filename).name for filename in filenames) if name not in parts]
    if missing:
        raise ValueError(
            f"{str(partition)!r} lists {len(parts)} images, and not {missing[0]!r} ({len(missing)} missing); "
            "complete it, or remove it to have the images split by a seed"
        )
    return _divided(filenames, [parts[Path(filename).name] != TRAINING for filename in filenames])


def _divided(filenames: list[str], is_held_out) -> Split:
    pairs = list(zip(filenames, is_held_out, strict=True))
    return Split([filename for filename, out in pairs if not out], [filename for filename, out in pairs if out])


def _check(split: Split, data_dir: str | Path, held_out: float, num_samples: int) -> None:
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
    beside = data_dir.is_file() or data_dir.name == CELEBA_FOLDER
    folders = [data_dir, data_dir / "Eval", *([data_dir.resolve().parent, data_dir.resolve().parent / "Eval"] if beside else [])]
    return next((folder / PARTITION_NAME for folder in folders if (folder / PARTITION_NAME).is_file()), None)


def read_partition(path: str | Path) -> dict[str, str]:
    """CelebA's ``list_eval_partition.txt``: lines of a file name and 0 (training), 1 (validation) or 2 (test).

    Args:
        path: the file.

    Returns:
        Part of each file name.

    Raises:
        ValueError: a line that is something else, or a file name that is listed twice; the message has its number.
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
