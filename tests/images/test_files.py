"""Which image files are found below a folder, in which order, and what is said about them and about the files that are passed over."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from glo_lib.images.files import image_folder, list_images, survey_images
from glo_lib.images.formats import EXTENSIONS
from tests.make_files import write_file


def below(folder: Path, filenames: list[str]) -> list[str]:
    return [os.path.relpath(filename, folder) for filename in filenames]


def test_images_are_found_in_all_folders_and_sorted(tmp_path):
    images = ["B.JpEg", "a/z.PNG", "b/10.jpg", "b/2.jpg", "b/deep/er/x.JPG", "c.jpeg", "folder.jpg/d.png"]
    hidden = [".a.jpg", ".hidden/b.jpg", "__MACOSX/._a.jpg"]
    others = ["notes.txt", "a.jpg.txt", "jpg", "c.heic"]
    folder = tmp_path / ".photos"  # a hidden folder is searched when it is asked for
    for name in [*reversed(images), *hidden, *others]:
        write_file(folder / name)
    assert below(folder, list_images(folder)) == images


def test_celebas_own_folder_is_entered(tmp_path):
    for name in ["img_align_celeba/000002.jpg", "img_align_celeba/000001.jpg", "preview.png", "other/000000.jpg"]:
        write_file(tmp_path / name)
    assert below(tmp_path, list_images(tmp_path)) == ["img_align_celeba/000001.jpg", "img_align_celeba/000002.jpg"]


@pytest.mark.parametrize(
    ("place", "entered"),
    [
        ("img_align_celeba", "img_align_celeba"),
        ("img_align_celeba/img_align_celeba", "img_align_celeba/img_align_celeba"),  # Kaggle
        ("Img/img_align_celeba", "Img/img_align_celeba"),  # the official release
        ("celeba", "."),
    ],
)
def test_celebas_images_are_found_in_every_layout(tmp_path, place, entered):
    write_file(tmp_path / place / "000001.jpg")
    write_file(tmp_path / "Anno" / "list_attr_celeba.txt")
    assert image_folder(tmp_path) == tmp_path / entered
    listing = survey_images(tmp_path)
    assert below(tmp_path, listing.filenames) == [f"{place}/000001.jpg"] and listing.folder == tmp_path / entered
    assert ("searched in" in listing.describe()) == (entered != ".")


@pytest.mark.parametrize("ending", EXTENSIONS)
def test_every_ending_of_a_still_format_is_read(tmp_path, ending):
    filename = write_file(tmp_path / f"a{ending.upper()}")
    assert list_images(tmp_path) == [filename]


def test_a_report_says_what_was_found_where_and_what_was_passed_over_and_why(tmp_path):
    folder = tmp_path / "photos"
    for name in [
        "a.jpg",
        "b.JPG",
        "c.webp",
        "notes.txt",
        "d.heic",
        "e.heic",
        ".hidden",
        "README",
        "@eaDir/a.jpg",
        "z/@eaDir/b.jpg",
        "inner.zip",
        "f.mov",
    ]:
        write_file(folder / name)
    os.symlink("nowhere", folder / "gone.png")
    assert survey_images(folder).describe().split("\n") == [
        f"3 images in '{folder}': 2 .jpg, 1 .webp",
        "passed over: 2 folders '@eaDir' (thumbnails of a file server), 2 .heic (convert it to JPEG or PNG), "
        "1 .mov (extract frames as images first, for instance with ffmpeg), "
        "1 .png that are no files or cannot be opened, such as broken links, 1 .txt, 1 .zip (unpack it), 1 hidden, 1 without an ending",
    ]


@pytest.mark.parametrize(
    ("names", "report"),
    [
        (["a/1.jpg", "a/2.jpg", "b/3.png"], "3 images in 'DATA': 'a' 2 .jpg; 'b' 1 .png"),
        (["1.jpg", "b/3.png"], "2 images in 'DATA': '.' 1 .jpg; 'b' 1 .png"),
        ([f"{person}/1.jpg" for person in "abcdefg"], "7 images in 'DATA': 7 .jpg in 7 folders, from 'a' to 'g'"),
        (["img_align_celeba/1.jpg", "x.jpg"], "1 images in 'DATA', searched in 'img_align_celeba' alone: 1 .jpg"),
    ],
)
def test_images_are_counted_by_folder_and_ending(tmp_path, names, report):
    for name in names:
        write_file(tmp_path / name)
    assert survey_images(tmp_path).describe() == report.replace("DATA", str(tmp_path))


@pytest.mark.parametrize(
    ("names", "doubtful", "way_out"),
    [
        (["images/1.jpg", "masks/1.png"], "masks", "give data_dir 'DATA/images'"),
        (["1.jpg", "Thumbs/1.jpg"], "Thumbs", "move them elsewhere"),
        (["masks/1.png"], None, None),  # then masks are wanted
    ],
)
def test_folders_that_seldom_hold_photographs_are_pointed_out(tmp_path, names, doubtful, way_out):
    for name in names:
        write_file(tmp_path / name)
    notes = survey_images(tmp_path).describe().split("\n")[1:]
    note = f"note: the images in {doubtful!r} are used like all others; if they are no photographs, {way_out}"
    assert notes == ([note.replace("DATA", str(tmp_path))] if doubtful else [])


@pytest.mark.parametrize("name", ["@eaDir", "$RECYCLE.BIN", "lost+found", "#recycle", "__MACOSX"])
def test_folders_of_servers_and_systems_are_passed_over_and_named(tmp_path, name):
    write_file(tmp_path / "a.jpg")
    write_file(tmp_path / name / "b.jpg")
    listing = survey_images(tmp_path)
    assert below(tmp_path, listing.filenames) == ["a.jpg"] and f"folder {name!r}" in listing.describe()


def test_a_folder_that_may_not_be_read_is_named_with_what_to_do(monkeypatch, tmp_path):
    write_file(tmp_path / "a.jpg")
    (tmp_path / "private").mkdir()
    scandir = os.scandir

    def refusing(path):  # the user of a test may be allowed to read everything
        if os.path.basename(path) in ("private", "lost+found"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(PermissionError, match=r"the folder '.*private' may not be read by this user.*chmod u\+rx.*without it"):
        list_images(tmp_path)
    (tmp_path / "private").rename(tmp_path / "lost+found")  # nobody but the administrator can ever read this one
    assert below(tmp_path, list_images(tmp_path)) == ["a.jpg"]


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
    with pytest.raises(FileNotFoundError, match=r"empty' holds no image; looked for \.jpg, \.jpeg, .*\.png.*; passed over: 1 \.txt$"):
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
