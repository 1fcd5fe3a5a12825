"""Archives: what is unpacked, and what is refused before anything is written."""

import errno
import io
import os
import stat
import zipfile
from pathlib import Path

import pytest

from glo_lib.images import archives
from glo_lib.images.archives import unpack_zip
from glo_lib.images.files import list_images
from tests.make_files import write_file


def archive_bytes(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, contents in members.items():
            archive.writestr(name, contents)
    return file.getvalue()


def write_archive(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    return Path(write_file(path, archive_bytes(members, compression)))


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def test_an_archive_is_unpacked_into_the_cache_once(monkeypatch, tmp_path, cache):
    members = {f"img_align_celeba/{i:06}.jpg": bytes([i]) * 500 for i in (3, 1, 2)}
    archive = write_archive(tmp_path / "img_align_celeba.zip", members, zipfile.ZIP_DEFLATED)
    folder = unpack_zip(archive)
    assert os.listdir(cache / "archives") == [folder.name]
    filenames = list_images(archive)
    assert filenames == [str(folder / "img_align_celeba" / f"{i:06}.jpg") for i in (1, 2, 3)]
    assert [Path(filename).read_bytes() for filename in filenames] == [bytes([i]) * 500 for i in (1, 2, 3)]
    monkeypatch.delattr(zipfile.ZipFile, "extract")
    assert unpack_zip(str(archive)) == folder


def test_an_archive_is_recognised_by_its_path_and_modification_time(tmp_path):
    def unpack_letter(path: Path, letter: bytes, mtime_ns: int) -> bytes:
        os.utime(write_archive(path, {"a.jpg": letter}), ns=(0, mtime_ns))
        return (unpack_zip(path) / "a.jpg").read_bytes()

    assert unpack_letter(tmp_path / "photos.zip", b"1", mtime_ns=0) == b"1"
    assert unpack_letter(tmp_path / "photos.zip", b"2", mtime_ns=1) == b"2"
    assert unpack_letter(tmp_path / "elsewhere" / "photos.zip", b"3", mtime_ns=1) == b"3"


GOOD = archive_bytes({"good.jpg": b"1", "ü.jpg": bytes(range(200)) * 3}, zipfile.ZIP_DEFLATED)
NAME = "ü.jpg".encode()
DATA = GOOD.index(NAME) + len(NAME)  # start of the compressed data of the second member
ENTRY = GOOD.rindex(b"PK\x01\x02")  # start of its entry in the central directory


def overwrite(archive: bytes, position: int, value: bytes) -> bytes:
    return archive[:position] + value + archive[position + len(value) :]


DAMAGED_ARCHIVES = {
    "other contents": archive_bytes({"ü.jpg": b"was good once"}).replace(b"was good once", b"is bad by now"),
    "compressed data": overwrite(GOOD, DATA, b"\xff" * 20),
    "data that bzip2 cannot decode": overwrite(GOOD, ENTRY + 10, b"\x0c"),
    "data that LZMA cannot decode": overwrite(GOOD, ENTRY + 10, b"\x0e"),
    "unknown version": overwrite(GOOD, ENTRY + 6, b"\xff"),
    "name that is not UTF-8": overwrite(GOOD, ENTRY + 46, b"\xff"),
    "empty name": overwrite(GOOD, ENTRY + 28, bytes([0, 0, 0, 0, len(NAME), 0])),  # the name becomes a comment
    "file and folder of one name": archive_bytes({"a": b"1", "a/b.jpg": b"1"}),
    **{f"truncated to {length} bytes": GOOD[:length] for length in range(0, len(GOOD), 20)},
}


@pytest.mark.parametrize("damage", DAMAGED_ARCHIVES)
def test_a_damaged_archive_is_refused_by_name_and_leaves_nothing_behind(tmp_path, cache, damage):
    contents = DAMAGED_ARCHIVES[damage]
    with pytest.raises(ValueError, match=r"photos\.zip is not a readable zip archive") as caught:
        unpack_zip(write_file(tmp_path / "photos.zip", contents))
    assert str(caught.value).endswith(f"it begins with {contents[:24]!r}")
    assert not list(cache.glob("archives/*"))


OTHER_FILES = {
    "an HTML page": (b"<!DOCTYPE html><html>Quota exceeded</html>", "the download probably failed"),
    "a 7z archive": (b"7z\xbc\xaf\x27\x1c" + bytes(60), r"only zip archives are unpacked here; unpack it \(7z x\) and give the folder"),
    "a RAR archive": (b"Rar!\x1a\x07\x01\x00" + bytes(60), "only zip archives are unpacked here; unpack it"),
    "a gzip archive": (b"\x1f\x8b\x08" + bytes(60), "only zip archives are unpacked here; unpack it"),
    "a JPEG image": (b"\xff\xd8\xff\xe0" + bytes(60), "give the folder that holds it"),
    "a text file": (b"a.jpg\nb.jpg\n", "read it"),
}


@pytest.mark.parametrize("kind", OTHER_FILES)
def test_a_file_that_is_no_zip_archive_is_called_what_it_is(tmp_path, cache, kind):
    contents, advice = OTHER_FILES[kind]
    with pytest.raises(ValueError, match=rf"photos\.zip is {kind}, .*{advice}"):
        list_images(write_file(tmp_path / "photos.zip", contents))
    assert not cache.exists()


def test_an_archive_of_an_archive_is_pointed_out(tmp_path):
    archive = write_archive(tmp_path / "photos.zip", {"inner.zip": archive_bytes({"a.jpg": b"1"}), "notes.txt": b"2"})
    with pytest.raises(FileNotFoundError, match=r"photos\.zip' holds no image; .*; passed over: 1 \.txt, 1 \.zip \(unpack it\)"):
        list_images(archive)


def test_a_cache_that_cannot_be_written_is_named_with_its_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("GLO_CACHE_DIR", write_file(tmp_path / "file"))
    with pytest.raises(PermissionError, match=r"cannot be written.*GLO_CACHE_DIR"):
        unpack_zip(write_archive(tmp_path / "photos.zip", {"a.jpg": b"1"}))


LINK = zipfile.ZipInfo("bad.jpg")
LINK.external_attr = (stat.S_IFLNK | 0o777) << 16
OUTSIDE = ["../bad.jpg", "b/../../bad.jpg", "/bad.jpg", "\\bad.jpg", "..\\bad.jpg", "C:bad.jpg"]
UNSAFE_ARCHIVES = {
    **{name: (archive_bytes({"good.jpg": b"1", name: b"2"}), "outside its folder; nothing was unpacked") for name in OUTSIDE},
    "link": (archive_bytes({"good.jpg": b"1", LINK: b"/etc/passwd"}), r"holds the link 'bad\.jpg'"),
    "encrypted": (overwrite(GOOD, ENTRY + 8, b"\x01"), r"holds the encrypted member"),
    **{
        f"compressed by {how}": (overwrite(GOOD, ENTRY + 10, bytes([method])), rf"is compressed by {how}.*; .*unpack it yourself \(7z x")
        for method, how in {9: "Deflate64", 93: "Zstandard", 99: "method 99"}.items()
    },
    "zip bomb": (
        archive_bytes({"good.jpg": b"1", "bad.jpg": bytes(10**6)}, zipfile.ZIP_DEFLATED),
        r"holds 'bad\.jpg', which unpacks from [\d,]+ to 1,000,000 bytes",
    ),
}


@pytest.mark.parametrize("kind", UNSAFE_ARCHIVES)
def test_an_unsafe_archive_is_refused_before_anything_is_written(tmp_path, cache, kind):
    contents, message = UNSAFE_ARCHIVES[kind]
    with pytest.raises(ValueError, match=rf"photos\.zip.*{message}"):
        unpack_zip(write_file(tmp_path / "photos.zip", contents))
    assert os.listdir(tmp_path) == ["photos.zip"]  # there is no cache either


def test_unusual_but_harmless_members_are_unpacked(tmp_path):
    # Compressed sizes below 1024 bytes count as 1024, so a short text of one repeated letter is not a zip bomb.
    members = {"a..b/..c.jpg..jpg": b"1", "./d.jpg": b"2", "e.jpg": bytes(200 * 1024), "12:30:05.jpg": b"3", "b/C:x.jpg": b"4"}
    archive = write_archive(tmp_path / "photos.zip", members, zipfile.ZIP_DEFLATED)
    assert files_in(unpack_zip(archive)) == ["12:30:05.jpg", "a..b/..c.jpg..jpg", "b/C:x.jpg", "d.jpg", "e.jpg"]


def test_the_total_size_of_all_members_is_limited(monkeypatch, tmp_path, cache):
    archive = write_archive(tmp_path / "photos.zip", {f"{i}.jpg": bytes(50) for i in range(4)})
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 199)
    with pytest.raises(ValueError, match=r"photos\.zip unpacks to 200 bytes.* 199"):
        unpack_zip(archive)
    assert not cache.exists()
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 200)
    assert len(files_in(unpack_zip(archive))) == 4


