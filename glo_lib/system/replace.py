"""Replace files atomically: a reader sees either the complete old file or the complete new one.

The content is written to a temporary file in the same folder, which is renamed when it is complete. A process that is killed leaves the old
file unchanged.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: str | Path, several_writers: bool = False) -> Iterator[Path]:
    """Yield a temporary path to write to, and rename this file to ``path`` if the block ends without an error.

    Args:
        path: the file to create or replace.
        several_writers: whether several processes may write this file at the same time; each then has its own temporary name. Otherwise the
            name is fixed, and the next writer overwrites what a killed one has left behind.

    Yields:
        The temporary path, in the same folder and with the same suffix.

    Raises:
        OSError: the file cannot be written, for instance because the disk is full; ``filename`` is ``path``, and not the temporary path.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing(Path(folder) / "note.txt") as partial:
        ...         _ = partial.write_text("whole")
        ...     (Path(folder) / "note.txt").read_text(), os.listdir(folder)
        ('whole', ['note.txt'])
    """
    path = Path(path)
    owner = f"{os.getpid()}." if several_writers else ""
    partial = path.with_name(f".{path.stem}.{owner}partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        # A failed write to an open file names no file, and the temporary name would tell the user nothing.
        if error.errno is not None and error.filename in (None, partial, str(partial)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        with suppress(OSError):  # a read-only disk refuses this even if there is no such file
            partial.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Create or replace a text file (UTF-8)."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
