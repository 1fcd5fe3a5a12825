"""A progress bar for terminals and notebooks; in both its line is overwritten in place."""

import io
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

SILENT_SECONDS = 1.0  # a computation that takes longer shows its progress, and then at least this often


class _NotebookBar(tqdm):
    """A tqdm bar that updates one output of the notebook, so that an executed notebook contains only its last state."""

    def __init__(self, **settings: Any):
        self._output = None
        super().__init__(file=io.StringIO(), **settings)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        from IPython.display import display  # in a notebook IPython is installed

        line = {"text/plain": str(self) if msg is None else msg}
        if self._output is None:
            self._output = display(line, raw=True, display_id=True)
        else:
            self._output.update(line, raw=True)


def in_notebook() -> bool:
    """Return whether this program runs in a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel")


def progress_bar(**settings: Any) -> tqdm:
    """Return a tqdm bar for the notebook or the terminal in which the program runs.

    Args:
        settings: arguments of ``tqdm.tqdm``, such as ``total`` and ``bar_format``.

    Example:
        ``with progress_bar(total=100) as bar: bar.update()``
    """
    return _NotebookBar(**settings) if in_notebook() else tqdm(file=sys.stdout, **settings)


@contextmanager
def slow_progress(description: str, total: float | None = None, unit: str = "", shown: bool = True, **settings: Any) -> Iterator[tqdm]:
    """Show the progress of a computation if it takes longer than a second, whatever its size: on a slow disk ten files can take minutes.

    From then on the line is written anew every second, even if the computation does not report any progress meanwhile.

    Args:
        description: what is done, at the start of the line.
        total: number of units, if it is known.
        unit: name of a unit, with a blank in front; without total and unit, the line has the time alone.
        shown: false shows nothing.
        settings: further arguments of ``tqdm.tqdm``.

    Yields:
        A tqdm bar, whose method ``update`` counts units.

    Example:
        ``with slow_progress("decoding", total=100, unit=" images") as bar: bar.update()``
    """
    if not shown:
        with tqdm(disable=True) as bar:
            yield bar
        return
    if total is None and not unit:
        settings = {"bar_format": "{desc}: {elapsed}", **settings}
    ended = threading.Event()
    with progress_bar(desc=description, total=total, unit=unit, delay=SILENT_SECONDS, **settings) as bar:
        writer = threading.Thread(target=_write_every_second, args=(bar, ended), daemon=True)
        writer.start()
        try:
            yield bar
        finally:
            ended.set()
            writer.join()


def _write_every_second(bar: tqdm, ended: threading.Event) -> None:
    while not ended.wait(SILENT_SECONDS):
        bar.last_print_t = time.time()  # so that the bar knows that it was shown, and ends its line when it is closed
        bar.refresh()