def patch_extract(monkeypatch, before_member: dict) -> None:
    """Call a function, once, before the member of its name is unpacked."""
    extract = zipfile.ZipFile.extract

    def extract_with_hook(self, member, *arguments):
        before_member.pop(member.filename, lambda: None)()
        return extract(self, member, *arguments)

    monkeypatch.setattr(zipfile.ZipFile, "extract", extract_with_hook)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt(), OSError(errno.ENOSPC, "disk full")], ids=["Ctrl-C", "full disk"])
def test_interrupted_unpacking_leaves_nothing_behind(monkeypatch, tmp_path, cache, interruption):
    def interrupt():
        raise interruption

    archive = write_archive(tmp_path / "photos.zip", {"a.jpg": b"1", "b.jpg": b"2"})
    patch_extract(monkeypatch, {"b.jpg": interrupt})
    with pytest.raises(type(interruption)):
        unpack_zip(archive)
    assert os.listdir(cache / "archives") == []
    assert files_in(unpack_zip(archive)) == ["a.jpg", "b.jpg"]


def test_two_processes_that_unpack_the_same_archive_get_the_same_folder(monkeypatch, tmp_path, cache):
    archive, other = write_archive(tmp_path / "photos.zip", {"a.jpg": b"1", "b.jpg": b"2"}), []
    patch_extract(monkeypatch, {"b.jpg": lambda: other.append(unpack_zip(archive))})
    folder = unpack_zip(archive)
    assert other == [folder] and files_in(folder) == ["a.jpg", "b.jpg"]
    assert os.listdir(cache / "archives") == [folder.name]  # the slower one removes its copy


def test_what_killed_processes_left_behind_is_removed(tmp_path, cache):
    for name in ("unpacking-dead", "unpacking-young"):
        write_file(cache / "archives" / name / "half.jpg")
    os.utime(cache / "archives" / "unpacking-dead", (1, 1))
    folder = unpack_zip(write_archive(tmp_path / "photos.zip", {"a.jpg": b"1"}))
    assert sorted(os.listdir(cache / "archives")) == sorted([folder.name, "unpacking-young"])
