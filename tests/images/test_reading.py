"""Image files from outside: which are left to TensorFlow, what is read, and how the rest is refused."""

import io
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, features

from glo_lib.images import reading
from glo_lib.images.reading import is_plain_jpeg, read_image, refuse, unreadable
from tests.make_files import FLIPS, flipped, written

NOISE = np.random.default_rng(0).integers(0, 256, (24, 20, 3)).astype(np.uint8)
ORIENTATION = 0x0112  # the EXIF tag
IGNORE_WARNINGS = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of damage, which is the subject here


def encoded(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")


# ---------------------------------------------------------------------------------------------------------------- reading


def read_back(tmp_path: Path, contents: bytes, name: str = "a.png") -> np.ndarray:
    array = read_image(written(tmp_path / name, contents))
    assert array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3
    return array


def test_an_rgb_image_is_read_exactly(tmp_path):
    for kind in ("PNG", "BMP", "TIFF", "PPM"):
        np.testing.assert_array_equal(read_back(tmp_path, encoded(NOISE, kind)), NOISE)


def test_a_jpeg_is_read_closely(tmp_path):
    smooth = np.dstack([np.add.outer(np.arange(24), np.arange(20)) * 5, *[np.full((24, 20), value) for value in (30, 200)]]).astype(
        np.uint8
    )
    for options in ({}, {"progressive": True}):
        read = read_back(tmp_path, encoded(smooth, "JPEG", quality=95, subsampling=0, **options), "a.jpg")
        assert np.abs(read.astype(int) - smooth).max() <= 6


def test_grey_and_bilevel_images_become_three_equal_channels(tmp_path):
    grey = NOISE[..., 0]
    np.testing.assert_array_equal(read_back(tmp_path, encoded(grey, "PNG")), np.dstack([grey] * 3))
    black_and_white = read_back(tmp_path, encoded(Image.fromarray(grey > 127), "PNG"))
    np.testing.assert_array_equal(black_and_white, np.dstack([(grey > 127) * np.uint8(255)] * 3))


def test_a_palette_image_has_the_colours_of_its_palette(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 1, 2, 3])
    expected = [[[255, 0, 0], [0, 255, 0]], [[1, 2, 3], [0, 255, 0]]]
    np.testing.assert_array_equal(read_back(tmp_path, encoded(image, "PNG")), expected)


def test_what_is_transparent_is_seen_on_white(tmp_path):
    red, half_green = [255, 0, 0], [0, 255, 0]
    pixels = np.array([[[*red, 0], [*red, 255], [*half_green, 128]]], np.uint8)
    read = read_back(tmp_path, encoded(pixels, "PNG")).astype(int)
    np.testing.assert_allclose(read[0], [[255, 255, 255], red, [127, 255, 127]], atol=1)
    grey_and_opacity = np.array([[[0, 0], [0, 255], [0, 51]]], np.uint8)
    np.testing.assert_allclose(read_back(tmp_path, encoded(grey_and_opacity, "PNG"))[0, :, 0].astype(int), [255, 0, 204], atol=1)


def test_a_transparent_colour_of_the_palette_is_seen_as_white(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 0, 255])
    np.testing.assert_array_equal(read_back(tmp_path, encoded(image, "PNG", transparency=0)), [[[255, 255, 255], [0, 0, 255]]])


def test_sixteen_bits_are_scaled_to_eight_and_not_clipped_to_white(tmp_path):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(8, 32)  # 257 times 0, 1, ... 255
    expected = np.dstack([np.arange(256).reshape(8, 32)] * 3)
    for kind in ("PNG", "TIFF"):
        np.testing.assert_array_equal(read_back(tmp_path, encoded(ramp, kind)), expected)
    assert read_back(tmp_path, encoded(np.full((2, 2), 32768, np.uint16), "PNG"))[0, 0, 0] == 128


def test_floating_point_images_are_scaled_by_their_largest_value_above_one(tmp_path):
    for top in (1.0, 200.0):
        values = np.array([[-1, 0, 0.5, 1]], np.float32) * np.float32(top)
        np.testing.assert_array_equal(read_back(tmp_path, encoded(values, "TIFF"))[0, :, 0], [0, 0, 128, 255])


def test_a_cmyk_jpeg_has_its_own_colours_and_not_their_negative(tmp_path):
    colours = np.array([[255, 255, 255], [0, 0, 0], [220, 30, 30], [30, 30, 220]], np.uint8)
    image = Image.fromarray(np.repeat(np.repeat(colours[None], 16, axis=1), 16, axis=0)).convert("CMYK")
    read = read_back(tmp_path, encoded(image, "JPEG", quality=95), "a.jpg")
    np.testing.assert_allclose(read[8, 8::16].astype(int), colours, atol=8)


