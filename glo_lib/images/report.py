"""``python -m glo_lib data PATH``: what a folder or archive of images holds, what is missing or damaged, and what to do next.

CelebA, Labeled Faces in the Wild (LFW) and the thumbnails of Flickr-Faces-HQ (FFHQ) are recognised by their layout, and their numbers
compared with those published. Nothing is unpacked into the cache, and nothing is changed.
"""

import hashlib
import io
import os
import re
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from PIL import Image

from glo_lib.images import release
from glo_lib.images.archives import DAMAGED_ARCHIVE_ERRORS
from glo_lib.images.celeba import ENDINGS, find_list, read_identities, read_partition, read_rows
from glo_lib.images.files import CELEBA_FOLDER, PASSED_OVER_FOLDERS, survey_images
from glo_lib.images.formats import EXTENSIONS, FORMATS, first_bytes, kind_of
from glo_lib.images.people import NUMBERED_NAME
from glo_lib.images.reading import unreadable
from glo_lib.images.release import ATTRIBUTES, IDENTITY, LANDMARKS, PARTITION
from glo_lib.system.progress import slow_progress

MOST_NAMED = 10  # damaged files that the text names; the JSON has all
MAX_MEMBER_BYTES = 2**28  # of an archive's member that is read into memory
END_BYTES = 64  # the mark at the end of a JPEG or PNG file lies within so many bytes, even if some zeros follow it
END_MARKS = {".png": b"IEND", **dict.fromkeys((".jpg", ".jpeg"), b"\xff\xd9")}
LFW, FFHQ = "LFW", "FFHQ thumbnails"
LFW_IMAGES, LFW_PEOPLE, LFW_SIZE = 13_233, 5_749, (250, 250)
# Images of LFW by which a copy is recognised that was cropped to another size.
LFW_NAMES = frozenset(f"{name}_0001" for name in ("Aaron_Eckhart", "Colin_Powell", "George_W_Bush", "Serena_Williams", "Tony_Blair"))
FFHQ_IMAGES, FFHQ_SIZE, FFHQ_NAME = 70_000, (128, 128), re.compile(r"\d{5}\.png")
LFW_FOLDERS = ("lfw_funneled", "lfw", "lfw-deepfunneled")  # in scikit-learn's lfw_home, of which one is enough


@dataclass(frozen=True)
class ListReport:
    """What is known of one of CelebA's lists.

    Attributes:
        name: without its ending.
        use: what it is used for.
        path: where it is; None if it is missing.
        rows: number of images that it lists.
        without_image: number of rows whose image is not there.
        images_without_row: number of images that it does not list.
        md5: checksum of the file, if one is published for its form; empty for a CSV file.
        as_published: whether the checksum is the published one; None if none is published.
        problem: why it cannot be read; empty if it can.
    """

    name: str
    use: str
    path: str | None = None
    rows: int = 0
    without_image: int = 0
    images_without_row: int = 0
    md5: str = ""
    as_published: bool | None = None
    problem: str = ""

    @property
    def is_sound(self) -> bool:
        """Whether the list is there, can be read, and has a row for every image."""
        return self.path is not None and not self.problem and not self.images_without_row

    def __str__(self) -> str:
        if self.path is None:
            return f"missing ({self.use})"
        if self.problem:
            return f"{self.path}: {self.problem}"
        parts = [f"{self.path}, {self.rows:,} rows"]
        parts += [f"{self.without_image:,} of them without an image"] if self.without_image else []
        parts += [f"{self.images_without_row:,} images have no row"] if self.images_without_row else []
        checksum = {True: "MD5 as published", False: "MD5 is not the published one", None: "no MD5 published for this form"}
        return f"{', '.join(parts)}; {checksum[self.as_published]} ({self.use})"


