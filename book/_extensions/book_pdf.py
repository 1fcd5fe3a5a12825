"""The whole book as one PDF, with bookmarks, tags for screen readers, a table of contents and page numbers.

    make book browser
    python book/_extensions/book_pdf.py                                  reads _build/html, writes _build/book.pdf
    python book/_extensions/book_pdf.py --site SITE --out BOOK.pdf

The articles of all built pages become one document, in which links between pages become links within it. Chromium prints it twice: the
first print shows on which page each heading is, and the second has these numbers in the table of contents. It needs playwright and
pypdf (extra ``browser``) and a Chromium of version 131 or later, which knows page numbers in the margins.
"""

import argparse
import html
import io
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urldefrag, urljoin, urlparse

import yaml
from bs4 import BeautifulSoup, Tag

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
STYLES = Path(__file__).with_name("book_pdf.css")
DOCUMENT = "the-whole-book.html"  # its address on the server of the pages; there is no such file
SITE_STYLES = ("styles/bootstrap", "styles/pydata-sphinx-theme", "styles/sphinx-book-theme", "pygments", "icons", "book")
REFERRING = ("for", "aria-labelledby", "aria-describedby", "aria-controls")  # attributes whose values are identifiers
NOT_PRINTED = "script, style, noscript, a.headerlink, .viewcode-link, button, input[type=range], [data-model], [data-panel], .onlyprint"
FURTHEST = 60  # column in which a broken line of code goes on at most
DEEPEST = 2  # levels of headings of a page that the table of contents shows: its title and its sections
MOST_LINES = 12  # of code that are kept on one page; longer code may be continued on the next
PAGE_WIDTH = 658  # pixels of the text on a page of A4 without its margins (book_pdf.css)
PATIENCE = 1_800_000.0  # milliseconds


class Entry(NamedTuple):
    """A line of the table of contents.

    Attributes:
        level: 0 for a part, 1 for a page, 2 for a section.
        title: as text.
        name: identifier of the heading in the document.
    """

    level: int
    title: str
    name: str


