"""CelebA's lists: find them beside the images, in whatever layout the data set was passed on, and read them.

The official release has ``Img/img_align_celeba`` (or its archive), ``Anno`` and ``Eval``; Kaggle has the lists as CSV files beside a doubly
nested ``img_align_celeba/img_align_celeba``; others have all lists beside the folder of images, or in one archive with them.
"""

import csv
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from glo_lib.system.cache import cache_root

ENDINGS = (".txt", ".csv")
LIST_FOLDERS = ("Eval", "Anno")
# Folders of the release that hold images, in lower case. The lists lie above them, so the folders above them are searched too.
IMAGE_FOLDERS = ("img", "img_align_celeba", "img_align_celeba_png", "img_celeba")
TRAINING = "0"  # 0 training, 1 validation, 2 test
PARTS = ("0", "1", "2")
NUM_COORDINATES = 10  # x and y of five landmarks
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
SPLIT_BY_SEED = "held_out_by 'share' to have the images split by a seed"


class Search(NamedTuple):
    """The result of a search for a list.

    Attributes:
        path: the list; None if there is none.
        folders: the folders that were searched, together with ``Eval`` and ``Anno`` in them.
    """

    path: Path | None
    folders: tuple[Path, ...]


def find_list(name: str, data_dir: str | Path, filenames: Sequence[str]) -> Search:
    """Find one of CelebA's lists beside, above or within a folder or an archive of images.

    Searched are the folder of the images and all folders between it and ``data_dir``; the folder that holds the archive; and, where
    ``data_dir`` is one of the folders of images in the release, the folders above it. In each of them, ``Eval`` and ``Anno`` are searched
    too.

    Args:
        name: of a list of `glo_lib.images.release.LISTS`; the file may end with txt or csv.
        data_dir: folder or archive, as given by the user.
        filenames: the image files that were found in it; without any, the folders above and beside are searched only.

    Returns:
        `Search`.

    Example:
        ``find_list("list_eval_partition", "CelebA/Img", list_images("CelebA/Img")).path``
    """
    given = Path(data_dir).expanduser()
    folders = dict.fromkeys(_folders_within(given, filenames))
    for path in dict.fromkeys((Path(os.path.abspath(given)), given.resolve())):
        folders |= dict.fromkeys(_folders_above(path if path.is_dir() else path.parent, is_archive=not path.is_dir()))
    names = [f"{spelling}{ending}" for ending in ENDINGS for spelling in dict.fromkeys((name, name.lower()))]
    places = (folder / inner / file for folder in folders for inner in ("", *LIST_FOLDERS) for file in names)
    return Search(next((place for place in places if place.is_file()), None), tuple(folders))


def _folders_within(given: Path, filenames: Sequence[str]) -> Iterator[Path]:
    """Yield the common folder of the images, and those above it up to the given folder, or up to the folder of the unpacked archive."""
    if not filenames:
        return
    folder = Path(os.path.commonpath([os.path.abspath(folder) for folder in {os.path.dirname(filename) for filename in filenames}]))
    tops = {Path(os.path.abspath(given)), given.resolve()}
    archives = Path(os.path.abspath(cache_root() / "archives"))
    while True:
        yield folder
        if folder in tops or folder.parent in (archives, folder):
            return
        folder = folder.parent


def _folders_above(folder: Path, is_archive: bool) -> Iterator[Path]:
    """Yield the folder of an archive, and the folders above a folder of images of the release."""
    if is_archive:
        yield folder
    while folder.name.lower() in IMAGE_FOLDERS:
        folder = folder.parent
        yield folder


def read_partition(path: str | Path) -> dict[str, str]:
    """Read CelebA's ``list_eval_partition``: each line has a file name and 0 (training), 1 (validation) or 2 (test).

    Args:
        path: the file, see `read_rows`.

    Returns:
        "0", "1" or "2" for each file name.

    Raises:
        ValueError: a line is something else, or a file name is listed twice; the message has the number of the line.

    Example:
        ``read_partition("Eval/list_eval_partition.txt")["000001.jpg"]``
    """
    return _read_pairs(path, "0, 1 or 2", PARTS)


def read_identities(path: str | Path) -> dict[str, str]:
    """Read CelebA's ``identity_CelebA``: each line has a file name and the number of a person.

    Args:
        path: the file, see `read_rows`.

    Returns:
        The person of each file name, as text.

    Raises:
        ValueError: a line is something else, or a file name is listed twice; the message has the number of the line.

    Example:
        ``read_identities("Anno/identity_CelebA.txt")["000001.jpg"]``
    """
    return _read_pairs(path, "a person")


