"""List the image files in a folder or an archive, in the order that determines which latent code belongs to which image."""

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from glo_lib.images.archives import unpack_zip
from glo_lib.images.formats import EXTENSIONS, advice_for_ending
from glo_lib.system.cache import cache_root
from glo_lib.system.progress import slow_progress

CELEBA_FOLDER = "img_align_celeba"
# Folders that hold no photographs of the user's own. Names are compared in lower case; names with a dot in front are hidden anyway.
PASSED_OVER_FOLDERS = {
    "@eadir": "thumbnails of a file server",
    "@recycle": "deleted files",
    "#recycle": "deleted files",
    "$recycle.bin": "deleted files",
    "recycler": "deleted files",
    "@recently-snapshot": "snapshots",
    "#snapshot": "snapshots",
    "__macosx": "attributes written by macOS",
    "system volume information": "kept by Windows",
    "lost+found": "kept by the file system",
}
# Folders whose images are listed, but seldom meant to be trained on.
DOUBTFUL_FOLDERS = frozenset(
    [
        *("mask", "masks", "segmentation", "segmentations", "annotation", "annotations", "label", "labels", "matte", "mattes"),
        *("depth", "normals", "alpha", "thumb", "thumbs", "thumbnail", "thumbnails", "preview", "previews"),
    ]
)
FOLDER = "folder"  # first word of the reasons that are about folders
MOST_FOLDERS, MOST_REASONS = 6, 8  # that a report names


@dataclass(frozen=True)
class Listing:
    """The images of a data set, and what was passed over.

    Attributes:
        data_dir: as given.
        folder: the folder that was searched: ``data_dir`` itself, the contents of an archive, or CelebA's ``img_align_celeba`` within.
        filenames: the image files, sorted; the position is the index.
        found: number of images by folder (relative to ``folder``) and ending.
        passed_over: number of files, or of folders, for each reason.
    """

    data_dir: str
    folder: Path
    filenames: tuple[str, ...]
    found: Mapping[tuple[str, str], int] = field(default_factory=dict)
    passed_over: Mapping[str, int] = field(default_factory=dict)

    def describe(self) -> str:
        """Return a report of one line or a few: how many images were found in which folder, by ending, and what was passed over and why.

        Example:
            ``print(survey_images("photographs").describe())`` prints "412 images in 'photographs': 410 .jpg, 2 .webp" and, in the next
            line, "passed over: 3 .txt, 1 hidden".
        """
        lines = [self._describe_images()]
        if self.passed_over:
            lines.append(f"passed over: {self.describe_passed_over()}")
        return "\n".join([*lines, *self._doubts()])

    def _describe_images(self) -> str:
        """Describe the images by folder, or, if there are many folders, in total."""
        within = os.path.relpath(self.folder, self.data_dir) if os.path.isdir(self.data_dir) else "."
        place = f"{self.data_dir!r}" + (f", searched in {within!r} alone" if within != "." else "")
        folders = sorted({folder for folder, _ in self.found})
        total = f"{len(self.filenames):,} images in {place}"
        if len(folders) == 1 and folders[0] == ".":
            return f"{total}: {self._by_ending(folders)}"
        if len(folders) <= MOST_FOLDERS:
            return f"{total}: " + "; ".join(f"{folder!r} {self._by_ending([folder])}" for folder in folders)
        return f"{total}: {self._by_ending(folders)} in {len(folders):,} folders, from {folders[0]!r} to {folders[-1]!r}"

    def _by_ending(self, folders: list[str]) -> str:
        chosen = frozenset(folders)
        counts: Counter[str] = Counter()
        for (folder, ending), count in self.found.items():
            if folder in chosen:
                counts[ending] += count
        return ", ".join(f"{count:,} {ending}" for ending, count in counts.most_common())

    def describe_passed_over(self) -> str:
        """Return the numbers of files and folders that were passed over, by reason, folders first; empty if there are none."""
        reasons = sorted(self.passed_over.items(), key=lambda entry: (not entry[0].startswith(FOLDER), -entry[1], entry[0]))
        more = [f"{sum(count for _, count in reasons[MOST_REASONS:]):,} others"] if len(reasons) > MOST_REASONS else []
        return ", ".join([_numbered(count, reason) for reason, count in reasons[:MOST_REASONS]] + more)

    def _doubts(self) -> list[str]:
        """Return a line for each folder whose name says that it holds something else than photographs, such as masks."""
        folders = sorted({folder for folder, _ in self.found})
        doubtful = [folder for folder in folders if DOUBTFUL_FOLDERS & {part.lower() for part in Path(folder).parts}]
        photographs = [folder for folder in folders if folder not in doubtful and folder != "."]
        if len(doubtful) == len(folders):
            return []
        way_out = f"give data_dir {os.path.join(self.data_dir, photographs[0])!r}" if len(photographs) == 1 else "move them elsewhere"
        return [
            f"note: the images in {folder!r} are used like all others; if they are no photographs, {way_out}"
            for folder in doubtful[:MOST_FOLDERS]
        ]


