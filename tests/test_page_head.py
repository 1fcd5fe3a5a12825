"""Every page says what it is: a title and a description of its own, tags for previews of links, and its place in the sitemap."""

from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import page_head
import pytest
import yaml
from docutils import nodes
from PIL import Image
from sphinx.errors import ConfigError

ROOT = Path(__file__).parents[1]
TOC = yaml.safe_load((ROOT / "book/_toc.yml").read_text())
CHAPTERS = [chapter for part in TOC["parts"] for chapter in part["chapters"]]
PAGES = {TOC["root"], *(entry["file"] for chapter in CHAPTERS for entry in (chapter, *chapter.get("sections", [])))}
BASE = "https://example.org/book/"


def test_every_page_has_a_description_of_its_own_of_a_length_that_is_shown():
    found = page_head.read_descriptions(ROOT / "book", PAGES)
    assert len(set(found.values())) == len(found) and all(50 <= len(text) <= 160 and text.endswith(".") for text in found.values())
    assert {name for name in found if not list((ROOT / "book").glob(f"{name}.*"))} <= {"explorer"}


def test_a_page_without_description_is_named(tmp_path):
    (tmp_path / page_head.DESCRIPTIONS).write_text("index: The first page.\n")
    with pytest.raises(ConfigError, match=r"not new, other: add a line"):
        page_head.read_descriptions(tmp_path, {"index", "other", "new"})


def application(**descriptions):
    config = SimpleNamespace(html_title="The Book", html_baseurl=BASE, root_doc="index")
    return SimpleNamespace(page_descriptions=descriptions, config=config)


def completed(name, title, **descriptions):
    context = {"title": title, "docstitle": "The Book", "pageurl": f"{BASE}{name}.html", "metatags": '<meta name="viewport" content="x" />'}
    page_head.complete_head(application(**descriptions), name, "page.html", context, None)
    return context


def test_a_page_is_described_by_its_line_and_its_address():
    context = completed("losses", "The <em>losses</em> &amp; more", losses='What each "sees".')
    tags = context["metatags"]
    assert '<meta name="description" content="What each &quot;sees&quot;.">' in tags and "viewport" not in tags
    assert '<meta property="og:title" content="The losses &amp; more">' in tags
    assert f'<meta property="og:url" content="{BASE}losses.html">' in tags and f'"og:image" content="{BASE}_static/card.jpg"' in tags
    assert '"og:type" content="article"' in tags and context["docstitle"] == "The Book"


def test_the_first_page_has_the_title_of_the_book_once_and_the_address_of_the_site():
    context = completed("index", "The Book", index="All of it.")
    assert context["docstitle"] == "" and context["pageurl"] == BASE
    assert f'"og:url" content="{BASE}"' in context["metatags"] and '"og:type" content="website"' in context["metatags"]


def test_a_page_of_the_api_differs_from_the_chapter_of_the_same_title():
    context = completed("api/training", "Training")
    assert context["title"] == "Training (API)" and '"og:title" content="Training (API)"' in context["metatags"]


def test_a_page_that_sphinx_makes_is_described_by_its_title():
    assert 'content="Index: a page of the book The Book' in completed("genindex", "Index")["metatags"]


def test_the_page_for_lost_readers_leads_to_the_pages_of_the_book():
    app = application()
    app.config.external_site_map = {"index": None, "losses": None, "api/runs": None, "removed": None}
    app.env = SimpleNamespace(titles={name: nodes.title(text=name.title()) for name in ("index", "losses", "api/runs")})
    ((name, context, template),) = page_head.not_found_page(app)
    assert (name, template) == ("404", "404.html") and context["pages"] == [("losses", "Losses")] and context["baseurl"] == BASE


def test_the_sitemap_lists_pages_with_their_addresses():
    tree = ElementTree.fromstring(page_head.sitemap(["api/runs", "index"], BASE, "index"))
    assert tree.tag == "{http://www.sitemaps.org/schemas/sitemap/0.9}urlset"
    assert [place.text for place in tree.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")] == [f"{BASE}api/runs.html", BASE]


@pytest.mark.parametrize(("exception", "kind", "written"), [(None, "html", True), (ValueError(), "html", False), (None, "latex", False)])
def test_the_sitemap_is_written_after_a_build_of_html_that_succeeded(tmp_path, exception, kind, written):
    app = application()
    app.outdir, app.builder, app.env = tmp_path, SimpleNamespace(format=kind), SimpleNamespace(found_docs={"index", "search", "404"})
    page_head.write_sitemap(app, exception)
    assert (tmp_path / "sitemap.xml").exists() == written
    if written:
        assert (tmp_path / "sitemap.xml").read_text().count("<loc>") == 1


def test_the_picture_of_previews_has_the_size_that_the_tags_state():
    with Image.open(ROOT / "book" / page_head.PICTURE) as picture:
        assert picture.size == page_head.PICTURE_SIZE
    assert (ROOT / "book" / page_head.PICTURE).stat().st_size < 200_000


def test_the_address_of_the_book_belongs_to_the_repository():
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    owner, name = config["repository"]["url"].removeprefix("https://github.com/").split("/")
    assert config["html"]["baseurl"] == f"https://{owner}.github.io/{name}/"


def test_a_page_whose_description_has_changed_is_made_again(tmp_path):
    app, env = SimpleNamespace(srcdir=tmp_path), SimpleNamespace(all_docs={"index": 1, "losses": 1, "api": 1})

    def outdated(text):
        (tmp_path / page_head.DESCRIPTIONS).write_text(text)
        return page_head.outdated_pages(app, env, set(), set(), set())

    assert outdated("index: one\nlosses: two\n") == []
    assert outdated("index: one\nlosses: three\napi: four\n") == ["api", "losses"]
    assert outdated("index: one\nlosses: three\napi: four\n") == []
