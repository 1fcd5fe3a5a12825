"""Image files from outside: how they are read, whatever their metadata, and how unreadable ones are refused."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glo_lib.images import reading
from glo_lib.images.reading import read_image, read_stored, refuse, unreadable
from tests.make_files import write_file

NOISE = np.random.default_rng(0).integers(0, 256, (24, 20, 3)).astype(np.uint8)


def encoded(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def palette_image(pixels: list[int], palette: list[int]) -> Image.Image:
    image = Image.fromarray(np.array([pixels], np.uint8), "P")
    image.putpalette(palette)
    return image


def read_back(tmp_path: Path, contents: bytes, name: str = "a.png") -> np.ndarray:
    array = read_image(write_file(tmp_path / name, contents))
    assert array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3
    return array


def grey(pixels: np.ndarray | list) -> np.ndarray:
    return np.dstack([pixels] * 3)


GREY = NOISE[..., 0]
RAMP = np.linspace(0, 65535, 256).astype(np.uint16).reshape(8, 32)  # 257 times 0, 1, ... 255
RED, HALF_GREEN, WHITE = [255, 0, 0], [127, 255, 127], [255, 255, 255]
READ_EXACTLY = {
    "RGB": (encoded(NOISE, "PNG"), NOISE),
    "RGB, TIFF": (encoded(NOISE, "TIFF"), NOISE),
    "grey, 8 bits": (encoded(GREY, "PNG"), grey(GREY)),
    "grey, 1 bit": (encoded(Image.fromarray(GREY > 127), "PNG"), grey((GREY > 127) * 255)),
    "grey, 16 bits": (encoded(RAMP, "PNG"), grey(np.arange(256).reshape(8, 32))),
    "grey, 16 bits, TIFF": (encoded(RAMP, "TIFF"), grey(np.arange(256).reshape(8, 32))),
    "grey, 16 bits, rounded": (encoded(np.uint16([[32768]]), "PNG"), grey([[128]])),
    "floats up to 1": (encoded(np.float32([[-1, 0, 0.5, 1]]), "TIFF"), grey([[0, 0, 128, 255]])),
    "floats above 1": (encoded(np.float32([[-200, 0, 100, 200]]), "TIFF"), grey([[0, 0, 128, 255]])),
    "palette": (encoded(palette_image([0, 1], [*RED, 1, 2, 3]), "PNG"), [[RED, [1, 2, 3]]]),
    "palette with transparency": (encoded(palette_image([0, 1], [*RED, 0, 0, 255]), "PNG", transparency=0), [[WHITE, [0, 0, 255]]]),
    "RGB with opacity": (encoded(np.uint8([[[*RED, 0], [*RED, 255], [0, 255, 0, 128]]]), "PNG"), [[WHITE, RED, HALF_GREEN]]),
    "grey with opacity": (encoded(np.uint8([[[0, 0], [0, 255], [0, 51]]]), "PNG"), grey([[255, 0, 204]])),
    "rotated by EXIF": (encoded(NOISE, "PNG", exif=exif(6)), np.rot90(NOISE, -1)),
}


@pytest.mark.parametrize("kind", READ_EXACTLY)
def test_an_image_of_any_kind_is_read_as_rgb_and_transparent_pixels_lie_on_white(tmp_path, kind):
    contents, expected = READ_EXACTLY[kind]
    np.testing.assert_array_equal(read_back(tmp_path, contents), expected)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"cmyk": True}, {"exif": exif(3)}], ids=",".join)
def test_a_jpeg_is_read_closely_and_cmyk_is_not_read_as_its_negative(tmp_path, options):
    options = dict(options)
    colours = np.array([[255, 255, 255], [0, 0, 0], [220, 30, 30], [30, 30, 220]], np.uint8)
    image = Image.fromarray(np.repeat(np.repeat(colours[None], 16, axis=1), 16, axis=0))
    image = image.convert("CMYK") if options.pop("cmyk", False) else image
    read = read_back(tmp_path, encoded(image, "JPEG", quality=95, **options), "a.jpg")
    np.testing.assert_allclose(read[8, 8::16].astype(int), colours[::-1] if "exif" in options else colours, atol=8)


def assert_refused(filename: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        read_image(filename)
    assert str(caught.value).startswith(repr(filename))


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (b"", "the file is empty"),
        (b"\x89PMG\r\n\x1a\n" + bytes(40), r"not an image that can be read; it begins with b'\\x89PMG"),
        (b"<!DOCTYPE html><html><body>Quota exceeded</body></html>", "this is an HTML page, not an image"),
        (b"\n  <HTML><head></head></HTML>", "this is an HTML page, not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "this is a PostScript drawing, not an image"),  # would start Ghostscript
    ],
)
def test_a_file_that_is_not_an_image_is_refused_with_the_reason(tmp_path, contents, reason):
    assert_refused(write_file(tmp_path / "two words\n.png", contents), reason)


def test_an_image_above_the_limit_is_refused_by_its_header(tmp_path):
    header = encoded(Image.new("1", (8001, 8000)), "PNG")[:45]  # there are no pixels to decode
    assert_refused(
        write_file(tmp_path / "b.png", header), "8001x8000 pixels, above the limit of 64 megapixels; -p max_megapixels raises it"
    )


@pytest.mark.parametrize("size", [(20, 24), (13379, 13379)])  # Pillow's own limit would be 179 megapixels
def test_the_limit_can_be_changed(tmp_path, size):
    filename = write_file(tmp_path / "a.png", encoded(Image.new("1", size), "PNG"))
    num_pixels = size[0] * size[1]
    assert read_stored(filename, num_pixels / 1e6).size == size[::-1]
    with pytest.raises(ValueError, match="above the limit"):
        read_stored(filename, (num_pixels - 1) / 1e6)


WHOLE_FILES = {
    "JPEG": encoded(NOISE, "JPEG"),
    "progressive JPEG": encoded(NOISE, "JPEG", progressive=True),
    "PNG": encoded(NOISE, "PNG", exif=exif(6)),
    "GIF": encoded(Image.fromarray(NOISE).convert("P"), "GIF"),
}


@pytest.mark.parametrize("kind", WHOLE_FILES)
def test_a_truncated_file_is_refused_unless_all_its_pixels_are_there(tmp_path, kind):
    whole = WHOLE_FILES[kind]
    expected = read_back(tmp_path, whole)
    for length in {*range(0, len(whole), max(1, len(whole) // 40)), len(whole) - 1, len(whole) - 2}:
        filename = write_file(tmp_path / "cut.jpg", whole[:length])
        try:
            read = read_image(filename)
        except ValueError as error:
            assert str(error).startswith(repr(filename))
        else:
            assert length > 0.8 * len(whole)
            np.testing.assert_array_equal(read, expected)


def test_all_unreadable_files_are_listed_in_order(tmp_path):
    good, empty = write_file(tmp_path / "good.png", encoded(NOISE, "PNG")), write_file(tmp_path / "empty.jpg", b"")
    missing, folder = str(tmp_path / "missing.jpg"), str(tmp_path)
    reasons = {missing: "No such file", empty: "the file is empty", folder: "directory"}
    for line, (filename, reason) in zip(unreadable([good, missing, good, empty, folder]), reasons.items(), strict=True):
        assert line.startswith(f"{filename!r}: ") and reason in line


def test_reading_does_not_touch_the_warning_filters(monkeypatch):
    # The filters are global: threads that change and restore them at the same time can leave them changed.
    seen, filters = [], list(warnings.filters)
    monkeypatch.setattr(reading.Image, "open", lambda filename, formats: seen.append((warnings.filters, list(warnings.filters))))
    unreadable(["a.jpg"])
    assert seen[0][0] is warnings.filters and seen[0][1] == filters


@pytest.mark.parametrize(("count", "more"), [(10, []), (200, ["... and 190 more"])])
def test_a_refusal_counts_all_files_and_names_ten(count, more):
    problems = [f"'{i}.jpg': the file is empty" for i in range(count)]
    with pytest.raises(ValueError) as caught:
        refuse(problems)
    head, *lines = str(caught.value).split("\n")
    assert head == f"{count} image file(s) cannot be read; remove or replace them:"
    assert [line.strip() for line in lines] == problems[:10] + more
