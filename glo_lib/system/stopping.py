"""Requests to stop a computation that has something to save first: signals, and the end of the program that started a notebook's kernel.

A notebook runs in a kernel, which is a process of its own. If the program that started it (papermill, JupyterLab) receives SIGTERM or its
terminal is closed, that program ends at once and tells the kernel nothing. The kernel asks once a second whether its parent still exists,
and otherwise exits on the spot. During a `stop_requests` block the kernel is asked to stop instead, so that the block can save its work.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ENDING_SIGNALS = ("SIGTERM", "SIGHUP")  # they ask for the end of the whole program; Windows has no SIGHUP
POLL_SECONDS = 0.2


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Yield an event that is set when the program is asked to stop.

    These are requests: Ctrl-C (SIGINT), SIGTERM, SIGHUP (the terminal was closed), and in a notebook the end of the program that started
    the kernel. All but the first ask the whole program to end, so at the end of the block the signal is raised again for the handler that
    was installed before. A signal that the program ignores, such as SIGHUP under ``nohup``, is still ignored. Outside the main thread,
    where Python delivers no signals, the event is never set.

    Yields:
        The event; the block looks at it between two steps, saves, and ends.

    Example:
        >>> with stop_requests() as stop:
        ...     signal.raise_signal(signal.SIGINT)
        ...     stop.is_set()
        True
    """
    stop = threading.Event()
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        stop.set()

    ending = [getattr(signal, name) for name in ENDING_SIGNALS if hasattr(signal, name)]
    heeded = [number for number in ending if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, *heeded)}
    try:
        with _end_of_parent_as_sigterm():
            yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in [number for number in received if number in ending][:1]:
            signal.raise_signal(number)


class _AnyPid(int):
    """A process number that is equal to every other."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = int.__hash__


@contextmanager
def _end_of_parent_as_sigterm() -> Iterator[None]:
    """In a Jupyter kernel, send this process SIGTERM when its parent has ended, and keep the kernel from exiting for that reason itself.

    The kernel's own thread compares the parent's process number with ``parent_pid`` once a second. It cannot be stopped, so during the
    block it compares with a number that is equal to all.
    """
    poller = _kernel_parent_poller()
    if poller is None:
        yield
        return
    parent, over = poller.parent_pid or os.getppid(), threading.Event()

    def watch() -> None:
        while not over.wait(POLL_SECONDS):
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    watcher = threading.Thread(target=watch, daemon=True)
    before, poller.parent_pid = poller.parent_pid, _AnyPid(parent)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        poller.parent_pid = before


def _kernel_parent_poller() -> Any:
    """Return the thread in which this Jupyter kernel looks for its parent; None outside a kernel and on Windows, which has another way."""
    ipython = sys.modules.get("IPython")
    kernel = getattr(ipython.get_ipython() if ipython else None, "kernel", None)
    poller = getattr(getattr(kernel, "parent", None), "poller", None)
    return poller if hasattr(poller, "parent_pid") else None
