"""Which images a run began with, file by file, so that a run that goes on can say which of them is no longer the same.

A file of a run folder, ``images.csv``, holds name, size, digest and times of each. The digest is of the content; it is computed anew only
where size or times differ from those noted, so that two hundred thousand unchanged files cost as many looks at the folder and no reading.
"""

import csv
import hashlib
import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

NAMED_IN_A_MESSAGE = 10
FILES_PER_TASK = 256


class FileFacts(NamedTuple):
    """What is noted of a file.

    Attributes:
        name: below the common folder of all the files.
        size: in bytes.
        digest: of the content, 16 hexadecimal digits.
        changed: times of the last change of content and of file (ns); the latter cannot be set back.
    """

    name: str
    size: int
    digest: str
    changed: str

    @property
    def content(self) -> tuple[int, str]:
        """Size and digest: what has to stay the same."""
        return self.size, self.digest


def list_facts(filenames: Sequence[str], known: Sequence[FileFacts] = ()) -> list[FileFacts]:
    """Look at every file, and read those that are not known or have been touched.

    Args:
        filenames: the files.
        known: facts noted earlier.

    Returns:
        Facts in the order of the files.
    """
    if not filenames:
        return []
    folder = os.path.commonpath([os.path.dirname(os.path.abspath(filename)) for filename in filenames])
    noted = {facts.name: facts for facts in known}

    def look(filename: str) -> FileFacts:
        name, found = os.path.relpath(filename, folder), os.stat(filename)
        changed = f"{found.st_mtime_ns}-{found.st_ctime_ns}"
        before = noted.get(name)
        untouched = before is not None and (before.size, before.changed) == (found.st_size, changed)
        return FileFacts(name, found.st_size, before.digest if untouched else _digest(filename), changed)

    def look_at_all(some: Sequence[str]) -> list[FileFacts]:
        return [look(filename) for filename in some]

    # Handing files to the threads one by one would take longer than reading them.
    blocks = [filenames[start : start + FILES_PER_TASK] for start in range(0, len(filenames), FILES_PER_TASK)]
    with ThreadPoolExecutor() as pool:
        return list(itertools.chain.from_iterable(pool.map(look_at_all, blocks)))


def _digest(filename: str) -> str:
    digest = hashlib.blake2b(digest_size=8)
    with open(filename, "rb") as file:
        for block in iter(lambda: file.read(2**20), b""):
            digest.update(block)
    return digest.hexdigest()


def changes(before: Sequence[FileFacts], now: Sequence[FileFacts]) -> list[str]:
    """What happened to the images, as lines for a message: added, removed, renamed, altered.

    Example:
        >>> changes([FileFacts("a.jpg", 3, "d1", "")], [FileFacts("b.jpg", 3, "d1", "")])
        ["'a.jpg' is now called 'b.jpg'"]
    """
    old, new = ({facts.name: facts.content for facts in files} for files in (before, now))
    gone = {name: content for name, content in old.items() if name not in new}
    called = {content: name for name, content in gone.items()}
    lines = []
    for name, content in new.items():
        if name in old and old[name] != content:
            size = f"from {old[name][0]:,} to {content[0]:,} bytes" if old[name][0] != content[0] else f"still {content[0]:,} bytes"
            lines.append(f"{name!r} was altered ({size})")
        elif name not in old and content in called:
            former = called.pop(content)
            del gone[former]
            lines.append(f"{former!r} is now called {name!r}")
        elif name not in old:
            lines.append(f"{name!r} was added")
    lines += [f"{name!r} was removed" for name in gone]
    if not lines and list(old) != list(new):
        lines = ["the order of the images"]
    more = [f"... and {len(lines) - NAMED_IN_A_MESSAGE:,} more changes of images"] if len(lines) > NAMED_IN_A_MESSAGE else []
    return lines[:NAMED_IN_A_MESSAGE] + more


def write_facts(path: Path, files: Sequence[FileFacts]) -> None:
    """Write the list, whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    with open(partial, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file).writerows(files)
    os.replace(partial, path)


def read_facts(path: Path) -> list[FileFacts]:
    """Read what `write_facts` wrote; an empty list where there is no such file (a run of an earlier version).

    Raises:
        ValueError: the file is damaged.
    """
    if not path.exists():
        return []
    try:
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            return [FileFacts(name, int(size), digest, changed) for name, size, digest, changed in csv.reader(file, strict=True)]
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(f"{str(path)!r} is damaged ({error}); remove it if you know that the images are the same") from None
