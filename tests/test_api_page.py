"""The API pages: modules have a section and their members, packages their docstring; fields of named tuples have no entries."""

from types import SimpleNamespace
from typing import NamedTuple

import api_page
import pytest
from docutils import nodes


class Pair(NamedTuple):
    """Two numbers."""

    first: int

    def total(self):
        """Their sum."""


def test_a_module_is_documented_with_its_members():
    assert api_page.autodoc_lines("glo_lib.config") == [".. automodule:: glo_lib.config", "   :members:", "   :ignore-module-all:"]


def test_a_package_is_documented_by_its_docstring_only():
    assert api_page.autodoc_lines("glo_lib") == [".. automodule:: glo_lib", "   :no-members:"]


def test_a_module_that_does_not_exist_is_named():
    with pytest.raises(ModuleNotFoundError, match=r"names glo_lib\.absent, but there is no such module"):
        api_page.autodoc_lines("glo_lib.absent")


def test_fields_of_named_tuples_are_skipped_but_not_their_methods():
    decisions = {name: api_page.skip_fields(None, "class", name, getattr(Pair, name), False, None) for name in ("first", "total")}
    assert decisions == {"first": True, "total": None}


def test_an_object_without_a_docstring_is_not_decided_here():
    assert api_page.skip_fields(None, "class", "x", object.__new__(type("Bare", (), {})), False, None) is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (":param num_images: N.", ":param num_images: \\N."),
        (":param k: k. The number of neighbours.", ":param k: \\k. The number of neighbours."),
        (":returns: 3) of them", ":returns: \\3) of them"),
        (":param num_images:\n                   N.", ":param num_images:\n                   \\N."),
        (":param num_images: number of images. N.", ":param num_images: number of images. N."),
        ("N. A list.", "N. A list."),
        (":type num_images: int", ":type num_images: int"),
    ],
)
def test_a_description_that_is_a_letter_is_no_list(line, expected):
    lines = ["Do.", "", *line.split("\n"), ""]
    api_page.keep_letters(None, "function", "f", None, None, lines)
    assert lines == ["Do.", "", *expected.split("\n"), ""]


def test_a_module_has_a_section_with_its_name():
    section = api_page.section_of("glo_lib.projection")
    assert section["ids"] == ["of-glo-lib-projection"] and section.astext() == "glo_lib.projection"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([":returns: (n, 3) uint8.", ":rtype: For each tower, ``image``"], [":returns: For each tower, ``image``: (n, 3) uint8."]),
        ([":returns: The loss.", "", ":raises ValueError: if not."], [":returns: The loss.", "", ":raises ValueError: if not."]),
    ],
)
def test_the_words_before_a_colon_are_no_type(lines, expected):
    api_page.keep_descriptions(None, "function", "f", None, None, lines)
    assert lines == expected


@pytest.mark.parametrize("within", [lambda listed: listed, lambda listed: nodes.inline("", "", listed)], ids=["alone", "for translators"])
def test_a_list_that_describes_an_argument_stands_below_its_name(within):
    listed = nodes.bullet_list("", nodes.list_item("", nodes.paragraph(text="one")))
    item = nodes.list_item("", nodes.paragraph("", "", nodes.strong(text="how"), nodes.Text(" – "), within(listed)))
    api_page.BlocksOutOfParagraphs.run(SimpleNamespace(document=nodes.container("", item)))
    assert [type(child) for child in item.children] == [nodes.paragraph, nodes.bullet_list] and item[0].astext() == "how – "


def test_a_description_of_several_paragraphs_begins_behind_the_name():
    described = [
        nodes.paragraph(text="one of"),
        nodes.bullet_list("", nodes.list_item("", nodes.paragraph(text="a"))),
        nodes.paragraph(text="z"),
    ]
    item = nodes.list_item("", nodes.paragraph("", "", nodes.strong(text="how"), nodes.Text(" – "), nodes.inline("", "", *described)))
    api_page.BlocksOutOfParagraphs.run(SimpleNamespace(document=nodes.container("", item)))
    assert [child.astext() for child in item.children] == ["how – one of", "a", "z"] and not list(item[0].findall(nodes.paragraph))[1:]
