"""What identifies the images of a run: one look at the files, from which every key and every comparison is made.

`identify` looks at each file once. From that look come the key of the cache of decoded images (`Identity.cache_key`), the manifest of the
run folder (`Identity.manifest`) and the digests of the single images (`Identity.digests`), so that the three cannot disagree.

A run folder keeps the digests in ``images.csv``: name, size, digest and times of each image. A digest is of the content; it is computed
anew only where size or times differ from those noted, so that two hundred thousand unchanged files cost no reading.
"""

import csv
import hashlib
import itertools
import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from glo_lib.images.pixels import slices
from glo_lib.system.cache import digest_of
from glo_lib.system.replace import replacing

MAX_NAMED = 10  # changes that an error message names
FILES_PER_TASK = 256
DECODER_VERSION = 2  # part of every cache key: raise it when the decoded bytes change


class ImageFile(NamedTuple):
    """What the file system says of an image.

    Attributes:
        path: as given.
        name: path below the common folder of all the images.
        size: in bytes.
        mtime_ns: time of the last change of the content, in nanoseconds.
        ctime_ns: time of the last change of the file, in nanoseconds; unlike the other, it cannot be set back.
    """

    path: str
    name: str
    size: int
    mtime_ns: int
    ctime_ns: int


class FileDigest(NamedTuple):
    """A line of ``images.csv``.

    Attributes:
        name: path below the common folder of all the images.
        size: in bytes.
        digest: of the content, 16 hexadecimal digits.
        changed: both times of the last change, in nanoseconds.
    """

    name: str
    size: int
    digest: str
    changed: str

    @property
    def content(self) -> tuple[int, str]:
        """Size and digest: what has to stay the same."""
        return self.size, self.digest


@dataclass(frozen=True)
class Identity:
    """The image files of a run, in order, as they were found.

    Attributes:
        files: one entry for each image; the position is the index.
    """

    files: tuple[ImageFile, ...]

    @property
    def filenames(self) -> tuple[str, ...]:
        """The paths, as they were given."""
        return tuple(file.path for file in self.files)

    def without(self, filenames: Collection[str]) -> "Identity":
        """The same images, but for those that cannot be read; names are relative to the common folder of what is left."""
        if not filenames:
            return self
        return _with_names([file for file in self.files if file.path not in filenames])

    def cache_key(self, image_size: int, tight_crop: bool) -> str:
        """Name of the cache of decoded images: place, size and time of every file, and the geometry."""
        parts = (f"{os.path.abspath(file.path)}\t{file.size}\t{file.mtime_ns}" for file in self.files)
        return digest_of(DECODER_VERSION, image_size, bool(tight_crop), *parts)

    def manifest(self) -> dict[str, Any]:
        """What a run folder notes of its data: the number of images, and a digest of their names and sizes."""
        return {"num_images": len(self.files), "digest": digest_of(*(f"{file.name}\t{file.size}" for file in self.files))}

    def digests(self, known: Sequence[FileDigest] = ()) -> list[FileDigest]:
        """The digest of every image; only files that are not known, or were touched, are read.

        Args:
            known: digests noted earlier.

        Returns:
            One entry for each image, in order.
        """
        noted = {entry.name: entry for entry in known}

        def digest(file: ImageFile) -> FileDigest:
            changed = f"{file.mtime_ns}-{file.ctime_ns}"
            before = noted.get(file.name)
            untouched = before is not None and (before.size, before.changed) == (file.size, changed)
            return FileDigest(file.name, file.size, before.digest if untouched else _digest(file.path), changed)

        def digest_all(files: Sequence[ImageFile]) -> list[FileDigest]:
            return [digest(file) for file in files]

        # Handing files to the threads one by one would take longer than reading them.
        tasks = [self.files[part] for part in slices(len(self.files), FILES_PER_TASK)]
        with ThreadPoolExecutor() as pool:
            return list(itertools.chain.from_iterable(pool.map(digest_all, tasks)))


def identify(filenames: Sequence[str]) -> Identity:
    """Look at every file once.

    Args:
        filenames: image files; the position in this list is the index.

    Returns:
        `Identity`.

    Raises:
        FileNotFoundError: a file that is not there.

    Example:
        ``identify(list_images("photographs")).manifest()["num_images"]``
    """
    found = []
    for filename in filenames:
        try:
            facts = os.stat(filename)
        except FileNotFoundError:
            raise FileNotFoundError(f"{filename!r} is in the list of images, and there is no such file") from None
        found.append(ImageFile(filename, "", facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns))
    return _with_names(found)


def _with_names(files: Sequence[ImageFile]) -> Identity:
    if not files:
        return Identity(())
    folder = os.path.commonpath([os.path.dirname(os.path.abspath(file.path)) for file in files])
    return Identity(tuple(file._replace(name=os.path.relpath(file.path, folder)) for file in files))


def _digest(filename: str) -> str:
    digest = hashlib.blake2b(digest_size=8)
    with open(filename, "rb") as file:
        for block in iter(lambda: file.read(2**20), b""):
            digest.update(block)
    return digest.hexdigest()


def changes(before: Sequence[FileDigest], now: Sequence[FileDigest]) -> list[str]:
    """What happened to the images, as lines for a message: added, removed, renamed, altered.

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
    """Make or replace ``images.csv``."""
    with replacing(path) as partial, open(partial, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file).writerows(digests)


def read_digests(path: Path) -> list[FileDigest]:
    """Read what `write_digests` wrote; an empty list where there is no such file (a run of an early version).

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
