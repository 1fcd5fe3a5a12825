"""Write files so that a reader sees the old file or the new one, whole, and never something in between.

The content goes to a temporary name in the same folder, which is renamed when everything is written. A process that is killed leaves the
old file as it was.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | Path, several_writers: bool = False) -> Iterator[Path]:
    """Yield a temporary name to write to; the file becomes ``path`` when the block ends without an error.

    Args:
        path: the file to make or to replace.
        several_writers: several processes may write this file at the same time, so each takes a temporary name of its own. Otherwise the
            name is fixed, and the next writer overwrites what a killed one left.

    Yields:
        The temporary path, in the same folder and with the same suffix.

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
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Make or replace a text file (UTF-8)."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
