"""Sphinx extension for the status page: which notebooks ran when, how long and with which versions; a failed cell stops the build.

The build executes nothing, so it depends on the outputs that were committed. Therefore every notebook of the book is checked before any
page is read: if code cells were not executed or ended in an error, the build stops with one line for each of them.

``{notebook-runs}`` and ``{package-versions}`` are directives without content; `run_table` and `version_table` create their tables.
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
    """Notebooks have cells that were not executed or that failed, so they must not be published."""

    category = "Notebooks that were not executed to their end"


class Run(NamedTuple):
    """One execution of a notebook, read from the time stamps of its cells.

    Attributes:
        seconds: sum over the cells, without the start of the kernel.
        cells: number of code cells.
        slowest: time of the slowest cell, in seconds.
        date: day of the first cell, in UTC, as in 2026-01-31.
        python: version of Python, as in 3.11.7; empty if the notebook does not contain it.
    """

    seconds: float
    cells: int
    slowest: float
    date: str
    python: str


def code_cells(notebook: dict) -> list[dict]:
    """Return the code cells that are not empty."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]


def problems(notebook: dict) -> list[str]:
    """Return a line for each cell because of which a notebook must not be published: not executed, or ended in an error."""
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
    """Return how a notebook was executed; it must have no `problems`."""
    stamps = [cell["metadata"]["execution"] for cell in code_cells(notebook)]
    seconds = [(_moment(stamp[END]) - _moment(stamp[START])).total_seconds() for stamp in stamps]
    python = notebook["metadata"].get("language_info", {}).get("version", "")
    return Run(sum(seconds), len(seconds), max(seconds, default=0.0), stamps[0][START][:10] if stamps else "", python)


def _moment(stamp: str) -> datetime:
    return datetime.fromisoformat(stamp.replace("Z", "+00:00"))


def in_words(seconds: float) -> str:
    """Format a duration with non-breaking spaces: 0.4 s, 12 s, 3 min 20 s."""
    if seconds < 9.95:
        return f"{seconds:.1f}{NO_BREAK}s"
    minutes, rest = divmod(round(seconds), 60)
    return NO_BREAK.join([str(minutes), "min", str(rest), "s"]) if minutes else f"{rest}{NO_BREAK}s"


def run_table(notebooks: dict[str, dict]) -> list[str]:
    """Return a Markdown table with a line for each notebook, by the name of its page, and one for their sum."""
    runs = {name: run_of(notebook) for name, notebook in notebooks.items()}
    lines = ["| notebook | code cells | run time | slowest cell | executed on | Python |", "|---|---:|---:|---:|---|---|"]
    for name, run in runs.items():
        times = f"{in_words(run.seconds)} | {in_words(run.slowest)}"
        lines.append(f"| {{doc}}`{name}` | {run.cells} | {times} | {run.date} | {run.python} |")
    whole = sum(run.seconds for run in runs.values())
    return [*lines, f"| all | {sum(run.cells for run in runs.values())} | {in_words(whole)} | | | |"]


def version_table(packages: list[str]) -> list[str]:
    """Return a Markdown table with the version of each package that is installed."""
    versions = {name: _version(name) for name in packages}
    return ["| package | version |", "|---|---|", *(f"| {name} | {found} |" for name, found in versions.items() if found)]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def pinned_packages(pyproject: str) -> list[str]:
    """Return the packages with an exact version in the text of a pyproject.toml, each once, in order, without setuptools."""
    return [name for name in dict.fromkeys(PIN.findall(pyproject)) if name != "setuptools"]


def machine() -> str:
    """Return a sentence on the machine that builds the book."""
    system = f"{platform.system()} ({platform.machine()})"
    return f"These pages were built on {system} with {os.cpu_count()} processors and Python {platform.python_version()}."


def graphics() -> str:
    """Return a sentence on the GPUs that TensorFlow finds on the machine that builds the book."""
    from glo_lib.graph.backend import tf  # imported here, because it takes four seconds, which a build without changes need not spend

    found = len(tf.config.list_physical_devices("GPU"))
    return f"TensorFlow found {found or 'no'} GPU{'s' if found > 1 else ''}."


def notebooks_of(env: BuildEnvironment) -> dict[str, dict]:
    """Return the notebooks of the book by the names of their pages, in the order of the table of contents."""
    order = [env.config.root_doc, *(name for name in env.app.config.external_site_map if name != env.config.root_doc)]
    paths = {name: Path(env.doc2path(name)) for name in order if name in env.found_docs}
    return {name: json.loads(path.read_text("utf8")) for name, path in paths.items() if path.suffix == ".ipynb"}


class NotebookRuns(SphinxDirective):
    """The directive ``{notebook-runs}``: the table of `run_table`."""

    def run(self) -> list[nodes.Node]:
        return _rendered(self, run_table(notebooks_of(self.env)))


class PackageVersions(SphinxDirective):
    """The directive ``{package-versions}``: the machine, its GPUs, and the table of `version_table`."""

    def run(self) -> list[nodes.Node]:
        return _rendered(self, [machine(), graphics(), "", *version_table(_packages(self.env))])


def _packages(env: BuildEnvironment) -> list[str]:
    return pinned_packages((Path(env.srcdir).parent / "pyproject.toml").read_text("utf8"))


def _rendered(directive: SphinxDirective, lines: list[str]) -> list[nodes.Node]:
    holder = nodes.container()
    directive.state.nested_parse(StringList(lines, source="status"), directive.content_offset, holder)
    return holder.children


def check(notebooks: dict[str, dict]) -> None:
    """Stop the build with a readable list if a notebook must not be published.

    Raises:
        NotebookError: with a line for each cell that was not executed or that failed.
    """
    found = [f"book/{name}.ipynb, {problem}" for name, notebook in notebooks.items() for problem in problems(notebook)]
    if found:
        advice = "Execute it again: PYTEST_CURRENT_TEST=x jupyter execute --inplace book/<name>.ipynb"
        raise NotebookError("\n  ".join(["", *found, advice]))


def outdated_pages(app: Sphinx, env: BuildEnvironment, *_) -> list[str]:
    """Check the notebooks, and return the status page if its content would change, so Sphinx reads it again."""
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
