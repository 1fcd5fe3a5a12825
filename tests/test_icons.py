"""The stylesheet of icons holds those that the book uses, and no others."""

import io
import re
from base64 import b64decode
from pathlib import Path
from types import SimpleNamespace

import icons
import pydata_sphinx_theme
import pytest
from fontTools.ttLib import TTFont

THEME = Path(pydata_sphinx_theme.__file__).parent / "theme/pydata_sphinx_theme/static"
FONT_AWESOME = next((THEME / "vendor/fontawesome").iterdir())
CODE_POINTS = icons.code_points_of((FONT_AWESOME / "css/all.min.css").read_text("utf8"))


def characters(stylesheet, family):
    """Return the code points that a font of the stylesheet has."""
    encoded = re.search(rf'"{family}"; font-weight: \d+; src: url\(data:font/woff;base64,([^)]+)\)', stylesheet)[1]
    return set(TTFont(io.BytesIO(b64decode(encoded))).getBestCmap())


def test_the_code_points_are_those_of_font_awesome():
    assert (
        CODE_POINTS["github"] == 0xF09B and CODE_POINTS["magnifying-glass"] == CODE_POINTS["search"] == 0xF002 and len(CODE_POINTS) > 1000
    )


def test_icons_are_found_by_their_classes_and_sizes_are_no_icons():
    texts = ['<i class="fa-solid fa-list fa-lg"></i>', "button.innerHTML = '<i class=\"fas fa-expand\">'", "fa-no-such-icon"]
    assert icons.named_icons(texts, CODE_POINTS) == {"expand": 0xF065, "list": 0xF03A}


@pytest.mark.parametrize(
    ("text", "expected"),
    [('a{content:"\\f107"}', {0xF107}), ("a{content:'\uf0f3'}", {0xF0F3}), ('a{content:"\\2022"; color:#f107}', set()), ("", set())],
    ids=["escape", "character", "neither", "empty"],
)
def test_icons_of_styles_are_found_by_their_characters(text, expected):
    assert icons.written_icons([text]) == expected


def test_the_stylesheet_has_the_icons_that_are_used_and_is_small():
    used = {"list": CODE_POINTS["list"], "github": CODE_POINTS["github"]}
    text = icons.stylesheet(FONT_AWESOME, used, {0xF0F3})
    assert characters(text, "Book icons") == {CODE_POINTS["list"], 0xF0F3}
    assert characters(text, "Book brand icons") == {CODE_POINTS["github"]}
    assert '.fa-list:before { content: "\\f03a"; }' in text and "CC BY 4.0" in text and len(text) < 5_000
    assert text == icons.stylesheet(FONT_AWESOME, used, {0xF0F3})


def site(folder):
    """Make what a build leaves: a page, styles, a script and the theme's copy of Font Awesome."""
    copy = folder / icons.FONT_AWESOME / "6"
    for name in ("css/all.min.css", "webfonts/fa-solid-900.ttf", "webfonts/fa-brands-400.ttf", "LICENSE.txt"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((FONT_AWESOME / name).read_bytes())
    (folder / "index.html").write_text('<i class="fas fa-rocket"></i>')
    (folder / "_static/theme.css").write_text('a:after{content:"\\f0f3"}')
    (folder / "_static/theme.js").write_text('i.className = "fa-solid fa-xmark"')
    return SimpleNamespace(outdir=folder, builder=SimpleNamespace(format="html"))


def test_after_a_build_the_icons_are_there_and_of_font_awesome_only_the_licence(tmp_path):
    app = site(tmp_path)
    icons.write_icons(app, None)
    text = (tmp_path / icons.STYLESHEET).read_text("utf8")
    assert characters(text, "Book icons") == {CODE_POINTS["rocket"], CODE_POINTS["xmark"], 0xF0F3}
    assert [path.name for path in (tmp_path / icons.FONT_AWESOME).rglob("*") if path.is_file()] == ["LICENSE.txt"]


@pytest.mark.parametrize(("exception", "kind"), [(ValueError(), "html"), (None, "latex")], ids=["a failed build", "another format"])
def test_nothing_is_written_after(tmp_path, exception, kind):
    app = site(tmp_path)
    app.builder.format = kind
    icons.write_icons(app, exception)
    assert not (tmp_path / icons.STYLESHEET).exists() and len(list((tmp_path / icons.FONT_AWESOME).rglob("*.ttf"))) == 2