def parts_of(toc: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Return the parts of the book with the names of their pages; the first page is in a part without a name."""
    parts = [(part["caption"], [name for chapter in part["chapters"] for name in _names(chapter)]) for part in toc["parts"]]
    return [("", [toc["root"]]), *parts]


def _names(chapter: dict[str, Any]) -> list[str]:
    return [chapter["file"], *(section["file"] for section in chapter.get("sections", []))]


def identifier(page: str, name: str = "") -> str:
    """Return an identifier that is unique in the document, for a page or for something on it."""
    prefix = re.sub(r"\W+", "-", page)
    return f"{prefix}--{name}" if name else prefix


def rewritten_link(page: str, address: str, pages: set[str]) -> str | None:
    """Return what a link of a page becomes: a link within the document, or to another site, or None if its target is not printed."""
    if urlparse(address).scheme:
        return address
    target, fragment = urldefrag(urljoin(f"{page}.html", address))
    name = target.removesuffix(".html")
    return f"#{identifier(name, fragment)}" if name in pages else None


def article(text: str, page: str, pages: set[str]) -> Tag:
    """Return the article of a built page as it is printed.

    Identifiers become unique, links lead within the document, folded texts are open, pictures are loaded at once, headings are one level
    lower, and what needs a mouse is left out.
    """
    found = BeautifulSoup(text, "html.parser").select_one("article")
    for tag in found.select(NOT_PRINTED):
        tag.decompose()
    for tag in found.find_all(True):
        _rewrite(tag, page, pages)
    found["id"] = identifier(page)
    return found


def _rewrite(tag: Tag, page: str, pages: set[str]) -> None:
    if re.fullmatch(r"h[1-5]", tag.name):
        tag.name = f"h{int(tag.name[1]) + 1}"
    if tag.name == "details":
        tag["open"] = ""
    if tag.name == "pre":
        _rewrite_code(tag)
    if tag.get("id"):
        tag["id"] = identifier(page, tag["id"])
    for name in REFERRING:
        if tag.get(name):
            tag[name] = " ".join(identifier(page, part) for part in tag[name].split())
    if tag.name == "img":
        tag["src"] = urljoin(f"{page}.html", tag["src"])
        tag.attrs.pop("loading", None)
    if tag.name == "a" and tag.get("href"):
        link = rewritten_link(page, tag["href"], pages)
        tag["href"] = link
        if link is None:
            tag.attrs.pop("href")


def _rewrite_code(pre: Tag) -> None:
    """Make an element of each line, so that a line that is broken can be indented. Highlighting ends at the end of each line."""
    lines = pre.decode_contents().removesuffix("\n").split("\n")
    if len(lines) > MOST_LINES:
        pre["class"] = [*pre.get("class", []), "long"]
    texts = pre.get_text().removesuffix("\n").split("\n")
    made = [f'<span class="line" style="--further:{_further(text)}">{line}</span>' for line, text in zip(lines, texts, strict=True)]
    made_pre = BeautifulSoup(f"<pre>{''.join(made)}</pre>", "html.parser").pre  # outside of a pre, the parser would drop spaces
    pre.clear()
    pre.extend(list(made_pre.children))


def _further(line: str) -> int:
    """Return the column in which a line of code or output goes on if it is broken: below its last column, or further in than its start."""
    columns = [found.end() for found in re.finditer(r"\S {2,}(?=\S)", line) if found.end() <= FURTHEST]
    return columns[-1] if columns else min(len(line) - len(line.lstrip()) + 4, FURTHEST)


def entries_of(found: Tag) -> Iterator[Entry]:
    """Yield the title and the sections of an article, as lines of the table of contents."""
    for heading in found.find_all(["h2", "h3"]):
        section = heading.find_parent("section")
        level = int(heading.name[1]) - 1
        if section is not None and level <= DEEPEST:
            yield Entry(level, heading.get_text(" ", strip=True), section["id"])


def contents(entries: list[Entry], numbers: dict[str, int]) -> str:
    """Return the table of contents with the page numbers that are known."""
    lines = [
        f'<li class="level-{entry.level}"><a href="#{entry.name}"><span>{html.escape(entry.title)}</span>'
        f"<span>{numbers.get(entry.name, 0) or ''}</span></a></li>"
        for entry in entries
    ]
    return f'<nav id="contents"><h1>Contents</h1><ul>{"".join(lines)}</ul></nav>'


def document(site: Path, config: dict[str, Any], toc: dict[str, Any], numbers: dict[str, int]) -> str:
    """Return the HTML of the whole book."""
    parts = [(caption, [name for name in names if (site / f"{name}.html").is_file()]) for caption, names in parts_of(toc)]
    pages = {name for _, names in parts for name in names}
    body, entries = [], []
    for caption, names in parts:
        if caption:
            entries.append(Entry(0, caption, f"part-{identifier(caption)}"))
            body.append(f'<h1 class="part" id="{entries[-1].name}">{html.escape(caption)}</h1>')
        for name in names:
            found = article((site / f"{name}.html").read_text("utf8"), name, pages)
            entries += entries_of(found)
            body.append(str(found))
    title = html.escape(config["title"])
    front = f'<header class="front"><p class="title">{title}</p><p>{html.escape(config["author"])}</p></header>'
    links = "".join(f'<link rel="stylesheet" href="_static/{name}.css">' for name in SITE_STYLES)
    links += "".join(f'<link rel="stylesheet" href="{path.relative_to(site)}">' for path in _other_styles(site))
    head = f'<meta charset="utf-8"><title>{title}</title>{links}<style>{STYLES.read_text("utf8")}</style>'
    main = f'<main class="bd-main"><div class="bd-content"><div class="bd-article-container">{"".join(body)}</div></div></main>'
    start = f'<!DOCTYPE html><html lang="en" data-theme="light"><head>{head}</head>'
    return f"{start}<body>{front}{contents(entries, numbers)}{main}</body></html>"


def _other_styles(site: Path) -> list[Path]:
    """Return the styles of code cells and of formulas."""
    return [*(site / "_static").glob("mystnb*.css"), *(site / "katex").glob("*.css"), *(site / "_static").glob("katex-math.css")]


def page_numbers(pdf: bytes) -> dict[str, int]:
    """Return the page, counted from 1, on which each identifier of a PDF is to which something links."""
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(pdf))
    found = {name.removeprefix("/"): reader.get_destination_page_number(place) for name, place in reader.named_destinations.items()}
    return {name: number + 1 for name, number in found.items() if number is not None and number >= 0}


def with_titles(pdf: bytes, titles: list[str]) -> bytes:
    """Return the PDF with these titles of its bookmarks, in their order; Chromium writes some of them twice.

    Raises:
        ValueError: there are more or fewer titles than bookmarks.
    """
    from pypdf import PdfWriter
    from pypdf.generic import NameObject, TextStringObject

    writer = PdfWriter(clone_from=io.BytesIO(pdf))
    bookmarks = list(_bookmarks(writer.root_object["/Outlines"].get_object()))
    for bookmark, title in zip(bookmarks, titles, strict=True):
        bookmark[NameObject("/Title")] = TextStringObject(title)
    written = io.BytesIO()
    writer.write(written)
    return written.getvalue()


def _bookmarks(parent: Any) -> Iterator[Any]:
    """Yield the bookmarks below one, each before those below it."""
    item = parent.get("/First")
    while item is not None:
        item = item.get_object()
        yield item
        yield from _bookmarks(item)
        item = item.get("/Next")


def headings(text: str) -> list[str]:
    """Return the text of each heading of a document."""
    found = BeautifulSoup(text, "html.parser").find_all(re.compile(r"h[1-6]"))
    return [" ".join(heading.get_text().split()) for heading in found]


# Makes tables fit the page: a wide table gets smaller letters, then may break the words of its head, and at last everything. Returns what
# does not fit even so, because Chromium would shrink the whole book for it.
FIT = """width => {
  const isWide = element => element.getBoundingClientRect().right > width + 1;
  for (const table of document.querySelectorAll('main table'))
    for (const way of ['smaller', 'smallest', 'narrower', 'narrowest']) if (isWide(table)) table.classList.add(way);
  const found = [...document.querySelectorAll('main *')].filter(element => !element.closest('.katex *') && isWide(element));
  return found.slice(0, 5).map(element => `${element.closest('article')?.id}: ${element.outerHTML.slice(0, 200)}`);
}"""


@contextmanager
def printer(site: Path) -> Iterator[Any]:
    """Yield a function that prints HTML, whose addresses are relative to the site, to a PDF."""
    from playwright.sync_api import sync_playwright

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/{DOCUMENT}"
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])

        def print_it(text: str) -> bytes:
            page = browser.new_page()
            page.set_default_timeout(PATIENCE)
            page.route(address, lambda route: route.fulfill(body=text, content_type="text/html; charset=utf-8"))
            page.set_viewport_size({"width": PAGE_WIDTH, "height": 1000})
            page.emulate_media(media="print")
            page.goto(address, wait_until="networkidle", timeout=PATIENCE)
            wide = page.evaluate(FIT, PAGE_WIDTH)
            if wide:
                raise RuntimeError("wider than a page of the PDF, let it break in book_pdf.css: " + "; ".join(wide))
            return page.pdf(prefer_css_page_size=True, print_background=True, outline=True, tagged=True)

        yield print_it
        browser.close()
    server.shutdown()
    server.server_close()


def write_pdf(site: Path, out: Path) -> int:
    """Write the PDF of a built book, and return its number of pages."""
    config, toc = (yaml.safe_load((ROOT / name).read_text("utf8")) for name in ("_config.yml", "book/_toc.yml"))
    with printer(site) as print_it:
        numbers = page_numbers(print_it(document(site, config, toc, {})))
        text = document(site, config, toc, numbers)
        pdf = print_it(text)
    if page_numbers(pdf) != numbers:
        raise RuntimeError("the numbers in the table of contents moved the pages; give them room in book_pdf.css")
    pdf = with_titles(pdf, headings(text))
    out.write_bytes(pdf)
    from pypdf import PdfReader

    return len(PdfReader(io.BytesIO(pdf)).pages)


def main() -> None:
    """Write the PDF."""
    parser = argparse.ArgumentParser(prog="python book/_extensions/book_pdf.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--site", type=Path, default=ROOT / "_build/html", help="folder of the built pages")
    parser.add_argument("--out", type=Path, default=ROOT / "_build/book.pdf", help="the file to write")
    asked = parser.parse_args()
    if not (asked.site / "index.html").is_file():
        sys.exit(f"{asked.site} holds no built book; build it first (make book), or name its folder with --site")
    print(f"{asked.out}: {write_pdf(asked.site, asked.out)} pages")


if __name__ == "__main__":
    main()
