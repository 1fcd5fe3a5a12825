"""The still image formats that are read, and what a file that is none of them is: named by its first bytes, with what to do about it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from PIL import features

# Formats that Pillow decodes within this process, and the endings of their files. Formats whose decoder starts another program, such as
# PostScript, are not among them. AVIF is read where Pillow was built with it.
ENDINGS_BY_FORMAT = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "AVIF": (".avif",),
}
FORMATS = tuple(kind for kind in ENDINGS_BY_FORMAT if kind != "AVIF" or features.check("avif"))
EXTENSIONS = tuple(ending for kind in FORMATS for ending in ENDINGS_BY_FORMAT[kind])
JPEG_EXTENSIONS = ENDINGS_BY_FORMAT["JPEG"]
HEADER_BYTES = 512  # enough for every signature below; that of tar lies at byte 257
SHOWN_BYTES = 24  # of a file that nobody knows


class Kind(NamedTuple):
    """What a file is.

    Attributes:
        name: with its article, as in "an HTML page".
        advice: what to do about it.
        archive: whether it is an archive, which may hold images.
    """

    name: str
    advice: str
    archive: bool = False


CONVERT = "convert it to JPEG or PNG"
DOWNLOAD = "the download probably failed"
NO_PHOTOGRAPH = "remove it"
UNPACK = "unpack it"
TAKE_STILLS = "extract frames as images first, for instance with ffmpeg"

ZIP = Kind("a zip archive", UNPACK, archive=True)
ARCHIVE_ENDINGS = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst")
CONVERTIBLE_ENDINGS = (
    *(".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".psd", ".svg", ".eps", ".pdf", ".exr"),
    *(".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".raf", ".rw2", ".raw"),
)
VIDEO_ENDINGS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".3gp")

HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
AVIF_BRANDS = (b"avif", b"avis")
VIDEO_STARTS = (b"\x1aE\xdf\xa3", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b"FLV\x01", b"OggS", b"0&\xb2u\x8ef\xcf\x11")


def _brand(start: bytes) -> bytes:
    """Return the brand of an ISO media file (HEIC, AVIF, MP4, QuickTime), or nothing."""
    return start[8:12] if start[4:8] == b"ftyp" else b""


def _text(start: bytes) -> str:
    """Return the beginning of a text in lower case, without what may come before the first tag; nothing for other bytes."""
    try:
        text = start.decode("utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", "ignore").lstrip().lower()
    except UnicodeDecodeError:
        return ""
    return re.sub(r"^(<!--.*?(-->\s*|$))*", "", text, flags=re.DOTALL)


def _starts(*signatures: bytes) -> Callable[[bytes], bool]:
    return lambda start: start.startswith(signatures)


def _riff(form: bytes) -> Callable[[bytes], bool]:
    return lambda start: start[:4] == b"RIFF" and start[8:12] == form


def _is_text(start: bytes) -> bool:
    """Whether all bytes are printable characters of UTF-8 (the last character may be cut) or white space."""
    try:
        text = start.decode("utf-8-sig") if len(start) < HEADER_BYTES else start[:-4].decode("utf-8-sig", "ignore")
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter.isspace() for letter in text) and b"\xff" not in start


# In this order; the first that fits is the answer.
KINDS: tuple[tuple[Callable[[bytes], bool], Kind], ...] = (
    (_starts(b"\xff\xd8\xff"), Kind("a JPEG image", "")),
    (_starts(b"\x89PNG\r\n\x1a\n"), Kind("a PNG image", "")),
    (_riff(b"WEBP"), Kind("a WebP image", "")),
    (_starts(b"GIF87a", b"GIF89a"), Kind("a GIF image", "")),
    (_starts(b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"), ZIP),
    (_starts(b"7z\xbc\xaf\x27\x1c"), Kind("a 7z archive", f"{UNPACK} (7z x)", archive=True)),
    (_starts(b"Rar!\x1a\x07"), Kind("a RAR archive", f"{UNPACK} (unrar x)", archive=True)),
    (_starts(b"\x1f\x8b"), Kind("a gzip archive", f"{UNPACK} (tar xf, or gunzip)", archive=True)),
    (_starts(b"BZh"), Kind("a bzip2 archive", f"{UNPACK} (tar xf, or bunzip2)", archive=True)),
    (_starts(b"\xfd7zXZ\x00"), Kind("an xz archive", f"{UNPACK} (tar xf, or unxz)", archive=True)),
    (_starts(b"\x28\xb5\x2f\xfd"), Kind("a zstd archive", f"{UNPACK} (tar xf, or unzstd)", archive=True)),
    (lambda start: start[257:262] == b"ustar", Kind("a tar archive", f"{UNPACK} (tar xf)", archive=True)),
    (lambda start: _brand(start) in HEIC_BRANDS, Kind("a HEIC image", f"{CONVERT} (the Photos program of a phone or Mac exports JPEG)")),
    (lambda start: _brand(start) in AVIF_BRANDS, Kind("an AVIF image", CONVERT)),
    (lambda start: _brand(start) == b"crx ", Kind("a camera's raw image (CR3)", CONVERT)),
    (lambda start: bool(_brand(start)) or start[4:8] in (b"moov", b"mdat", b"wide"), Kind("a video", TAKE_STILLS)),
    (_riff(b"AVI "), Kind("a video", TAKE_STILLS)),
    (_starts(*VIDEO_STARTS), Kind("a video", TAKE_STILLS)),
    (_starts(b"\xff\x0a", b"\x00\x00\x00\x0cJXL "), Kind("a JPEG XL image", CONVERT)),
    (_starts(b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  "), Kind("a JPEG 2000 image", CONVERT)),
    (lambda start: start[:4] == b"II*\x00" and start[8:10] == b"CR", Kind("a camera's raw image (CR2)", CONVERT)),
    (_starts(b"FUJIFILMCCD-RAW", b"IIRO", b"IIU\x00"), Kind("a camera's raw image", CONVERT)),
    (_starts(b"8BPS"), Kind("a Photoshop document", CONVERT)),
    (_starts(b"%PDF"), Kind("a PDF document", CONVERT)),
    (_starts(b"%!", b"\xc5\xd0\xd3\xc6"), Kind("a PostScript drawing", CONVERT)),
    (_starts(b"DDS "), Kind("a DDS texture", CONVERT)),
    (_starts(b"v/1\x01"), Kind("an OpenEXR image", CONVERT)),
    (_starts(b"\x00\x05\x16\x07", b"\x00\x05\x16\x00"), Kind("a file in which macOS keeps attributes (AppleDouble)", NO_PHOTOGRAPH)),
    (_starts(b"\x00\x00\x00\x01Bud1"), Kind("a file in which macOS keeps the look of a folder", NO_PHOTOGRAPH)),
    (_starts(b"\x93NUMPY"), Kind("a NumPy array", CONVERT)),
    (_starts(b"\x89HDF\r\n\x1a\n"), Kind("an HDF5 file", CONVERT)),
    (
        _starts(b"version https://git-lfs", b"version https://hawser"),
        Kind("a Git LFS pointer", "fetch the image itself with 'git lfs pull'"),
    ),
    (lambda start: b"/annex/objects/" in start[:300], Kind("a git-annex pointer", "fetch the image itself with 'git annex get'")),
    (lambda start: _text(start).startswith(("<!doctype html", "<html", "<head", "<script")), Kind("an HTML page", DOWNLOAD)),
    (lambda start: _text(start).startswith("<svg") or "<svg" in _text(start)[:400], Kind("an SVG drawing", CONVERT)),
    (lambda start: _text(start).startswith(("<?xml", "<error")), Kind("an XML text", DOWNLOAD)),
    (lambda start: _is_text(start) and start.lstrip()[:1] in (b"{", b"["), Kind("a JSON text", DOWNLOAD)),
    (
        lambda start: not start.strip(b"\x00"),
        Kind("only zero bytes so far as one sees", "the copy or the download was probably interrupted"),
    ),
    (_is_text, Kind("a text file", "read it: a failed download often leaves a message")),
)


def kind_of(start: bytes) -> Kind | None:
    """Return what a file is, from its first 512 bytes; None for an empty file and for bytes that nobody knows.

    Example:
        >>> kind_of(b"%PDF-1.7").name
        'a PDF document'
    """
    return next((kind for fits, kind in KINDS if fits(start)), None) if start else None


def advice_for_ending(ending: str) -> str:
    """Return what makes images of a file that is not read, from its ending in lower case; nothing if it is unlikely to hold any.

    Example:
        >>> advice_for_ending(".heic")
        'convert it to JPEG or PNG'
    """
    groups = {ARCHIVE_ENDINGS: UNPACK, CONVERTIBLE_ENDINGS: CONVERT, VIDEO_ENDINGS: TAKE_STILLS}
    return next((advice for endings, advice in groups.items() if ending in endings), "")


def describe_non_image(filename: str | Path) -> str:
    """Return what a file is that cannot be read as an image, and what to do about it.

    Args:
        filename: a file that exists.

    Returns:
        Text such as "this is an HTML page, not an image that can be read; the download probably failed".

    Raises:
        OSError: the file cannot be opened.
    """
    start = first_bytes(filename)
    kind = kind_of(start)
    if not start:
        return "the file is empty"
    if kind is None or not kind.advice:  # an image whose header is damaged
        return f"not an image that can be read; it begins with {start[:SHOWN_BYTES]!r}"
    return f"this is {kind.name}, not an image that can be read; {kind.advice}"


def first_bytes(filename: str | Path) -> bytes:
    """Return the first 512 bytes of a file."""
    with open(filename, "rb") as file:
        return file.read(HEADER_BYTES)