@dataclass(frozen=True)
class Report:
    """What a folder or archive holds.

    Attributes:
        path: as given.
        data_set: "CelebA", "LFW" or "FFHQ thumbnails"; "images" for any other images; "nothing" if there are none.
        layout: how its files lie.
        data_dir: what to give as ``data_dir``.
        num_images: number of images.
        num_published: number of images of the whole data set; None for other images.
        endings: number of images by ending.
        sizes: number of images by size, as "178x218", of those that can be opened.
        archive_md5: checksum of CelebA's archive of images; empty for anything else.
        archive_as_published: whether it is the published one; None if none is published.
        lists: CelebA's lists.
        parts: number of images in training, validation and test, according to the official split.
        num_people: number of people in the images, if something says who is in them.
        shared: number of people that two parts of the official split have in common, and ``any`` for two parts or more.
        damaged: name of each image that cannot be read, with the reason.
        decoded: whether every pixel was read to find the damaged images.
        notes: what else there is to know.
        next: what to do, the first thing first.
    """

    path: str
    data_set: str = "nothing"
    layout: str = ""
    data_dir: str = ""
    num_images: int = 0
    num_published: int | None = None
    endings: Mapping[str, int] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    archive_md5: str = ""
    archive_as_published: bool | None = None
    lists: tuple[ListReport, ...] = ()
    parts: Mapping[str, int] = field(default_factory=dict)
    num_people: int | None = None
    shared: Mapping[str, int] = field(default_factory=dict)
    damaged: Mapping[str, str] = field(default_factory=dict)
    decoded: bool = False
    notes: tuple[str, ...] = ()
    next: tuple[str, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Whether there are images, none is damaged, and every list that is there fits them."""
        return bool(self.num_images) and not self.damaged and all(entry.is_sound for entry in self.lists if entry.path)

    def as_dict(self) -> dict[str, Any]:
        """Return all facts as values for JSON."""
        facts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        facts |= {name: dict(value) for name, value in facts.items() if isinstance(value, Mapping)}
        facts |= {"lists": [vars(entry) for entry in self.lists], "notes": list(self.notes), "next": list(self.next)}
        return facts | {"md5_source": release.MD5_SOURCE if self.data_set == release.NAME else "", "sound": self.is_sound}

    def __str__(self) -> str:
        described = (self._describe_images(), self._describe_lists(), self._describe_people(), self._describe_damage())
        lines = [line for part in described for line in part]
        return "\n".join([*lines, *self.notes, f"next: {self.next[0]}", *(f"      {line}" for line in self.next[1:])])

    def _describe_images(self) -> Iterator[str]:
        if not self.num_images:
            yield f"NO  no images in {self.path!r}"
            return
        yield f"{self.data_set if self.data_set != 'images' else 'Images'} in {self.path!r}: {self.layout}"
        published = f", {self.num_published:,} published" if self.num_published else ""
        mark = "ok" if self.num_published in (None, self.num_images) else "! "
        endings = ", ".join(f"{count:,} {ending}" for ending, count in self.endings.items())
        yield f"{mark}  images: {self.num_images:,}{published} ({endings})"
        sizes = sorted(self.sizes.items(), key=lambda entry: -entry[1])
        more = f", and {len(sizes) - 3:,} more sizes" if len(sizes) > 3 else ""
        yield f"    pixels: {', '.join(f'{size} ({count:,})' for size, count in sizes[:3])}{more}"
        if self.archive_md5:
            yield f"{'ok' if self.archive_as_published else '! '}  archive: MD5 {'as' if self.archive_as_published else 'not as'} published"

    def _describe_lists(self) -> Iterator[str]:
        for entry in self.lists:
            mark = "ok" if entry.is_sound and entry.as_published is not False and not entry.without_image else "! "
            yield f"{mark}  {entry.name}: {entry}"

    def _describe_people(self) -> Iterator[str]:
        if self.parts:
            sizes = [f"{name} {self.parts[name]:,} ({size:,})" for name, size in zip(release.PART_NAMES, release.PART_SIZES, strict=True)]
            fits = tuple(self.parts.values()) == release.PART_SIZES
            yield f"{'ok' if fits else '! '}  parts of the official split (published): {', '.join(sizes)}"
        if self.num_people is not None:
            published = {release.NAME: release.NUM_PEOPLE, LFW: LFW_PEOPLE}.get(self.data_set)
            mark = "ok" if published in (None, self.num_people) else "! "
            yield f"{mark}  people: {self.num_people:,}" + (f", {published:,} published" if published else "")
        if self.shared:
            pairs = ", ".join(f"{pair} {count:,}" for pair, count in self.shared.items() if pair != "any")
            yield f"    people in more than one part of the official split: {self.shared['any']:,} ({pairs})"

    def _describe_damage(self) -> Iterator[str]:
        if not self.num_images:
            return
        how = "every pixel was read" if self.decoded else "the header and the end of each were read; --decode reads every pixel"
        if not self.damaged:
            yield f"ok  damaged images: none ({how})"
            return
        yield f"NO  damaged images: {len(self.damaged):,} ({how})"
        yield from (f"      {name}: {reason}" for name, reason in list(self.damaged.items())[:MOST_NAMED])
        if len(self.damaged) > MOST_NAMED:
            yield f"      ... and {len(self.damaged) - MOST_NAMED:,} more (--json names them all)"


class _Images(NamedTuple):
    """The images of a folder or an archive, and how to open them.

    Attributes:
        names: relative to the folder or archive, with forward slashes, sorted.
        root: the folder; for an archive it does not matter.
        archive: the archive; None for a folder.
        other_names: of the other files, in an archive.
    """

    names: tuple[str, ...]
    root: Path = Path()
    archive: zipfile.ZipFile | None = None
    other_names: tuple[str, ...] = ()

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading; reading a damaged member of an archive raises an error."""
        return self.archive.open(name) if self.archive else open(self.root / name, "rb")

    @contextmanager
    def as_file(self, name: str) -> Iterator[str]:
        """The path of a file; a member of an archive is extracted for the duration of the ``with`` block."""
        if self.archive is None:
            yield str(self.root / name)
            return
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, PurePosixPath(name).name)
            with self.archive.open(name) as member, open(path, "wb") as file:
                shutil.copyfileobj(member, file)
            yield path