def read_landmarks(path: str | Path) -> dict[str, tuple[float, ...]]:
    """Read CelebA's ``list_landmarks_align_celeba``: each line has a file name and ten numbers.

    Args:
        path: the file, see `read_rows`. The first lines may be the number of images and the names of the columns.

    Returns:
        For each file name x and y of the left eye, the right eye, the nose, the left and the right corner of the mouth.

    Raises:
        ValueError: a line is something else, or a file name is listed twice; the message has the number of the line.

    Example:
        ``read_landmarks("Anno/list_landmarks_align_celeba.txt")["000001.jpg"]``
    """
    points: dict[str, tuple[float, ...]] = {}
    for number, cells in ((number, without_empty_ends(row)) for number, row in read_rows(path)):
        is_header = not points and (len(cells) == 1 or all(not _is_number(cell) for cell in cells))
        if is_header:
            continue
        if len(cells) != 1 + NUM_COORDINATES or not all(_is_number(cell) for cell in cells[1:]):
            raise ValueError(f"{str(path)!r}, line {number}: {' '.join(cells)[:80]!r} is not a file name and {NUM_COORDINATES} numbers")
        if cells[0] in points:
            raise ValueError(f"{str(path)!r}, line {number}: {cells[0]!r} is listed twice")
        points[cells[0]] = tuple(float(cell) for cell in cells[1:])
    return points


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _read_pairs(path: str | Path, meaning: str, allowed: Sequence[str] = ()) -> dict[str, str]:
    """Read a list of file names and values; the first line may be a header."""
    values: dict[str, str] = {}
    is_first = True
    for number, cells in ((number, without_empty_ends(row)) for number, row in read_rows(path)):
        # A header has no file name in front, and no number behind.
        is_header = is_first and len(cells) == 2 and not Path(cells[0]).suffix and not any(letter.isdigit() for letter in cells[1])
        is_first = False
        if is_header:
            continue
        if len(cells) != 2 or (allowed and cells[1] not in allowed):
            raise ValueError(f"{str(path)!r}, line {number}: {' '.join(cells)[:80]!r} is not a file name and {meaning}")
        if cells[0] in values:
            raise ValueError(f"{str(path)!r}, line {number}: {cells[0]!r} is listed twice")
        values[cells[0]] = cells[1]
    return values


def look_up(values: Mapping[str, Any], filenames: Sequence[str], path: str | Path, way_out: str = SPLIT_BY_SEED) -> list[Any]:
    """Return the value of each image file in a list; folders are ignored, and a converted image may have another ending.

    Args:
        values: from `read_partition`, `read_identities` or `read_landmarks`.
        filenames: image files.
        path: the file of the list, for the message.
        way_out: what to give instead of the list, for the message.

    Raises:
        ValueError: an image is not in the list.

    Example:
        >>> look_up({"000001.jpg": "0", "000002.jpg": "2"}, ["faces/000002.png"], "list_eval_partition.txt")
        ['2']
    """
    names = [os.path.basename(filename) for filename in filenames]
    found = [values.get(name) or values.get(f"{os.path.splitext(name)[0]}.jpg") for name in names]
    missing = [name for name, value in zip(names, found, strict=True) if value is None]
    if missing:
        raise ValueError(
            f"{str(path)!r} lists {len(values)} images, and not {missing[0]!r} ({len(missing)} missing); complete it, or give {way_out}"
        )
    return found


def read_rows(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """Read a list, whatever program wrote it: columns separated by blanks, tabs, commas or semicolons.

    A byte order mark, any line ending, quotes, blanks around the cells, and empty lines do not matter.

    Args:
        path: text file in UTF-8. A name that ends with ``.csv``, or a first line without blanks between its cells, means a CSV file.

    Yields:
        The number of the line, from 1, and its cells, which are not all empty.

    Raises:
        ValueError: the file is in UTF-16.

    Example:
        ``dict(cells for _, cells in read_rows("identity_CelebA.txt"))``
    """
    with open(path, "rb") as file:
        if file.read(2) in UTF_16_MARKS:
            raise ValueError(f"{str(path)!r}, line 1: the file is in UTF-16; save it as UTF-8 (Excel: 'CSV UTF-8')")
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:  # which also reads every kind of line ending
        delimiter = _delimiter(path)
        for number, line in enumerate(file, start=1):
            cells = [cell.strip().strip('"') for cell in _split(line.strip(" \n"), delimiter)]
            if any(cells):
                yield number, cells


def without_empty_ends(cells: Sequence[str]) -> list[str]:
    """Return cells without the empty ones at the end, which a spreadsheet adds.

    Example:
        >>> without_empty_ends(["000001.jpg", "0", "", ""])
        ['000001.jpg', '0']
    """
    last = max((number for number, cell in enumerate(cells) if cell), default=-1)
    return list(cells[: last + 1])


def _split(line: str, delimiter: str | None) -> list[str]:
    try:
        return line.split() if delimiter is None else next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return [line]


def _delimiter(path: str | Path) -> str | None:
    """Return the delimiter of a CSV file, the one that its first line has most of; None for columns separated by blanks."""
    with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
        first = next((line.strip() for line in file if line.strip()), "")
    if Path(path).suffix.lower() != ".csv" and (len(first.split()) > 1 or not any(mark in first for mark in ",;")):
        return None
    return max(",;\t", key=first.count)
