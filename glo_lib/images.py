"""Image files: finding them, unpacking them, reading the odd ones, and naming those that cannot be read.

What comes from outside is checked here, before any training starts, so that nothing dies an hour in.
"""

import errno
import lzma
import os
import shutil
import stat
import struct
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from glo_lib import locks
from glo_lib.cache import cache_root, digest_of

EXTENSIONS = (".jpg", ".jpeg", ".png")
CELEBA_FOLDER = "img_align_celeba"
MOST_PIXELS = 64_000_000  # a larger image is a mistake or an attack: 64 megapixels are 192 MB once decoded
JPEG_START, JPEG_SCAN = b"\xff\xd8", b"\xff\xda"
JPEG_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of the segment that declares height and width
UNFINISHED = "unpacking-"  # how the names of folders begin that are still being filled
MOST_UNPACKED_BYTES = 64 * 2**30
MOST_COMPRESSION = 200  # JPEG files hardly compress; a member that shrank more than this is a zip bomb
NAMED_IN_A_MESSAGE = 10
# What Python's zipfile raises on damaged archives, apart from what it says of a full disk.
HEADER_BYTES = 4096  # most JPEG files begin their scan within
DAMAGED_ARCHIVE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    IndexError,
    NotADirectoryError,
    IsADirectoryError,
    NotImplementedError,
    OverflowError,
    UnicodeDecodeError,
)
# A place before the file's start, an impossible name, and bzip2's complaint about its data, which has no number.
DAMAGED_ARCHIVE_CODES = (errno.EINVAL, errno.ENAMETOOLONG, None)
# Pillow warns of oddities that it then reads well. (A filter for the moment would not be safe in threads.)
warnings.filterwarnings("ignore", module=r"PIL\.")


def list_images(data_dir: str | Path, num_samples: int = 0) -> list[str]:
    """Image files below a folder, or in a zip archive, in sorted order: the position in this list is the row of the image's code.

    A folder that contains CelebA's ``img_align_celeba`` is entered there. A zip archive, such as the official
    ``img_align_celeba.zip``, is unpacked once into the cache.

    Args:
        data_dir: folder (searched recursively) or zip archive.
        num_samples: keep the first so many; 0 keeps all.

    Returns:
        File names, sorted by their path; extensions jpg, jpeg and png in any case. Hidden files and folders are left out.

    Raises:
        FileNotFoundError: there is no such folder or archive, or no image in it.
        ValueError: a file that is not a zip archive, an archive that is not safe to unpack, or fewer images than ``num_samples``.

    Example:
        >>> list_images("no/such/folder")
        Traceback (most recent call last):
        FileNotFoundError: data_dir is 'no/such/folder', which does not exist; give a folder of images or a zip archive of them
    """
    path = Path(data_dir).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"data_dir is {str(data_dir)!r}, which does not exist; give a folder of images or a zip archive of them")
    if num_samples < 0:
        raise ValueError(f"num_samples is {num_samples}; give the number of images to use, or 0 for all of them")
    folder = path if path.is_dir() else unpack_zip(path)
    if (folder / CELEBA_FOLDER).is_dir():
        folder = folder / CELEBA_FOLDER
    filenames = sorted(_walk(str(folder), {os.path.realpath(folder)}))
    if not filenames:
        raise FileNotFoundError(f"{str(data_dir)!r} holds no image; looked for {', '.join(EXTENSIONS)} in it and in its folders")
    if num_samples > len(filenames):
        raise ValueError(f"num_samples is {num_samples}, and {str(data_dir)!r} holds {len(filenames)} images; give at most that, or 0")
    return filenames[:num_samples] if num_samples else filenames


def _walk(folder: str, entered: set[str]) -> Iterable[str]:
    with os.scandir(folder) as entries:
        # Links last: of two names of one folder the one that is no link is used, whatever the file system's order.
        ordered = sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name))
    for entry in ordered:
        if entry.name.startswith("."):
            continue
        # A link that leads nowhere, or to itself, is neither file nor folder (of the latter the entry's own methods would complain).
        if entry.name.lower().endswith(EXTENSIONS) and os.path.isfile(entry.path):
            yield entry.path
        elif os.path.isdir(entry.path):
            real = os.path.realpath(entry.path)
            if real not in entered:  # a loop of links is entered once
                entered.add(real)
                yield from _walk(entry.path, entered)


def unpack_zip(archive: str | Path) -> Path:
    """Unpack an archive of images into the cache, once.

    Every member is checked before anything is written; the folder appears under its name only when it is whole.

    Args:
        archive: zip file.

    Returns:
        The folder with the archive's content.

    Raises:
        ValueError: the file is not a zip archive, is damaged, or holds members that do not belong in an archive of images:
            absolute names, names that lead out of the folder, links, more than 64 GiB, or a compression of more than 200 to 1.
    """
    archive = Path(archive)
    facts = archive.stat()
    target = cache_root() / "archives" / digest_of(str(archive.resolve()), facts.st_size, facts.st_mtime_ns)
    if target.is_dir():
        return target
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
            for member in members:
                _check_member(archive, member)
            _check_total(archive, members)
            target.parent.mkdir(parents=True, exist_ok=True)
            locks.remove_abandoned(target.parent, UNFINISHED)
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=UNFINISHED) as partial, locks.acquire(partial) or locks.Lock(None):
                for member in members:
                    opened.extract(member, partial)
                _rename_unless_there(partial, target)
    except (OSError, *DAMAGED_ARCHIVE) as error:
        if isinstance(error, OSError) and not isinstance(error, DAMAGED_ARCHIVE) and error.errno not in DAMAGED_ARCHIVE_CODES:
            raise  # a full disk, say
        raise ValueError(f"{archive} is not a readable zip archive ({error}); it begins with {_first_bytes(archive)!r}") from error
    return target