def examine(path: str | Path, decode: bool = False) -> Report:
    """Find out what a folder or archive of images holds.

    Args:
        path: folder or zip archive; of CelebA also a folder above its images or their archive.
        decode: read every pixel of every image, which takes some minutes for CelebA. By default only the header and the end of each are
            read, which finds downloads that were interrupted; in an archive, the checksum of each member is compared as well.

    Returns:
        `Report`.

    Raises:
        FileNotFoundError: there is no such file or folder; the message says where CelebA is to be had if that is what is missing.
        PermissionError: a folder may not be read.

    Example:
        ``print(examine("CelebA"))``
    """
    given = Path(path).expanduser()
    if not given.exists():
        raise FileNotFoundError(f"{str(path)!r} does not exist; give a folder of images or a zip archive of them{release.advice(path)}")
    report = Report(str(path), data_dir=str(path))
    found = given
    if given.is_dir():
        images = _list_folder(given)
        archive = release.find_archive(given)
        if images is not None or archive is None:
            return _finish(report, given, images, decode)
        found, report = archive, replace(report, data_dir=str(archive))
    try:
        with zipfile.ZipFile(found) as opened:
            return _finish(report, found, _list_archive(opened), decode)
    except DAMAGED_ARCHIVE_ERRORS as error:
        kind = kind_of(first_bytes(found))
        reason = f"{kind.name}; {kind.advice or 'give the folder that holds it'}" if kind else f"not a zip archive ({error})"
        note = release.describe_seven_zip([found.name]) or f"{str(found)!r} is {reason}"
        return replace(report, notes=(f"NO  {note}",), next=_how_to_go_on(report, note))


def _list_folder(folder: Path) -> _Images | None:
    """List the images of a folder as training does; None if there are none."""
    try:
        listing = survey_images(folder)
    except FileNotFoundError:
        return None
    root = os.path.abspath(folder)
    return _Images(tuple(Path(os.path.relpath(os.path.abspath(name), root)).as_posix() for name in listing.filenames), folder)


def _list_archive(archive: zipfile.ZipFile) -> _Images | None:
    """List the images of an archive as they would be listed once it is unpacked; None if there are none."""
    names = [member.filename for member in archive.infolist() if not member.is_dir()]
    hidden = [name for name in names if any(part.startswith(".") or part.lower() in PASSED_OVER_FOLDERS for part in name.split("/"))]
    names = sorted(set(names) - set(hidden))
    images = [name for name in names if PurePosixPath(name).suffix.lower() in EXTENSIONS]
    aligned = [name for name in images if CELEBA_FOLDER in PurePosixPath(name).parts[:-1]]
    chosen = tuple(aligned or images)
    return _Images(chosen, archive=archive, other_names=tuple(set(names) - set(images))) if chosen else None