TURNED = {  # how the stored picture has to be turned so that it stands upright, by EXIF's definition of the tag
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", TURNED)
def test_a_picture_that_exif_rotates_is_really_rotated(tmp_path, orientation):
    expected = TURNED[orientation](NOISE)
    np.testing.assert_array_equal(read_back(tmp_path, encoded(NOISE, "PNG", exif=exif(orientation))), expected)
    jpeg = read_back(tmp_path, encoded(NOISE, "JPEG", exif=exif(orientation)), "a.jpg")
    np.testing.assert_array_equal(jpeg, TURNED[orientation](read_back(tmp_path, encoded(NOISE, "JPEG"), "b.jpg")))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_read(tmp_path, kind):
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    frames = [Image.new("RGB", (8, 6), colour) for colour in colours]
    read = read_back(tmp_path, encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert read.shape == (6, 8, 3)
    np.testing.assert_allclose(read.astype(int), np.broadcast_to(colours[0], (6, 8, 3)), atol=4)


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
        (bytes(100), "not an image that can be read"),
        (b"\xff\xd8\xff", "not an image that can be read"),
    ],
)
@pytest.mark.parametrize("name", ["face.jpg", "two words\n.png"])
def test_what_is_no_image_is_refused_with_its_reason(tmp_path, name, contents, reason):
    assert_refused(written(tmp_path / name, contents), reason)


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path):
    assert_refused(str(tmp_path / "missing.jpg"), "No such file")
    assert_refused(str(tmp_path), "directory")


def png_header(width: int, height: int) -> bytes:
    """A PNG file that declares any size and holds no pixel."""

    def chunk(kind: bytes, contents: bytes) -> bytes:
        return struct.pack(">I", len(contents)) + kind + contents + struct.pack(">I", zlib.crc32(kind + contents))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(8001, 8000), (60_000, 60_000), (2**31 - 1, 1), (2**31 - 1, 2**31 - 1)])
def test_a_huge_declared_size_is_refused_before_memory_is_taken(tmp_path, size):
    assert_refused(written(tmp_path / "a.png", png_header(*size)), "pixels")


def test_the_largest_image_is_read_and_a_larger_one_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(reading, "MAX_PIXELS", NOISE.shape[0] * NOISE.shape[1])
    read_back(tmp_path, encoded(NOISE, "PNG"))
    assert_refused(written(tmp_path / "b.png", encoded(np.zeros((25, 20, 3), np.uint8), "PNG")), "20x25 pixels, above the limit of 480")


READ_WITHOUT_SURPRISE = {
    "JPEG": encoded(NOISE, "JPEG"),
    "progressive JPEG": encoded(NOISE, "JPEG", progressive=True),
    "CMYK JPEG": encoded(Image.fromarray(NOISE).convert("CMYK"), "JPEG"),
    "PNG": encoded(NOISE, "PNG", exif=exif(6)),
    "transparent palette": encoded(Image.fromarray(NOISE).convert("P"), "PNG", transparency=0),
    "GIF": encoded(Image.fromarray(NOISE).convert("P"), "GIF"),
}


