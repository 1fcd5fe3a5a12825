"""The images that a run was trained on are found by name, so that row i of the codes belongs to image i whatever was done since."""

import os
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from glo_lib.images import store
from glo_lib.images.files import list_images
from glo_lib.images.identity import identify, write_digests
from glo_lib.images.split import find_split
from glo_lib.runs.folder import read_codes, write_json
from glo_lib.runs.images import HeldOut, check_not_among_images, held_out_images, training_images
from glo_lib.training import train


@pytest.fixture
def moved(small_images, tmp_path):
    return shutil.copytree(small_images, tmp_path / "moved")


def test_the_training_images_are_found_where_they_were_and_in_a_folder_an_archive_or_by_a_pattern(trained_run, trained_images, moved):
    with zipfile.ZipFile(moved.with_suffix(".zip"), "w") as archive:
        for path in moved.iterdir():
            archive.write(path, f"photos/{path.name}")
    for data_dir in (None, moved, str(moved.parent), moved.with_suffix(".zip"), f"{moved}/*.jpg"):
        np.testing.assert_array_equal(training_images(trained_run, data_dir).array(), trained_images)


def test_images_that_were_added_do_not_matter(trained_run, trained_images, moved):
    for name in ("000.jpg", "zzz.jpg"):
        (moved / "a").mkdir(exist_ok=True)
        shutil.copy(moved / "047.jpg", moved / "a" / name)
    shutil.copy(moved / "047.jpg", moved / "0.jpg")
    np.testing.assert_array_equal(training_images(trained_run, moved).array(), trained_images)


@pytest.mark.parametrize(
    ("change", "differences"),
    [
        (lambda folder: (folder / "005.jpg").unlink(), ["'005.jpg' is missing"]),
        (lambda folder: (folder / "000.jpg").rename(folder / "first.jpg"), ["'000.jpg' is missing"]),
        (lambda folder: Image.new("RGB", (40, 36)).save(folder / "005.jpg"), ["'005.jpg' was altered (from "]),
        (
            lambda folder: [path.unlink() for path in folder.glob("00[1-9].jpg")] + [path.unlink() for path in folder.glob("01[0-2].jpg")],
            [*(f"'00{number}.jpg' is missing" for number in range(1, 10)), "'010.jpg' is missing", "... and 2 more are missing"],
        ),
    ],
)
def test_images_that_are_missing_or_altered_are_named(trained_run, moved, change, differences):
    change(moved)
    with pytest.raises(ValueError, match="the run was trained on 48 images, and they are not all among the") as refused:
        training_images(trained_run, moved)
    lines = str(refused.value).split("\n  ")[1:]
    assert len(lines) == len(differences) and all(line.startswith(start) for line, start in zip(lines, differences, strict=True))


