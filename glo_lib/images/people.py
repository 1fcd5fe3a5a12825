"""Hold out whole people: find out who is in each image, and choose people whose images together are a given share of all."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glo_lib.images.celeba import find_list, look_up, read_identities
from glo_lib.images.release import IDENTITY, where_to_get
from glo_lib.system.cache import shown

NUMBERED_NAME = re.compile(r"(.*[^\W\d_].*)_\d+")  # as in Labeled Faces in the Wild: a name, which has a letter, and a number


class People(NamedTuple):
    """Who is in each image.

    Attributes:
        names: a name or a number for each image.
        source: where the names come from, for a message.
    """

    names: list[str]
    source: str


def find_people(data_dir: str | Path, filenames: Sequence[str]) -> People:
    """Find out who is in each image.

    The first of these that applies is used: CelebA's list ``identity_CelebA`` (`glo_lib.images.celeba.find_list`); file names such as
    ``NAME_0001.jpg``, in which case no name may occur in two folders; or one folder for each person.

    Args:
        data_dir: folder or archive, as given by the user.
        filenames: the image files in it.

    Returns:
        `People`.

    Raises:
        ValueError: none of these applies, or the list lacks an image.

    Example:
        ``find_people("lfw", list_images("lfw")).names[0]``
    """
    search = find_list(IDENTITY, data_dir, filenames)
    if search.path is not None:
        return People(look_up(read_identities(search.path), filenames, search.path), shown(search.path))
    names, folders = _names_of(filenames), [os.path.dirname(filename) for filename in filenames]
    if names is not None and (len(set(folders)) == 1 or len(set(zip(names, folders, strict=True))) == len(set(names))):
        return People(names, f"file names such as {Path(filenames[0]).name!r}")
    if len(set(folders)) > 1:
        return People(folders, f"one folder for each person, such as {Path(folders[0]).name!r}")
    unnamed = next((Path(filename).name for filename in filenames if not NUMBERED_NAME.fullmatch(Path(filename).stem)), "")
    raise ValueError(
        f"held_out_by is 'identity', and nothing says who is in the images: there is no {IDENTITY}.txt or .csv in "
        f"{', '.join(map(shown, search.folders))} (nor in Eval or Anno there), {unnamed!r} is not a name such as NAME_0001.jpg, "
        f"and there is not a folder for each person; add one of these, or give another held_out_by{where_to_get(filenames)}"
    )


def _names_of(filenames: Sequence[str]) -> list[str] | None:
    """Return the names of people in the file names; None if a file name has another form."""
    matches = [NUMBERED_NAME.fullmatch(os.path.splitext(os.path.basename(filename))[0]) for filename in filenames]
    return [match[1] for match in matches if match] if all(matches) else None


def hold_out_people(names: Sequence[str], share: float, seed: int = 0) -> np.ndarray:
    """Choose people at random whose images together are as near to a share of all images as whole people allow.

    Args:
        names: who is in each image, (N,).
        share: share of the images to hold out, above 0 and below 1.
        seed: seed of the order in which the people are considered.

    Returns:
        (N,) bool: which images are held out; at least one is, and at least one is not.

    Raises:
        ValueError: all images are of one person.

    Example:
        >>> hold_out_people(["Ann", "Ann", "Bob", "Ann"], share=0.25).tolist()
        [False, False, True, False]
    """
    images = Counter(names)
    if len(images) < 2:
        raise ValueError(
            f"held_out_by is 'identity', and all images are of one person, {next(iter(images), '')!r}; give another held_out_by"
        )
    people = sorted(images)
    people = [people[number] for number in np.random.default_rng(seed).permutation(len(people))]
    chosen = _subset_with_sum_near([images[person] for person in people], max(1, round(share * len(names))))
    held_out = {people[number] for number in chosen}
    return np.array([name in held_out for name in names])


def _subset_with_sum_near(counts: Sequence[int], target: int) -> list[int]:
    """Return the numbers of some counts, not all, whose sum is as near to a target as possible (above 0), by dynamic programming.

    Bit s of ``sums[k]`` says whether some of the first k counts have the sum s. No sum above ``target`` plus the largest count is needed,
    because a set with such a sum is still above the target without one of its members.
    """
    limit = min(target + max(counts), sum(counts) - 1)
    mask = (1 << (limit + 1)) - 1
    sums = [1]
    for count in counts:
        if sums[-1] >> target & 1:
            break  # reached exactly, so the other people need not be considered
        sums.append((sums[-1] | sums[-1] << count) & mask)
    distances = range(max(target, limit) + 1)
    near = (total for distance in distances for total in (target - distance, target + distance))
    total = next(total for total in near if 0 < total <= limit and sums[-1] >> total & 1)
    chosen = []
    for number in reversed(range(len(sums) - 1)):
        if not sums[number] >> total & 1:
            chosen.append(number)
            total -= counts[number]
    return chosen
