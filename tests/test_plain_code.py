"""Code is highlighted as before, with fewer elements."""

import re

import plain_code
import pytest
from bs4 import BeautifulSoup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from sphinx.highlighting import PygmentsBridge

CODE = 'import numpy as np\n\n\ndef mean(x: float) -> float:\n    """The mean."""\n    return np.mean(x) + 1  # of all\n'


def test_names_and_punctuation_have_no_element_and_the_rest_keeps_its_class():
    pre = BeautifulSoup(highlight(CODE, PythonLexer(), plain_code.PlainFormatter()), "html.parser").pre
    assert pre.get_text() == CODE
    marked = [(span["class"][0], span.get_text()) for span in pre.select("span[class]")]
    assert marked == [
        ("kn", "import"),
        ("k", "as"),
        ("k", "def"),
        ("nf", "mean"),
        ("nb", "float"),
        ("o", "->"),
        ("nb", "float"),
        ("sd", '"""The mean."""'),
        ("k", "return"),
        ("o", "."),
        ("o", "+"),
        ("mi", "1"),
        ("c1", "# of all"),
    ]


@pytest.mark.parametrize("name", ["a11y-high-contrast-light", "a11y-high-contrast-dark"])
def test_what_is_plain_has_the_colour_of_the_block_in_the_styles_of_the_book(name):
    formatter = HtmlFormatter(style=name)
    (block,) = re.findall(r"^\.highlight *\{.* color: #(\w+)", formatter.get_style_defs(".highlight"), re.MULTILINE)
    assert {formatter.style.style_for_token(kind)["color"] for kind in plain_code.PLAIN} == {block.lower()}


def test_sphinx_highlights_with_it(monkeypatch):
    monkeypatch.setattr(PygmentsBridge, "html_formatter", PygmentsBridge.html_formatter)
    plain_code.setup(None)
    found = PygmentsBridge("html", "default").highlight_block("x = y", "python")
    assert re.findall("<span class=[^>]*>[^<]*", found) == ['<span class="o">=']
