"""The folder in which the library stores what it can create again: drawn faces, decoded images, unpacked archives and trained models."""

import errno
import hashlib
import os
import tempfile
from pathlib import Path

CACHE_VARIABLE = "GLO_CACHE_DIR"
DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def cache_root() -> Path:
    """Return the folder of all caches, which can be deleted at any time because its contents are created again when needed.

    Returns:
        ``$GLO_CACHE_DIR`` if it is set, else ``glo_lib`` in ``$XDG_CACHE_HOME`` (default ``~/.cache``). The folder is not created here.

    Example:
        >>> from unittest.mock import patch
        >>> with patch.dict(os.environ, {"GLO_CACHE_DIR": "/tmp/glo"}):
        ...     print(cache_root())
        /tmp/glo
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "glo_lib"


def make_cache_folder(name: str = "") -> Path:
    """Create a folder in the cache, unless it exists, and make sure that files can be written to it.

    Args:
        name: of the folder below `cache_root`; default: `cache_root` itself.

    Returns:
        The folder.

    Raises:
        PermissionError: it cannot be created or written; the message names ``GLO_CACHE_DIR``.
        OSError: the disk is full.

    Example:
        ``make_cache_folder("images")``
    """
    folder = cache_root() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # an existing folder, too, can belong to someone else or be on a read-only disk
            return folder
    except OSError as error:
        if error.errno in DISK_FULL_ERRNOS:
            raise
        raise PermissionError(
            f"the cache folder {str(folder)!r} cannot be written ({error.strerror}); "
            f"set the environment variable {CACHE_VARIABLE} to a folder that can, for instance {CACHE_VARIABLE}=/tmp/glo"
        ) from None


def shown(path: Path) -> str:
    """Return a path as a notebook shows it: paths in the cache begin with ``<cache>``, so that no user's home folder is published.

    Example:
        >>> shown(cache_root() / "runs")
        '<cache>/runs'
    """
    try:
        return f"<cache>/{path.relative_to(cache_root()).as_posix()}"
    except ValueError:
        return str(path)


def digest_of(*parts: object) -> str:
    """Return a short name (16 hexadecimal digits of the SHA-256) for a cache entry that depends on the given parts.

    Args:
        parts: any objects; they are compared as text.

    Example:
        >>> digest_of("a", 1) == digest_of("a", 1), digest_of("a", 1) == digest_of("a1")
        (True, False)
    """
    return hashlib.sha256("\0".join(map(str, parts)).encode(errors="surrogateescape")).hexdigest()[:16]
