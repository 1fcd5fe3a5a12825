"""Sphinx extension: pages with self-check questions load the script that gives immediate feedback; other pages do not.

The script is deferred, so no page waits for it. It is not in ``book/_static``, because Jupyter Book loads every script
of that folder on every page.
"""

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

FOLDER = Path(__file__).parent / "static"
SCRIPT = "questions.js"
MARK = 'class="question"'


def add_folder(app: Sphinx) -> None:
    """Let Sphinx copy the script to the static files of the site."""
    app.config.html_static_path.append(str(FOLDER))


def load_script(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Name the script in the head of a page that has questions."""
    if MARK in context.get("body", ""):
        app.add_js_file(SCRIPT, loading_method="defer")


def setup(app: Sphinx) -> dict:
    app.connect("builder-inited", add_folder)
    app.connect("html-page-context", load_script)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
