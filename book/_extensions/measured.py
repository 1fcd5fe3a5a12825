"""Sphinx extension: the role ``{measured}`` gives a number of the table ``benchmarks/results.md``, so that the text agrees with the table.

The content of the role is the name of a row. If several rows have this name, the unit in parentheses chooses one of them::

    {measured}`training step, ours auto, Lap1 (images/s)`
"""

import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxRole

NO_BREAK = "\N{NO-BREAK SPACE}"


def rows_of(table: str) -> list[tuple[str, str, str]]:
    """Return the name, the number and the unit of each row of the table."""
    cells = [[cell.strip() for cell in line.split("|")[1:3]] for line in table.splitlines() if line.startswith("| ")]
    return [(name, *(value.split(" ", 1) if " " in value else (value, ""))) for name, value in cells[1:]]


def find(table: str, wanted: str) -> str:
    """Return the number of a row, with its unit.

    Raises:
        KeyError: there is no such row, or more than one.
    """
    name, unit = re.fullmatch(r"(.*?)(?: \(([^)]*)\))?", wanted).groups()
    found = [(number, of_row) for row, number, of_row in rows_of(table) if row == name and unit in (None, of_row)]
    if len(found) != 1:
        raise KeyError(
            f"benchmarks/results.md has {len(found)} rows {wanted!r}; a row is named by its first cell and, if needed, (its unit)"
        )
    return NO_BREAK.join(filter(None, found[0]))


class MeasuredRole(SphinxRole):
    """The role ``{measured}``."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        path = Path(self.env.srcdir).parent / "benchmarks/results.md"
        self.env.note_dependency(str(path))
        try:
            return [nodes.Text(find(path.read_text("utf8"), self.text))], []
        except KeyError as error:
            message = self.inliner.reporter.error(error.args[0], line=self.lineno)
            return [nodes.problematic(self.rawtext, self.rawtext)], [message]


def setup(app: Sphinx) -> dict:
    app.add_role("measured", MeasuredRole())
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
