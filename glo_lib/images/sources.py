"""Find the image files that somebody names by files, folders, archives and patterns, mixed as they like."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from glo_lib.images.files import list_images

ARCHIVE = ".zip"


def find_files(sources: str | Path | Sequence[str | Path]) -> list[str]:
    """Return the image files that one or several sources name.

    Args:
        sources: each is a file; a folder or a zip archive, which gives the images that `glo_lib.images.files.list_images` finds in it; or a
            pattern such as ``"photos/*.jpg"`` or ``"photos/**/*.png"``, which gives the files, folders and archives that match. A name that
            exists is not taken for a pattern.

    Returns:
        Paths in the order of the sources. What a folder, an archive or a pattern gives is sorted. A file is taken as it is given, whether
        it exists and is an image or not: who reads it says what is wrong with it.

    Raises:
        FileNotFoundError: a folder or an archive holds no image, or nothing matches a pattern.
        ValueError: an archive cannot be unpacked.

    Example:
        >>> find_files(["a.jpg", "b.png"])
        ['a.jpg', 'b.png']
        >>> find_files("no/such/*.jpg")
        Traceback (most recent call last):
        FileNotFoundError: nothing matches 'no/such/*.jpg'; give files, folders, zip archives, or another pattern
    """
    named = [sources] if isinstance(sources, str | os.PathLike) else sources
    return [filename for source in named for match in _matches(source) for filename in _files_of(match)]


def _matches(source: str | Path) -> Sequence[str]:
    """Return what matches a pattern, sorted; a source that exists, or is no pattern, as it is."""
    name = os.path.expanduser(source)
    if os.path.lexists(name) or not glob.has_magic(name):
        return [name]
    found = sorted(glob.glob(name, recursive=True))
    if not found:
        raise FileNotFoundError(f"nothing matches {str(source)!r}; give files, folders, zip archives, or another pattern")
    return found


def _files_of(name: str) -> Iterator[str]:
    if os.path.isdir(name) or (name.lower().endswith(ARCHIVE) and os.path.isfile(name)):
        yield from list_images(name)
    else:
        yield name