def _check_member(archive: Path, member: zipfile.ZipInfo) -> None:
    parts = member.filename.replace("\\", "/").split("/")
    if member.filename.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
        raise ValueError(f"{archive} holds the member {member.filename!r}, which would be written outside its folder; nothing was unpacked")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise ValueError(f"{archive} holds the link {member.filename!r}; archives of images need none, nothing was unpacked")
    if member.flag_bits & 1:
        raise ValueError(f"{archive} holds the encrypted member {member.filename!r}; unpack it yourself and give the folder")
    if member.file_size > MOST_COMPRESSION * max(member.compress_size, 1024):
        raise ValueError(
            f"{archive} holds {member.filename!r}, which unpacks from {member.compress_size:,} to {member.file_size:,} bytes; "
            f"images compress less than {MOST_COMPRESSION} to 1, nothing was unpacked"
        )


def _check_total(archive: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    total = sum(member.file_size for member in members)
    if total > MOST_UNPACKED_BYTES:
        raise ValueError(f"{archive} unpacks to {total:,} bytes, above {MOST_UNPACKED_BYTES:,}: unpack it yourself and give the folder")


def _rename_unless_there(partial: str, target: Path) -> None:
    whole = f"{partial}-whole"
    os.rename(partial, whole)
    os.makedirs(partial)  # for the clean-up of the temporary folder
    try:
        os.rename(whole, target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(whole)  # another process was faster: its folder is as good as ours


def _first_bytes(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(24)


def is_plain_jpeg(filename: str) -> bool:
    """Whether TensorFlow's JPEG decoder reads the file as it should be seen: no EXIF data, which may rotate it, and no absurd size."""
    try:
        with open(filename, "rb", buffering=0) as file:
            plain = _starts_like_a_plain_jpeg(file.read(HEADER_BYTES))
            if plain is None:  # a colour profile, say, comes before the scan
                file.seek(0)
                plain = _starts_like_a_plain_jpeg(file.readall())
        return bool(plain)
    except OSError:
        return False


def _starts_like_a_plain_jpeg(contents: bytes) -> bool | None:
    """Whether the segments up to the scan are ordinary; None where the contents end before that is known."""
    if contents[:2] != JPEG_START:
        return False
    position = 2
    while position + 9 <= len(contents):
        if contents[position : position + 2] == JPEG_SCAN:
            return True
        length = int.from_bytes(contents[position + 2 : position + 4], "big")  # of what follows, with these two bytes
        if contents[position] != 255 or length < 2 or contents[position + 4 : position + 8] == b"Exif":
            return False  # nothing unusual is TensorFlow's: Pillow reads it, or says what is wrong
        if contents[position + 1] in JPEG_SIZES:
            height, width = (int.from_bytes(contents[position + at : position + at + 2], "big") for at in (5, 7))
            if height * width > MOST_PIXELS:
                return False
        position += 2 + length
    return None


def read_image(filename: str) -> np.ndarray:
    """Read any image file as RGB: grey, palette, CMYK, 16-bit, transparent (on white) and EXIF-rotated ones included.

    Args:
        filename: image file of any kind that Pillow knows; of an animated one the first frame is read.

    Returns:
        (height, width, 3) uint8.

    Raises:
        ValueError: what is wrong with the file, its name first.
    """
    try:
        with Image.open(filename) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"{image.width}x{image.height} pixels, above the limit of {MOST_PIXELS:,}")
            return np.asarray(_as_rgb(ImageOps.exif_transpose(image)))
    except UnidentifiedImageError:
        raise ValueError(f"{filename!r}: {_not_an_image(filename)}") from None
    except Exception as error:  # a damaged file makes Pillow's many readers raise almost anything
        raise ValueError(f"{filename!r}: {error}") from None


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):  # 16-bit or floating-point grey: Pillow's own conversion would clip it to white
        values = np.asarray(image, np.float64)
        top = 65535 if image.mode != "F" else max(float(values.max()), 1.0)
        return Image.fromarray(np.uint8(np.clip(values / top, 0, 1) * 255 + 0.5)).convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _not_an_image(filename: str) -> str:
    start = _first_bytes(Path(filename))
    if not start:
        return "the file is empty"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "this is an HTML page, not an image; the download probably failed"
    return f"not an image that can be read; it begins with {start!r}"


def unreadable(filenames: Sequence[str]) -> list[str]:
    """Read every file to its end and say of each bad one what is wrong with it.

    Returns:
        One line for each unreadable file, in the order given.
    """

    def problem(filename: str) -> str:
        try:
            read_image(filename)
        except ValueError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor() as pool:
        return [line for line in pool.map(problem, filenames) if line]


def refuse(problems: Sequence[str]) -> None:
    """Raise a `ValueError` that names the unreadable files, the first ten of them with their reason."""
    shown = "\n  ".join(problems[:NAMED_IN_A_MESSAGE])
    more = f"\n  ... and {len(problems) - NAMED_IN_A_MESSAGE} more" if len(problems) > NAMED_IN_A_MESSAGE else ""
    raise ValueError(f"{len(problems)} image file(s) cannot be read; remove or replace them:\n  {shown}{more}")
