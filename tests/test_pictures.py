"""Pictures are converted to WebP where that makes them smaller, and have their sizes; all but the first of a page are loaded late."""

import base64

import numpy as np
import pictures
import pytest
from PIL import Image
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

SIZES = {"a.png": (30, 20), "b.png": (8, 8)}


def save(path, size=(64, 48), **options):
    """Save a picture of coloured stripes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[: size[1], : size[0]]
    Image.fromarray(np.stack([4 * rows % 256, 3 * columns % 256, (rows + columns) % 256], axis=-1).astype(np.uint8)).save(path, **options)
    return path


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_a_png_is_converted_without_loss(tmp_path):
    source = save(tmp_path / "stripes.png", compress_level=0)
    target = pictures.to_webp(source, tmp_path / "out")
    assert target.name == "stripes.webp" and target.stat().st_size < source.stat().st_size
    assert (pixels(target) == pixels(source)).all()


def test_a_transparent_png_stays_transparent(tmp_path):
    Image.new("RGBA", (40, 40), (255, 0, 0, 0)).save(tmp_path / "clear.png", compress_level=0)
    with Image.open(pictures.to_webp(tmp_path / "clear.png", tmp_path / "out")) as picture:
        assert picture.mode == "RGBA" and picture.getpixel((0, 0))[3] == 0


def test_a_jpeg_is_converted_with_a_difference_that_is_not_seen(tmp_path):
    source = save(tmp_path / "photo.jpg", quality=98)
    target = pictures.to_webp(source, tmp_path / "out")
    assert target.suffix == ".webp" and np.abs(pixels(target) - pixels(source)).mean() < 3


def test_a_picture_that_would_hardly_be_smaller_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "WORTHWHILE", 0.0)
    source = save(tmp_path / "stripes.png")
    assert pictures.to_webp(source, tmp_path / "out") == source


def test_a_second_build_converts_nothing_and_a_changed_picture_is_converted_again(tmp_path):
    source = save(tmp_path / "stripes.png", compress_level=0)
    first = pictures.to_webp(source, tmp_path / "out")
    written = first.stat().st_mtime_ns
    assert pictures.to_webp(source, tmp_path / "out") == first and first.stat().st_mtime_ns == written
    assert pictures.to_webp(save(source, (32, 32), compress_level=0), tmp_path / "out") != first


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('<img alt="A" src="_images/a.png" />', '<img width="30" height="20" alt="A" src="_images/a.png" />'),
        ('<img src="x/unknown.png">', '<img src="x/unknown.png">'),
        ("<img>", "<img>"),
        (
            '<img src="_images/a.png"><p><img src="_images/b.png"></p>',
            '<img width="30" height="20" src="_images/a.png"><p>'
            '<img width="8" height="8" loading="lazy" decoding="async" src="_images/b.png"></p>',
        ),
        (
            '<img src="_images/a.png"><img loading="eager" width="4" src="_images/b.png">',
            '<img width="30" height="20" src="_images/a.png">'
            '<img height="8" decoding="async" loading="eager" width="4" src="_images/b.png">',
        ),
        ("<p>imgs</p>", "<p>imgs</p>"),
    ],
    ids=["the first", "of unknown size", "without address", "two", "with attributes of its own", "none"],
)
def test_pictures_get_the_attributes_that_they_lack(body, expected):
    assert pictures.with_attributes(body, lambda address: SIZES.get(address.rpartition("/")[2])) == expected


def test_a_page_shows_the_conversion_with_its_size(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    save(source / "two-stripes.png", compress_level=0)
    (source / "drawing.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="10.4" height="20" viewBox="0 0 10 20"></svg>')
    (source / "index.rst").write_text(
        "Pictures\n========\n\n.. image:: two-stripes.png\n   :alt: Stripes\n\n.. image:: drawing.svg\n   :alt: Lines\n"
    )
    with patch_docutils(str(source)), docutils_namespace():
        Sphinx(
            source, None, tmp_path / "out", tmp_path / "doctrees", "html", {"extensions": ["pictures"], "html_theme": "basic"}, None
        ).build()
    page = (tmp_path / "out/index.html").read_text("utf8")
    assert '<img width="64" height="48" alt="Stripes" src="_images/two-stripes.webp" />' in page
    assert '<img width="10" height="20" loading="lazy" decoding="async" alt="Lines" src="_images/drawing.svg" />' in page
    assert sorted(path.name for path in (tmp_path / "out/_images").iterdir()) == ["drawing.svg", "two-stripes.webp"]


def test_sizes_are_found_of_pictures_in_the_page_beside_it_and_of_those_that_sphinx_copies(tmp_path):
    stripes, other = save(tmp_path / "stripes.png"), save(tmp_path / "extra/api/other.jpg", (30, 20))
    pages = [tmp_path / "api/runs", tmp_path / "extra/api/runs"]
    inside = f"data:image/png;base64,{base64.b64encode(stripes.read_bytes()).decode()}"
    assert pictures.size_of(inside, {}, pages) == (64, 48)
    assert pictures.size_of("../_images/a%20b.webp", {"a b.webp": stripes}, pages) == (64, 48)
    assert pictures.size_of("other.jpg?v=1", {}, pages) == (30, 20) and other.exists()
    assert pictures.size_of("absent.jpg", {}, pages) is None and pictures.size_of("data:image/svg+xml,", {}, pages) is None
