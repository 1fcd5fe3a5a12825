"""Sphinx extension: the page on what was run, when, for how long and with which versions; and the end of a build that would hide a failure.

The build executes nothing, so what it shows is only as good as the outputs that were committed. Before anything is read, every notebook of
the book is checked: a code cell that was not executed, or that ended in an error, ends the build with one line for each such cell.

``{notebook-runs}`` and ``{package-versions}`` are directives without content; `run_table` and `version_table` make what they show.
"""

import json
import os
import platform
import re
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import SphinxError
from sphinx.util.docutils import SphinxDirective

START, END = "iopub.execute_input", "shell.execute_reply"
NO_BREAK = "\N{NO-BREAK SPACE}"
PIN = re.compile(r'"([A-Za-z0-9_-]+)(?:\[[a-z-]+\])?==')


class NotebookError(SphinxError):
    """Notebooks that must not be published as they are."""

    category = "Notebooks that were not executed to their end"


class Run(NamedTuple):
    """One execution of a notebook, read from the time stamps of its cells.

    Attributes:
        seconds: sum over the cells, without the start of the kernel.
        cells: number of code cells.
        slowest: seconds of the slowest cell.
        date: day of the first cell, in UTC, as in 2026-01-31.
        python: version of Python, as in 3.11.7; empty where the notebook does not say.
    """

    seconds: float
    cells: int
    slowest: float
    date: str
    python: str


def code_cells(notebook: dict) -> list[dict]:
    """The code cells that hold anything."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]


def problems(notebook: dict) -> list[str]:
    """What keeps a notebook from being published, a line for each cell: not executed, or ended in an error."""
    found = []
    for number, cell in enumerate(code_cells(notebook), start=1):
        first_line = "".join(cell["source"]).strip().splitlines()[0]
        errors = [output for output in cell["outputs"] if output["output_type"] == "error"]
        if errors:
            found.append(f"code cell {number} ({first_line}) ended in {errors[0]['ename']}: {errors[0]['evalue']}")
        elif cell["execution_count"] is None or not {START, END} <= set(cell["metadata"].get("execution", {})):
            found.append(f"code cell {number} ({first_line}) was not executed")
    return found


def run_of(notebook: dict) -> Run:
    """How a notebook was executed; it must have no `problems`."""
    stamps = [cell["metadata"]["execution"] for cell in code_cells(notebook)]
    seconds = [(_moment(stamp[END]) - _moment(stamp[START])).total_seconds() for stamp in stamps]
    python = notebook["metadata"].get("language_info", {}).get("version", "")
    return Run(sum(seconds), len(seconds), max(seconds, default=0.0), stamps[0][START][:10] if stamps else "", python)


def _moment(stamp: str) -> datetime:
    return datetime.fromisoformat(stamp.replace("Z", "+00:00"))


def in_words(seconds: float) -> str:
    """A duration for reading, with spaces that do not break: 0.4 s, 12 s, 3 min 20 s."""
    if seconds < 9.95:
        return f"{seconds:.1f}{NO_BREAK}s"
    minutes, rest = divmod(round(seconds), 60)
    return NO_BREAK.join([str(minutes), "min", str(rest), "s"]) if minutes else f"{rest}{NO_BREAK}s"


def run_table(notebooks: dict[str, dict]) -> list[str]:
    """Markdown: a line for each notebook, by name of its page, and one for their sum."""
    runs = {name: run_of(notebook) for name, notebook in notebooks.items()}
    lines = ["| notebook | code cells | run time | slowest cell | executed on | Python |", "|---|---:|---:|---:|---|---|"]
    for name, run in runs.items():
        times = f"{in_words(run.seconds)} | {in_words(run.slowest)}"
        lines.append(f"| {{doc}}`{name}` | {run.cells} | {times} | {run.date} | {run.python} |")
    whole = sum(run.seconds for run in runs.values())
    return [*lines, f"| all | {sum(run.cells for run in runs.values())} | {in_words(whole)} | | | |"]


def version_table(packages: list[str]) -> list[str]:
    """Markdown: the version of each package that is installed."""
    versions = {name: _version(name) for name in packages}
    return ["| package | version |", "|---|---|", *(f"| {name} | {found} |" for name, found in versions.items() if found)]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def pinned_packages(pyproject: str) -> list[str]:
    """Names of the packages with an exact version in the text of a pyproject.toml, each once, in order; the builder of wheels aside."""
    return [name for name in dict.fromkeys(PIN.findall(pyproject)) if name != "setuptools"]


def machine() -> str:
    """A sentence on the machine that builds the book."""
    system = f"{platform.system()} ({platform.machine()})"
    return f"These pages were built on {system} with {os.cpu_count()} processors and Python {platform.python_version()}."


def graphics() -> str:
    """A sentence on the GPUs that TensorFlow finds on the machine that builds the book."""
    from glo_lib.graph.backend import tf  # four seconds, which an unchanged build does not spend

    found = len(tf.config.list_physical_devices("GPU"))
    return f"TensorFlow found {found or 'no'} GPU{'s' if found > 1 else ''}."


def notebooks_of(env: BuildEnvironment) -> dict[str, dict]:
    """The book's notebooks by the names of their pages, in the order of the table of contents."""
    order = [env.config.root_doc, *(name for name in env.app.config.external_site_map if name != env.config.root_doc)]
    paths = {name: Path(env.doc2path(name)) for name in order if name in env.found_docs}
    return {name: json.loads(path.read_text("utf8")) for name, path in paths.items() if path.suffix == ".ipynb"}


class NotebookRuns(SphinxDirective):
    """``{notebook-runs}``: the table of `run_table`."""

    def run(self) -> list[nodes.Node]:
        return _rendered(self, run_table(notebooks_of(self.env)))


class PackageVersions(SphinxDirective):
    """``{package-versions}``: the machine, its GPUs, and the table of `version_table`."""

    def run(self) -> list[nodes.Node]:
        return _rendered(self, [machine(), graphics(), "", *version_table(_packages(self.env))])


def _packages(env: BuildEnvironment) -> list[str]:
    return pinned_packages((Path(env.srcdir).parent / "pyproject.toml").read_text("utf8"))


def _rendered(directive: SphinxDirective, lines: list[str]) -> list[nodes.Node]:
    holder = nodes.container()
    directive.state.nested_parse(StringList(lines, source="status"), directive.content_offset, holder)
    return holder.children


def check(notebooks: dict[str, dict]) -> None:
    """End the build with a readable list when a notebook must not be published.

    Raises:
        NotebookError: with a line for each cell that was not executed, or failed.
    """
    found = [f"book/{name}.ipynb, {problem}" for name, notebook in notebooks.items() for problem in problems(notebook)]
    if found:
        advice = "Execute it again: PYTEST_CURRENT_TEST=x jupyter execute --inplace book/<name>.ipynb"
        raise NotebookError("\n  ".join(["", *found, advice]))


def outdated_pages(app: Sphinx, env: BuildEnvironment, *_) -> list[str]:
    """Check the notebooks; then the page of the directives is read again when what it would show is no longer what it showed."""
    notebooks = notebooks_of(env)
    check(notebooks)
    shown = "\n".join([machine(), *run_table(notebooks), *version_table(_packages(env))])
    if getattr(env, "status_shown", None) == shown:
        return []
    env.status_shown = shown
    return [name for name in env.found_docs if name == "status"]


def setup(app: Sphinx) -> dict:
    app.add_directive("notebook-runs", NotebookRuns)
    app.add_directive("package-versions", PackageVersions)
    app.connect("env-get-outdated", outdated_pages)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
