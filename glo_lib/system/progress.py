"""A progress bar for terminals and notebooks; in both its line is overwritten in place."""

import io
import sys
from typing import Any

from tqdm import tqdm


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
