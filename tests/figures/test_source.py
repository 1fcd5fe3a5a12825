"""Tests of `glo_lib.figures.source`: the code is shown as it is, without docstrings."""

import textwrap

import pytest

from glo_lib.figures.source import show_source, source_without_docstrings
from glo_lib.projection import project


class Account:
    """A class whose methods have docstrings of one line and of several."""

    rate = 0.1  # a comment stays

    def add(self, amount):
        """Add an amount.

        The blank line in here goes with the docstring.
        """

        def double():
            "Docstrings of inner functions go too."
            return 2 * amount

        return double()

    def only_documented(self):
        """Keep what would otherwise be an empty body."""


def test_docstrings_are_left_out_and_everything_else_stays():
    expected = '''
        class Account:
            rate = 0.1  # a comment stays

            def add(self, amount):
                def double():
                    return 2 * amount

                return double()

            def only_documented(self):
                """Keep what would otherwise be an empty body."""
    '''
    assert source_without_docstrings(Account) == textwrap.dedent(expected).strip()


def test_a_method_is_shown_without_indentation():
    assert source_without_docstrings(Account.add).startswith("def add(self, amount):\n    def double():")


def test_several_objects_are_shown_in_one_block_of_python():
    shown = show_source(project, Account.add).data
    assert shown.startswith("```python\ndef project(") and shown.endswith("\n```") and "\n\n\ndef add(" in shown


def test_code_without_a_file_is_refused():
    with pytest.raises(TypeError):
        show_source(len)