def test_content_that_was_altered_without_changing_the_size_is_noticed(trained_run, moved):
    content = bytearray((moved / "005.jpg").read_bytes())
    content[-20] ^= 255
    (moved / "005.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=r"'005.jpg' was altered \(still"):
        training_images(trained_run, moved)


def test_a_run_of_an_early_version_without_a_list_of_images_is_compared_by_its_manifest(trained_run, trained_images, moved, tmp_path):
    run = shutil.copytree(trained_run, tmp_path / "run")
    (run / "images.csv").unlink()
    np.testing.assert_array_equal(training_images(run, moved).array(), trained_images)
    (moved / "005.jpg").rename(moved / "zzz.jpg")
    with pytest.raises(ValueError, match="other names or sizes than those of the training"):
        training_images(run, moved)
    (moved / "zzz.jpg").unlink()
    with pytest.raises(ValueError, match="the run has 48 codes, and there are 47 images; row i of the codes belongs to image i"):
        training_images(run, moved)


@pytest.mark.usefixtures("no_figures")
def test_skipped_images_are_left_out_even_if_they_can_be_read_now(small_config, moved, tmp_path, monkeypatch):
    (moved / "000.jpg").write_bytes(b"no image")
    (moved / "a").mkdir()
    (moved / "a" / "only.jpg").write_bytes(b"")
    result = train(small_config(moved, tmp_path / "run", on_bad_image="skip", num_epochs=1))
    with monkeypatch.context() as patch:
        patch.setattr(store, "decode_files", lambda *_: pytest.fail("decoded again"))
        images = training_images(result.run_dir)
    decoded = store.decode_images([str(path) for path in sorted(moved.glob("*.jpg"))[1:]], 32).array()[:]
    assert len(read_codes(result.run_dir)) == images.num_images == 47
    np.testing.assert_array_equal(images.array(), decoded)
    for name in ("000.jpg", "a/only.jpg"):
        shutil.copy(moved / "047.jpg", moved / name)
    np.testing.assert_array_equal(training_images(result.run_dir).array(), decoded)


NOT_TRAINED_ON = "images that the run was not trained on"
CHANGED = "files were added to the folder or removed from it since"


@pytest.fixture
def begin(small_config, tmp_path):
    """Function that makes the folder of a run that was trained on a part of some images, without training: ``begin(data_dir, **settings)``.

    It returns a function that finds the held-out images, with their names in the folder of the images.
    """

    def make(data_dir, **settings):
        config, run = small_config(data_dir, tmp_path / "run", **settings), tmp_path / "run"
        run.mkdir()
        files = identify(find_split(config).training)
        write_digests(run / "images.csv", files.digests())
        write_json(run / "manifest.json", files.manifest())
        write_json(run / "config.json", config.as_dict())

        def find(elsewhere=None):
            found = held_out_images(run, training_images(run, elsewhere).filenames, elsewhere)
            return found._replace(filenames=names_of(found.filenames, data_dir))

        return find

    return make


def names_of(files, folder):
    return [os.path.relpath(file, folder) for file in files]


@pytest.mark.parametrize("settings", [{"held_out": 0.25}, {"held_out": 0.25, "num_samples": 20}])
def test_the_held_out_images_of_an_unchanged_folder_are_those_of_its_split(begin, small_config, moved, settings):
    find, held_out = begin(moved, **settings), find_split(small_config(moved, "", **settings)).held_out
    assert find() == find(moved) == HeldOut(names_of(held_out, moved)) and len(held_out) >= 5


def test_held_out_images_of_the_embedded_faces_are_those_of_the_split(begin, small_config):
    settings = {"held_out": 0.25, "num_samples": 12}
    assert begin("", **settings)() == HeldOut(names_of(find_split(small_config("", "", **settings)).held_out, ""))


@pytest.mark.parametrize("settings", [{}, {"num_samples": 48}])
def test_after_files_were_added_or_removed_no_image_of_the_training_is_held_out(begin, small_config, moved, settings):
    find = begin(moved, held_out=0.25, **settings)
    before = find().filenames
    (moved / before[0]).unlink()
    assert find() == HeldOut(before[1:], NOT_TRAINED_ON, CHANGED)
    for number, name in enumerate(["0.jpg", "new/zzz.jpg"]):
        (moved / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 36), (number, 50, 90)).save(moved / name)
    added = HeldOut(sorted(["0.jpg", *before[1:], "new/zzz.jpg"]), NOT_TRAINED_ON, CHANGED)
    assert find() == added
    (moved.parent / "others").mkdir()  # beside the images, so they have nothing to do with them
    Image.new("RGB", (40, 36), (9, 9, 9)).save(moved.parent / "others" / "cat.jpg")
    assert find(moved.parent) == added
    if not settings:
        split = find_split(small_config(moved, "", held_out=0.25))
        assert set(split.held_out) & set(training_images(moved.parent / "run").filenames)  # what the present split would give


def test_held_out_images_are_found_by_a_pattern(begin, moved):
    find = begin(moved, held_out=0.25)
    before = find().filenames
    for pattern in ("*.jpg", "**", "*"):  # the second also names the folder, and with it all its files a second time
        assert find(f"{moved}/{pattern}") == HeldOut(before, NOT_TRAINED_ON)
    for name in before:
        (moved / name).unlink()
    assert find(f"{moved}/*.jpg") == HeldOut([], NOT_TRAINED_ON) and find() == HeldOut([], NOT_TRAINED_ON, CHANGED)


def test_copies_of_training_images_are_not_held_out(begin, moved):
    find = begin(moved, held_out=0.25)
    before = find().filenames
    trained = sorted({path.name for path in moved.iterdir()} - set(before))
    shutil.copy(moved / trained[0], moved / before[0])
    assert find() == HeldOut(before[1:], note="left out: 1 that are copies of training images")


def test_people_of_the_training_are_not_held_out_after_a_split_by_identity(begin, small_images, tmp_path):
    people = tmp_path / "people"
    for number, path in enumerate(list_images(small_images)):
        (people / f"person{number // 4:02d}").mkdir(parents=True, exist_ok=True)
        shutil.copy(path, people / f"person{number // 4:02d}")
    find = begin(people, held_out=0.25, held_out_by="identity")
    before = find().filenames
    known = sorted({path.name for path in people.iterdir()} - {os.path.dirname(name) for name in before})
    for number, person in enumerate([*known, "stranger"]):
        (people / person).mkdir(exist_ok=True)
        Image.new("RGB", (40, 36), (number, 50, 90)).save(people / person / "new.jpg")
    assert find() == HeldOut(sorted([*before, "stranger/new.jpg"]), NOT_TRAINED_ON, CHANGED)


def test_the_held_out_images_of_an_early_version_without_a_list_of_images_are_those_of_the_split(begin, moved, tmp_path):
    find = begin(moved, held_out=0.25)
    before = find()
    (tmp_path / "run" / "images.csv").unlink()
    assert find() == before


def test_a_picture_may_not_be_written_among_the_images(trained_run, moved, tmp_path, monkeypatch):
    (moved / "results").mkdir()
    with pytest.raises(ValueError, match=r"x.png' would be among the images in .*; give another place, such as '.*/x.png'"):
        check_not_among_images(trained_run, moved / "x.png")
    monkeypatch.chdir(moved)
    with pytest.raises(ValueError, match=r"'results/x\.png' would be among the images"):
        check_not_among_images(trained_run, "results/x.png")
    for path in (tmp_path / "x.png", os.devnull, moved / ".hidden" / "x.png"):
        check_not_among_images(trained_run, path)


@pytest.mark.usefixtures("no_figures")
def test_a_run_folder_among_its_images_is_continued_and_its_figures_are_no_images(small_config, moved, monkeypatch):
    monkeypatch.chdir(moved)
    result = train(small_config(".", "run", num_epochs=1))
    Image.new("RGB", (9, 9)).save(result.run_dir / "figures" / "loss.png")
    assert train(small_config(".", "run", num_epochs=2)).metrics["steps"] == 12
    assert train(small_config(".", "other/run", num_epochs=1)).metrics["num_images"] == 48
    assert training_images("run").num_images == 48
    check_not_among_images("run", "run/samples.png")


@pytest.mark.parametrize("run_dir", [".", "..", "link"])
def test_a_run_folder_that_holds_the_images_is_refused_before_anything_is_written(small_config, moved, monkeypatch, run_dir):
    monkeypatch.chdir(moved)
    os.symlink(".", "link")
    before = sorted(os.listdir())
    with pytest.raises(ValueError, match="which holds images of the training; give a folder of its own, such as"):
        train(small_config(moved, run_dir))
    assert sorted(os.listdir()) == before
