"""Unpack zip archives of images into the cache, once.

Every member is checked before anything is written, so that nothing is written outside the cache and no archive fills the disk.
"""

import errno
import lzma
import os
import re
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from glo_lib.images.formats import SHOWN_BYTES, ZIP, first_bytes, kind_of
from glo_lib.system import locks
from glo_lib.system.cache import cache_root, digest_of, make_cache_folder
from glo_lib.system.progress import slow_progress

UNFINISHED = "unpacking-"  # name prefix of folders that are still being filled
MAX_UNPACKED_BYTES = 64 * 2**30
DRIVE = re.compile(r"[A-Za-z]:")  # of Windows, before a path; other names with a colon are harmless
# Ways to compress a member that Python's zipfile can read.
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
COMPRESSION_NAMES = {9: "Deflate64, which Windows uses for large archives", 93: "Zstandard", 95: "xz", 98: "PPMd"}
MAX_COMPRESSION = 200  # to 1; JPEG files hardly compress, so a member with a higher ratio is a zip bomb
# Exceptions that Python's zipfile raises for damaged archives, apart from OSError, which can also mean a full disk.
DAMAGED_ARCHIVE_ERRORS = (
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
# Error numbers of an OSError that mean a damaged archive: a seek before the start of the file and an impossible name. None is the
# number of the error that bzip2 raises for damaged data.
DAMAGED_ARCHIVE_ERRNOS = (errno.EINVAL, errno.ENAMETOOLONG, None)


def unpack_zip(archive: str | Path) -> Path:
    """Unpack an archive of images into the cache, once.

    Every member is checked before anything is written. The folder gets its final name only when it is complete, and an archive that has not
    changed is not unpacked again.

    Args:
        archive: zip file.

    Returns:
        The folder with the contents of the archive.

    Raises:
        ValueError: the file is not a zip archive (the message says what it is), is damaged, is compressed in a way that Python cannot read,
            or contains something that does not belong in an archive of images: absolute names, names that lead out of the folder, links,
            encrypted members, more than 64 GiB in total, or a member that is compressed by more than 200 to 1.
        FileNotFoundError: there is no such file.
        PermissionError: the cache cannot be written.
        OSError: the disk is full.

    Example:
        ``list_images(unpack_zip("img_align_celeba.zip"))``
    """
    archive = Path(archive)
    status = archive.stat()
    target = cache_root() / "archives" / digest_of(str(archive.resolve()), status.st_size, status.st_mtime_ns)
    if os.path.isdir(target):  # false, too, if the cache may not be entered; its folder is then named below
        return target
    try:
        with zipfile.ZipFile(archive) as zip_file:
            members = [member for member in zip_file.infolist() if not member.is_dir()]
            for member in members:
                _check_member(archive, member)
            _check_total(archive, members)
            make_cache_folder(target.parent.name)
            locks.remove_abandoned(target.parent, UNFINISHED)
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=UNFINISHED) as partial, locks.acquire(partial) or locks.Lock(None):
                _extract(zip_file, members, partial)
                _rename_unless_there(partial, target)
    except (OSError, *DAMAGED_ARCHIVE_ERRORS) as error:
        is_damaged = isinstance(error, DAMAGED_ARCHIVE_ERRORS) or error.errno in DAMAGED_ARCHIVE_ERRNOS
        if isinstance(error, PermissionError) or not is_damaged:
            raise  # for instance a full disk
        raise ValueError(_describe_non_archive(archive, error)) from error
    return target


def _describe_non_archive(archive: Path, error: Exception) -> str:
    """Return what a file is that cannot be unpacked, and what to do about it."""
    start = first_bytes(archive)
    kind = kind_of(start)
    if kind is None or kind is ZIP:
        return f"{archive} is not a readable zip archive ({error}); it begins with {start[:SHOWN_BYTES]!r}"
    if kind.archive:
        return f"{archive} is {kind.name}, and only zip archives are unpacked here; {kind.advice} and give the folder"
    if not kind.advice:
        return f"{archive} is {kind.name}, not a zip archive; give the folder that holds it"
    return f"{archive} is {kind.name}, not a zip archive; {kind.advice}"


def _extract(zip_file: zipfile.ZipFile, members: Sequence[zipfile.ZipInfo], folder: str) -> None:
    """Extract all members, with a progress bar if it takes longer than a second."""
    total = sum(member.file_size for member in members)
    with slow_progress("unpacking", total, "B", unit_scale=True) as bar:
        for member in members:
            zip_file.extract(member, folder)
            bar.update(member.file_size)


def _check_member(archive: Path, member: zipfile.ZipInfo) -> None:
    """Raise a `ValueError` for a member that is not safe to unpack, and a `zipfile.BadZipFile` for one without a name."""
    parts = member.filename.replace("\\", "/").split("/")
    if {*parts} <= {"", "."}:  # versions of Python raise different errors for it
        raise zipfile.BadZipFile("it holds a file without a name")
    if member.filename.startswith(("/", "\\")) or ".." in parts or DRIVE.match(member.filename):
        raise ValueError(f"{archive} holds the member {member.filename!r}, which would be written outside its folder; nothing was unpacked")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise ValueError(f"{archive} holds the link {member.filename!r}; archives of images need none, nothing was unpacked")
    if member.flag_bits & 1:
        raise ValueError(f"{archive} holds the encrypted member {member.filename!r}; unpack it yourself and give the folder")
    if member.compress_type not in COMPRESSIONS:
        how = COMPRESSION_NAMES.get(member.compress_type, f"method {member.compress_type}")
        raise ValueError(
            f"{archive} is compressed by {how}; Python cannot read that, so unpack it yourself (7z x, or the system's own program) "
            "and give the folder"
        )
    if member.file_size > MAX_COMPRESSION * max(member.compress_size, 1024):
        raise ValueError(
            f"{archive} holds {member.filename!r}, which unpacks from {member.compress_size:,} to {member.file_size:,} bytes; "
            f"images compress less than {MAX_COMPRESSION} to 1, nothing was unpacked"
        )


def _check_total(archive: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    """Raise a `ValueError` if all members together are too large."""
    total = sum(member.file_size for member in members)
    if total > MAX_UNPACKED_BYTES:
        raise ValueError(f"{archive} unpacks to {total:,} bytes, above {MAX_UNPACKED_BYTES:,}: unpack it yourself and give the folder")


def _rename_unless_there(partial: str, target: Path) -> None:
    """Give a complete folder its final name, or remove it if another process has unpacked the same archive meanwhile."""
    whole = f"{partial}-whole"
    os.rename(partial, whole)
    os.makedirs(partial)  # TemporaryDirectory removes this folder and fails if there is none
    try:
        os.rename(whole, target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(whole)  # another process was faster, and its folder has the same contents
