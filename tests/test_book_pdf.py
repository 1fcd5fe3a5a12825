"""The pages of the book become one document, whose links, identifiers and headings are those of a book."""

import io
from pathlib import Path

import book_pdf
import pytest
from bs4 import BeautifulSoup

TOC = {
    "root": "index",
    "parts": [{"caption": "Part A", "chapters": [{"file": "losses"}, {"file": "api", "sections": [{"file": "api/runs"}]}]}],
}
PAGE = """<html><body><nav>Menu</nav><article class="bd-article">
<section id="the-losses"><h1>The losses<a class="headerlink" href="#the-losses">#</a></h1>
<p>See <a href="index.html">the start</a>, <a href="#mean">below</a>, <a href="api/runs.html#glo_lib.runs">runs</a>,
<a href="genindex.html">the index</a> and <a href="https://example.org/">elsewhere</a>.</p>
<section id="mean"><h2>Mean &amp; error</h2><details><summary>Answer</summary></details><button>Copy</button><input type="range">
<div data-model="m">needs scripts</div>
<img loading="lazy" src="_images/a.webp"><label for="x" aria-labelledby="a b">L</label><input id="x"></section></section>
<script>run()</script></article></body></html>"""
PAGES = {"index", "losses", "api", "api/runs"}


def printed(page="losses", text=PAGE):
    return book_pdf.article(text, page, PAGES)


def test_the_parts_are_those_of_the_table_of_contents():
    assert book_pdf.parts_of(TOC) == [("", ["index"]), ("Part A", ["losses", "api", "api/runs"])]


@pytest.mark.parametrize(
    ("page", "address", "expected"),
    [
        ("losses", "index.html", "#index"),
        ("losses", "#mean", "#losses--mean"),
        ("losses", "api/runs.html#glo_lib.runs", "#api-runs--glo_lib.runs"),
        ("api/runs", "../losses.html#mean", "#losses--mean"),
        ("losses", "genindex.html", None),
        ("losses", "_sources/losses.ipynb", None),
        ("losses", "https://example.org/a.html#b", "https://example.org/a.html#b"),
    ],
)
def test_links_lead_within_the_document_or_to_other_sites_or_nowhere(page, address, expected):
    assert book_pdf.rewritten_link(page, address, PAGES) == expected


def test_an_article_is_printed_with_unique_identifiers_and_everything_open():
    found = printed()
    assert found["id"] == "losses" and [tag["id"] for tag in found.select("section, input")] == [
        "losses--the-losses",
        "losses--mean",
        "losses--x",
    ]
    assert [tag.get("href") for tag in found.select("a")] == [
        "#index",
        "#losses--mean",
        "#api-runs--glo_lib.runs",
        None,
        "https://example.org/",
    ]
    assert (
        not found.select("script, button, .headerlink, [data-model], [type=range]")
        and found.details["open"] == ""
        and not found.img.get("loading")
    )
    assert found.label["for"] == "losses--x" and found.label["aria-labelledby"] == "losses--a losses--b"
    assert [tag.name for tag in found.select("h1, h2, h3")] == ["h2", "h3"]


def test_pictures_of_pages_in_folders_are_found_from_the_root():
    assert printed("api/runs", '<article><img src="../_images/a.webp"></article>').img["src"] == "_images/a.webp"


def test_the_table_of_contents_has_titles_sections_and_the_numbers_that_are_known():
    entries = [book_pdf.Entry(0, "Part A", "part"), *book_pdf.entries_of(printed())]
    assert entries[1:] == [book_pdf.Entry(1, "The losses", "losses--the-losses"), book_pdf.Entry(2, "Mean & error", "losses--mean")]
    lines = BeautifulSoup(book_pdf.contents(entries, {"losses--mean": 12}), "html.parser").select("li")
    assert [[span.get_text() for span in line.select("span")] for line in lines] == [
        ["Part A", ""],
        ["The losses", ""],
        ["Mean & error", "12"],
    ]
    assert [line.a["href"] for line in lines] == ["#part", "#losses--the-losses", "#losses--mean"]


