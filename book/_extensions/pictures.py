"""Sphinx extension: pictures are sent as WebP, with their size, and are loaded when the reader comes near them.

A picture whose size is known moves no text when it arrives. The first picture of a page is loaded at once, because it is often in view when
the page opens. PNG files are converted without loss; JPEG files, which hold photographs, at a quality at which no difference is seen.
"""

import hashlib
import html
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import imagesize
from docutils import nodes
from PIL import Image
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms.images import BaseImageConverter

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
        with Image.open(source) as picture:
            mode = "RGBA" if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info else "RGB"
            picture.convert(mode).save(target, "WEBP", method=6, **settings)
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
    if "body" not in context:
        return
    sources = {name: Path(app.srcdir, uri) for uri, name in app.builder.images.items()}

    def size_of(address: str) -> tuple[int, int] | None:
        source = sources.get(unquote(address.rpartition("/")[2]))
        return _size(source) if source else None

    context["body"] = with_attributes(context["body"], size_of)


def _size(path: Path) -> tuple[int, int] | None:
    width, height = imagesize.get(path)
    return (round(width), round(height)) if width > 0 and height > 0 else None


def setup(app: Sphinx) -> dict:
    app.add_post_transform(WebPConverter)
    app.connect("html-page-context", add_attributes)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
