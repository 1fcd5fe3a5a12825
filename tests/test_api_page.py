"""The API page: fields of named tuples have no entries of their own; everything else has."""

from typing import NamedTuple

import api_page


class Pair(NamedTuple):
    """Two numbers."""

    first: int

    def total(self):
        """Their sum."""


def test_fields_of_named_tuples_are_skipped_but_not_their_methods():
    decisions = {name: api_page.skip_fields(None, "class", name, getattr(Pair, name), False, None) for name in ("first", "total")}
    assert decisions == {"first": True, "total": None}


def test_an_object_without_a_docstring_is_not_decided_here():
    assert api_page.skip_fields(None, "class", "x", object.__new__(type("Bare", (), {})), False, None) is None
