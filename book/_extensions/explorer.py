"""Sphinx extension: the page of the latent explorer has scripts of its own, and the model that it loads is exported when the book is built.

The scripts and styles are in ``extra/explorer``, which is copied as it is; no other page refers to them. The model is written into the
built book and not kept in the repository, where it would be a second copy of ``glo_lib/pretrained``. It is written again only if the
pretrained model or the library, which decodes and judges it, has changed. The page is made again when a script or a style has changed,
because it names their versions.
"""

import hashlib
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util import logging

PAGE = "explorer"
SCRIPTS, STYLES = ("explorer/codes.js", "explorer/explorer.js"), "explorer/explorer.css"
STAMP = "made_from.txt"
log = logging.getLogger(__name__)


def add_scripts(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Add the scripts and styles of the explorer to its page."""
    if pagename != PAGE or app.builder.format != "html":
        return
    app.add_css_file(f"../{STYLES}")
    for script in SCRIPTS:
        app.add_js_file(f"../{script}", loading_method="defer")


def outdated_page(app: Sphinx, env: Any, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Return the explorer's page if its scripts or styles are not those of the last build."""
    digest = _digest([Path(app.srcdir, "extra", "explorer")])
    outdated = getattr(env, "explorer_digest", digest) != digest
    env.explorer_digest = digest
    return [PAGE] if outdated and PAGE in env.all_docs else []


def write_model(app: Sphinx, error: Exception | None) -> None:
    """Export the pretrained model into the built book, unless it is there already."""
    if error or app.builder.format != "html" or PAGE not in app.env.found_docs:
        return
    import glo_lib
    from glo_lib.inference import web
    from glo_lib.runs import packed

    folder = Path(app.outdir, "explorer", "model")
    stamp = _digest([packed.PRETRAINED, Path(glo_lib.__file__).parent])
    if (folder / STAMP).exists() and (folder / STAMP).read_text() == stamp:
        return
    try:
        web.export_run_for_web("pretrained", folder)
    except (ValueError, FileNotFoundError) as problem:
        log.warning("the explorer has no model: %s", problem)
        return
    (folder / STAMP).write_text(stamp)


def _digest(folders: list[Path]) -> str:
    """Return a digest of what the files of these folders hold."""
    content = hashlib.sha256()
    for folder in folders:
        for file in sorted(file for file in folder.rglob("*.*") if "__pycache__" not in file.parts and file.is_file()):
            content.update(file.name.encode() + file.read_bytes())
    return content.hexdigest()


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("env-get-outdated", outdated_page)
    app.connect("html-page-context", add_scripts)
    app.connect("build-finished", write_model)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
