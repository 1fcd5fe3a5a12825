"""The built book in a browser: nothing fails or is loaded from other servers; mathematics, search, dark mode, solutions and questions
work; no page overflows; pages are light, accessible and described.

The book is built into a temporary folder, without Node.js on the ``PATH``, and served from this machine. The tests are skipped if
playwright (extra ``browser``) or Chromium is missing, and those of accessibility if axe-core is missing too (``make browser`` installs it).
"""

import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urldefrag, urljoin, urlparse

import pytest
import yaml

from benchmarks.site import served, weigh

ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
TOC = yaml.safe_load((ROOT / "book/_toc.yml").read_text())
CHAPTERS = [chapter for part in TOC["parts"] for chapter in part["chapters"]]
PAGES = [TOC["root"], *(entry["file"] for chapter in CHAPTERS for entry in (chapter, *chapter.get("sections", [])))]
NOTEBOOKS = [name for name in PAGES if (ROOT / f"book/{name}.ipynb").exists()]
WITH_QUESTIONS = [name for name in NOTEBOOKS if 'class=\\"question\\"' in (ROOT / f"book/{name}.ipynb").read_text("utf8")]
WIDE, NARROW, NARROWEST = 1280, 390, 360  # pixels: a laptop, a phone, a small phone
AXE = Path(sys.prefix) / "axe/node_modules/axe-core/axe.min.js"
TIMEOUT = 600_000.0  # milliseconds; long, because a slow machine is not a failure

pytestmark = pytest.mark.browser
every_page = pytest.mark.parametrize("name", [*PAGES, "search", "genindex"])


