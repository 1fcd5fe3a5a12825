"""Archives from outside: what is unpacked, and what is refused before anything is written."""

import errno
import io
import os
import stat
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from glo_lib.images import archives
from glo_lib.images.archives import unpack_zip
from glo_lib.images.files import list_images
from tests.make_files import FLIPS, flipped, written


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    folder = tmp_path / "cache"
    monkeypatch.setenv("GLO_CACHE_DIR", str(folder))
    return folder


def archive_of(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, contents in members.items():
            archive.writestr(name, contents)
    return path


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def test_the_official_archive_is_unpacked_and_listed(tmp_path, cache):
    members = {f"img_align_celeba/{i:06}.jpg": bytes([i]) * 10 for i in (3, 1, 2)}
    filenames = list_images(archive_of(tmp_path / "img_align_celeba.zip", members))
    assert [os.path.basename(filename) for filename in filenames] == ["000001.jpg", "000002.jpg", "000003.jpg"]
    assert [Path(filename).read_bytes() for filename in filenames] == [bytes([i]) * 10 for i in (1, 2, 3)]
    assert all(Path(filename).is_relative_to(cache / "archives") for filename in filenames)
    assert list_images(tmp_path / "img_align_celeba.zip", num_samples=2) == filenames[:2]


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_is_unpacked_once(monkeypatch, tmp_path, cache, compression):
    archive = archive_of(tmp_path / "photos.zip", {"a.jpg": b"1" * 500, "b/c.png": b"2"}, compression)
    folder = unpack_zip(archive)
    assert files_in(folder) == ["a.jpg", "b/c.png"] and os.listdir(cache / "archives") == [folder.name]

    def not_again(*_):
        raise AssertionError("unpacked a second time")

    monkeypatch.setattr(zipfile.ZipFile, "extract", not_again)
    assert unpack_zip(str(archive)) == folder
    assert (folder / "a.jpg").read_bytes() == b"1" * 500


def test_an_archive_that_has_changed_is_unpacked_anew(tmp_path):
    archive = archive_of(tmp_path / "photos.zip", {"a.jpg": b"1"})
    before, facts = unpack_zip(archive), archive.stat()
    archive_of(archive, {"a.jpg": b"2"})
    os.utime(archive, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))  # the same size, a nanosecond later
    assert (unpack_zip(archive) / "a.jpg").read_bytes() == b"2" and (before / "a.jpg").read_bytes() == b"1"


def test_archives_in_two_places_are_two_archives(tmp_path):
    for place in "ab":
        (tmp_path / place).mkdir()
        archive = archive_of(tmp_path / place / "photos.zip", {"a.jpg": place.encode()})
        os.utime(archive, ns=(0, 0))  # as after copying with tools that keep no times
    assert [(unpack_zip(tmp_path / place / "photos.zip") / "a.jpg").read_text() for place in "ab"] == ["a", "b"]


def test_an_archive_without_images_is_refused(tmp_path):
    for name, members in {"empty.zip": {}, "text.zip": {"readme.txt": b"none"}, "hidden.zip": {"__MACOSX/._a.jpg": b"x"}}.items():
        with pytest.raises(FileNotFoundError, match=rf"{name}' holds no image"):
            list_images(archive_of(tmp_path / name, members))


@pytest.mark.parametrize(
    "contents",
    [b"", b"PK", b"<!DOCTYPE html><html>Quota exceeded</html>", b"\xff\xd8\xff\xe0 a single image"],
    ids=["empty", "PK", "HTML", "JPEG"],
)
def test_what_is_no_archive_is_refused_with_its_first_bytes(tmp_path, cache, contents):
    path = Path(written(tmp_path / "photos.zip", contents))
    with pytest.raises(ValueError, match=r"photos\.zip is not a readable zip archive") as caught:
        list_images(path)
    assert repr(contents[:24]) in str(caught.value)
    assert not cache.exists()


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_truncated_archive_is_refused_wherever_it_ends(tmp_path, cache, compression):
    whole = archive_of(tmp_path / "whole.zip", {"a.jpg": bytes(range(256)), "b.jpg": b"2" * 100}, compression).read_bytes()
    for length in range(0, len(whole), 7):
        path = Path(written(tmp_path / "photos.zip", whole[:length]))
        with pytest.raises(ValueError, match=r"photos\.zip is not a readable zip archive"):
            unpack_zip(path)
    assert files_in(cache) == []


