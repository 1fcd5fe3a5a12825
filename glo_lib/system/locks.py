"""Locks that are released when the process that holds them ends, even if it is killed, so that no stale lock has to be removed.

The operating system manages the locks (``flock``); the file only identifies the lock. On Windows, which has no ``flock``, and where the
file system refuses the lock for another reason than that it is held (network folders: ENOLCK, EBADF, ENOTSUP, ...), nothing is locked, and
a warning gives the reason.

We do not use the package filelock (version 3.32 was tried) for three reasons. It cannot lock a folder, which the unpacking of archives
needs. It raises an error on file systems that return ``ENOLCK`` or ``EOPNOTSUPP``. If they return ``ENOSYS``, it uses a lock file, which
remains when its process is killed, so that the run folder could not be opened again.
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
    fcntl = None  # type: ignore[assignment]  # there is no type for "a module or None"

HELD_ERRNOS = (errno.EWOULDBLOCK, errno.EAGAIN)


class Lock:
    """A lock that is held until the ``with`` block ends, `release` is called, or the process ends.

    Attributes:
        why_not: why the system could not lock anything; empty if it could.
    """

    def __init__(self, descriptor: int | None, why_not: str = ""):
        self._descriptor, self.why_not = descriptor, why_not

    @property
    def holds(self) -> bool:
        """Whether the lock is held; false on systems without locks."""
        return self._descriptor is not None

    def release(self) -> None:
        """Release the lock; calling it again does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    __del__ = release


def acquire(path: str | Path) -> Lock | None:
    """Lock a file, which is created if necessary, or a folder.

    Args:
        path: file or folder; its content is not changed.

    Returns:
        `Lock`; None if another process, or another part of this process, holds it. If the system cannot lock it, a warning says why, and
        the result is a `Lock` that does not hold anything: a run in a folder without locks is still a run.

    Raises:
        OSError: the file can be neither opened nor created.

    Example:
        ``with acquire("run") or Lock(None) as lock: ...``
    """
    try:
        return _try_to_lock(path)
    except LocksUnsupported as error:
        warnings.warn(f"{path} cannot be locked ({error}): see that no second process uses it at the same time", stacklevel=2)
        return Lock(None, str(error))


class LocksUnsupported(Exception):
    """The system or the file system has no locks; the text says why."""


def _try_to_lock(path: str | Path) -> Lock | None:
    if fcntl is None:
        raise LocksUnsupported("this system cannot lock files")
    descriptor = os.open(path, os.O_RDONLY) if os.path.isdir(path) else os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in HELD_ERRNOS:
            return None
        raise LocksUnsupported(error.strerror or str(error)) from None
    return Lock(descriptor)


def remove_abandoned(folder: Path, prefix: str, seconds: float = 60) -> None:
    """Remove unfinished files and folders of killed processes: those with a given prefix that no process has locked.

    Args:
        folder: folder of the unfinished files.
        prefix: prefix of their names; a process locks a file as long as it writes it.
        seconds: files younger than this are kept, because they may not be locked yet.
    """
    for path in folder.glob(f"{prefix}*"):
        try:
            lock = _try_to_lock(path) if time.time() - path.stat().st_mtime > seconds else None
            if lock is not None:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        except (OSError, LocksUnsupported):
            continue  # its writer has renamed it, another process has removed it, or nobody knows whether it is in use
        if lock is not None:
            lock.release()


def this_process() -> str:
    """Describe this process for the messages of other processes, as in "process 123 on name"."""
    return f"process {os.getpid()} on {platform.node() or 'this machine'}"
