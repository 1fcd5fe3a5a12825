"""Files from outside: what is found, what is unpacked, what is read, and how the rest is refused."""

import contextlib
import errno
import io
import os
import stat
import struct
import threading
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, features

from glo_lib import images
from glo_lib.images import is_plain_jpeg, list_images, read_image, refuse, unpack_zip, unreadable

NOISE = np.random.default_rng(0).integers(0, 256, (24, 20, 3)).astype(np.uint8)
ORIENTATION = 0x0112  # the EXIF tag
IGNORE_WARNINGS = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # of damage, which is the subject here


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    folder = tmp_path / "cache"
    monkeypatch.setenv("GLO_CACHE_DIR", str(folder))
    return folder


def encoded(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def written(path: Path, contents: bytes = b"x") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(contents)
    return str(path)


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags


# ---------------------------------------------------------------------------------------------------------------- finding


def below(folder: Path, filenames: list[str]) -> list[str]:
    return [os.path.relpath(filename, folder) for filename in filenames]


def test_images_are_found_in_all_folders_and_sorted(tmp_path):
    folder = tmp_path / "photos"
    for name in ["b/2.jpg", "b/10.jpg", "a/z.PNG", "c.jpeg", "b/deep/er/x.JPG", "B.JpEg"]:
        written(folder / name)
    assert below(folder, list_images(folder)) == ["B.JpEg", "a/z.PNG", "b/10.jpg", "b/2.jpg", "b/deep/er/x.JPG", "c.jpeg"]


def test_what_is_hidden_or_no_image_is_left_out(tmp_path):
    folder = tmp_path / "photos"
    for name in ["a.jpg", ".a.jpg", ".hidden/b.jpg", "__MACOSX/._a.jpg", "notes.txt", "a.jpg.txt", "jpg", "c.gif", "d.webp"]:
        written(folder / name)
    os.symlink(folder / "nothing", folder / "broken.jpg")
    assert below(folder, list_images(folder)) == ["a.jpg"]


def test_a_hidden_folder_can_be_searched_when_it_is_asked_for(tmp_path):
    written(tmp_path / ".photos" / "a.jpg")
    assert below(tmp_path, list_images(tmp_path / ".photos")) == [".photos/a.jpg"]


def test_a_folder_with_the_name_of_an_image_is_entered(tmp_path):
    written(tmp_path / "photos" / "folder.jpg" / "a.png")
    assert below(tmp_path, list_images(tmp_path / "photos")) == ["photos/folder.jpg/a.png"]


@pytest.mark.parametrize("name", ["two words", "größe-顔", "line\nbreak", "tab\t'quotes\"", "%s{0}", "-rf *"])
def test_odd_names_are_kept_as_they_are(tmp_path, name):
    filename = written(tmp_path / name / f"{name}.jpg")
    assert list_images(tmp_path) == [filename]


def test_a_name_that_is_not_utf8_is_found(tmp_path):
    filename = written(tmp_path / "photos" / os.fsdecode(b"na\xffme.jpg"))
    assert list_images(tmp_path / "photos") == [filename] and Path(filename).exists()


def test_celebas_own_folder_is_entered(tmp_path):
    for name in ["img_align_celeba/000002.jpg", "img_align_celeba/000001.jpg", "preview.png", "other/000000.jpg"]:
        written(tmp_path / name)
    assert below(tmp_path, list_images(tmp_path)) == ["img_align_celeba/000001.jpg", "img_align_celeba/000002.jpg"]
    assert list_images(tmp_path / "img_align_celeba") == list_images(tmp_path)


def test_the_first_samples_in_sorted_order_are_kept(tmp_path):
    for i in [3, 1, 0, 2]:
        written(tmp_path / f"{i}.jpg")
    everything = list_images(tmp_path)
    assert list_images(str(tmp_path), num_samples=0) == everything and len(everything) == 4
    for count in range(1, 5):
        assert list_images(str(tmp_path), num_samples=count) == everything[:count]


def test_more_samples_than_images_are_refused_with_both_numbers(tmp_path):
    for i in range(4):
        written(tmp_path / f"{i}.jpg")
    with pytest.raises(ValueError, match=r"num_samples is 5.*holds 4 images"):
        list_images(tmp_path, num_samples=5)
    with pytest.raises(ValueError, match=r"num_samples is -1"):
        list_images(tmp_path, num_samples=-1)


def test_an_empty_folder_and_a_missing_one_are_told_apart(tmp_path):
    written(tmp_path / "empty" / "notes.txt")
    with pytest.raises(FileNotFoundError, match=r"empty' holds no image; looked for \.jpg, \.jpeg, \.png"):
        list_images(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"missing', which does not exist"):
        list_images(tmp_path / "missing")


def test_a_tilde_in_the_name_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    filename = written(tmp_path / "photos" / "a.jpg")
    assert list_images("~/photos") == [filename]


def test_linked_files_and_folders_are_followed(tmp_path):
    written(tmp_path / "elsewhere" / "b.jpg")
    written(tmp_path / "photos" / "a.jpg")
    os.symlink(tmp_path / "elsewhere", tmp_path / "photos" / "link")
    os.symlink(tmp_path / "elsewhere" / "b.jpg", tmp_path / "photos" / "c.jpg")
    assert below(tmp_path / "photos", list_images(tmp_path / "photos")) == ["a.jpg", "c.jpg", "link/b.jpg"]


def folder_with_loops(folder: Path) -> Path:
    written(folder / "sub" / "a.jpg")
    os.symlink(folder, folder / "sub" / "to_top")
    os.symlink(folder / "sub", folder / "sub" / "to_itself")
    os.symlink(folder.parent / "other", folder / "away")
    (folder.parent / "other").mkdir()
    os.symlink(folder, folder.parent / "other" / "back")
    return folder


def test_a_loop_of_links_is_entered_once(tmp_path):
    folder = folder_with_loops(tmp_path / "photos")
    assert below(folder, list_images(folder)) == ["sub/a.jpg"]


@pytest.mark.parametrize("given_as", ["relative", "link"])
def test_a_loop_of_links_is_entered_once_however_the_folder_is_named(monkeypatch, tmp_path, given_as):
    folder_with_loops(tmp_path / "photos")
    os.symlink(tmp_path / "photos", tmp_path / "link")
    monkeypatch.chdir(tmp_path)
    name = "photos" if given_as == "relative" else str(tmp_path / "link")
    assert below(Path(name), list_images(name)) == ["sub/a.jpg"]


def test_links_that_lead_nowhere_or_to_themselves_are_left_out(tmp_path):
    folder = tmp_path / "photos"
    written(folder / "a.jpg")
    for name, target in {"gone.jpg": "nowhere", "self.jpg": "self.jpg", "there.jpg": "back.jpg", "back.jpg": "there.jpg", "x": "x"}.items():
        os.symlink(target, folder / name)
    os.mkfifo(folder / "pipe.jpg")
    assert below(folder, list_images(folder)) == ["a.jpg"]


FILE_NAMES = st.binary(min_size=1, max_size=6).map(os.fsdecode).filter(lambda name: not set("\0/") & set(name) and name not in (".", ".."))


@settings(deadline=None, max_examples=50)
@given(tree=st.dictionaries(st.tuples(FILE_NAMES, FILE_NAMES), st.sampled_from([".jpg", ".PNG", ".txt", ""]), max_size=6))
def test_any_names_are_listed_sorted_and_none_is_lost(tmp_path_factory, tree):
    folder = tmp_path_factory.mktemp("tree")
    expected = set()
    for (parent, name), ending in tree.items():
        path = folder / f"d{parent}" / f"{name}{ending}"
        written(path)
        if ending in (".jpg", ".PNG") and not path.name.startswith("."):
            expected.add(str(path))
    if not expected and not any(str(path).lower().endswith(images.EXTENSIONS) for path in folder.rglob("*")):
        with pytest.raises(FileNotFoundError, match="holds no image"):
            list_images(folder)
        return
    listed = list_images(folder)
    assert listed == sorted(listed) and expected <= set(listed)


def test_which_of_two_names_of_a_folder_is_used_does_not_depend_on_the_file_system(monkeypatch, tmp_path):
    written(tmp_path / "m" / "a.jpg")
    for name in "az":
        os.symlink(tmp_path / "m", tmp_path / name)
    scandir, listings = os.scandir, []
    for reverse in (False, True):

        @contextlib.contextmanager
        def in_order(folder, reverse=reverse):
            with scandir(folder) as entries:
                yield sorted(entries, key=lambda entry: entry.name, reverse=reverse)

        monkeypatch.setattr(os, "scandir", in_order)
        listings.append(list_images(tmp_path))
    assert listings[0] == listings[1] and len(listings[0]) == 1


# --------------------------------------------------------------------------------------------------------------- archives


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
FLIPS = st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), min_size=1, max_size=3)


def flipped(contents: bytes, flips: list[tuple[int, int]]) -> bytes:
    changed = bytearray(contents)
    for position, value in flips:
        changed[position % len(changed)] = value
    return bytes(changed)


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
    monkeypatch.setattr(images, "MOST_UNPACKED_BYTES", 199)
    refused_with(archive, cache, "unpacks to 200 bytes.* 199")
    monkeypatch.setattr(images, "MOST_UNPACKED_BYTES", 200)
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
    monkeypatch.setattr(images, "MOST_PIXELS", NOISE.shape[0] * NOISE.shape[1])
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


def test_what_killed_processes_left_of_an_archive_is_cleared(tmp_path, cache):
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("a.jpg", b"x")
    for name in ("unpacking-dead", "unpacking-young"):
        written(cache / "archives" / name / "half.jpg")
    os.utime(cache / "archives" / "unpacking-dead", (1, 1))
    list_images(archive)
    assert sorted(path.name[:15] for path in (cache / "archives").iterdir() if path.name.startswith("unpacking")) == ["unpacking-young"]


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

    monkeypatch.setattr(images.Image, "open", open_in_turn)
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