def test_an_archive_with_wrong_bytes_in_a_member_leaves_nothing_behind(tmp_path, cache):
    path = archive_of(tmp_path / "photos.zip", {"a.jpg": b"good", "b.jpg": b"was good once"})
    path.write_bytes(path.read_bytes().replace(b"was good once", b"is bad by now"))
    with pytest.raises(ValueError, match=r"photos\.zip is not a readable zip archive \(Bad CRC-32 for file 'b\.jpg'\)"):
        unpack_zip(path)
    assert os.listdir(cache / "archives") == []


# Positions in a member's entry of the central directory, from its signature.
VERSION, FLAGS, METHOD, LENGTHS, NAME = 6, 8, 10, 28, 46


def with_entry_changed(archive: bytes, position: int, value: bytes) -> bytes:
    start = archive.index(b"PK\x01\x02") + position
    return archive[:start] + value + archive[start + len(value) :]


def damaged_archives() -> dict[str, bytes]:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ü.jpg", bytes(range(200)) * 3)
    good = file.getvalue()
    data = good.index(bytes("ü.jpg", "utf-8")) + len("ü.jpg".encode())
    file_and_folder = io.BytesIO()
    with zipfile.ZipFile(file_and_folder, "w") as archive:
        for name in ("a", "a/b.jpg"):
            archive.writestr(name, b"1")
    return {
        "compressed data": good[:data] + b"\xff" * 20 + good[data + 20 :],
        "unknown compression": with_entry_changed(good, METHOD, b"\x63"),
        "data that bzip2 does not know": with_entry_changed(good, METHOD, b"\x0c"),
        "data that LZMA does not know": with_entry_changed(good, METHOD, b"\x0e"),
        "version of the future": with_entry_changed(good, VERSION, b"\xff"),
        "name that is not UTF-8": with_entry_changed(good, NAME, b"\xff"),
        "empty name": with_entry_changed(good, LENGTHS, bytes([0, 0, 0, 0, len("ü.jpg".encode()), 0])),  # the name is now a comment
        "file and folder of one name": file_and_folder.getvalue(),
    }


@pytest.mark.parametrize("damage", damaged_archives())
def test_every_kind_of_damage_is_refused_in_words_that_name_the_archive(tmp_path, cache, damage):
    path = Path(written(tmp_path / "photos.zip", damaged_archives()[damage]))
    with pytest.raises(ValueError, match=r"photos\.zip"):
        unpack_zip(path)
    assert files_in(cache) == []


