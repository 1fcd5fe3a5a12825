"""The pages of the book become one document, whose links, identifiers and headings are those of a book."""

import io

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
<section id="mean"><h2>Mean &amp; error</h2><details><summary>Answer</summary></details><button>Copy</button>
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
    assert not found.select("script, button, .headerlink, [data-model]") and found.details["open"] == "" and not found.img.get("loading")
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
