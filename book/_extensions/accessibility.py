"""Sphinx extension: what the theme and docutils leave undone for readers who use a keyboard or a screen reader.

The rest is in ``book/_static/book.css`` (contrast, distances) and ``book/_static/scrollable.js`` (boxes that scroll can be reached by key).
``tests/test_browser.py`` checks the pages with axe-core.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup
from sphinx.application import Sphinx

DEPRECATED_ROLE, ROLE = 'role="doc-biblioentry"', 'role="listitem"'  # docutils puts these entries into an element with the role "list"
PREFORMATTED = re.compile(r"<pre>.*?</pre>", re.DOTALL)
SEARCH_FIELD = 'id="search-input"'


def with_names(navigation: Any) -> Any:
    """Return the navigation of the sidebar in which every button that unfolds pages says which."""
    soup = navigation if isinstance(navigation, BeautifulSoup) else BeautifulSoup(str(navigation), "html.parser")
    for summary in soup.select("li > details > summary"):
        link = summary.find_parent("li").find("a")
        summary["aria-label"] = f"Pages below “{link.get_text(strip=True)}”"
    return soup


def without_blocks(body: str) -> str:
    """Return a page of source code in which the places that the API links to are no blocks, which HTML does not allow in code."""
    return PREFORMATTED.sub(lambda code: code[0].replace("<div", "<span").replace("</div>", "</span>"), body)


def improve_page(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Correct the roles of references and the code, and name the buttons of the sidebar."""
    if "body" in context:
        context["body"] = without_blocks(context["body"].replace(DEPRECATED_ROLE, ROLE))
    make: Callable[..., Any] | None = context.get("generate_toctree_html")
    if make:
        context["generate_toctree_html"] = lambda *args, **options: with_names(make(*args, **options))


def without_second_identifier(page: str) -> str:
    """Return the search page with one search field of this identifier; the theme gives it to two."""
    before, found, after = page.partition(SEARCH_FIELD)
    return before + found + after.replace(SEARCH_FIELD, 'id="search-field-of-the-page"')


def improve_search_page(app: Sphinx, exception: Exception | None) -> None:
    """Correct the search page, which is made of the theme's templates alone."""
    path = Path(app.outdir) / "search.html"
    if not exception and path.is_file():
        path.write_text(without_second_identifier(path.read_text("utf8")), "utf8")


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", improve_page, priority=900)  # after the theme
    app.connect("build-finished", improve_search_page)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