@pytest.mark.parametrize("kind", READ_WITHOUT_SURPRISE)
def test_a_truncated_file_is_refused_unless_all_its_pixels_are_there(tmp_path, kind):
    whole = READ_WITHOUT_SURPRISE[kind]
    expected = read_back(tmp_path, whole)
    for length in {*range(0, len(whole), max(1, len(whole) // 40)), len(whole) // 2, len(whole) - 1, len(whole) - 2}:
        filename = written(tmp_path / "cut.jpg", whole[:length])
        try:
            read = read_image(filename)
        except ValueError as error:
            assert str(error).startswith(repr(filename))
        else:
            assert length > 0.8 * len(whole)
            np.testing.assert_array_equal(read, expected)


def assert_read_or_refused(filename: str) -> None:
    try:
        array = read_image(filename)
    except ValueError as error:
        assert str(error).startswith(repr(filename))
    else:
        assert array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3


@IGNORE_WARNINGS
@settings(deadline=None, max_examples=50)
@given(kind=st.sampled_from(sorted(READ_WITHOUT_SURPRISE)), flips=FLIPS)
def test_a_file_with_any_bytes_changed_is_read_or_refused(shared_folder, kind, flips):
    assert_read_or_refused(written(shared_folder / "damaged.jpg", flipped(READ_WITHOUT_SURPRISE[kind], flips)))


@IGNORE_WARNINGS
@settings(deadline=None, max_examples=50)
@given(
    start=st.sampled_from([b"", b"\xff\xd8\xff\xe0\x00\x10JFIF\0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"MM\0*"]),
    rest=st.binary(max_size=200),
)
def test_arbitrary_bytes_are_refused(shared_folder, start, rest):
    assert_read_or_refused(written(shared_folder / "bytes.png", start + rest))


def with_exif_damaged() -> bytes:
    """A JPEG in whose EXIF data a text stands where the height of the image should."""
    tags = exif(6)
    tags[0x010E] = "a title"
    return encoded(NOISE, "JPEG", exif=tags).replace(b"\x01\x0e\x00\x02", b"\x01\x01\x00\x02")


@IGNORE_WARNINGS
@settings(deadline=None, max_examples=50)
@example(contents=with_exif_damaged(), flips=[])
@given(contents=st.just(encoded(NOISE, "JPEG", exif=exif(6))), flips=FLIPS)
def test_damaged_exif_data_is_read_or_refused(shared_folder, contents, flips):
    # Most of what can be changed here is EXIF data: the positions are taken from the first hundred bytes.
    changed = [(position % 100, value) for position, value in flips]
    assert_read_or_refused(written(shared_folder / "exif.jpg", flipped(contents, changed)))


def files_of_other_kinds() -> dict[str, bytes]:
    files = {"DDS": b"DDS " + struct.pack("<31I", 124, 0x1007, 4, 4, *[0] * 14, 32, 0x2000, *[0] * 11)}
    if features.check("avif"):
        files["AVIF"] = encoded(NOISE, "AVIF").replace(b"av01Color", bytes(9))
    return files


@pytest.mark.parametrize("kind", files_of_other_kinds())
def test_damaged_files_of_kinds_that_nobody_expects_are_refused(tmp_path, kind):
    assert_refused(written(tmp_path / "a.jpg", files_of_other_kinds()[kind]), "a.jpg")


# ------------------------------------------------------------------------------------------------- plain JPEG, and refusal


def test_a_jpeg_that_declares_a_huge_size_is_not_left_to_tensorflow(tmp_path):
    content = bytearray(encoded(NOISE, "JPEG"))
    start = content.index(b"\xff\xc0")
    for height, width, plain in [(8000, 8000, True), (8000, 8001, False), (65535, 65535, False)]:
        content[start + 5 : start + 9] = struct.pack(">HH", height, width)
        assert is_plain_jpeg(written(tmp_path / "a.jpg", bytes(content))) == plain


def test_only_a_jpeg_without_exif_data_is_plain(tmp_path):
    assert is_plain_jpeg(written(tmp_path / "a.png", encoded(NOISE, "JPEG")))  # by its content, not by its name
    assert not is_plain_jpeg(written(tmp_path / "b.jpg", encoded(NOISE, "JPEG", exif=exif(6))))
    assert not is_plain_jpeg(written(tmp_path / "c.jpg", encoded(NOISE, "PNG")))
    assert not is_plain_jpeg(written(tmp_path / "d.jpg", b""))
    assert not is_plain_jpeg(str(tmp_path / "missing.jpg"))
    assert not is_plain_jpeg(str(tmp_path))


def test_exif_data_behind_a_long_comment_is_not_overlooked(tmp_path):
    contents = encoded(NOISE, "JPEG", exif=exif(6))
    comment = b"\xff\xfe" + struct.pack(">H", 5002) + b"x" * 5000
    filename = written(tmp_path / "a.jpg", contents[:2] + comment + contents[2:])
    assert read_image(filename).shape == (20, 24, 3)  # rotated
    assert not is_plain_jpeg(filename)


def test_all_unreadable_files_are_listed_in_order(tmp_path):
    good = [written(tmp_path / f"good{i}.png", encoded(NOISE, "PNG")) for i in range(3)]
    bad = [written(tmp_path / name, contents) for name, contents in {"z.jpg": b"", "a.jpg": b"<html>", "m.jpg": bytes(9)}.items()]
    lines = unreadable([good[0], bad[0], good[1], bad[1], bad[2], good[2]])
    assert [line.split(":")[0] for line in lines] == [repr(filename) for filename in bad]
    assert "empty" in lines[0] and "HTML" in lines[1] and "not an image" in lines[2]
    assert unreadable(good) == [] and unreadable([]) == []


def test_looking_for_unreadable_files_leaves_the_warning_filters_as_they_were(monkeypatch, tmp_path):
    # Two threads, both between the change and the restoration of the filters; the one that came first leaves first.
    both_in, first_is_out = threading.Event(), threading.Event()
    arrivals = []

    class FirstIsOut(OSError):
        def __str__(self):  # the message is made after the filters have been restored
            first_is_out.set()
            return "first"

    def open_in_turn(filename):
        arrivals.append(filename)
        if len(arrivals) == 1:
            both_in.wait(1)
            raise FirstIsOut
        both_in.set()
        first_is_out.wait(1)
        raise OSError("second")

    monkeypatch.setattr(reading.Image, "open", open_in_turn)
    with warnings.catch_warnings():
        before = list(warnings.filters)
        assert len(unreadable([str(tmp_path / name) for name in "ab"])) == 2
        assert list(warnings.filters) == before


@pytest.mark.parametrize(
    ("count", "shown", "more"), [(1, 1, None), (10, 10, None), (11, 10, "... and 1 more"), (200, 10, "... and 190 more")]
)
def test_a_refusal_counts_all_files_and_names_ten(count, shown, more):
    problems = [f"'{i}.jpg': the file is empty" for i in range(count)]
    with pytest.raises(ValueError) as caught:
        refuse(problems)
    head, *lines = str(caught.value).split("\n")
    assert head == f"{count} image file(s) cannot be read; remove or replace them:"
    assert [line.strip() for line in lines] == problems[:shown] + ([more] if more else [])
