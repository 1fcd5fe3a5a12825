"""Metadata: where an orientation may be stored, the header of a JPEG file, and metadata that cannot be read and are ignored."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, PngImagePlugin, TiffImagePlugin

from glo_lib.images.metadata import TURNS, JpegHeader, orientation_of, read_jpeg_header, turn_upright, without_metadata
from glo_lib.images.reading import read_image, read_stored
from tests.make_files import PNG_END, encoded, exif_data, jpeg_with, png_chunk, png_with, write_file, xmp_data

NOISE = np.random.default_rng(0).integers(0, 256, (24, 20, 3)).astype(np.uint8)
JPEG, PNG = encoded(NOISE, "JPEG"), encoded(NOISE, "PNG")


@pytest.mark.parametrize("orientation", TURNS)
def test_pixels_are_turned_as_pillow_turns_them(orientation):
    turned = Image.open(io.BytesIO(encoded(NOISE, "PNG", exif=exif_data(orientation))))
    np.testing.assert_array_equal(turn_upright(NOISE, orientation), np.asarray(ImageOps.exif_transpose(turned)))


def png_raw_profile(orientation: int) -> bytes:
    info = PngImagePlugin.PngInfo()
    data = exif_data(orientation)
    info.add_text("Raw profile type exif", f"\nexif\n{len(data):8}\n{data.hex()}\n", zip=True)  # as ImageMagick writes it
    return encoded(NOISE, "PNG", pnginfo=info)


def png_xmp(orientation: int) -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp_data(orientation).decode())
    return encoded(NOISE, "PNG", pnginfo=info)


def tiff(orientation: int, compression: str | None = None) -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[0x0112] = orientation
    return encoded(NOISE, "TIFF", tiffinfo=tags, compression=compression)


STORED = {
    "EXIF of a PNG": lambda turn: encoded(NOISE, "PNG", exif=exif_data(turn)),
    "EXIF of a PNG, after its pixels": lambda turn: png_with(PNG, png_chunk(b"eXIf", exif_data(turn).removeprefix(b"Exif\0\0")), PNG_END),
    "EXIF of a PNG, as text": png_raw_profile,
    "XMP of a PNG": png_xmp,
    "EXIF of a WebP": lambda turn: encoded(NOISE, "WEBP", lossless=True, exif=exif_data(turn)),
    "XMP of a WebP": lambda turn: encoded(NOISE, "WEBP", lossless=True, xmp=xmp_data(turn)),
    "tag of a TIFF": tiff,
    "tag of a compressed TIFF": lambda turn: tiff(turn, "tiff_lzw"),
    "XMP of a TIFF": lambda turn: encoded(NOISE, "TIFF", tiffinfo={700: xmp_data(turn)}),
    "a PNG whose colour profile is refused": lambda turn: png_with(
        encoded(NOISE, "PNG", exif=exif_data(turn)), png_chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(2**20 + 1)))
    ),
}


@pytest.mark.parametrize("kind", STORED)
@pytest.mark.parametrize("orientation", [1, 4, 6])
def test_an_orientation_counts_wherever_it_is_stored(tmp_path, kind, orientation):
    filename = write_file(tmp_path / "a.png", STORED[kind](orientation))
    np.testing.assert_array_equal(read_image(filename), turn_upright(NOISE, orientation))
    np.testing.assert_array_equal(read_stored(filename).pixels, NOISE)


JPEGS = {
    "EXIF": (jpeg_with(JPEG, (0xE1, exif_data(6))), 6),
    "EXIF, big end first": (jpeg_with(JPEG, (0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\x08\0\0\0\0\0\0")), 8),
    "XMP": (jpeg_with(JPEG, (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp_data(3))), 3),
    "EXIF and XMP that disagree": (jpeg_with(JPEG, (0xE1, exif_data(6)), (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp_data(3))), 6),
    "EXIF after a long comment": (jpeg_with(JPEG, (0xFE, b"x" * 60_000), (0xE1, exif_data(6))), 6),
    "EXIF after many long comments": (jpeg_with(JPEG, *[(0xFE, b"x" * 60_000)] * 9, (0xE1, exif_data(6))), 6),
    "EXIF with a number that means nothing": (jpeg_with(JPEG, (0xE1, exif_data(9))), 1),
    "EXIF that is none": (jpeg_with(JPEG, (0xE1, b"Exif\0\0nonsense")), 1),
    "no EXIF": (JPEG, 1),
    "a fill byte before a marker": (JPEG[:2] + b"\xff" + JPEG[2:], 1),
}


@pytest.mark.parametrize("kind", JPEGS)
def test_the_header_of_a_jpeg_file_has_its_size_and_its_orientation(tmp_path, kind):
    contents, orientation = JPEGS[kind]
    filename = write_file(tmp_path / "a.png", contents)  # the contents decide, not the name
    assert read_jpeg_header(filename) == JpegHeader(24, 20, orientation)
    assert read_stored(filename).orientation == orientation


def test_other_files_have_no_header(tmp_path):
    cut = JPEG[: JPEG.index(b"\xff\xda")]
    for name, contents in {
        "png": PNG,
        "empty": b"",
        "two bytes": JPEG[:2],
        "cut": cut,
        "short segment": jpeg_with(JPEG)[:2] + b"\xff\xe1\0\1",
    }.items():
        assert read_jpeg_header(write_file(tmp_path / name, contents)) is None, name
    assert read_jpeg_header(tmp_path / "missing.jpg") is None and read_jpeg_header(tmp_path) is None


ODD_RATIONAL = b"Exif\0\0II*\0\x08\0\0\0\2\0\x12\x01\3\0\1\0\0\0\6\0\0\0\x1a\x01\x05\0\1\0\0\0\xff\xff\xff\x7f\0\0\0\0"
REFUSED_BY_PILLOW = {
    "a long compressed text": png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**21))),
    "a long colour profile": png_chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(2**21))),
    "a wrong checksum": png_chunk(b"tEXt", b"Comment\0x")[:-4] + b"\0\0\0\0",
    "a compressed text that is damaged": png_chunk(b"zTXt", b"Comment\0\0nonsense"),
    "a rational of EXIF that points nowhere": png_chunk(b"eXIf", ODD_RATIONAL.removeprefix(b"Exif\0\0")),
}


@pytest.mark.parametrize("kind", REFUSED_BY_PILLOW)
@pytest.mark.parametrize("after", [b"", PNG_END])
def test_a_png_file_is_read_whatever_its_metadata(tmp_path, kind, after):
    filename = write_file(tmp_path / "a.png", png_with(PNG, REFUSED_BY_PILLOW[kind], after))
    np.testing.assert_array_equal(read_stored(filename).pixels, NOISE)


SEGMENTS = st.lists(
    st.tuples(
        st.sampled_from([0xE1, 0xE2, 0xE4, 0xEC, 0xED, 0xFE]),
        st.binary(max_size=80).flatmap(
            lambda data: st.sampled_from(
                [data, b"Exif\0\0" + data, b"Exif\0\0II*\0\x08\0\0\0" + data, b"ICC_PROFILE\0\1\1" + data, b"MPF\0" + data]
            )
        ),
    ),
    max_size=4,
)
CHUNKS = st.lists(
    st.tuples(
        st.sampled_from([b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"gAMA", b"cHRM", b"pHYs", b"sRGB", b"tIME", b"prVt"]),
        st.binary(max_size=40) | st.binary(max_size=20).map(lambda data: b"XML:com.adobe.xmp\0\0\0\0\0" + data),
        st.booleans(),
    ),
    max_size=4,
)


def stored_pixels(filename: str) -> np.ndarray:
    """Read an image without turning it, because random metadata may happen to have an orientation."""
    return read_stored(filename).pixels


@settings(max_examples=60)
@given(segments=SEGMENTS)
def test_a_jpeg_file_is_read_whatever_its_metadata(tmp_path_factory, segments):
    folder = tmp_path_factory.mktemp("jpeg")
    plain = stored_pixels(write_file(folder / "plain.jpg", JPEG))
    filename = write_file(folder / "a.jpg", jpeg_with(JPEG, *segments))
    assert read_jpeg_header(filename)[:2] == (24, 20)  # so TensorFlow decodes it
    np.testing.assert_array_equal(stored_pixels(filename), plain)


@settings(max_examples=60)
@given(chunks=CHUNKS, after=st.booleans())
def test_a_png_file_is_read_whatever_its_random_metadata(tmp_path_factory, chunks, after):
    made = [png_chunk(name, data) if sound else png_chunk(name, data)[:-1] + b"\0" for name, data, sound in chunks]
    filename = write_file(tmp_path_factory.mktemp("png") / "a.png", png_with(PNG, b"".join(made), PNG_END if after else b""))
    np.testing.assert_array_equal(stored_pixels(filename), NOISE)


@settings(max_examples=40)
@given(
    tags=st.dictionaries(st.sampled_from([270, 271, 305, 315, 700, 33723, 34377, 34675]), st.binary(max_size=40), max_size=3),
    pointer=st.integers(0, 2**32 - 1),
)
def test_a_tiff_file_is_read_whatever_its_metadata(tmp_path_factory, tags, pointer):
    for compression in (None, "tiff_lzw"):
        contents = encoded(NOISE, "TIFF", tiffinfo={**tags, 34665: 0xABCDEF12}, compression=compression)
        contents = contents.replace(struct.pack("<I", 0xABCDEF12), struct.pack("<I", pointer))  # where EXIF data would be
        np.testing.assert_array_equal(stored_pixels(write_file(tmp_path_factory.mktemp("tiff") / "a.tif", contents)), NOISE)


def test_what_is_no_png_file_is_not_cleaned(tmp_path):
    with pytest.raises(ValueError, match="is not a PNG file"):
        without_metadata(write_file(tmp_path / "a.png", JPEG))


def test_an_image_without_metadata_is_upright():
    assert orientation_of(Image.new("RGB", (1, 1))) == 1
