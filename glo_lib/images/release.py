"""What the release of CelebA holds, as published: its files, their numbers and checksums, and where to get it."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

NAME = "CelebA"
# Names of the lists, which end with txt in the release and with csv in Kaggle's copy.
PARTITION = "list_eval_partition"
IDENTITY = "identity_CelebA"
ATTRIBUTES = "list_attr_celeba"
LANDMARKS = "list_landmarks_align_celeba"
NUM_IMAGES, NUM_PEOPLE = 202_599, 10_177
PART_NAMES = ("training", "validation", "test")
PART_SIZES = (162_770, 19_867, 19_962)
WIDTH, HEIGHT = 178, 218  # of every image, in pixels
IMAGE_ARCHIVE = "img_align_celeba.zip"
IMAGE_NAME = re.compile(r"\d{6}\.(jpg|png)")
# The photographs before they were aligned, and the aligned ones as PNG files, in one part or in several.
SEVEN_ZIP = re.compile(r"img_(celeba|align_celeba_png)\.7z(\.\d{3})?", re.IGNORECASE)

PAGE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
LICENCE = "CelebA is available for non-commercial research only; the page has the terms"
# The authors publish no checksums; these are the ones that torchvision compares its downloads with.
MD5_SOURCE = "torchvision, torchvision/datasets/celeba.py"


class ReleaseFile(NamedTuple):
    """A file of the release that this library reads.

    Attributes:
        name: without the ending.
        use: what it is used for here.
        md5: of the file as released; see `MD5_SOURCE`.
    """

    name: str
    use: str
    md5: str


ARCHIVE_MD5 = "00d2c5bc6d35e252742224ab0c1e8fcb"
LISTS = (
    ReleaseFile(ATTRIBUTES, "40 attributes: directions among the codes, and probes that judge edits", "75e246fa4810816ffd6ee81facbd244c"),
    ReleaseFile(PARTITION, "the official split: held_out with held_out_by partition (or auto)", "d32c9cbf5e040fd4025c592c306e6668"),
    ReleaseFile(IDENTITY, "who is in each image: held_out_by identity holds out whole people", "32bd1bd63d3c78cd57e08160ec5ed1e2"),
    ReleaseFile(LANDMARKS, "eyes, nose and mouth: crop landmarks follows the eyes", "cc24ecafdb5b50baae59b03474781f8c"),
)


def how_to_get() -> str:
    """Return where CelebA is to be had, on what terms, and which files are expected, as lines for a message.

    Example:
        ``print(how_to_get())``
    """
    lists = ", ".join(f"{file.name}.txt" for file in LISTS)
    return (
        f"The official page of CelebA is {PAGE}\n{LICENCE}.\n"
        f"Expected are {IMAGE_ARCHIVE} (or its folder img_align_celeba with 000001.jpg to {NUM_IMAGES}.jpg) and, beside it or in Anno and "
        f"Eval, the lists {lists}; Kaggle's CSV files do as well."
    )


def describe_seven_zip(names: Sequence[str]) -> str:
    """Return what to do with the 7z archives of the release among some file names; nothing if there are none.

    Example:
        >>> describe_seven_zip(["img_celeba.7z.001", "README.txt"]).split(";")[0]
        'img_celeba.7z.001 (1 file) holds the photographs before they were aligned, in a format that is not read here'
    """
    found = sorted(os.path.basename(name) for name in names if SEVEN_ZIP.fullmatch(os.path.basename(name)))
    if not found:
        return ""
    number = f"{len(found)} file{'' if len(found) == 1 else 's'}"
    if "png" in found[0].lower():
        return f"{found[0]} ({number}) holds the aligned images as PNG files; unpack it (7z x {found[0]}) and give the folder"
    return (
        f"{found[0]} ({number}) holds the photographs before they were aligned, in a format that is not read here; get {IMAGE_ARCHIVE} "
        f"instead, whose faces are aligned, or unpack it (7z x {found[0]}) and align the faces yourself"
    )


def advice(data_dir: str | Path) -> str:
    """Return what to add to the message that a folder or archive is missing or holds no image.

    Args:
        data_dir: as given by the user.

    Returns:
        For CelebA, by its name or its files, `how_to_get` in further lines; for anything else that exists, the command that says what is
        there; nothing for what does not exist.
    """
    path = Path(data_dir).expanduser()
    archive = find_archive(path)
    if archive is not None:
        return f"\nthe images are still in their archive: give data_dir {str(archive)!r}"
    names = [path.name, *(entry.name for folder in (path, path / "Img") if folder.is_dir() for entry in folder.iterdir())]
    lists = {file.name.lower() for file in LISTS}
    if any("celeb" in name.lower() or Path(name).stem.lower() in lists for name in names):
        return "".join(f"\n{line}" for line in (describe_seven_zip(names), how_to_get()) if line)
    return f"\n'python -m glo_lib data {data_dir}' says what is there" if path.exists() else ""


def find_archive(folder: Path) -> Path | None:
    """Return ``img_align_celeba.zip`` in a folder or in ``Img`` there; None if there is none.

    Example:
        ``find_archive(Path("CelebA"))`` is ``Path("CelebA/Img/img_align_celeba.zip")`` as long as it is not unpacked.
    """
    return next((place for place in (folder / IMAGE_ARCHIVE, folder / "Img" / IMAGE_ARCHIVE) if place.is_file()), None)


def where_to_get(filenames: Sequence[str]) -> str:
    """Return where a missing list is to be had, for the end of a message; nothing if the images do not have the names of CelebA's.

    Example:
        >>> where_to_get(["photographs/beach.jpg"])
        ''
    """
    is_celeba = bool(filenames) and all(IMAGE_NAME.fullmatch(os.path.basename(filename)) for filename in (filenames[0], filenames[-1]))
    return f"; for CelebA the lists are on the official page, {PAGE} ({LICENCE})" if is_celeba else ""
