"""Identify the images of a run by their names, sizes, times and contents.

`identify` asks the file system once for each file. The key of the cache of decoded images (`Identity.cache_key`), the manifest of the run
folder (`Identity.manifest`) and the digests of the images (`Identity.digests`) are all computed from the result, so they agree.

A run folder stores the digests in ``images.csv``: name, size, digest and times of each image. A digest depends only on the content. It is
computed again only if the size or the times have changed, so two hundred thousand unchanged files need not be read.
"""

import csv
import hashlib
import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from glo_lib.images.pixels import slices
from glo_lib.system.cache import digest_of
from glo_lib.system.progress import slow_progress
from glo_lib.system.replace import replacing

MAX_NAMED = 10  # changes that an error message names
FILES_PER_TASK = 256  # files whose digests one thread computes at a time
DECODER_VERSION = 3  # part of every cache key: raise it when the decoded bytes change


class ImageFile(NamedTuple):
    """An image file as the file system describes it.

    Attributes:
        path: as given.
        name: path relative to the common folder of all images.
        size: in bytes.
        mtime_ns: time of the last change of the content, in nanoseconds.
        ctime_ns: time of the last change of the content or the attributes, in nanoseconds; unlike ``mtime_ns`` it cannot be set by a
            program.
    """

    path: str
    name: str
    size: int
    mtime_ns: int
    ctime_ns: int


class FileDigest(NamedTuple):
    """A line of ``images.csv``.

    Attributes:
        name: path relative to the common folder of all images.
        size: in bytes.
        digest: BLAKE2b of the content, 16 hexadecimal digits.
        changed: ``mtime_ns`` and ``ctime_ns`` of the file, joined by a hyphen.
    """

    name: str
    size: int
    digest: str
    changed: str

    @property
    def content(self) -> tuple[int, str]:
        """Size and digest, which have to stay the same during a run."""
        return self.size, self.digest


@dataclass(frozen=True)
class Identity:
    """The image files of a run, in order.

    Attributes:
        files: one entry for each image; the position is the index of the image.
    """

    files: tuple[ImageFile, ...]

    @property
    def filenames(self) -> tuple[str, ...]:
        """The paths, as given."""
        return tuple(file.path for file in self.files)

    def without(self, filenames: Collection[str]) -> "Identity":
        """Return the same images without some paths; names are relative to the common folder of the remaining files."""
        if not filenames:
            return self
        return _add_names([file for file in self.files if file.path not in filenames])

    def cache_key(self, image_size: int, tight_crop: bool, max_megapixels: float, landmarks: str = "") -> str:
        """Return the name of the cache of decoded images: 16 hexadecimal digits that depend on the path, size and ``mtime_ns`` of every
        file, on the geometry, on the largest size that is read, on the digest of the landmarks, and on the version of the decoder."""
        parts = (f"{os.path.abspath(file.path)}\t{file.size}\t{file.mtime_ns}" for file in self.files)
        crop = f"landmarks {landmarks}" if landmarks else bool(tight_crop)
        return digest_of(DECODER_VERSION, image_size, crop, float(max_megapixels), *parts)

    def manifest(self) -> dict[str, Any]:
        """Return what a run folder stores about its data: the number of images, and a digest of their names and sizes."""
        return {"num_images": len(self.files), "digest": digest_of(*(f"{file.name}\t{file.size}" for file in self.files))}

    def digests(self, known: Sequence[FileDigest] = ()) -> list[FileDigest]:
        """Return the digest of every image; only files that are new or have changed are read.

        Args:
            known: digests of an earlier call.

        Returns:
            One entry for each image, in order.
        """
        known_by_name = {entry.name: entry for entry in known}

        def digest(file: ImageFile) -> FileDigest:
            changed = f"{file.mtime_ns}-{file.ctime_ns}"
            before = known_by_name.get(file.name)
            if before is not None and (before.size, before.changed) == (file.size, changed):
                return before
            return FileDigest(file.name, file.size, _content_digest(file.path), changed)

        def digest_all(files: Sequence[ImageFile]) -> list[FileDigest]:
            return [digest(file) for file in files]

        # A task of one file would take longer to hand to a thread than to run.
        tasks, done = [self.files[part] for part in slices(len(self.files), FILES_PER_TASK)], []
        with ThreadPoolExecutor() as pool, slow_progress("reading the images' contents", len(self.files), " images") as bar:
            for part in pool.map(digest_all, tasks):
                done += part
                bar.update(len(part))
        return done


