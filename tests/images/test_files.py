"""Which image files are found below a folder, and in which order."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glo_lib.images.files import EXTENSIONS, list_images
from tests.make_files import written


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
    if not expected and not any(str(path).lower().endswith(EXTENSIONS) for path in folder.rglob("*")):
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
