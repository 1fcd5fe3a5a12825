"""Files, folders, archives and patterns name the same images, in a stated order."""

import os
import zipfile
from pathlib import Path

import pytest

from glo_lib.images.sources import find_files
from tests.make_files import write_file


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """The current folder, with images, an archive and a file that is no image."""
    monkeypatch.chdir(tmp_path)
    for name in ["photos/b.jpg", "photos/a.png", "photos/deep/c.jpg", "photos/notes.txt", "one.jpg"]:
        write_file(tmp_path / name)
    with zipfile.ZipFile("more.ZIP", "w") as archive:
        archive.writestr("z/2.jpg", b"2")
        archive.writestr("1.jpg", b"1")
    return tmp_path


def test_a_folder_an_archive_and_a_pattern_are_replaced_by_their_images_in_sorted_order(photos):
    assert find_files("one.jpg") == ["one.jpg"]
    assert find_files(Path("photos")) == ["photos/a.png", "photos/b.jpg", "photos/deep/c.jpg"]
    assert find_files("photos/*.[pj][np]g") == ["photos/a.png", "photos/b.jpg"]
    assert find_files("photos/**/?.jpg") == ["photos/b.jpg", "photos/deep/c.jpg"]
    assert [Path(name).read_bytes() for name in find_files("more.ZIP")] == [b"1", b"2"]


def test_sources_are_mixed_in_the_order_given(photos):
    found = find_files(["one.jpg", "photos/deep", "more.ZIP", "absent.jpg", "photos/*", "one.jpg"])
    assert [os.path.basename(name) for name in found] == [
        *("one.jpg", "c.jpg", "1.jpg", "2.jpg", "absent.jpg"),
        *("a.png", "b.jpg", "c.jpg", "notes.txt"),  # a pattern that matches a folder gives its images
        "one.jpg",
    ]
    assert find_files([]) == []


def test_a_name_that_exists_is_no_pattern_and_the_home_folder_is_known(photos, monkeypatch):
    write_file(photos / "face[1].jpg")
    monkeypatch.setenv("HOME", str(photos))
    assert find_files(["face[1].jpg", "~/one.jpg"]) == ["face[1].jpg", str(photos / "one.jpg")]


@pytest.mark.parametrize(
    ("source", "message"), [("*.gif", r"nothing matches '\*.gif'; give files, folders"), ("empty", "'empty' holds no image")]
)
def test_a_source_without_images_is_refused(photos, source, message):
    (photos / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=message):
        find_files(["one.jpg", source])
