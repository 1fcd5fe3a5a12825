"""The folder in which the library stores what it can create again: drawn faces, decoded images, unpacked archives and trained models."""

import hashlib
import os
from pathlib import Path

CACHE_VARIABLE = "GLO_CACHE_DIR"


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