def small_archive(compression: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("img_align_celeba/1.jpg", bytes(range(30)) * 3)
        archive.writestr("img_align_celeba/ü.jpg", b"abc" * 30)
    return file.getvalue()


SMALL_ARCHIVES = [small_archive(compression) for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")


@settings(deadline=None, max_examples=50)
@example(archive=damaged_archives()["compressed data"], flips=[])
@given(archive=st.sampled_from(SMALL_ARCHIVES), flips=FLIPS)
def test_an_archive_with_any_bytes_changed_is_unpacked_or_refused(shared_folder, archive, flips):
    path = Path(written(shared_folder / "photos.zip", flipped(archive, flips)))
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")  # zipfile warns of a name that comes twice
        patch.setenv("GLO_CACHE_DIR", str(shared_folder / "cache"))
        try:
            folder = unpack_zip(path)
        except ValueError as error:
            assert "photos.zip" in str(error)
        else:
            assert folder.is_relative_to(shared_folder / "cache")
    assert {path.name for path in shared_folder.iterdir()} <= {"photos.zip", "cache"}
    assert not list(shared_folder.glob("cache/archives/unpacking-*"))


def refused_with(path: Path, cache: Path, message: str) -> None:
    """The archive is refused with that message, and before anything was written."""
    with pytest.raises(ValueError, match=message) as caught:
        list_images(path)
    assert path.name in str(caught.value)
    assert not cache.exists()


@pytest.mark.parametrize(
    "name",
    [
        "../a.jpg",
        "b/../../a.jpg",
        "..",
        "/a.jpg",
        "//host/a.jpg",
        "\\a.jpg",
        "..\\a.jpg",
        "b\\..\\..\\a.jpg",
        "\\\\host\\a.jpg",
        "C:\\a.jpg",
        "C:/a.jpg",
        "C:a.jpg",
    ],
)
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path, cache, name):
    members = {"good.jpg": b"1", name: b"2"}  # the good one comes first, and must not be written either
    refused_with(archive_of(tmp_path / "photos.zip", members), cache, "outside its folder; nothing was unpacked")
    assert os.listdir(tmp_path) == ["photos.zip"]


def test_dots_that_lead_nowhere_are_allowed(tmp_path):
    archive = archive_of(tmp_path / "photos.zip", {"a..b/..c.jpg..jpg": b"1", "./d.jpg": b"2"})
    assert files_in(unpack_zip(archive)) == ["a..b/..c.jpg..jpg", "d.jpg"]


def test_a_link_in_an_archive_is_refused(tmp_path, cache):
    link = zipfile.ZipInfo("link.jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("good.jpg", b"1")
        archive.writestr(link, b"/etc/passwd")
    refused_with(tmp_path / "photos.zip", cache, r"holds the link 'link\.jpg'")


def test_an_encrypted_member_is_refused(tmp_path, cache):
    path = archive_of(tmp_path / "photos.zip", {"secret.jpg": b"1"})
    path.write_bytes(with_entry_changed(path.read_bytes(), FLAGS, b"\x01"))
    refused_with(path, cache, r"holds the encrypted member 'secret\.jpg'")


def test_a_zip_bomb_is_refused_by_what_it_claims(tmp_path, cache):
    archive = archive_of(tmp_path / "photos.zip", {"good.jpg": b"1", "bomb.jpg": bytes(10**6)}, zipfile.ZIP_DEFLATED)
    refused_with(archive, cache, r"holds 'bomb\.jpg', which unpacks from [\d,]+ to 1,000,000 bytes")


def test_small_files_may_compress_well(tmp_path):
    # 200 to 1 is counted from 1024 bytes on: a short text of one repeated letter is no bomb.
    archive = archive_of(tmp_path / "photos.zip", {"a.jpg": bytes(200 * 1024)}, zipfile.ZIP_DEFLATED)
    assert files_in(unpack_zip(archive)) == ["a.jpg"]


def test_the_sum_of_all_members_is_limited(monkeypatch, tmp_path, cache):
    archive = archive_of(tmp_path / "photos.zip", {f"{i}.jpg": bytes(50) for i in range(4)})
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 199)
    refused_with(archive, cache, "unpacks to 200 bytes.* 199")
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 200)
    assert len(list_images(archive)) == 4


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError(errno.ENOSPC, "disk full")])
def test_an_interrupted_unpacking_leaves_nothing_under_the_final_name(monkeypatch, tmp_path, cache, interruption):
    archive = archive_of(tmp_path / "photos.zip", {"a.jpg": b"1", "b.jpg": b"2"})
    extract = zipfile.ZipFile.extract

    def interrupted(self, member, *arguments):
        if member.filename == "b.jpg":
            raise interruption
        return extract(self, member, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extract", interrupted)
        with pytest.raises((KeyboardInterrupt, OSError)):
            unpack_zip(archive)
    assert os.listdir(cache / "archives") == []
    assert files_in(unpack_zip(archive)) == ["a.jpg", "b.jpg"]


def while_unpacking(monkeypatch, action) -> None:
    """Have `action` happen once, in the middle of the next unpacking."""
    extract, pending = zipfile.ZipFile.extract, [action]

    def extract_slowly(self, *arguments):
        if pending:
            pending.pop()()
        return extract(self, *arguments)

    monkeypatch.setattr(zipfile.ZipFile, "extract", extract_slowly)


def test_another_process_may_unpack_the_same_archive_meanwhile(monkeypatch, tmp_path):
    archive = archive_of(tmp_path / "photos.zip", {"a.jpg": b"1", "b.jpg": b"2"})
    other = []
    while_unpacking(monkeypatch, lambda: other.append(unpack_zip(archive)))
    folder = unpack_zip(archive)
    assert other == [folder] and files_in(folder) == ["a.jpg", "b.jpg"]


def test_the_slower_of_two_processes_clears_its_copy_away(monkeypatch, tmp_path, cache):
    archive = archive_of(tmp_path / "photos.zip", {"a.jpg": b"1"})
    while_unpacking(monkeypatch, lambda: unpack_zip(archive))
    folder = unpack_zip(archive)
    assert os.listdir(cache / "archives") == [folder.name]


def test_what_killed_processes_left_of_an_archive_is_cleared(tmp_path, cache):
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("a.jpg", b"x")
    for name in ("unpacking-dead", "unpacking-young"):
        written(cache / "archives" / name / "half.jpg")
    os.utime(cache / "archives" / "unpacking-dead", (1, 1))
    list_images(archive)
    assert sorted(path.name[:15] for path in (cache / "archives").iterdir() if path.name.startswith("unpacking")) == ["unpacking-young"]
