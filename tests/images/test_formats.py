"""What a file is that is not an image: named by its first bytes, with what to do about it."""

import io
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from glo_lib.images.formats import ENDINGS_BY_FORMAT, EXTENSIONS, FORMATS, KINDS, advice_for_ending, describe_non_image, kind_of
from tests.make_files import write_file


def media(brand: bytes) -> bytes:
    return b"\x00\x00\x00\x18ftyp" + brand + bytes(4) + b"mif1miaf"


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.jpg"))
    return file.getvalue()


LFS = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)
NAMED = {
    "HEIC": (media(b"heic"), "this is a HEIC image, not an image that can be read; convert it to JPEG or PNG"),
    "HEIC, several images": (media(b"mif1"), "a HEIC image"),
    "AVIF": (media(b"avif"), "an AVIF image"),
    "Git LFS": (LFS, "this is a Git LFS pointer, not an image that can be read; fetch the image itself with 'git lfs pull'"),
    "git-annex": (b"/annex/objects/SHA256E-s3--ba7816bf.jpg\n", "a git-annex pointer"),
    "HTML": (b"<!DOCTYPE html><html>", "this is an HTML page, not an image that can be read; the download probably failed"),
    "HTML with a byte order mark and a comment": (b"\xef\xbb\xbf\r\n<!-- saved\nfrom --> <HTML lang='en'>", "an HTML page"),
    "HTML in UTF-16": ("<html>".encode("utf-16"), "an HTML page"),
    "zip": (b"PK\x03\x04" + bytes(30), "this is a zip archive, not an image that can be read; unpack it"),
    "7z": (b"7z\xbc\xaf\x27\x1c\x00\x04", "a 7z archive"),
    "RAR": (b"Rar!\x1a\x07\x00", "a RAR archive"),
    "gzip": (b"\x1f\x8b\x08\x00", "a gzip archive"),
    "tar": (tar(), "a tar archive"),
    "MP4": (media(b"isom"), "this is a video, not an image that can be read; extract frames as images"),
    "QuickTime": (b"\x00\x00\x00\x14ftypqt  ", "a video"),
    "QuickTime of old": (b"\x00\x00\x00\x08wide\x00\x00\x10\x00mdat", "a video"),
    "WebM": (b"\x1aE\xdf\xa3\x01\x00", "a video"),
    "AVI": (b"RIFF\x24\x00\x00\x00AVI LIST", "a video"),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3", "a PDF document"),
    "SVG": (b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg width='9'>", "an SVG drawing"),
    "CR2": (b"II*\x00\x10\x00\x00\x00CR\x02\x00", "a camera's raw image"),
    "CR3": (media(b"crx "), "a camera's raw image"),
    "JPEG XL": (b"\xff\x0a\xfa\x1f", "a JPEG XL image"),
    "JPEG XL in a container": (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "a JPEG XL image"),
    "JPEG 2000": (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
    "Photoshop": (b"8BPS\x00\x01", "a Photoshop document"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF", "a PostScript drawing"),
    "error of a storage service": (
        b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>",
        "this is an XML text, not an image that can be read; the download",
    ),
    "error of a server": (b'{"error": {"code": 403}}', "this is a JSON text, not an image that can be read; the download"),
    "text": ("größe\n".encode() * 200, "this is a text file, not an image that can be read"),
    "text that is cut in a letter": (b"a" * 511 + "ü".encode(), "this is a text file"),
    "zeros": (
        bytes(4096),
        "only zero bytes so far as one sees, not an image that can be read; the copy or the download was probably interrupted",
    ),
    "AppleDouble": (b"\x00\x05\x16\x07\x00\x02", "AppleDouble"),
    "empty": (b"", "the file is empty"),
    "damaged JPEG": (b"\xff\xd8\xff\xe0\x00\x10JFIF", r"not an image that can be read; it begins with b'\xff\xd8\xff\xe0"),
    "unknown": (b"\x81\x92\xa3\xb4", r"not an image that can be read; it begins with b'\x81\x92\xa3\xb4'"),
}


@pytest.mark.parametrize("kind", NAMED)
def test_a_file_is_named_with_what_to_do(tmp_path, kind):
    contents, description = NAMED[kind]
    assert description in describe_non_image(write_file(tmp_path / "a.jpg", contents))


@pytest.mark.parametrize("kind", FORMATS)
def test_the_formats_that_are_read_are_not_called_something_else(tmp_path, kind):
    file = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(file, kind)
    named = kind_of(file.getvalue()[:512])
    assert named is None or not named.advice or kind == "AVIF"


def test_every_format_has_endings_of_its_own_and_starts_no_other_program():
    assert len(set(EXTENSIONS)) == len(EXTENSIONS) and {".jpg", ".jpeg", ".png", ".webp", ".jfif", ".bmp", ".tif"} <= set(EXTENSIONS)
    assert not {"EPS", "WMF", "MPEG"} & set(FORMATS) and set(FORMATS) <= set(ENDINGS_BY_FORMAT)
    assert "unpack" in advice_for_ending(".rar") and "convert" in advice_for_ending(".nef") and "frames" in advice_for_ending(".mov")
    assert not advice_for_ending(".txt") and not advice_for_ending("")


@given(start=st.binary(max_size=600) | st.text(max_size=200).map(str.encode) | st.sampled_from([b"\xff\xfe", b"\xef\xbb\xbf", b"<!--"]))
def test_every_start_of_a_file_has_a_name_or_none(start):
    assert kind_of(start) in {None, *(kind for _, kind in KINDS)}