def _finish(report: Report, found: Path, images: _Images | None, decode: bool) -> Report:
    """Examine the images that were found, in a folder or an archive."""
    declined = release.describe_seven_zip(_names_beside(found))
    notes = (f"!   {declined}",) if declined else ()
    if images is None:
        return replace(report, notes=notes, next=_how_to_go_on(report, declined))
    sizes, damaged = _check_images(images, decode)
    endings = Counter(PurePosixPath(name).suffix.lower() for name in images.names)
    report = replace(
        report, layout="a zip archive" if images.archive else "a folder", num_images=len(images.names), endings=dict(endings.most_common()),
        sizes=dict(sizes.most_common()), damaged=damaged, decoded=decode, notes=notes, data_set="images",
    )  # fmt: skip
    size = next(iter(sizes), None)
    if _is_celeba(images, found, report):
        report = _examine_celeba(report, images, found)
    elif all(NUMBERED_NAME.fullmatch(PurePosixPath(name).stem) for name in images.names):
        report = _examine_named(report, images, found)
    elif size == _text(FFHQ_SIZE) and all(FFHQ_NAME.fullmatch(PurePosixPath(name).name) for name in images.names):
        in_folders = any("/" in name and PurePosixPath(name).parent.name.isdigit() for name in images.names)
        layout = f"{report.layout}, {'a thousand images in each folder' if in_folders else 'all images together'}"
        report = replace(report, data_set=FFHQ, num_published=FFHQ_IMAGES, layout=layout)
    return replace(report, next=_next_steps(report))


def _text(size: tuple[int, int]) -> str:
    return "x".join(map(str, size))


def _names_beside(found: Path) -> list[str]:
    """Return the names of the files in a folder and in ``Img`` there, or beside an archive."""
    folder = found if found.is_dir() else found.parent
    return [entry.name for place in (folder, folder / "Img") if place.is_dir() for entry in place.iterdir()]


# ------------------------------------------------------------------------------------------------------------- damaged images
def _check_images(images: _Images, decode: bool) -> tuple[Counter[str], dict[str, str]]:
    """Return how many images have which size, and the reasons why others cannot be read, by name."""
    sizes: Counter[str] = Counter()
    damaged: dict[str, str] = {}
    with slow_progress("checking images", len(images.names), " images") as bar:
        for name in images.names:
            size, is_suspect, reason = _look_at(images, name)
            if not reason and (is_suspect or decode):
                reason = _reason_of_damage(images, name)
            if reason:
                damaged[name] = reason
            elif size:
                sizes[_text(size)] += 1
            bar.update()
    return sizes, damaged


def _look_at(images: _Images, name: str) -> tuple[tuple[int, int] | None, bool, str]:
    """Return the size of an image, whether it may be damaged, and what is certainly wrong with it, for an archive's member."""
    try:
        with images.open(name) as file:
            # All of an archive's member is read, so that its checksum is compared.
            contents = io.BytesIO(file.read(MAX_MEMBER_BYTES)) if images.archive else file
            with Image.open(contents, formats=FORMATS) as image:
                size = (image.width, image.height)
            contents.seek(0, os.SEEK_END)
            contents.seek(-min(END_BYTES, contents.tell()), os.SEEK_END)
            mark = END_MARKS.get(PurePosixPath(name).suffix.lower(), b"")
            return size, mark not in contents.read(), ""
    except DAMAGED_ARCHIVE_ERRORS as error:
        return None, True, str(error) if images.archive else ""
    except Exception:  # Pillow raises almost any exception for damaged files; `unreadable` knows the reason
        return None, True, ""


def _reason_of_damage(images: _Images, name: str) -> str:
    """Decode an image as training would; return what is wrong with it, or nothing."""
    try:
        with images.as_file(name) as path:
            return "".join(unreadable([path])).removeprefix(f"{path!r}: ")
    except (OSError, *DAMAGED_ARCHIVE_ERRORS) as error:
        return str(error)


