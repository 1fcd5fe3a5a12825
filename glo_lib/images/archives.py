"""Zip archives of images, unpacked once into the cache.

Every member is checked before anything is written: nothing is ever written outside the cache, and no archive can fill the disk.
"""

import errno
import lzma
import os
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from glo_lib.images.reading import first_bytes
from glo_lib.system import locks
from glo_lib.system.cache import cache_root, digest_of

UNFINISHED = "unpacking-"  # prefix of folders that are still being filled
MAX_UNPACKED_BYTES = 64 * 2**30
MAX_COMPRESSION = 200  # JPEG files hardly compress; a member that shrank more than this is a zip bomb
# What Python's zipfile raises on damaged archives, apart from the errors of a full disk.
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
# A seek before the file's start, an impossible name, and bzip2's complaint about its data, which has no error number.
DAMAGED_ARCHIVE_CODES = (errno.EINVAL, errno.ENAMETOOLONG, None)


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
        raise ValueError(f"{archive} is not a readable zip archive ({error}); it begins with {first_bytes(archive)!r}") from error
    return target


def _check_member(archive: Path, member: zipfile.ZipInfo) -> None:
    parts = member.filename.replace("\\", "/").split("/")
    if member.filename.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
        raise ValueError(f"{archive} holds the member {member.filename!r}, which would be written outside its folder; nothing was unpacked")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise ValueError(f"{archive} holds the link {member.filename!r}; archives of images need none, nothing was unpacked")
    if member.flag_bits & 1:
        raise ValueError(f"{archive} holds the encrypted member {member.filename!r}; unpack it yourself and give the folder")
    if member.file_size > MAX_COMPRESSION * max(member.compress_size, 1024):
        raise ValueError(
            f"{archive} holds {member.filename!r}, which unpacks from {member.compress_size:,} to {member.file_size:,} bytes; "
            f"images compress less than {MAX_COMPRESSION} to 1, nothing was unpacked"
        )


def _check_total(archive: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    total = sum(member.file_size for member in members)
    if total > MAX_UNPACKED_BYTES:
        raise ValueError(f"{archive} unpacks to {total:,} bytes, above {MAX_UNPACKED_BYTES:,}: unpack it yourself and give the folder")


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
