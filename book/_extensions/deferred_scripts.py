"""Sphinx extension: scripts are loaded beside the page and run when it has been read, so that no script delays the text.

Deferred scripts keep their order. The search page is left as it is, because its own scripts run at once and need those before them.
"""

from typing import Any

from sphinx.application import Sphinx
from sphinx.builders.html._assets import _JavaScript

NEEDS_FILES = "DOCUMENTATION_OPTIONS"  # the name of an object that one of the files defines, and that lines of script in the page use
SEARCH = "search.html"


def deferred(script: _JavaScript) -> _JavaScript:
    """Return a script that runs when the page has been read; lines in the page that need no file stay as they are."""
    attributes = dict(script.attributes)
    if script.filename:
        attributes.setdefault("defer", "defer")
    elif NEEDS_FILES in attributes.get("body", ""):
        attributes["body"] = f"document.addEventListener('DOMContentLoaded', () => {{ {attributes['body'].strip()} }});"
    return _JavaScript(script.filename, priority=script.priority, **attributes)


def defer_scripts(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Defer the scripts of a page."""
    if templatename != SEARCH:
        context["script_files"] = [deferred(script) for script in context["script_files"]]


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", defer_scripts, priority=900)  # after all extensions that add scripts
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