# --------------------------------------------------------------------------------------------------------------------- CelebA
def _is_celeba(images: _Images, found: Path, report: Report) -> bool:
    """Whether the images have CelebA's names, and lie in its folder or archive, have its lists beside them or its size."""
    names = (images.names[0], images.names[len(images.names) // 2], images.names[-1])
    if not all(release.IMAGE_NAME.fullmatch(PurePosixPath(name).name) for name in names):
        return False
    in_folder = CELEBA_FOLDER in (*PurePosixPath(names[0]).parts[:-1], found.stem)
    has_size = next(iter(report.sizes), None) == _text((release.WIDTH, release.HEIGHT))
    return in_folder or has_size or any(_find(name.name, images, found) for name in release.LISTS)


def _find(name: str, images: _Images, found: Path) -> str | None:
    """Return the path of one of CelebA's lists, or its name in the archive; None if there is none."""
    wanted = {f"{name}{ending}".lower() for ending in ENDINGS}
    inside = sorted((other for other in images.other_names if PurePosixPath(other).name.lower() in wanted), key=lambda name: name[::-1])
    if inside:
        return inside[-1]
    filenames = [str(images.root / name) for name in images.names] if images.archive is None else []
    path = find_list(name, found, filenames).path
    return str(path) if path else None


def _examine_celeba(report: Report, images: _Images, found: Path) -> Report:
    """Compare lists and numbers with what is published."""
    lists, values = [], {}
    names = {f"{PurePosixPath(name).stem}.jpg" for name in images.names}
    for file in release.LISTS:
        entry, values[file.name] = _examine_list(file, _find(file.name, images, found), images, names)
        lists.append(entry)
    partition, people = ({name: value for name, value in values[key].items() if name in names} for key in (PARTITION, IDENTITY))
    parts = Counter(partition.values())
    md5 = _md5_of(found) if found.name == release.IMAGE_ARCHIVE else ""
    return replace(
        report, data_set=release.NAME, layout=_layout_of_celeba(images, found, lists), num_published=release.NUM_IMAGES, lists=tuple(lists),
        parts={name: parts[str(number)] for number, name in enumerate(release.PART_NAMES)} if parts else {},
        num_people=len(set(people.values())) if people else None, shared=_shared_people(partition, people),
        archive_md5=md5, archive_as_published=md5 == release.ARCHIVE_MD5 if md5 else None,
    )  # fmt: skip


def _layout_of_celeba(images: _Images, found: Path, lists: Sequence[ListReport]) -> str:
    """Describe how the files lie, by the folders of the images and the endings of the lists."""
    parts = PurePosixPath(images.names[0]).parts[:-1]
    is_nested = parts.count(CELEBA_FOLDER) + (found.name == CELEBA_FOLDER) > 1
    has_csv = any((entry.path or "").lower().endswith(".csv") for entry in lists)
    in_tree = any(PurePosixPath(Path(entry.path or "").as_posix()).parent.name in ("Anno", "Eval") for entry in lists)
    how = "as in the official tree (Img, Anno, Eval)" if in_tree or "Img" in parts else "in one place"
    if has_csv or is_nested:
        how = "as Kaggle has it (CSV files)" + (", in a nested folder" if is_nested else "")
    return f"{'a zip archive' if images.archive else 'a folder'}, {how}"


def _examine_list(file: release.ReleaseFile, place: str | None, images: _Images, names: set[str]) -> tuple[ListReport, Mapping[str, Any]]:
    """Read a list; return what is known of it, and its values by image."""
    entry = ListReport(file.name, file.use, place)
    if place is None:
        return entry, {}
    is_member = place in images.other_names
    try:
        if is_member:
            with images.as_file(place) as path:
                md5, values = _md5_of(path), READERS[file.name](path)
        else:
            md5, values = _md5_of(place), READERS[file.name](place)
    except (ValueError, OSError, *DAMAGED_ARCHIVE_ERRORS) as error:
        return replace(entry, problem=str(error)), {}
    is_text = place.lower().endswith(".txt")
    listed = {f"{PurePosixPath(name).stem}.jpg" for name in values}
    return replace(
        entry, rows=len(values), without_image=len(listed - names), images_without_row=len(names - listed), md5=md5 if is_text else "",
        as_published=md5 == file.md5 if is_text else None,
    ), {f"{PurePosixPath(name).stem}.jpg": value for name, value in values.items()}  # fmt: skip


def _read_names(path: str | Path) -> dict[str, bool]:
    """Return the image files that a table of attributes or landmarks lists, after its header."""
    names = {cells[0]: True for _, cells in read_rows(path) if len(cells) > 1 and Path(cells[0]).suffix}
    if not names:
        raise ValueError(f"{str(path)!r} lists no image")
    return names


READERS: dict[str, Callable[[str | Path], Mapping[str, Any]]] = {
    PARTITION: read_partition,
    IDENTITY: read_identities,
    ATTRIBUTES: _read_names,
    LANDMARKS: _read_names,
}


def _shared_people(partition: Mapping[str, str], people: Mapping[str, str]) -> dict[str, int]:
    """Return how many people two parts of the split have in common, by the names of the parts, and how many are in more than one."""
    if not partition or not people:
        return {}
    parts = [{people[name] for name, part in partition.items() if part == str(number) and name in people} for number in range(3)]
    training, validation, test = parts
    names = release.PART_NAMES
    return {
        f"{names[0]} and {names[1]}": len(training & validation),
        f"{names[0]} and {names[2]}": len(training & test),
        f"{names[1]} and {names[2]}": len(validation & test),
        "any": len((training & validation) | (training & test) | (validation & test)),
    }


def _md5_of(path: str | Path) -> str:
    """Return the MD5 checksum of a file, which is compared with a published one and protects nothing."""
    digest = hashlib.md5(usedforsecurity=False)
    size = os.path.getsize(path)
    with open(path, "rb") as file, slow_progress("checksum", size, "B", unit_scale=True) as bar:
        for block in iter(lambda: file.read(2**22), b""):
            digest.update(block)
            bar.update(len(block))
    return digest.hexdigest()


# ------------------------------------------------------------------------------------------------------------------------ LFW
def _examine_named(report: Report, images: _Images, found: Path) -> Report:
    """Count the people whose names the file names have, and recognise LFW among such images."""
    people = {_person(name) for name in images.names}
    is_by_person = all(PurePosixPath(name).parent.name == _person(name) for name in images.names)
    layout = f"{report.layout}, {'a folder for each person' if is_by_person else 'names of people as file names'}"
    report = replace(report, num_people=len(people), layout=layout)
    is_lfw = LFW_NAMES & {PurePosixPath(name).stem for name in images.names} or _text(LFW_SIZE) in report.sizes
    return _examine_lfw(report, images, found) if is_lfw else report


def _person(name: str) -> str:
    return PurePosixPath(name).stem.rpartition("_")[0]


def _examine_lfw(report: Report, images: _Images, found: Path) -> Report:
    """See whether several versions of LFW lie side by side, as scikit-learn may have downloaded them."""
    folders = {folder for name in images.names for folder in PurePosixPath(name).parents if folder.name in LFW_FOLDERS}
    versions = sorted(folders, key=lambda folder: LFW_FOLDERS.index(folder.name))
    is_download = "lfw_home" in (found.name, found.parent.name, *(folder.parent.name for folder in versions))
    layout = report.layout + (", as scikit-learn downloads it" if is_download else "")
    report = replace(report, data_set=LFW, num_published=LFW_IMAGES, layout=layout)
    if len(versions) > 1:
        names = ", ".join(folder.name for folder in versions)
        note = f"!   the same photographs are there {len(versions)} times ({names}); give one of the folders"
        report = replace(report, notes=(*report.notes, note), data_dir=str(found / versions[0]))
    return report


# ------------------------------------------------------------------------------------------------------------------ what next
def _how_to_go_on(report: Report, declined: str) -> tuple[str, ...]:
    """Return what to do where no image is found."""
    advice = release.advice(report.path).strip("\n").splitlines()
    if declined or any(release.PAGE in line for line in advice):
        return tuple(release.how_to_get().splitlines())
    return ("give a folder of images or a zip archive of them",)


def _next_steps(report: Report) -> tuple[str, ...]:
    """Return what to do with the images: first what is damaged, then what is missing, then the command that trains."""
    steps = []
    if report.damaged and report.archive_as_published is False:
        steps.append(f"download {release.IMAGE_ARCHIVE} again: {release.PAGE}")
    elif report.damaged:
        steps.append("replace the damaged images, or leave them out with -p on_bad_image skip")
    for entry in report.lists:
        if entry.problem or entry.images_without_row:
            steps.append(f"replace {entry.path} ({release.PAGE})")
    missing = [f"{entry.name}.txt" for entry in report.lists if entry.path is None]
    if missing:
        steps.append(f"if you need what they are for, add {', '.join(missing)} from {release.PAGE} ({release.LICENCE})")
    command = f"papermill book/train.ipynb out.ipynb -p data_dir {report.data_dir}"
    if report.data_set == release.NAME:
        command += " -f book/params/celeba128.yaml"
    if report.num_people is not None and report.num_people > 1:
        command += " -p held_out 0.1 -p held_out_by identity"
    return (*steps, command)