def _numbered(count: int, reason: str) -> str:
    """Return a number and a reason, with "folder" in the plural if there are several."""
    if reason.startswith(FOLDER) and count > 1:
        reason = reason.replace(FOLDER, "folders", 1)
    return f"{count:,} {reason}"


def survey_images(data_dir: str | Path) -> Listing:
    """Find the image files in a folder or a zip archive, and count what is passed over.

    CelebA's ``img_align_celeba`` is searched alone if ``data_dir`` contains it, also where it lies in the official ``Img`` or, as some
    archives have it, in a folder of the same name. A zip archive is unpacked once into the cache.

    Files count as images by their endings (`glo_lib.images.formats.EXTENSIONS`, in upper or lower case). Passed over are files with other
    endings, hidden files and folders, folders of thumbnails and deleted files that servers and systems keep (`PASSED_OVER_FOLDERS`), and
    the folders of runs and of the cache. Links are followed. A progress line appears if the search takes longer than a second.

    Args:
        data_dir: folder (searched recursively) or zip archive.

    Returns:
        `Listing`, with at least one image.

    Raises:
        FileNotFoundError: there is no such folder or archive, or no image in it.
        PermissionError: a folder may not be read.
        ValueError: the file is not a zip archive, or is not safe to unpack.

    Example:
        ``print(survey_images("photographs").describe())``
    """
    path = Path(data_dir).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"data_dir is {str(data_dir)!r}, which does not exist; give a folder of images or a zip archive of them")
    folder = image_folder(path if path.is_dir() else unpack_zip(path))
    with slow_progress("searching for images", unit=" files") as bar:
        search = _Search(folder, bar.update)
        search.enter(str(folder))
    listing = Listing(str(data_dir), folder, tuple(sorted(search.filenames)), search.found, search.passed_over)
    if not listing.filenames:
        passed_over = f"; passed over: {listing.describe_passed_over()}" if listing.passed_over else ""
        raise FileNotFoundError(
            f"{str(data_dir)!r} holds no image; looked for {', '.join(EXTENSIONS)} in it and in its folders{passed_over}"
        )
    return listing


def list_images(data_dir: str | Path, num_samples: int = 0) -> list[str]:
    """List the image files in a folder or a zip archive; the position in the list is the row of the image's latent code.

    Args:
        data_dir: folder (searched recursively) or zip archive; `survey_images` says which files are images.
        num_samples: number of images to keep, the first ones; 0 keeps all.

    Returns:
        Paths of the image files, sorted.

    Raises:
        FileNotFoundError: there is no such folder or archive, or no image in it.
        PermissionError: a folder may not be read.
        ValueError: the file is not a zip archive, the archive is not safe to unpack, or there are fewer images than ``num_samples``.

    Example:
        >>> list_images("no/such/folder")
        Traceback (most recent call last):
        FileNotFoundError: data_dir is 'no/such/folder', which does not exist; give a folder of images or a zip archive of them
    """
    if num_samples < 0:
        raise ValueError(f"num_samples is {num_samples}; give the number of images to use, or 0 for all of them")
    filenames = list(survey_images(data_dir).filenames)
    if num_samples > len(filenames):
        raise ValueError(f"num_samples is {num_samples}, and {str(data_dir)!r} holds {len(filenames)} images; give at most that, or 0")
    return filenames[:num_samples] if num_samples else filenames


