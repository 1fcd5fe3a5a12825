"""Read the parameters of a notebook, whoever runs it: papermill, Jupyter, nbval, or a student who runs its cells again.

Papermill adds a cell with the values of its command line below the notebook's own parameter cell. Both begin with a comment line
``# Parameters``, and by it the names are found that were assigned there. So a misspelt name is found as well, although it is as good a
variable of Python as any other.
"""

import dataclasses
import dis
import symtable
import sys
from collections.abc import Iterable
from typing import Any

MARK = "# Parameters"  # the first line of papermill's cell; that of the notebook's own parameter cell goes on after it
PAPERMILL_PREFIX = "PAPERMILL_"  # names that papermill adds when it is asked to (--inject-paths)
NO_PARAMETERS = f"no parameter cell has been run, the one that begins with {MARK!r}; run it first, and then this cell"


def read_parameters(settings: type) -> dict[str, Any]:
    """Return the parameters of the notebook that calls this function: the current values of all variables set in its parameter cells.

    The parameter cells are those whose first line begins with ``# Parameters``: the last run of the notebook's own cell, and the last run
    of papermill's cell if it was run after that. The other variables of the notebook are ignored, so cells can be run again in any order.
    A front end that records no history of cells, such as nbval, gives the variables that have the names of settings.

    Args:
        settings: dataclass of all settings, such as `glo_lib.config.TrainConfig`.

    Returns:
        Names and values. Misspelt names are among them, so that `glo_lib.config.TrainConfig.from_parameters` can refuse them.

    Raises:
        RuntimeError: no parameter cell has been run, or this is not a notebook.

    Example:
        ``config = TrainConfig.from_parameters(read_parameters(TrainConfig))``
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        raise RuntimeError(f"parameters can be read in a notebook only; elsewhere write {settings.__name__}(...)")
    history = shell.history_manager.input_hist_parsed
    is_recorded = read_parameters.__name__ in history[-1]  # the cell that calls this function comes last, if cells are recorded
    names = parameter_names(history) if is_recorded else [field.name for field in dataclasses.fields(settings)]
    parameters = {name: shell.user_ns[name] for name in names if name in shell.user_ns}
    if not parameters:
        raise RuntimeError(NO_PARAMETERS)
    return parameters


def parameter_names(cells: Iterable[str]) -> list[str]:
    """Return the names that are assigned in the parameter cells which count, in order.

    Args:
        cells: the source of all cells in the order in which they were run. What counts is the last run of the notebook's own parameter
            cell, and the last run of papermill's cell below it. A cell with an error of syntax was not run, and does not count.

    Returns:
        The names; empty if the notebook's own cell has not been run. Names that begin with an underscore are left out.

    Example:
        >>> parameter_names(["# Parameters of the run\\ngpus = 1\\nseed = 0", "# Parameters\\ngpu = 2"])
        ['gpus', 'seed', 'gpu']
    """
    own: list[str] = []
    added: list[str] = []
    for cell in cells:
        first_line = cell.strip().partition("\n")[0].strip()
        if not first_line.startswith(MARK):
            continue
        try:
            names = _assigned_names(cell)
        except SyntaxError:
            continue
        own, added = (own, names) if first_line == MARK else (names, [])
    return list(dict.fromkeys([*own, *added])) if own else []


def _assigned_names(source: str) -> list[str]:
    """Return the names that a cell assigns: not those that it imports or defines, nor the variables of its comprehensions."""
    symbols = symtable.symtable(source, "parameters", "exec").get_symbols()
    names = [symbol.get_name() for symbol in symbols if symbol.is_assigned() and not symbol.is_imported() and not symbol.is_namespace()]
    # From Python 3.12 on, the variables of comprehensions are symbols of the cell too, but it does not store them under a name.
    stored = {step.argval for step in dis.get_instructions(compile(source, "parameters", "exec")) if step.opname == "STORE_NAME"}
    return [name for name in names if name in stored and not name.startswith(("_", PAPERMILL_PREFIX))]
