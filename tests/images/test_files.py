"""Which image files are found below a folder, and in which order."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from glo_lib.images.files import EXTENSIONS, list_images
from tests.make_files import write_file


def below(folder: Path, filenames: list[str]) -> list[str]:
    return [os.path.relpath(filename, folder) for filename in filenames]


def test_images_are_found_in_all_folders_and_sorted(tmp_path):
    images = ["B.JpEg", "a/z.PNG", "b/10.jpg", "b/2.jpg", "b/deep/er/x.JPG", "c.jpeg", "folder.jpg/d.png"]
    hidden = [".a.jpg", ".hidden/b.jpg", "__MACOSX/._a.jpg"]
    others = ["notes.txt", "a.jpg.txt", "jpg", "c.gif"]
    folder = tmp_path / ".photos"  # a hidden folder is searched when it is asked for
    for name in [*reversed(images), *hidden, *others]:
        write_file(folder / name)
    assert below(folder, list_images(folder)) == images


def test_celebas_own_folder_is_entered(tmp_path):
    for name in ["img_align_celeba/000002.jpg", "img_align_celeba/000001.jpg", "preview.png", "other/000000.jpg"]:
        write_file(tmp_path / name)
    assert below(tmp_path, list_images(tmp_path)) == ["img_align_celeba/000001.jpg", "img_align_celeba/000002.jpg"]


def test_results_among_the_images_are_no_images(monkeypatch, tmp_path):
    """The pictures in the folders of runs and in the cache are left out, also when the folder is given as a dot."""
    write_file(tmp_path / "a.jpg")
    for name in ["run/figures/loss.png", "old/runs/b/figures/loss.png", "cache/archives/x/b.jpg"]:
        write_file(tmp_path / name)
    for folder in [tmp_path / "run", tmp_path / "old" / "runs" / "b"]:
        (folder / "config.json").write_text("{}")
        (folder / "manifest.json").write_text('{"num_images": 3, "digest": "0f"}')
    monkeypatch.setenv("GLO_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert below(tmp_path, list_images(tmp_path)) == below(Path(), list_images(".")) == ["a.jpg"]
    assert below(tmp_path, list_images(tmp_path / "cache" / "archives")) == ["cache/archives/x/b.jpg"]


@pytest.mark.parametrize("manifest", [None, "{", "[]", '{"name": "an app"}', "[" * 100_000])
def test_a_folder_with_settings_of_something_else_is_searched(tmp_path, manifest):
    write_file(tmp_path / "app" / "a.jpg")
    (tmp_path / "app" / "config.json").write_text("{}")
    if manifest is not None:
        (tmp_path / "app" / "manifest.json").write_text(manifest)
    assert below(tmp_path, list_images(tmp_path)) == ["app/a.jpg"]


def test_the_first_samples_in_sorted_order_are_kept(tmp_path):
    filenames = [write_file(tmp_path / f"{i}.jpg") for i in range(4)]
    for count, expected in [(0, filenames), (1, filenames[:1]), (4, filenames)]:
        assert list_images(str(tmp_path), num_samples=count) == expected
    with pytest.raises(ValueError, match=r"num_samples is 5.*holds 4 images"):
        list_images(tmp_path, num_samples=5)
    with pytest.raises(ValueError, match=r"num_samples is -1"):
        list_images(tmp_path, num_samples=-1)


def test_an_empty_folder_and_a_missing_one_have_different_messages(tmp_path):
    write_file(tmp_path / "empty" / "notes.txt")
    with pytest.raises(FileNotFoundError, match=r"empty' holds no image; looked for \.jpg, \.jpeg, \.png"):
        list_images(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"missing', which does not exist"):
        list_images(tmp_path / "missing")


def test_a_tilde_stands_for_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    filename = write_file(tmp_path / "photos" / "a.jpg")
    assert list_images("~/photos") == [filename]


def test_links_are_followed_unless_they_are_broken(tmp_path):
    folder = tmp_path / "photos"
    write_file(tmp_path / "elsewhere" / "b.jpg")
    write_file(folder / "a.jpg")
    links = {"link": "../elsewhere", "c.jpg": "../elsewhere/b.jpg"}
    broken = {"gone.jpg": "nowhere", "self.jpg": "self.jpg", "there.jpg": "back.jpg", "back.jpg": "there.jpg", "x": "x"}
    for name, target in (links | broken).items():
        os.symlink(target, folder / name)
    os.mkfifo(folder / "pipe.jpg")
    assert below(folder, list_images(folder)) == ["a.jpg", "c.jpg", "link/b.jpg"]


@pytest.mark.parametrize("given_as", ["absolute path", "relative path", "link"])
def test_a_loop_of_links_is_entered_once(monkeypatch, tmp_path, given_as):
    folder = tmp_path / "photos"
    write_file(folder / "sub" / "a.jpg")
    (tmp_path / "other").mkdir()
    links = {"photos/sub/to_top": "photos", "photos/sub/to_itself": "photos/sub", "photos/away": "other", "other/back": "photos"}
    for name, target in {**links, "link": "photos"}.items():
        os.symlink(tmp_path / target, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    name = {"absolute path": str(folder), "relative path": "photos", "link": "link"}[given_as]
    assert below(Path(name), list_images(name)) == ["sub/a.jpg"]


@pytest.mark.parametrize("reverse", [False, True])
def test_the_choice_between_two_links_to_a_folder_does_not_depend_on_the_file_system(monkeypatch, tmp_path, reverse):
    write_file(tmp_path / "m" / "a.jpg")
    for name in "az":
        os.symlink(tmp_path / "m", tmp_path / name)
    entries = sorted(os.scandir(tmp_path), key=lambda entry: entry.name, reverse=reverse)
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: contextlib.nullcontext(entries) if path == str(tmp_path) else scandir(path))
    assert below(tmp_path, list_images(tmp_path)) == ["m/a.jpg"]


FILE_NAMES = st.binary(min_size=1, max_size=6).map(os.fsdecode).filter(lambda name: not set("\0/") & set(name) and name not in (".", ".."))


@settings(max_examples=50)
@example(tree={("größe-顔", "line\nbreak\t'\"%s{0}"): ".jpg", (os.fsdecode(b"na\xffme"), os.fsdecode(b"na\xffme")): ".PNG"})
@given(tree=st.dictionaries(st.tuples(FILE_NAMES, FILE_NAMES), st.sampled_from([".jpg", ".PNG", ".txt", ""]), max_size=6))
def test_no_image_is_lost_whatever_its_name(tmp_path_factory, tree):
    folder = tmp_path_factory.mktemp("tree")
    paths = [folder / f"d{parent}" / f"{name}{ending}" for (parent, name), ending in tree.items()]
    for path in paths:
        write_file(path)
    expected = sorted({str(path) for path in paths if path.name.lower().endswith(EXTENSIONS) and not path.name.startswith(".")})
    if expected:
        assert list_images(folder) == expected
    else:
        with pytest.raises(FileNotFoundError, match="holds no image"):
            list_images(folder)
