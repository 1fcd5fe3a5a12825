"""Held-out images: which they are, and that nothing is learned from them."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from glo_lib import faces
from glo_lib.codes import fit_pca
from glo_lib.config import TrainConfig
from glo_lib.graph.backend import tf
from glo_lib.images.split import find_images, find_split, read_partition, split_images
from glo_lib.training import train


def make_images(folder, count, colour=lambda number: number):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = np.full((36, 36, 3), colour(number), np.uint8) + np.random.default_rng(number).integers(0, 5, (36, 36, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    return folder


@pytest.fixture
def folder(tmp_path):
    return make_images(tmp_path / "images", 20)


def names(filenames):
    return [Path(filename).name for filename in filenames]


def write_partition(path, parts):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{number:03d}.png {part}\n" for number, part in enumerate(parts)))


def test_without_a_share_every_image_is_trained_on(folder):
    write_partition(folder / "list_eval_partition.txt", "2" * 20)
    split = split_images(folder, 0)
    assert len(split.training) == 20 and split.held_out == []


def test_the_draw_is_a_partition_of_the_images_that_depends_on_the_seed_alone(folder):
    split = split_images(folder, 0.3)
    assert len(split.held_out) == 6 and sorted(split.training + split.held_out) == sorted(str(path) for path in folder.iterdir())
    assert split == split_images(folder, 0.3) != split_images(folder, 0.3, seed=1)
    assert split.training == sorted(split.training)
    assert names(split.held_out) != [f"{number:03d}.png" for number in range(14, 20)]  # not simply the last ones


@pytest.mark.parametrize("place", ["list_eval_partition.txt", "Eval/list_eval_partition.txt"])
def test_the_list_decides_where_there_is_one(folder, place):
    write_partition(folder / place, "0" * 12 + "1" * 5 + "2" * 3)
    split = split_images(folder, 0.1)
    assert names(split.training) == [f"{number:03d}.png" for number in range(12)]
    assert names(split.held_out) == [f"{number:03d}.png" for number in range(12, 20)]


def test_the_list_is_found_beside_celebas_folder_and_beside_the_archive(tmp_path):
    make_images(tmp_path / "img_align_celeba", 6)
    write_partition(tmp_path / "list_eval_partition.txt", "010212")
    shutil.make_archive(str(tmp_path / "archive"), "zip", tmp_path / "img_align_celeba")
    for data_dir in (tmp_path, tmp_path / "img_align_celeba", tmp_path / "archive.zip"):
        assert names(split_images(data_dir, 0.1).training) == ["000.png", "002.png"]


def test_a_number_of_samples_is_shared_between_the_parts(folder):
    write_partition(folder / "list_eval_partition.txt", "0" * 12 + "1" * 8)
    split = split_images(folder, 0.25, num_samples=8)
    assert names(split.training) == [f"{number:03d}.png" for number in range(6)]
    assert names(split.held_out) == ["012.png", "013.png"]


def test_the_embedded_faces_bring_their_list():
    config = TrainConfig(num_samples=40, held_out=0.1)
    split = find_split(config)
    assert (len(split.training), len(split.held_out)) == (32, 8)
    assert find_images(config) == split.training
    assert len(find_images(TrainConfig(num_samples=40))) == 40 and find_split(TrainConfig(num_samples=40)).held_out == []
    assert Path(split.training[0]).is_relative_to(faces.load_faces(40))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda folder: split_images(folder, 1.0), "held_out is 1.0; it must be a share"),
        (lambda folder: split_images(folder, -0.1), "held_out is -0.1"),
        (lambda folder: split_images(folder, 0.99), "no image of .* is left for training"),
        (lambda folder: split_images(folder, 0.1, num_samples=21), "num_samples is 21, and .* holds 20 images"),
    ],
)
def test_shares_that_leave_nothing_are_refused(folder, call, message):
    with pytest.raises(ValueError, match=message):
        call(folder)


def test_lists_that_do_not_fit_are_refused(folder):
    path = folder / "list_eval_partition.txt"
    write_partition(path, "0" * 18)
    with pytest.raises(ValueError, match=r"lists 18 images, and not '018.png' \(2 missing\)"):
        split_images(folder, 0.1)
    write_partition(path, "0" * 20)
    with pytest.raises(ValueError, match=r"no image of .* is left for held_out"):
        split_images(folder, 0.1)
    write_partition(path, "0" * 19 + "1")
    with pytest.raises(ValueError, match="only 10 images to train on and 1 to hold out"):
        split_images(folder, 0.5, num_samples=20)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg 0\nb.jpg 3\n", "line 2: 'b.jpg 3' is not"),
        ("a.jpg\n", "line 1"),
        ("a.jpg 0\n\na.jpg 1\n", "line 3: 'a.jpg' is listed twice"),
    ],
)
def test_damaged_lines_are_named(tmp_path, text, message):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_partition(tmp_path / "list.txt")


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(content)
    try:
        parts = read_partition(path)
    except ValueError as error:
        assert "line" in str(error)
    else:
        assert set(parts.values()) <= {"0", "1", "2"}


def run(folder, run_dir):
    config = TrainConfig(
        data_dir=str(folder), run_dir=str(run_dir), image_size=32, num_dims=4, num_filters=(8, 8, 8), batch_size=8,
        num_epochs=2, max_seconds=0, precision="float32", held_out=0.3,
    )  # fmt: skip
    result = train(config)
    checkpoint = tf.train.latest_checkpoint(str(result.run_dir))
    stored = [name for name, _ in tf.train.list_variables(checkpoint) if name != "training_seconds"]
    return {name: tf.train.load_variable(checkpoint, name).tobytes() for name in stored}, result.metrics["pca_psnr_db"]


def test_held_out_images_never_enter_training_or_pca(tmp_path, monkeypatch):
    """Training images are dark, held-out ones bright; they are looked for in all that is fitted, and then they are taken away."""
    monkeypatch.setattr("glo_lib.evaluation.evaluate.run_figures", lambda *_: {})
    held_out = {int(Path(filename).stem) for filename in split_images(make_images(tmp_path / "a", 40), 0.3).held_out}
    folder = make_images(tmp_path / "a", 40, lambda number: 240 if number in held_out else number)
    seen = []

    def watched(images, *arguments, **settings):
        seen.append(np.array(images))
        return fit_pca(images, *arguments, **settings)

    monkeypatch.setattr("glo_lib.training.build.fit_pca", watched)
    monkeypatch.setattr("glo_lib.evaluation.evaluate.fit_pca", watched)
    learned = run(folder, tmp_path / "run")
    assert len(seen) == 2 and all(len(images) == 28 and images.max() < 60 for images in seen)
    for filename in split_images(folder, 0.3).held_out:  # nothing that could be read is left in them
        facts = os.stat(filename)
        Path(filename).write_bytes(b"")
        os.utime(filename, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert run(folder, tmp_path / "again") == learned
