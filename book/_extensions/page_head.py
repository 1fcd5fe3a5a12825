"""Sphinx extension: what search engines, previews of links and lost readers need: descriptions, ``sitemap.xml`` and ``404.html``.

The descriptions are in ``book/descriptions.yml``. Pages that Sphinx makes itself (index, source code) are described by their titles. The
addresses begin with ``html.baseurl`` of ``_config.yml``.
"""

import html
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml
from sphinx.application import Sphinx
from sphinx.errors import ConfigError

DESCRIPTIONS = "descriptions.yml"
PICTURE, PICTURE_TEXT = "_static/card.jpg", "Three rows of faces: training images, their reconstructions, and new faces"
PICTURE_SIZE = (1200, 630)  # pixels, the proportions that previews show
NOT_LISTED = ("genindex", "search", "py-modindex", "404", "_modules/")  # pages without content of their own
VIEWPORT = re.compile(r'<meta name="viewport"[^>]*>')


def read_descriptions(folder: Path, pages: set[str]) -> dict[str, str]:
    """Return the description of each page of the book.

    Raises:
        ConfigError: a page has no description.
    """
    descriptions = yaml.safe_load((folder / DESCRIPTIONS).read_text("utf8"))
    missing = sorted(pages - set(descriptions))
    if missing:
        raise ConfigError(f"book/{DESCRIPTIONS} describes every page of the book, but not {', '.join(missing)}: add a line for each")
    return descriptions


def plain(title: str) -> str:
    """Return the title of a page without its markup."""
    return html.unescape(re.sub(r"<[^>]+>", "", title))


def meta_tags(title: str, description: str, site: str, address: str, base: str) -> str:
    """Return the tags for search engines and for previews of links (Open Graph and Twitter)."""
    properties = {
        "og:type": "article" if title != site else "website",
        "og:site_name": site,
        "og:title": title,
        "og:description": description,
        "og:url": address,
        "og:image": base + PICTURE,
        "og:image:width": str(PICTURE_SIZE[0]),
        "og:image:height": str(PICTURE_SIZE[1]),
        "og:image:alt": PICTURE_TEXT,
    }
    tags = [f'<meta name="description" content="{html.escape(description)}">', '<meta name="twitter:card" content="summary_large_image">']
    tags += [f'<meta property="{name}" content="{html.escape(content)}">' for name, content in properties.items()]
    return "\n    ".join(["", *tags])


def outdated_pages(app: Sphinx, env: Any, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Return the pages whose description is not that of the last build."""
    new = yaml.safe_load(Path(app.srcdir, DESCRIPTIONS).read_text("utf8"))
    old = getattr(env, "built_descriptions", new)
    env.built_descriptions = new
    return sorted(name for name in env.all_docs if old.get(name) != new.get(name))


def check_descriptions(app: Sphinx, env: Any, *_: Any) -> None:
    """Read the descriptions before any page is written."""
    app.page_descriptions = read_descriptions(Path(app.srcdir), set(env.found_docs)) if app.builder.format == "html" else {}


def complete_head(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Give a page its description, its tags, and a title that does not repeat itself."""
    site, base = app.config.html_title, app.config.html_baseurl
    if pagename.startswith("api/"):
        context["title"] += " (API)"  # chapters have the same titles
    title = plain(context.get("title", ""))
    description = app.page_descriptions.get(pagename) or f"{title}: a page of the book {site}, with the library glo_lib."
    address = base if pagename == app.config.root_doc else context["pageurl"]
    context["metatags"] = VIEWPORT.sub("", context.get("metatags", "")) + meta_tags(title, description, site, address, base)
    context["pageurl"] = address
    if pagename == app.config.root_doc:
        context["docstitle"] = ""  # its title is the title of the book


def not_found_page(app: Sphinx) -> list[tuple[str, dict[str, Any], str]]:
    """Return the page for addresses that do not exist, with links to the pages of the book."""
    names = [name for name in app.config.external_site_map if name in app.env.titles and "/" not in name and name != app.config.root_doc]
    titles = [(name, app.env.titles[name].astext()) for name in names]
    context = {"title": "Page not found", "project_title": app.config.html_title, "baseurl": app.config.html_baseurl, "pages": titles}
    return [("404", context, "404.html")]


def write_sitemap(app: Sphinx, exception: Exception | None) -> None:
    """Write the addresses of all pages with content to ``sitemap.xml``."""
    if exception or app.builder.format != "html":
        return
    pages = sorted(name for name in app.env.found_docs if not name.startswith(NOT_LISTED))
    (Path(app.outdir) / "sitemap.xml").write_bytes(sitemap(pages, app.config.html_baseurl, app.config.root_doc))


def sitemap(pages: list[str], base: str, root: str) -> bytes:
    """Return the sitemap (sitemaps.org, version 0.9) of these pages; the address of the first page is that of the site."""
    urlset = ElementTree.Element("urlset", xmlns="http://www.sitemaps.org/schemas/sitemap/0.9")
    for name in pages:
        ElementTree.SubElement(ElementTree.SubElement(urlset, "url"), "loc").text = base if name == root else f"{base}{name}.html"
    ElementTree.indent(urlset)
    return ElementTree.tostring(urlset, encoding="utf-8", xml_declaration=True)


def setup(app: Sphinx) -> dict:
    app.connect("env-get-outdated", outdated_pages)
    app.connect("env-updated", check_descriptions)
    app.connect("html-page-context", complete_head, priority=900)  # after the theme
    app.connect("html-collect-pages", not_found_page)
    app.connect("build-finished", write_sitemap)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
