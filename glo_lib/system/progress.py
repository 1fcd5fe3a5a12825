"""A progress bar for terminals and notebooks, with one line that is rewritten in place in both."""

import io
import sys
from typing import Any

from tqdm import tqdm


class _NotebookBar(tqdm):
    """tqdm whose line is one output of the notebook: an executed notebook then holds its last state, and not a hundred states before."""

    def __init__(self, **settings: Any):
        self._output = None
        super().__init__(file=io.StringIO(), **settings)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        from IPython.display import display  # there is a notebook, hence IPython

        line = {"text/plain": str(self) if msg is None else msg}
        if self._output is None:
            self._output = display(line, raw=True, display_id=True)
        else:
            self._output.update(line, raw=True)


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this program."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel")


def progress_bar(**settings: Any) -> tqdm:
    """A tqdm bar that suits where it is shown.

    Args:
        settings: those of ``tqdm.tqdm``, such as ``total`` and ``bar_format``.
    """
    return _NotebookBar(**settings) if in_notebook() else tqdm(file=sys.stdout, **settings)