class Visit(NamedTuple):
    """What happened while a page was loaded, and its state afterwards."""

    messages: list[str]  # errors and warnings of the console and of scripts
    failures: list[str]  # requests without a response, or with a status of at least 400
    external: list[str]  # requests to other servers
    formulas: int  # in the source of the page
    rendered: int  # formulas rendered by KaTeX
    broken: int  # formulas that KaTeX could not read
    without_alt: list[str]  # images without alternative text
    overflowing: dict[int, list[str]]  # by width of the window, what cannot be seen or has too little room


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra 'browser')")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"there is no Chromium on the PATH or at {CHROMIUM}")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=TIMEOUT)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def site(browser, tmp_path_factory):
    """The folder of the built pages; depends on the browser, so nothing is built where there is none."""
    folder = tmp_path_factory.mktemp("book")
    build = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
    options = ["--path-output", str(folder), "--warningiserror", "--nitpick", "--keep-going", "--quiet"]
    command, without_node = [sys.executable, "-c", build, "build", str(ROOT / "book"), *options], {**os.environ, "PATH": str(folder)}
    done = subprocess.run(command, cwd=ROOT, env=without_node, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / "_build/html"


@pytest.fixture(scope="module")
def address(site):
    with served(site) as address:
        yield address


@pytest.fixture(scope="module")
def visit(browser, address):
    """Return a function that visits a page by name; each page is loaded once."""
    visits = {}

    def visit_once(name):
        if name not in visits:
            with opened(browser) as page:
                visits[name] = _load(page, address, f"{name}.html")
        return visits[name]

    return visit_once


@contextmanager
def opened(browser, **options):
    """Open an empty page in a new browser context."""
    with browser.new_context(viewport={"width": WIDE, "height": 800}, **options) as context:
        context.set_default_navigation_timeout(TIMEOUT)
        context.set_default_timeout(TIMEOUT / 5)
        yield context.new_page()


def _load(page, address, file):
    messages, failures, external = [], [], []
    page.on("console", lambda line: messages.append(line.text) if line.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("requestfailed", lambda request: failures.append(request.url))
    page.on("response", lambda response: failures.append(f"{response.status} {response.url}") if response.status >= 400 else None)
    page.on("request", lambda request: external.append(request.url) if not request.url.startswith((address, "data:", "blob:")) else None)
    page.goto(address + file, wait_until="networkidle")
    formulas, rendered, broken = (page.locator(selector).count() for selector in (".math", ".math .katex", ".katex-error"))
    without_alt = page.evaluate("[...document.images].filter(i => !(i.alt || '').trim()).map(i => i.currentSrc || i.outerHTML)")
    page.add_style_tag(content=ALL_LAID_OUT)
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    overflowing = {}
    for width in (WIDE, NARROW, NARROWEST):
        page.set_viewport_size({"width": width, "height": 800})
        overflowing[width] = page.evaluate(FIND_OVERFLOW)
    return Visit(messages, failures, external, formulas, rendered, broken, without_alt, overflowing)


# Sections that are laid out when the reader comes near them would cut off what is too wide for them, and hide it from the search below.
ALL_LAID_OUT = "section { content-visibility: visible !important; }"
# Empty if the page cannot be scrolled horizontally, nothing of the article is beyond its edges except in boxes with their own scroll bars
# (tables, code, formulas), which begin at their left end, and notes of the margin have most of the width where they are in the text.
FIND_OVERFLOW = """() => {
  const edge = document.documentElement.clientWidth, place = e => e.getBoundingClientRect();
  const scrolls = e => e && (/auto|scroll/.test(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
  const all = [...document.querySelectorAll('article *')].filter(e => place(e).width && !e.closest('svg, .katex-mathml'));
  const wide = all.filter(e => place(e).right > edge + 1 && !scrolls(e.parentElement));
  const cut = all.filter(e => e.matches('.katex-display .katex-html') && place(e).left < place(e.closest('.math')).left - 1);
  const thin = all.filter(e => edge <= 768 && e.matches('aside.margin') && place(e).width < 0.7 * edge);
  const found = Object.entries({ wide, cut, thin }).flatMap(([kind, tags]) => tags.map(e => `${kind}: ${e.outerHTML.slice(0, 120)}`));
  return [...(document.documentElement.scrollWidth > edge ? ['the page scrolls'] : []), ...found.slice(0, 5)];
}"""


@every_page
def test_a_page_loads_without_warning_and_no_request_fails(visit, name):
    assert visit(name).messages == []
    assert visit(name).failures == []


@every_page
def test_a_page_requests_nothing_from_other_servers(visit, name):
    assert visit(name).external == []


# Controls that a thumb cannot hit: WCAG 2.2 asks for 24 pixels.
FIND_SMALL_CONTROLS = """() => [...document.querySelectorAll('article :is(button, input, select, summary)')]
  .filter(control => control.getClientRects().length)
  .filter(control => Math.min(control.getBoundingClientRect().width, control.getBoundingClientRect().height) < 24)
  .map(control => control.outerHTML.slice(0, 120))"""


def test_the_explorer_starts_on_its_page_loads_little_and_no_other_page_loads_any_of_it(browser, address):
    with opened(browser) as page:
        requests, sizes, problems = [], {}, []
        page.on("request", lambda request: requests.append(request.url))
        page.on("response", lambda response: sizes.update({response.url: int(response.headers.get("content-length", 0))}))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(address + "inference.html", wait_until="networkidle")
        assert not [url for url in requests if "/explorer/" in url]
        page.goto(address + "explorer.html", wait_until="networkidle")
        assert not [url for url in requests if "/explorer/vendor/" in url or "/explorer/model/" in url], "before the reader starts it"
        assert page.locator("img[src*='explorer']").is_visible()
        page.get_by_role("button", name="Start the explorer").click()
        page.get_by_text("Ready.").wait_for()
        page.get_by_role("button", name="Draw 12 more").click()
        own = {url: size for url, size in sizes.items() if "/explorer/" in url}
        assert {Path(urlparse(url).path).name for url in own} > {"arrays.bin", "worker.js", "tf-core.es2017.min.js"} and min(
            own.values()
        ) > 0
        assert sum(own.values()) < 6_000_000 and not problems
        assert not [url for url in requests if not url.startswith((address, "data:", "blob:"))]
        page.set_viewport_size({"width": NARROWEST, "height": 800})
        assert page.evaluate(FIND_SMALL_CONTROLS) == [] and page.evaluate(FIND_OVERFLOW) == []


@every_page
def test_every_formula_is_rendered(visit, name):
    page = visit(name)
    assert page.rendered == page.formulas and page.broken == 0
    if name == "notation":
        assert page.rendered > 10


@every_page
def test_every_image_has_alternative_text(visit, name):
    assert visit(name).without_alt == []


@every_page
@pytest.mark.parametrize("width", [WIDE, NARROW, NARROWEST])
def test_no_page_scrolls_horizontally(visit, name, width):
    assert visit(name).overflowing[width] == []


def test_the_search_finds_projection(browser, address):
    with opened(browser) as page:
        page.goto(address + "search.html?q=projection", wait_until="networkidle")
        page.wait_for_function("/finished|did not match/.test(document.querySelector('#search-results').innerText)")
        found = page.locator("#search-results li a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
        assert {"api.html", "deviations.html"} <= {urldefrag(link)[0].split("?")[0] for link in found}


@pytest.mark.parametrize(
    ("word", "target"),
    [
        ("project", "api/chapters.html#glo_lib.projection.project"),
        ("interpolate", "api/inference.html#glo_lib.inference.interpolation.interpolate"),
        ("TrainConfig", "api/settings.html#glo_lib.config.TrainConfig"),
    ],
)
def test_a_search_for_a_function_or_class_leads_to_its_entry(browser, address, word, target):
    with opened(browser) as page:
        page.goto(f"{address}search.html?q={word}", wait_until="networkidle")
        page.wait_for_function("/finished|did not match/.test(document.querySelector('#search-results').innerText)")
        found = page.locator("#search-results li a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
        assert target in [re.sub(r"\?[^#]*", "", link) for link in found[:8]]


every_page_with_questions = pytest.mark.parametrize("name", WITH_QUESTIONS)


@every_page_with_questions
@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_solutions_and_answers_are_folded_and_open_by_keyboard(browser, address, name, scripts):
    with opened(browser, java_script_enabled=scripts) as page:
        page.goto(f"{address}{name}.html")
        folded = page.locator("details.solution, details.answer")
        assert folded.count() >= 8
        for number in range(folded.count()):
            details = folded.nth(number)
            content = details.locator(":scope > :not(summary)").first
            assert not content.is_visible()
            details.locator("summary").press("Enter")
            assert content.is_visible() and len(details.inner_text()) > 30


@every_page_with_questions
def test_a_question_says_at_once_whether_a_choice_is_right(browser, address, name):
    """The arrow keys move between the choices, as in any group of radio buttons."""
    with opened(browser) as page:
        page.goto(f"{address}{name}.html", wait_until="networkidle")
        for question in page.locator("fieldset.question").all():
            choices, feedback = question.locator("input"), question.locator("[role=status]")
            right = question.evaluate("fieldset => fieldset.nextElementSibling.dataset.right")
            assert feedback.count() == 1 and feedback.inner_text() == ""
            choices.first.press("Space")
            for number in range(choices.count()):
                chosen = page.evaluate("document.activeElement.value")
                assert chosen == "abcdef"[number] and choices.nth(number).is_checked()
                assert feedback.inner_text().startswith("✓ Right" if chosen == right else "✗ Not quite")
                page.keyboard.press("ArrowDown")


@every_page_with_questions
def test_without_scripts_a_question_can_be_answered_and_compared_with_its_answer(browser, address, name):
    with opened(browser, java_script_enabled=False) as page:
        page.goto(f"{address}{name}.html")
        first = page.locator("fieldset.question").first
        first.locator("input").nth(1).press("Space")
        assert first.locator("input").nth(1).is_checked() and page.locator("[role=status]").count() == 0
        answer = page.locator("details.answer").first
        answer.locator("summary").click()
        letter = answer.get_attribute("data-right")
        assert answer.locator("p").first.inner_text().startswith(f"{letter}.")
        assert first.locator("label").nth("abcdef".index(letter)).inner_text().strip().startswith(f"{letter}.")


@every_page_with_questions
def test_what_is_folded_fits_a_small_telephone(browser, address, name):
    with opened(browser) as page:
        page.goto(f"{address}{name}.html", wait_until="networkidle")
        page.set_viewport_size({"width": NARROWEST, "height": 800})
        page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
        assert page.evaluate(FIND_OVERFLOW) == []


# The lowest contrast of the text of the selected elements with the colour behind them.
FIND_CONTRAST = """selector => {
  const channels = colour => colour.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    const colour = channels(getComputedStyle(element).backgroundColor);
    return colour.length < 4 || colour[3] === 1 ? colour : behind(element.parentElement);
  };
  const found = [...document.querySelectorAll(selector)];
  return found.length && Math.min(...found.map(element => {
    const [dark, light] = [luminance(channels(getComputedStyle(element).color)), luminance(behind(element))].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  }));
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_solutions_and_questions_can_be_read_in_either_mode(browser, address, scheme):
    with opened(browser, color_scheme=scheme) as page:
        page.goto(f"{address}{WITH_QUESTIONS[0]}.html", wait_until="networkidle")
        page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
        for choice in range(2):  # one of them is wrong; the feedback has two colours
            for question in page.locator("fieldset.question").all():
                question.locator("input").nth(choice).check()
            # Colours change gradually, so wait until none does.
            page.wait_for_function("document.getAnimations().every(animation => animation.playState !== 'running')")
            for part in (
                "[role=status]",
                "fieldset.question legend",
                "fieldset.question label",
                "details summary",
                "details.solution p",
                "details.answer p",
            ):
                assert page.evaluate(FIND_CONTRAST, part) >= 4.5, part


def test_the_script_of_the_questions_is_loaded_by_pages_with_questions_alone_and_deferred(site):
    scripts = {name: re.findall(r"<script[^>]*questions\.js[^>]*>", (site / f"{name}.html").read_text("utf8")) for name in PAGES}
    assert {name for name, found in scripts.items() if found} == set(WITH_QUESTIONS)
    assert all("defer" in tag for found in scripts.values() for tag in found)


def test_every_entry_of_the_library_links_to_its_source(site):
    from bs4 import BeautifulSoup

    for name in (page for page in PAGES if page.startswith("api/")):
        soup = BeautifulSoup((site / f"{name}.html").read_text("utf8"), "html.parser")
        entries = soup.select("dl.py.function > dt[id], dl.py.class > dt[id]")
        assert entries and not [entry["id"] for entry in entries if not entry.select("a[href*='_modules/glo_lib/']")], name


def test_no_page_of_source_shows_a_path_of_this_machine(site):
    for path in (site / "_modules").rglob("*.html"):
        assert str(ROOT) not in path.read_text("utf8"), path.name


def background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def lightness(colour):
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3


def test_dark_mode_follows_the_system_and_the_button_changes_it(browser, address):
    with opened(browser, color_scheme="dark") as page:
        page.goto(address + "index.html", wait_until="networkidle")
        assert lightness(background(page)) < 60
        for _ in range(3):  # the button cycles through auto, light and dark
            page.locator("button.theme-switch-button:visible").first.click()
            if page.evaluate("document.documentElement.dataset.mode") == "light":
                break
        page.wait_for_timeout(500)  # the colour changes gradually
        assert lightness(background(page)) > 200


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_buttons_link_to_the_repository_and_the_notebook(site, name):
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


def test_every_link_within_the_book_has_a_target(site):
    from bs4 import BeautifulSoup

    soups = {path.name: BeautifulSoup(path.read_text("utf8"), "html.parser") for path in site.glob("*.html")}
    names = {file: {tag.get("id") or tag.get("name") for tag in soup.find_all(True)} for file, soup in soups.items()}
    dead, num_links = [], 0
    for file, soup in soups.items():
        for link in soup.find_all("a", href=True):
            target, anchor = urldefrag(urljoin(file, unquote(link["href"])))
            if urlparse(target).scheme:
                continue
            num_links += 1
            known = (site / target).exists() and (not anchor or target not in names or anchor in names[target])
            dead += [] if known else [f"{file}: {link['href']}"]
    assert num_links > 100 and dead == []


def test_no_page_shows_markdown_syntax(site):
    """A table, role or emphasis that was not parsed appears on the page as it was typed."""
    from bs4 import BeautifulSoup

    for path in site.glob("*.html"):
        main = BeautifulSoup(path.read_text("utf8"), "html.parser").find("main")
        for typed in main.find_all(["pre", "code", "script"]) + main.find_all(class_=["math", "sig"]):
            typed.decompose()
        assert not re.findall(r".{0,40}(?:[|:]-{2,}|\{[a-z:]+\}`|\*\*|```).{0,40}", main.get_text(" ")), path.name


def test_no_page_refers_to_a_resource_on_another_server(site):
    from bs4 import BeautifulSoup

    loaded = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src", "object": "data"}
    for path in site.glob("*.html"):
        soup = BeautifulSoup(path.read_text("utf8"), "html.parser")
        named = [tag.get(loaded[tag.name], "") for tag in soup.find_all(list(loaded))]
        named += [tag.get("href", "") for tag in soup.find_all("link") if set(tag.get("rel", [])) & {"stylesheet", "icon", "preload"}]
        assert not [address for address in named if re.match(r"(https?:)?//", address)], path.name
    for path in (site / "_static").rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", path.read_text("utf8", errors="replace")), path.name


def test_a_chapter_takes_less_than_one_and_a_half_megabytes(browser, address):
    for name in NOTEBOOKS:
        weight = weigh(browser, f"{address}{name}.html")
        assert weight.opened <= weight.whole < 1_500_000, name
        assert weight.opened < 900_000, name


def test_no_page_waits_for_a_script_or_names_one_of_the_heavy_ones(site):
    from bs4 import BeautifulSoup

    for path in [*site.glob("*.html"), *site.glob("api/*.html"), *site.glob("_modules/**/*.html")]:
        soup = BeautifulSoup(path.read_text("utf8"), "html.parser")
        scripts = [tag for tag in soup.find_all("script") if tag.get("src")]
        waiting = [tag["src"] for tag in scripts if not {"defer", "async"} & set(tag.attrs) and tag.get("type") != "module"]
        assert path.name == "search.html" or not waiting, path.name
        assert not [tag["src"] for tag in scripts if "fontawesome" in tag["src"] or "mathjax" in tag["src"]], path.name


def test_every_picture_of_a_page_has_a_size_and_all_but_the_first_are_loaded_late(site):
    from bs4 import BeautifulSoup

    for name in PAGES:
        first, *others = BeautifulSoup((site / f"{name}.html").read_text("utf8"), "html.parser").select("article img") or [None]
        for picture in (picture for picture in (first, *others) if picture is not None):
            assert int(picture["width"]) > 0 and int(picture["height"]) > 0, (name, picture["src"])
        assert first is None or first.get("loading") != "lazy", name
        assert all(picture.get("loading") == "lazy" for picture in others), name


# Icons that are shown but are not drawn, because the stylesheet of icons lacks them.
FIND_MISSING_ICONS = """() => [...document.querySelectorAll('i[class*=fa-], span[class*=fa-]')]
  .filter(icon => icon.getClientRects().length)
  .filter(icon => !/^"[\ue000-\uf8ff]"$/.test(getComputedStyle(icon, '::before').content) || icon.getBoundingClientRect().width < 4)
  .map(icon => icon.outerHTML)"""


@pytest.mark.parametrize("width", [WIDE, NARROWEST])
def test_every_icon_is_drawn(browser, address, width):
    with opened(browser) as page:
        page.set_viewport_size({"width": width, "height": 800})
        page.goto(f"{address}{NOTEBOOKS[1]}.html", wait_until="networkidle")
        assert page.locator("i:visible").count() > 4 and page.evaluate(FIND_MISSING_ICONS) == []
        assert page.evaluate("document.fonts.check('900 16px \"Book icons\"')")


def test_the_buttons_of_a_chapter_are_there_and_one_gives_the_notebook(browser, address):
    name = NOTEBOOKS[1]
    with opened(browser, accept_downloads=True) as page:
        page.goto(f"{address}{name}.html", wait_until="networkidle")
        for label in ("Launch interactive content", "Source repositories", "Download this page"):
            button = page.get_by_label(label)
            button.click()
            assert page.locator(".dropdown-menu.show a, .dropdown-menu.show button").count() >= 2, label
            button.click()
        page.get_by_label("Download this page").click()
        with page.expect_download() as download:
            page.locator(f".dropdown-menu.show a[href$='{name}.ipynb']").click()
        assert Path(download.value.path()).read_bytes() == (ROOT / f"book/{name}.ipynb").read_bytes()


def test_every_page_has_a_title_a_description_and_a_picture_for_previews(site):
    from bs4 import BeautifulSoup

    base = yaml.safe_load((ROOT / "_config.yml").read_text())["html"]["baseurl"]
    titles, descriptions = set(), set()
    for name in PAGES:
        head = BeautifulSoup((site / f"{name}.html").read_text("utf8"), "html.parser").head
        titles.add(head.title.get_text())
        (description,) = (tag["content"] for tag in head.find_all("meta", attrs={"name": "description"}))
        descriptions.add(description)
        (picture,) = (tag["content"] for tag in head.find_all("meta", property="og:image"))
        assert (site / picture.removeprefix(base)).is_file()
        (canonical,) = (tag["href"] for tag in head.find_all("link", rel="canonical"))
        assert canonical == (base if name == TOC["root"] else f"{base}{name}.html")
        assert len(head.find_all("meta", attrs={"name": "viewport"})) == 1
    assert len(titles) == len(descriptions) == len(PAGES)
    listed = re.findall("<loc>([^<]+)</loc>", (site / "sitemap.xml").read_text("utf8"))
    assert sorted(listed) == sorted([base, *(f"{base}{name}.html" for name in PAGES if name != TOC["root"])])


def test_the_page_for_lost_readers_needs_no_other_file_and_leads_back(browser, site, address):
    base = yaml.safe_load((ROOT / "_config.yml").read_text())["html"]["baseurl"]
    with opened(browser) as page:
        requests = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address + "404.html", wait_until="networkidle")
        links = page.locator("a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
        assert requests == [address + "404.html"] and page.get_by_role("search").get_by_label("Words to search for").is_visible()
    assert len(links) > 10 and all((site / (link.removeprefix(base) or "index.html")).is_file() for link in links)


def test_a_printed_page_shows_the_article_alone_with_its_code_unbroken(browser, address):
    with opened(browser) as page:
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 700, "height": 990})
        page.goto(f"{address}{NOTEBOOKS[1]}.html", wait_until="networkidle")
        for part in (".bd-sidebar-primary", ".bd-sidebar-secondary", ".prev-next-footer", "button:visible", "a.headerlink"):
            assert page.locator(part).locator("visible=true").count() == 0, part
        wide = page.evaluate("[...document.querySelectorAll('article pre')].filter(e => e.scrollWidth > e.clientWidth + 1).length")
        assert wide == 0 and page.locator("main h1").locator("visible=true").count() == 1


RUN_AXE = """async rules => {
  document.querySelectorAll('details').forEach(details => { details.open = true; });
  await Promise.all(document.getAnimations().map(animation => animation.finished.catch(() => null)));
  const found = await axe.run(document, { runOnly: rules, resultTypes: ['violations'] });
  return found.violations.flatMap(rule => rule.nodes.map(node => `${rule.id}: ${node.html.slice(0, 150)} ${node.any.map(c => c.message)}`));
}"""
WCAG = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
CONTRAST = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}  # all that depends on colours


@pytest.mark.parametrize("name", [*PAGES, "search", "genindex", "py-modindex", "404", "_modules/index", "_modules/glo_lib/losses"])
def test_axe_finds_nothing_that_violates_the_guidelines_for_accessibility(browser, address, name):
    """WCAG 2.2, level AA, as far as a program can check it: on a laptop and a telephone, in light and dark."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed (make browser, which needs npm)")
    with opened(browser, color_scheme="light", reduced_motion="reduce") as page:
        page.goto(f"{address}{name}.html", wait_until="networkidle")
        page.add_script_tag(path=str(AXE))
        page.add_style_tag(content=ALL_LAID_OUT)  # axe asks for the place of every element
        assert page.evaluate(RUN_AXE, WCAG) == []
        page.set_viewport_size({"width": NARROWEST, "height": 800})
        page.wait_for_timeout(500)  # scripts of the theme wait for the end of the change
        assert page.evaluate(RUN_AXE, WCAG) == []
        page.emulate_media(color_scheme="dark")
        assert page.evaluate(RUN_AXE, CONTRAST) == []


def test_axe_finds_nothing_on_the_explorer_after_its_start(browser, address):
    if not AXE.exists():
        pytest.skip("axe-core is not installed (make browser, which needs npm)")
    with opened(browser, color_scheme="light", reduced_motion="reduce") as page:
        page.goto(address + "explorer.html", wait_until="networkidle")
        page.add_script_tag(path=str(AXE))
        page.add_style_tag(content=ALL_LAID_OUT)  # axe asks for the place of every element
        page.get_by_role("button", name="Start the explorer").click()
        page.get_by_text("Ready.").wait_for()
        page.get_by_role("button", name="Find its code").click()
        page.get_by_text("Best of four starts").wait_for()
        assert page.evaluate(RUN_AXE, WCAG) == []
        page.set_viewport_size({"width": NARROWEST, "height": 800})
        page.wait_for_timeout(500)
        assert page.evaluate(RUN_AXE, WCAG) == [] and page.evaluate(FIND_OVERFLOW) == []
        page.emulate_media(color_scheme="dark")
        assert page.evaluate(RUN_AXE, CONTRAST) == []