def image_folder(folder: Path) -> Path:
    """Return CelebA's folder of images if a folder contains it, else the folder itself.

    Example:
        For the official release, ``image_folder(Path("CelebA"))`` is ``Path("CelebA/Img/img_align_celeba")``.
    """
    if (folder / "Img" / CELEBA_FOLDER).is_dir():
        folder = folder / "Img"
    for _ in range(2):  # some archives hold the folder within a folder of the same name
        if (folder / CELEBA_FOLDER).is_dir():
            folder = folder / CELEBA_FOLDER
    return folder


class _Search:
    """A search for images in a folder and the folders below it.

    Attributes:
        filenames: the image files found so far.
        found: their number, by folder and ending.
        passed_over: number of files and folders that were passed over, by reason.
    """

    def __init__(self, folder: Path, on_file: Callable[[], object]):
        self.filenames: list[str] = []
        self.found: Counter[tuple[str, str]] = Counter()
        self.passed_over: Counter[str] = Counter()
        self._folder, self._on_file = str(folder), on_file
        self._entered = {os.path.realpath(folder)}

    def enter(self, folder: str) -> None:
        """Search a folder."""
        below = os.path.relpath(folder, self._folder)
        for entry in _entries(folder):
            ending = os.path.splitext(entry.name)[1].lower()
            if entry.name.startswith("."):
                self.passed_over["hidden"] += 1
            # os.path.isfile and isdir are false for a broken link, where the methods of the entry raise an error if it points to itself.
            elif ending in EXTENSIONS and os.path.isfile(entry.path):
                self.filenames.append(entry.path)
                self.found[below, ending] += 1
                self._on_file()
            elif os.path.isdir(entry.path):
                self._enter_unless_passed_over(entry)
            else:
                self.passed_over[_reason(ending)] += 1

    def _enter_unless_passed_over(self, entry: os.DirEntry) -> None:
        real = os.path.realpath(entry.path)
        if entry.name.lower() in PASSED_OVER_FOLDERS:
            self.passed_over[f"{FOLDER} {entry.name!r} ({PASSED_OVER_FOLDERS[entry.name.lower()]})"] += 1
        elif real in self._entered:  # otherwise a loop of links would never end
            return
        elif is_result_folder(real):
            self.passed_over[f"{FOLDER} {entry.name!r} (of a run, or the cache)"] += 1
        else:
            self._entered.add(real)
            self.enter(entry.path)


def _entries(folder: str) -> list[os.DirEntry]:
    """Return the entries of a folder by name, links last, so that a folder is listed under its own name and not under that of a link."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name))
    except PermissionError:
        raise PermissionError(
            f"the folder {folder!r} may not be read by this user, so its images would be missing; allow it (chmod u+rx), "
            "or give a data_dir without it"
        ) from None


def _reason(ending: str) -> str:
    """Return why a file is not taken for an image."""
    if ending in EXTENSIONS:
        return f"{ending} that are no files or cannot be opened, such as broken links"
    advice = advice_for_ending(ending)
    return (ending or "without an ending") + (f" ({advice})" if advice else "")


def is_result_folder(folder: str | Path) -> bool:
    """Return whether a folder is that of a run, or the cache. Their pictures are results, so they are no data even if they lie among them.

    A run folder is recognised by ``config.json`` and by ``manifest.json`` with the number of images and their digest.

    Example:
        >>> is_result_folder(cache_root())
        True
    """
    if os.path.realpath(folder) == os.path.realpath(cache_root()):
        return True
    if not os.path.isfile(os.path.join(folder, "config.json")):
        return False
    try:
        manifest = json.loads(Path(folder, "manifest.json").read_text())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(manifest, dict) and manifest.keys() == {"num_images", "digest"}