def test_the_document_holds_the_parts_in_order_and_leaves_out_pages_that_were_not_built(tmp_path):
    (tmp_path / "_static").mkdir()
    for name in ("index", "losses"):
        (tmp_path / f"{name}.html").write_text(PAGE)
    text = book_pdf.document(tmp_path, {"title": "A & B", "author": "We"}, TOC, {})
    soup = BeautifulSoup(text, "html.parser")
    assert soup.title.get_text() == "A & B" and [tag["id"] for tag in soup.select("main h1, main article")] == [
        "index",
        "part-Part-A",
        "losses",
    ]
    ids = [tag["id"] for tag in soup.find_all(id=True)]
    assert len(ids) == len(set(ids))


def test_the_numbers_of_pages_are_those_of_the_named_destinations(tmp_path):
    pypdf = pytest.importorskip("pypdf", reason="pypdf is not installed (extra 'browser')")
    writer = pypdf.PdfWriter()
    for _ in range(3):
        writer.add_blank_page(100, 100)
    writer.add_named_destination("/losses--mean", 2)
    writer.write(tmp_path / "a.pdf")
    assert book_pdf.page_numbers((tmp_path / "a.pdf").read_bytes()) == {"losses--mean": 3}


def test_long_code_may_be_continued_on_the_next_page():
    lines = [f"<article><pre>{'x' + chr(10)}</pre></article>", f"<article><pre>{('x' + chr(10)) * 40}</pre></article>"]
    assert [printed(text=text).pre.get("class") for text in lines] == [None, ["long"]]


CODE = "<article><pre><span></span><span class='k'>if</span> x:\n    y = 1  <span>#</span> z\n\n</pre></article>"


def test_each_line_of_code_is_an_element_and_keeps_its_spaces():
    lines = printed(text=CODE).pre.select(".line")
    assert [line.get_text() for line in lines] == ["if x:", "    y = 1  # z", ""]
    assert lines[0].select_one(".k").get_text() == "if"


@pytest.mark.parametrize(
    ("line", "column"),
    [
        ("print(1)", 4),
        ("        print(1)", 12),
        ("loss = 'mse'  # the mean squared error", 14),
        ("num_samples  0       number of images", 21),
        ("x" * 70 + "  # far to the right", 4),
        (" " * 80 + "deep", 60),
    ],
)
def test_a_broken_line_goes_on_further_in_or_below_its_last_column(line, column):
    assert printed(text=f"<article><pre>{line}</pre></article>").pre.span["style"] == f"--further:{column}"


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra 'browser')")
    if not Path(book_pdf.CHROMIUM).exists():
        pytest.skip(f"there is no Chromium at {book_pdf.CHROMIUM}")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=book_pdf.CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def fitted(chromium, body):
    """The classes of the tables of a page as the PDF is printed, and what does not fit."""
    page = chromium.new_page()
    page.set_viewport_size({"width": book_pdf.PAGE_WIDTH, "height": 1000})
    page.emulate_media(media="print")
    style = f"{book_pdf.STYLES.read_text('utf8')} main {{ font-family: monospace; }}"
    page.set_content(f"<style>{style}</style><main><article id='claims'>{body}</article></main>")
    wide = page.evaluate(book_pdf.FIT, book_pdf.PAGE_WIDTH)
    return page.locator("table").evaluate_all("tables => tables.map(table => table.className)"), wide


def table(num_columns, entry, head=""):
    row, number = f"<th>{head}</th>", f"<td class='whole text-right'>{entry}</td>"
    return f"<table><tr>{row * num_columns}</tr><tr>{number * num_columns}</tr></table>"


