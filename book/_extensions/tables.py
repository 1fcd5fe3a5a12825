"""Sphinx extension: entries of tables have classes by their length, after which the styles of telephones and of the PDF give them room.

``whole``: a number, a date or another short entry, which stays on one line. ``prose``: an entry of whole sentences, which needs the width
of some words. On a wide page the browser divides the width among the columns.
"""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

SHORT = 14  # characters at most: room for "0.837 ± 0.000" and "171 images/s"
LONG = 50  # characters at least


def class_of(text: str) -> str | None:
    """Return the class of an entry, or None for an empty one and for those between."""
    if 0 < len(text) <= SHORT:
        return "whole"
    return "prose" if len(text) >= LONG else None


class ClassesOfEntries(SphinxPostTransform):
    """Give the entries of all tables of a page their classes."""

    default_priority = 500

    def run(self, **options: object) -> None:
        for entry in self.document.findall(nodes.entry):
            entry["classes"] += filter(None, [class_of(entry.astext())])


def setup(app: Sphinx) -> dict:
    app.add_post_transform(ClassesOfEntries)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
