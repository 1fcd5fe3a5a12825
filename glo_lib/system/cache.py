"""Where the library keeps what it can make again: drawn faces, decoded images, unpacked archives, trained models."""

import hashlib
import os
from pathlib import Path

CACHE_VARIABLE = "GLO_CACHE_DIR"


def cache_root() -> Path:
    """The folder of all caches; deleting it loses time, never data.

    Returns:
        ``$GLO_CACHE_DIR`` when that is set, else ``glo_lib`` in ``$XDG_CACHE_HOME`` (default ``~/.cache``). The folder is not created here.

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
    """A path for the reader of a notebook: below the cache it begins with ``<cache>``, so that nobody's home folder is published.

    Example:
        >>> shown(cache_root() / "runs")
        '<cache>/runs'
    """
    try:
        return f"<cache>/{path.relative_to(cache_root()).as_posix()}"
    except ValueError:
        return str(path)


def digest_of(*parts: object) -> str:
    """A short name (16 hexadecimal digits) for what a cache entry was made from.

    Example:
        >>> digest_of("a", 1) == digest_of("a", 1), digest_of("a", 1) == digest_of("a1")
        (True, False)
    """
    return hashlib.sha256("\0".join(map(str, parts)).encode(errors="surrogateescape")).hexdigest()[:16]