def identify(filenames: Sequence[str]) -> Identity:
    """Ask the file system for the size and times of every file.

    Args:
        filenames: image files; the position in this list is the index.

    Returns:
        `Identity`.

    Raises:
        FileNotFoundError: a file does not exist.

    Example:
        ``identify(list_images("photographs")).manifest()["num_images"]``
    """
    found = []
    with slow_progress("looking at the images' sizes", len(filenames), " images") as bar:
        for filename in filenames:
            try:
                facts = os.stat(filename)
            except FileNotFoundError:
                raise FileNotFoundError(f"{filename!r} is in the list of images, and there is no such file") from None
            found.append(ImageFile(filename, "", facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns))
            bar.update()
    return _add_names(found)


def _add_names(files: Sequence[ImageFile]) -> Identity:
    """Set the name of every file to its path relative to the common folder."""
    if not files:
        return Identity(())
    folder = os.path.commonpath([os.path.dirname(os.path.abspath(file.path)) for file in files])
    return Identity(tuple(file._replace(name=os.path.relpath(file.path, folder)) for file in files))


def _content_digest(filename: str) -> str:
    """Return the BLAKE2b digest of the content of a file, 16 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=8)
    with open(filename, "rb") as file:
        for block in iter(lambda: file.read(2**20), b""):
            digest.update(block)
    return digest.hexdigest()


def changes(before: Sequence[FileDigest], now: Sequence[FileDigest]) -> list[str]:
    """Describe the changes of the images, as lines for a message: which were added, removed, renamed or altered.

    Args:
        before: digests of an earlier call.
        now: current digests.

    Returns:
        At most ten changes and the number of further ones; empty if nothing has changed.

    Example:
        >>> changes([FileDigest("a.jpg", 3, "d1", "")], [FileDigest("b.jpg", 3, "d1", "")])
        ["'a.jpg' is now called 'b.jpg'"]
    """
    old, new = ({entry.name: entry.content for entry in entries} for entries in (before, now))
    gone = {name: content for name, content in old.items() if name not in new}
    name_of = {content: name for name, content in gone.items()}
    lines = []
    for name, content in new.items():
        if name in old and old[name] != content:
            size = f"from {old[name][0]:,} to {content[0]:,} bytes" if old[name][0] != content[0] else f"still {content[0]:,} bytes"
            lines.append(f"{name!r} was altered ({size})")
        elif name not in old and content in name_of:
            former = name_of.pop(content)
            del gone[former]
            lines.append(f"{former!r} is now called {name!r}")
        elif name not in old:
            lines.append(f"{name!r} was added")
    lines += [f"{name!r} was removed" for name in gone]
    if not lines and list(old) != list(new):
        lines = ["the order of the images"]
    more = [f"... and {len(lines) - MAX_NAMED:,} more changes of images"] if len(lines) > MAX_NAMED else []
    return lines[:MAX_NAMED] + more


def write_digests(path: Path, digests: Sequence[FileDigest]) -> None:
    """Write ``images.csv``, or replace it."""
    with replacing(path) as partial, open(partial, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file).writerows(digests)


def read_digests(path: Path) -> list[FileDigest]:
    """Read a file written by `write_digests`; return an empty list if there is none, as in runs of early versions.

    Raises:
        ValueError: the file is damaged.
    """
    if not path.exists():
        return []
    try:
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            return [FileDigest(name, int(size), digest, changed) for name, size, digest, changed in csv.reader(file, strict=True)]
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(f"{str(path)!r} is damaged ({error}); remove it if you know that the images are the same") from None
