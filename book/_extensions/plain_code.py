"""Sphinx extension: code whose colour is that of the block has no element of its own.

Names and punctuation are more than half of what a highlighter marks, and no style gives them a colour. Without their elements a chapter has
four tenths fewer of them, which a telephone would have to style and lay out.
"""

from collections.abc import Iterable
from typing import Any

from pygments.formatters import HtmlFormatter
from pygments.token import Name, Punctuation, Text, Token
from sphinx.application import Sphinx
from sphinx.highlighting import PygmentsBridge

# A token is plain if it is one of these itself; Name.Function, for example, has a colour.
PLAIN = frozenset({Name, Name.Namespace, Name.Other, Punctuation, Punctuation.Marker, Text.Whitespace})


class PlainFormatter(HtmlFormatter):
    """Writes plain tokens as text."""

    def format(self, tokensource: Iterable[tuple[Any, str]], outfile: Any) -> None:
        super().format(((Token if kind in PLAIN else kind, text) for kind, text in tokensource), outfile)


def setup(app: Sphinx) -> dict:
    PygmentsBridge.html_formatter = PlainFormatter
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
