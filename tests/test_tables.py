"""Entries of tables have classes by their length."""

from types import SimpleNamespace

import pytest
import tables
from docutils import nodes

PROSE = "the codes in the graph, before decoding; the stored codes are not changed"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2026-11-24", "whole"), ("0.837 ± 0.000", "whole"), ("", None), ("Gaussian mixture", None), (PROSE, "prose")],
)
def test_an_entry_has_the_class_of_its_length(text, expected):
    assert tables.class_of(text) == expected


def test_all_entries_of_a_page_get_their_classes_and_keep_those_they_have():
    entries = [nodes.entry("", nodes.paragraph(text=text), classes=["text-right"]) for text in ("0.5", PROSE, "")]
    transform = SimpleNamespace(document=nodes.container("", *entries))
    tables.ClassesOfEntries.run(transform)
    assert [entry["classes"] for entry in entries] == [["text-right", "whole"], ["text-right", "prose"], ["text-right"]]
