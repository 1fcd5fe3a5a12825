"""What the theme leaves undone for readers who use a keyboard or a screen reader."""

from types import SimpleNamespace

import accessibility
import pytest
from bs4 import BeautifulSoup

NAVIGATION = (
    "<ul><li><a>API</a><details><summary><span></span></summary><ul><li><a>Runs</a></li></ul></details></li><li><a>Start</a></li></ul>"
)


@pytest.mark.parametrize("given", [NAVIGATION, BeautifulSoup(NAVIGATION, "html.parser")], ids=["text", "soup"])
def test_a_button_that_unfolds_pages_says_which(given):
    assert [tag["aria-label"] for tag in accessibility.with_names(given).select("summary")] == ["Pages below “API”"]


def test_references_are_items_of_their_list_and_the_sidebar_has_names():
    context = {
        "body": '<div role="list"><div role="doc-biblioentry">A</div></div>',
        "generate_toctree_html": lambda kind, depth=0: NAVIGATION,
    }
    accessibility.improve_page(None, "losses", "page.html", context, None)
    assert context["body"] == '<div role="list"><div role="listitem">A</div></div>'
    assert "Pages below “API”" in str(context["generate_toctree_html"]("sidebar", depth=1))


def test_code_holds_no_blocks():
    given = '<div class="highlight"><pre>\n<div class="viewcode-block" id="f">\n<span>def</span></div></pre></div>'
    expected = '<div class="highlight"><pre>\n<span class="viewcode-block" id="f">\n<span>def</span></span></pre></div>'
    assert accessibility.without_blocks(given) == expected


def test_a_page_without_body_and_sidebar_stays_as_it_is():
    context = {}
    accessibility.improve_page(None, "search", "search.html", context, None)
    assert context == {}


@pytest.mark.parametrize(("exception", "changed"), [(None, True), (ValueError(), False)])
def test_the_search_page_has_every_identifier_once(tmp_path, exception, changed):
    (tmp_path / "search.html").write_text('<input id="search-input"><input id="search-input">')
    accessibility.improve_search_page(SimpleNamespace(outdir=tmp_path), exception)
    assert ((tmp_path / "search.html").read_text().count('id="search-input"') == 1) == changed


def test_a_book_without_search_page_is_left_alone(tmp_path):
    accessibility.improve_search_page(SimpleNamespace(outdir=tmp_path), None)
    assert not list(tmp_path.iterdir())
