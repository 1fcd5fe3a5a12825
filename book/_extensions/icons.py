"""Sphinx extension: the stylesheet ``icons.css`` with the icons that occur in the book, in place of the theme's copy of Font Awesome.

The theme loads a script of 1.5 MB, styles of 0.1 MB and fonts of 0.3 MB for some 30 icons. When the build has finished, this extension
looks through the pages, styles and scripts for the icons that they name, takes those from the theme's fonts, and writes them into a
stylesheet of a few kilobytes. The template ``static/webpack-macros.html`` links to it.
"""

import base64
import html
import io
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont
from sphinx.application import Sphinx

STYLESHEET = "_static/icons.css"
FONT_AWESOME = "_static/vendor/fontawesome"
FONTS = {"solid": "solid-900", "brands": "brands-400"}  # name in the template: file in webfonts/
NAME = re.compile(r"\bfa-([a-z][a-z0-9-]*)")
RULE = re.compile(r'((?:\.fa-[a-z0-9-]+:before,?)+)\{content:"\\([0-9a-f]+)"\}')
PRIVATE_USE = range(0xE000, 0xF900)  # the characters that a font may define as it likes; icons are among them
ESCAPE = re.compile(r"\\([ef][0-9a-f]{3})\b")

TEMPLATE = """\
/* Icons of {notice} */
@font-face {{ font-family: "Book icons"; font-weight: 900; src: url(data:font/woff;base64,{solid}) format("woff"); }}
@font-face {{ font-family: "Book brand icons"; font-weight: 400; src: url(data:font/woff;base64,{brands}) format("woff"); }}
:root {{ --fa-font-solid: normal 900 1em/1 "Book icons"; --fa-font-brands: normal 400 1em/1 "Book brand icons"; }}
.fas, .fa-solid {{ font-family: "Book icons"; font-weight: 900; }}
.fab, .fa-brands {{ font-family: "Book brand icons"; font-weight: 400; }}
.fas, .fa-solid, .fab, .fa-brands {{ display: inline-block; font-style: normal; line-height: 1; -webkit-font-smoothing: antialiased; }}
.fa-lg {{ font-size: 1.25em; line-height: .05em; vertical-align: -.075em; }}
/* The theme expects icons that are drawings where it hides or names them. */
button.search-button-field > i {{ display: inline-block; }}
.bd-sidebar-secondary.hide:not(:hover) div.onthispage:after {{ font-family: "Book icons"; }}
{rules}
"""


def named_icons(texts: Iterable[str], code_points: dict[str, int]) -> dict[str, int]:
    """Return the icons whose classes occur in the texts, with their code points. Sizes such as ``fa-lg`` are no icons."""
    names = {name for text in texts for name in NAME.findall(text)}
    return {name: code_points[name] for name in sorted(names) if name in code_points}


def written_icons(texts: Iterable[str]) -> set[int]:
    """Return the code points of icons that stylesheets contain as characters or as escapes."""
    return {
        code for text in texts for code in [*map(ord, text), *(int(found, 16) for found in ESCAPE.findall(text))] if code in PRIVATE_USE
    }


def code_points_of(stylesheet: str) -> dict[str, int]:
    """Return the code point of each icon that Font Awesome's stylesheet defines, by name."""
    rules = RULE.findall(stylesheet)
    return {name: int(code, 16) for selectors, code in rules for name in re.findall(r"\.fa-([a-z0-9-]+):before", selectors)}


def reduced_font(path: Path, code_points: set[int]) -> bytes:
    """Return the font with these characters alone, in WOFF format."""
    font = TTFont(path)
    options = subset.Options(name_IDs=[], hinting=False, notdef_outline=False, layout_features=[])
    reducer = subset.Subsetter(options)
    reducer.populate(unicodes=code_points)
    reducer.subset(font)
    font.flavor = "woff"
    font.recalcTimestamp = False  # so that the same book gives the same bytes
    written = io.BytesIO()
    font.save(written)
    return written.getvalue()


def stylesheet(folder: Path, used: dict[str, int], others: set[int]) -> str:
    """Return the stylesheet: both reduced fonts, and a rule for each icon that classes name.

    Args:
        folder: Font Awesome, with ``css/all.min.css`` and ``webfonts/``.
        used: icons that are named by their classes, with their code points.
        others: code points that the theme's styles use.
    """
    notice = re.search(r"Font Awesome Free .*?\n.*?License - \S+ \(.*?\)", (folder / "css/all.min.css").read_text("utf8"), re.DOTALL)
    wanted = {*used.values(), *others}
    fonts = {name: reduced_font(folder / f"webfonts/fa-{file}.ttf", wanted) for name, file in FONTS.items()}
    rules = "\n".join(f'.fa-{name}:before {{ content: "\\{code:x}"; }}' for name, code in used.items())
    encoded = {name: base64.b64encode(font).decode() for name, font in fonts.items()}
    return TEMPLATE.format(notice=re.sub(r"\s*\*?\s+", " ", notice[0]), rules=rules, **encoded)


def write_icons(app: Sphinx, exception: Exception | None) -> None:
    """Write the stylesheet for all pages that are in the output folder, and remove Font Awesome from it, except for its licence."""
    out = Path(app.outdir)
    folder = next(iter((out / FONT_AWESOME).glob("*/css")), None)
    if exception or app.builder.format != "html" or folder is None:
        return
    pages = [html.unescape(path.read_text("utf8")) for path in out.rglob("*.html")]
    scripts = [path.read_text("utf8") for path in (out / "_static").rglob("*.js") if FONT_AWESOME not in path.as_posix()]
    styles = [path.read_text("utf8") for path in (out / "_static").rglob("*.css") if FONT_AWESOME not in path.as_posix()]
    used = named_icons([*pages, *scripts], code_points_of((folder / "all.min.css").read_text("utf8")))
    (out / STYLESHEET).write_text(stylesheet(folder.parent, used, written_icons(styles)), "utf8")
    for unused in ("css", "js", "webfonts"):
        shutil.rmtree(folder.parent / unused, ignore_errors=True)


def setup(app: Sphinx) -> dict:
    app.connect("build-finished", write_icons)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
