"""Sphinx extension: pictures are sent as WebP, with their size, and are loaded when the reader comes near them.

A picture whose size is known moves no text when it arrives. The first picture of a page is loaded at once, because it is often in view when
the page opens. PNG files are converted without loss; JPEG files, which hold photographs, at a quality at which no difference is seen.
"""

import base64
import hashlib
import html
import io
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import imagesize
from docutils import nodes
from PIL import Image
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms.images import BaseImageConverter

from glo_lib.system.replace import replacing

SETTINGS = {".png": {"lossless": True, "quality": 80}, ".jpg": {"quality": 88}, ".jpeg": {"quality": 88}}  # quality: of lossless, effort
WORTHWHILE = 0.9  # a conversion is kept if it saves a tenth
TAG = re.compile(r"<img\b[^>]*>")
SOURCE = re.compile(r'\bsrc="([^"]+)"')


def to_webp(source: Path, folder: Path) -> Path:
    """Return the path of the picture as WebP in the folder, or of the picture itself if WebP is hardly smaller.

    The name of the file follows from the content and the settings, so that a second build converts nothing.
    """
    settings = SETTINGS[source.suffix.lower()]
    digest = hashlib.sha256(source.read_bytes() + repr(settings).encode()).hexdigest()[:12]
    target = folder / digest / f"{source.stem}.webp"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(source) as picture, replacing(target) as partial:
            mode = "RGBA" if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info else "RGB"
            picture.convert(mode).save(partial, "WEBP", method=6, **settings)
    return target if target.stat().st_size < WORTHWHILE * source.stat().st_size else source


class WebPConverter(BaseImageConverter):
    """Replace the pictures of a page by their conversions to WebP."""

    default_priority = 210  # after the transforms of Sphinx that fetch and extract pictures

    def match(self, node: nodes.image) -> bool:
        known = "?" not in node["candidates"] and node["uri"] in self.env.images
        return self.app.builder.format == "html" and known and Path(node["uri"]).suffix.lower() in SETTINGS

    def handle(self, node: nodes.image) -> None:
        source = Path(self.app.srcdir, node["uri"])
        target = to_webp(source, Path(self.imagedir))
        if target != source:
            node["uri"] = str(target)
            node["candidates"] = {"*": str(target)}
            self.env.images.add_file(self.env.docname, str(target))


def with_attributes(body: str, size_of: Any) -> str:
    """Return the body of a page in which every picture has its width and height, and all but the first are loaded late.

    Args:
        body: HTML.
        size_of: function from the address in the page to (width, height) in pixels, or None if it is not known.
    """
    first = True

    def rewrite(match: re.Match[str]) -> str:
        nonlocal first
        tag, source = match[0], SOURCE.search(match[0])
        size = size_of(html.unescape(source[1])) if source else None
        added = {"width": size[0], "height": size[1]} if size else {}
        added |= {} if first else {"loading": "lazy", "decoding": "async"}
        first = False
        new = "".join(f' {name}="{value}"' for name, value in added.items() if f" {name}=" not in tag)
        return f"<img{new}{tag[4:]}"

    return TAG.sub(rewrite, body)


def add_attributes(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Give the pictures of a page their attributes."""
    if "body" in context:
        source = Path(app.srcdir)
        folders = [source, *(source / extra for extra in app.config.html_extra_path)]
        known = {name: source / uri for uri, name in app.builder.images.items()}
        context["body"] = with_attributes(context["body"], lambda address: size_of(address, known, [at / pagename for at in folders]))


def size_of(address: str, known: dict[str, Path], pages: list[Path]) -> tuple[int, int] | None:
    """Return the size of a picture in whole pixels, or None if there is no such picture.

    Args:
        address: as the page has it; it may hold the picture itself, as a data URL.
        known: the pictures that Sphinx copies, by their names.
        pages: paths of the page in the folders whose files are copied as they are.
    """
    if address.startswith("data:"):
        return _size(io.BytesIO(base64.b64decode(address.partition("base64,")[2])))
    name = unquote(address.partition("?")[0])
    candidates = [known.get(name.rpartition("/")[2]), *(page.parent / name for page in pages)]
    return next((_size(path) for path in candidates if path and path.is_file()), None)


def _size(picture: Path | io.BytesIO) -> tuple[int, int] | None:
    width, height = imagesize.get(picture)
    return (round(width), round(height)) if width > 0 and height > 0 else None


def setup(app: Sphinx) -> dict:
    app.add_post_transform(WebPConverter)
    app.connect("html-page-context", add_attributes)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