@pytest.mark.browser
@pytest.mark.parametrize(
    ("body", "classes"),
    [
        (table(4, "0.837 ± 0.00"), [""]),
        (table(8, "0.837 ± 0.00"), ["smaller"]),
        (table(10, "0.837 ± 0.00"), ["smaller smallest"]),
        (table(10, "0.837 ± 0.00", "Memorisation_by_EfficientNet"), ["smaller smallest narrower"]),
        (table(16, "0.837 ± 0.00"), ["smaller smallest narrower narrowest"]),
    ],
)
def test_a_wide_table_is_set_smaller_and_broken_until_it_fits(chromium, body, classes):
    assert fitted(chromium, body) == (classes, [])


@pytest.mark.browser
def test_what_does_not_fit_a_page_is_named(chromium):
    (wide,) = fitted(chromium, '<div style="width: 900px">figure</div>')[1]
    assert wide.startswith('claims: <div style="width: 900px">')


@pytest.mark.browser
def test_a_heading_is_not_left_at_the_foot_of_a_page(chromium):
    """Not even after a figure."""
    pypdf = pytest.importorskip("pypdf", reason="pypdf is not installed (extra 'browser')")
    figure = '<figure style="height: 640pt"><figcaption>caption</figcaption></figure>'
    section = f"<section><h3>heading</h3><p>{'text ' * 300}</p></section>"
    page = chromium.new_page()
    page.set_content(f"<style>{book_pdf.STYLES.read_text('utf8')}</style><article>{figure}{section}</article>")
    first, second, *_ = (sheet.extract_text() for sheet in pypdf.PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True))).pages)
    assert "caption" in first and "heading" not in first and "heading" in second


@pytest.mark.browser
def test_long_code_is_continued_on_the_next_page_and_a_short_block_is_not_cut(tmp_path, chromium):
    pypdf = pytest.importorskip("pypdf", reason="pypdf is not installed (extra 'browser')")
    code = [
        [f"{kind} {number}" for number in range(length)] for kind, length in (("first", 50), ("second", 50), ("third", 38), ("short", 8))
    ]
    blocks = "".join(f'<div class="highlight-python"><div class="highlight"><pre>{chr(10).join(lines)}</pre></div></div>' for lines in code)
    found = book_pdf.article(f"<article>{blocks}</article>", "losses", PAGES)
    page = chromium.new_page()
    page.set_content(f"<style>{book_pdf.STYLES.read_text('utf8')}</style><main>{found}</main>")
    pdf = pypdf.PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True)))
    texts = [sheet.extract_text() for sheet in pdf.pages]
    assert "second 0\n" in texts[0] and "second 49\n" in texts[1] and "third 37" in texts[1]
    assert "short" not in texts[1] and texts[2].count("short") == 8


def test_bookmarks_have_the_titles_of_the_headings():
    pypdf = pytest.importorskip("pypdf", reason="pypdf is not installed (extra 'browser')")
    titles = book_pdf.headings("<h1>Part</h1><article><h2>The\n <em>losses</em></h2><h3>Mean</h3></article><h1>End</h1>")
    assert titles == ["Part", "The losses", "Mean", "End"]
    writer, written = pypdf.PdfWriter(), io.BytesIO()
    writer.add_blank_page(100, 100)
    part = writer.add_outline_item(title="PartPart", page_number=0)
    writer.add_outline_item(title="x", page_number=0, parent=writer.add_outline_item(title="x", page_number=0, parent=part))
    writer.add_outline_item(title="x", page_number=0)
    writer.write(written)
    outline = pypdf.PdfReader(io.BytesIO(book_pdf.with_titles(written.getvalue(), titles))).outline
    assert [outline[0].title, outline[1][0].title, outline[1][1][0].title, outline[2].title] == titles
    with pytest.raises(ValueError, match=r"shorter|longer"):
        book_pdf.with_titles(written.getvalue(), titles[:-1])


def test_a_folder_without_a_book_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["book_pdf.py", "--site", str(tmp_path)])
    with pytest.raises(SystemExit, match="holds no built book; build it first"):
        book_pdf.main()
