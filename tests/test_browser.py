"""Of the built book, as a reader meets it: nothing fails or comes from outside; mathematics, search, dark mode work; nothing overflows.

The book is built into a temporary folder and served from this machine. Skipped where playwright (extra ``browser``) or Chromium is missing.
"""

import re
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urldefrag, urljoin, urlparse

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
TOC = yaml.safe_load((ROOT / "book/_toc.yml").read_text())
PAGES = [TOC["root"], *(entry["file"] for entry in TOC["chapters"])]
NOTEBOOKS = [name for name in PAGES if (ROOT / f"book/{name}.ipynb").exists()]
WIDE, NARROW = 1280, 390  # pixels: a laptop, a telephone
PATIENCE = 600_000.0  # milliseconds: a slow machine is no failure

pytestmark = pytest.mark.browser
every_page = pytest.mark.parametrize("name", [*PAGES, "search", "genindex"])


class Visit(NamedTuple):
    """What happened while a page was loaded, and what it looked like afterwards."""

    complaints: list[str]  # of the console, and errors of scripts
    failures: list[str]  # requests without an answer, or with one of 400 and above
    outside: list[str]  # requests to anything but this machine
    formulas: int  # in the page's source
    drawn: int  # by MathJax
    broken: int  # formulas that MathJax could not read
    nameless: list[str]  # images without an alternative text, or with an empty one
    sideways: dict[int, list[str]]  # by width of the window, what reaches over the right edge


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra 'browser')")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"there is no Chromium on the PATH or at {CHROMIUM}")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def site(browser, tmp_path_factory):
    """The folder of the built pages; asks for the browser so that nothing is built where there is none."""
    folder = tmp_path_factory.mktemp("book")
    build = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
    options = ["--path-output", str(folder), "--warningiserror", "--nitpick", "--keep-going", "--quiet"]
    done = subprocess.run([sys.executable, "-c", build, "build", str(ROOT / "book"), *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / "_build/html"


@pytest.fixture(scope="module")
def address(site):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def visit(browser, address):
    """Visit a page by name; each is loaded once."""
    visits = {}

    def visit_once(name):
        if name not in visits:
            with opened(browser) as page:
                visits[name] = _load(page, address, f"{name}.html")
        return visits[name]

    return visit_once


@contextmanager
def opened(browser, **options):
    """An empty page, with nothing of other visits."""
    with browser.new_context(viewport={"width": WIDE, "height": 800}, **options) as context:
        context.set_default_navigation_timeout(PATIENCE)
        context.set_default_timeout(PATIENCE / 5)
        yield context.new_page()


def _load(page, address, file):
    complaints, failures, outside = [], [], []
    page.on("console", lambda line: complaints.append(line.text) if line.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: failures.append(request.url))
    page.on("response", lambda answer: failures.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
    page.on("request", lambda asked: outside.append(asked.url) if not asked.url.startswith((address, "data:", "blob:")) else None)
    page.goto(address + file, wait_until="networkidle")
    page.evaluate("window.MathJax && window.MathJax.startup && window.MathJax.startup.promise")
    formulas, drawn, broken = (page.locator(what).count() for what in (".math", "mjx-container", "mjx-merror"))
    nameless = page.evaluate("[...document.images].filter(i => !(i.alt || '').trim()).map(i => i.currentSrc || i.outerHTML)")
    sideways = {}
    for width in (WIDE, NARROW):
        page.set_viewport_size({"width": width, "height": 800})
        sideways[width] = page.evaluate(OVER_THE_EDGE)
    return Visit(complaints, failures, outside, formulas, drawn, broken, nameless, sideways)


# Empty when the page itself cannot be scrolled sideways; boxes that scroll by themselves (tables, code) may hold wide things.
OVER_THE_EDGE = """() => {
  const edge = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= edge) return [];
  const wide = [...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > edge + 1);
  return [`${document.documentElement.scrollWidth} pixels`, ...wide.slice(0, 5).map(e => e.outerHTML.slice(0, 120))];
}"""


@every_page
def test_a_page_loads_without_complaint_and_nothing_fails(visit, name):
    assert visit(name).complaints == []
    assert visit(name).failures == []


@every_page
def test_a_page_asks_for_nothing_from_outside(visit, name):
    assert visit(name).outside == []


@every_page
def test_every_formula_is_drawn(visit, name):
    seen = visit(name)
    assert seen.drawn >= seen.formulas and seen.broken == 0
    if name == "notation":
        assert seen.drawn > 10


@every_page
def test_every_image_has_an_alternative_text(visit, name):
    assert visit(name).nameless == []


@every_page
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_no_page_scrolls_sideways(visit, name, width):
    assert visit(name).sideways[width] == []


def test_the_search_finds_projection(browser, address):
    with opened(browser) as page:
        page.goto(address + "search.html?q=projection", wait_until="networkidle")
        page.wait_for_function("/finished|did not match/.test(document.querySelector('#search-results').innerText)")
        found = page.locator("#search-results li a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
        assert {"api.html", "deviations.html"} <= {urldefrag(link)[0].split("?")[0] for link in found}


def background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def lightness(colour):
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3


def test_dark_mode_follows_the_system_and_the_button_changes_it(browser, address):
    with opened(browser, color_scheme="dark") as page:
        page.goto(address + "index.html", wait_until="networkidle")
        assert lightness(background(page)) < 60
        for _ in range(3):  # auto, light, dark: the button goes round
            page.locator("button.theme-switch-button:visible").first.click()
            if page.evaluate("document.documentElement.dataset.mode") == "light":
                break
        page.wait_for_timeout(500)  # the colour fades
        assert lightness(background(page)) > 200


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_buttons_lead_to_the_repository_and_to_the_notebook(site, name):
    settings = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]
    place = f"{settings['url'].removeprefix('https://github.com/')}", settings["branch"]
    page = (site / f"{name}.html").read_text("utf8")
    links = set(re.findall(r'href="([^"]+)"', page))
    assert f"https://mybinder.org/v2/gh/{place[0]}/{place[1]}?urlpath=lab/tree/book/{name}.ipynb" in links
    assert f"https://colab.research.google.com/github/{place[0]}/blob/{place[1]}/book/{name}.ipynb" in links
    assert f"{settings['url']}/blob/{place[1]}/book/{name}.ipynb?plain=1" in links
    assert any(link.startswith(f"{settings['url']}/issues/new") for link in links)
    assert f"_sources/{name}.ipynb" in links
    assert (site / f"_sources/{name}.ipynb").read_bytes() == (ROOT / f"book/{name}.ipynb").read_bytes()


def test_every_link_within_the_book_leads_somewhere(site):
    from bs4 import BeautifulSoup

    soups = {path.name: BeautifulSoup(path.read_text("utf8"), "html.parser") for path in site.glob("*.html")}
    names = {file: {tag.get("id") or tag.get("name") for tag in soup.find_all(True)} for file, soup in soups.items()}
    dead, seen = [], 0
    for file, soup in soups.items():
        for link in soup.find_all("a", href=True):
            target, anchor = urldefrag(urljoin(file, unquote(link["href"])))
            if urlparse(target).scheme:
                continue
            seen += 1
            known = (site / target).exists() and (not anchor or target not in names or anchor in names[target])
            dead += [] if known else [f"{file}: {link['href']}"]
    assert seen > 100 and dead == []


def test_no_page_shows_the_marks_of_markdown(site):
    """A table, a role or an emphasis that was not understood stands on the page as it was typed."""
    from bs4 import BeautifulSoup

    for path in site.glob("*.html"):
        main = BeautifulSoup(path.read_text("utf8"), "html.parser").find("main")
        for typed in main.find_all(["pre", "code", "script"]) + main.find_all(class_=["math", "sig"]):
            typed.decompose()
        assert not re.findall(r".{0,40}(?:[|:]-{2,}|\{[a-z:]+\}`|\*\*|```).{0,40}", main.get_text(" ")), path.name


def test_no_page_names_a_resource_from_outside(site):
    from bs4 import BeautifulSoup

    loaded = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src", "object": "data"}
    for path in site.glob("*.html"):
        soup = BeautifulSoup(path.read_text("utf8"), "html.parser")
        named = [tag.get(loaded[tag.name], "") for tag in soup.find_all(list(loaded))]
        named += [tag.get("href", "") for tag in soup.find_all("link") if set(tag.get("rel", [])) & {"stylesheet", "icon", "preload"}]
        assert not [address for address in named if re.match(r"(https?:)?//", address)], path.name
    for path in (site / "_static").rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", path.read_text("utf8", errors="replace")), path.name
