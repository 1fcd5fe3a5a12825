"""Locks that end with the process that holds them, however it ends: nothing is left behind by a crash, and nothing has to be removed.

The operating system keeps them (``flock``), the file is only the place to meet. On Windows, which has no ``flock``, and on file systems
that know no locks, nothing is locked, and a warning says so.
"""

import errno
import os
import platform
import shutil
import time
import warnings
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

WITHOUT_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class Lock:
    """A lock that is held; leaving the ``with`` block, `release` or the end of the process ends it."""

    def __init__(self, descriptor: int | None):
        self._descriptor = descriptor

    @property
    def holds(self) -> bool:
        """Whether anything is locked: not on systems without locks."""
        return self._descriptor is not None

    def release(self) -> None:
        """Let others have it; a second time does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_) -> None:
        self.release()

    __del__ = release


def acquire(path: str | Path) -> Lock | None:
    """The lock on a file, which is made if need be, or on a folder.

    Args:
        path: file or folder; its content plays no part.

    Returns:
        `Lock`; None while another process, or another part of this one, holds it.

    Raises:
        OSError: the file can be neither found nor made.
    """
    if fcntl is None:
        warnings.warn("this system cannot lock files: see that no second process uses the same folder", stacklevel=2)
        return Lock(None)
    descriptor = os.open(path, os.O_RDONLY) if os.path.isdir(path) else os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in WITHOUT_LOCKS:
            warnings.warn(f"{path} cannot be locked ({error.strerror}): see that no second process uses it", stacklevel=2)
            return Lock(None)
        return None
    return Lock(descriptor)


def remove_abandoned(folder: Path, prefix: str, seconds: float = 60) -> None:
    """Remove what killed processes left unfinished: files and folders with a name of this kind that nobody has locked.

    Args:
        folder: where to look.
        prefix: how the names begin of what is unfinished; whoever writes it holds its lock.
        seconds: younger ones are left, as they may not be locked yet.
    """
    for path in folder.glob(f"{prefix}*") if fcntl is not None else ():
        try:
            lock = acquire(path) if time.time() - path.stat().st_mtime > seconds else None
            if lock is not None and lock.holds:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        except OSError:
            continue  # its writer, or another who cleans up, was faster
        if lock is not None:
            lock.release()


def this_process() -> str:
    """Who holds a lock, for the one who waits for it, as in "process 123 on name"."""
    return f"process {os.getpid()} on {platform.node() or 'this machine'}"
