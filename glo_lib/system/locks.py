"""Locks that end with the process that holds them, even if it is killed, so that no stale lock ever has to be removed.

The operating system keeps them (``flock``); the file only names the lock. On Windows, which has no ``flock``, and on file systems without
locks, nothing is locked, and a warning says so.

Why not the package filelock: version 3.32 was tried. It cannot lock a folder, as the unpacking of archives needs; on file systems that
answer ``ENOLCK`` or ``EOPNOTSUPP`` it raises; and where they answer ``ENOSYS`` it falls back to a lock file, which stays behind when its
process is killed, so that the run folder could not be opened again.
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

NO_LOCK_ERRORS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class Lock:
    """A lock that is held until the ``with`` block is left, `release` is called, or the process ends."""

    def __init__(self, descriptor: int | None):
        self._descriptor = descriptor

    @property
    def holds(self) -> bool:
        """Whether anything is locked; false on systems without locks."""
        return self._descriptor is not None

    def release(self) -> None:
        """Release the lock; calling it again does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_) -> None:
        self.release()

    __del__ = release


def acquire(path: str | Path) -> Lock | None:
    """Lock a file, which is created if necessary, or a folder.

    Args:
        path: file or folder; its content is not touched.

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
        if error.errno in NO_LOCK_ERRORS:
            warnings.warn(f"{path} cannot be locked ({error.strerror}): see that no second process uses it", stacklevel=2)
            return Lock(None)
        return None
    return Lock(descriptor)


def remove_abandoned(folder: Path, prefix: str, seconds: float = 60) -> None:
    """Remove files and folders that killed processes left unfinished: those of a given prefix that no process has locked.

    Args:
        folder: where to look.
        prefix: of the names of unfinished files; whoever writes one holds its lock.
        seconds: younger files are left, because they may not be locked yet.
    """
    for path in folder.glob(f"{prefix}*") if fcntl is not None else ():
        try:
            lock = acquire(path) if time.time() - path.stat().st_mtime > seconds else None
            if lock is not None and lock.holds:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        except OSError:
            continue  # its writer, or another process that cleans up, was faster
        if lock is not None:
            lock.release()


def this_process() -> str:
    """Describe the holder of a lock to others, as in "process 123 on name"."""
    return f"process {os.getpid()} on {platform.node() or 'this machine'}"
