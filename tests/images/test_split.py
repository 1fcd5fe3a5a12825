"""Held-out images: which they are, and that nothing is learned from them."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glo_lib import faces
from glo_lib.codes import fit_pca
from glo_lib.config import TrainConfig
from glo_lib.graph.backend import tf
from glo_lib.images.split import find_images, find_split, read_partition, split_images
from glo_lib.training import train
from tests.make_files import write_file

PARTITION_NAME = "list_eval_partition.txt"


def write_images(folder, count, grey=lambda number: number):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = grey(number) + np.random.default_rng(number).integers(0, 5, (36, 36, 3), np.uint8)
        Image.fromarray(np.uint8(pixels)).save(folder / f"{number:03d}.png")
    return folder


@pytest.fixture
def folder(tmp_path):
    """A folder of 20 files; their contents do not matter for the split."""
    for number in range(20):
        write_file(tmp_path / "images" / f"{number:03d}.png")
    return tmp_path / "images"


def numbers(filenames):
    return [int(Path(filename).stem) for filename in filenames]


def write_partition(path, parts):
    """Write a list that assigns the images 0, 1, ... to the parts given by digits."""
    write_file(path, "".join(f"{number:03d}.png {part}\n" for number, part in enumerate(parts)).encode())


def test_all_images_are_used_for_training_if_the_share_is_zero(folder):
    write_partition(folder / PARTITION_NAME, "2" * 20)
    split = split_images(folder, 0)
    assert len(split.training) == 20 and split.held_out == []


def test_without_a_list_the_images_are_divided_at_random_depending_only_on_the_seed(folder):
    split = split_images(folder, 0.3)
    assert len(split.held_out) == 6 and sorted(split.training + split.held_out) == sorted(map(str, folder.iterdir()))
    assert split == split_images(folder, 0.3) != split_images(folder, 0.3, seed=1)
    assert split.training == sorted(split.training)
    assert numbers(split.held_out) != list(range(14, 20))  # not simply the last ones


@pytest.mark.parametrize("place", [PARTITION_NAME, f"Eval/{PARTITION_NAME}"])
def test_a_list_in_the_folder_decides(folder, place):
    write_partition(folder / place, "0" * 12 + "1" * 5 + "2" * 3)
    split = split_images(folder, 0.1)
    assert numbers(split.training) == list(range(12)) and numbers(split.held_out) == list(range(12, 20))


def test_a_list_beside_celebas_folder_or_beside_the_archive_is_found(tmp_path):
    for number in range(6):
        write_file(tmp_path / "img_align_celeba" / f"{number:03d}.png")
    write_partition(tmp_path / PARTITION_NAME, "010212")
    shutil.make_archive(str(tmp_path / "archive"), "zip", tmp_path / "img_align_celeba")
    for data_dir in (tmp_path, tmp_path / "img_align_celeba", tmp_path / "archive.zip"):
        assert numbers(split_images(data_dir, 0.1).training) == [0, 2]


def test_a_number_of_samples_is_divided_between_the_parts(folder):
    write_partition(folder / PARTITION_NAME, "0" * 12 + "1" * 8)
    split = split_images(folder, 0.25, num_samples=8)
    assert numbers(split.training) == list(range(6)) and numbers(split.held_out) == [12, 13]


def test_the_embedded_faces_are_split_by_their_list(monkeypatch, folder):
    write_partition(folder / PARTITION_NAME, "0" * 15 + "1" * 5)
    loaded = []
    monkeypatch.setattr(faces, "load_faces", lambda count: loaded.append(count) or folder)
    config = TrainConfig(num_samples=20, held_out=0.1)
    assert numbers(find_split(config).held_out) == list(range(15, 20)) and numbers(find_images(config)) == list(range(15))
    assert len(find_images(TrainConfig())) == 20
    assert loaded == [20, 20, 4096]


@pytest.mark.parametrize(
    ("parts", "held_out", "num_samples", "message"),
    [
        ("", 1.0, 0, "held_out is 1.0; it must be a share"),
        ("", -0.1, 0, "held_out is -0.1"),
        ("", 0.99, 0, "no image of .* is left for training"),
        ("", 0.1, 21, "num_samples is 21, and .* holds 20 images"),
        ("0" * 18, 0.1, 0, r"lists 18 images, and not '018.png' \(2 missing\)"),
        ("0" * 20, 0.1, 0, "no image of .* is left for held_out"),
        ("0" * 19 + "1", 0.5, 20, "only 10 images to train on and 1 to hold out"),
    ],
)
def test_a_split_that_is_not_possible_is_refused(folder, parts, held_out, num_samples, message):
    if parts:
        write_partition(folder / PARTITION_NAME, parts)
    with pytest.raises(ValueError, match=message):
        split_images(folder, held_out, num_samples)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"a.jpg 0\nb.jpg 3\n", "line 2: 'b.jpg 3' is not"),
        (b"\xff\xfe\n", "line 1"),
        (b"a.jpg 0\n\na.jpg 1\n", "line 3: 'a.jpg' is listed twice"),
    ],
)
def test_a_damaged_line_is_named(tmp_path, contents, message):
    with pytest.raises(ValueError, match=message):
        read_partition(write_file(tmp_path / "list.txt", contents))


def train_briefly(folder, run_dir):
    """Train on two thirds of the images; return the variables of the checkpoint, as bytes, and the quality of the PCA."""
    config = TrainConfig(
        data_dir=str(folder), run_dir=str(run_dir), image_size=32, num_dims=4, num_filters=(8, 8, 8), batch_size=8,
        num_epochs=1, max_seconds=0, precision="float32", held_out=0.3,
    )  # fmt: skip
    result = train(config)
    checkpoint = tf.train.latest_checkpoint(str(result.run_dir))
    stored = [name for name, _ in tf.train.list_variables(checkpoint) if name != "training_seconds"]
    return {name: tf.train.load_variable(checkpoint, name).tobytes() for name in stored}, result.metrics["pca_psnr_db"]


def test_held_out_images_never_enter_training_or_pca(tmp_path, monkeypatch):
    """Training images are dark and held-out images bright; after the first run the held-out files are emptied, and nothing changes."""
    monkeypatch.setattr("glo_lib.evaluation.evaluate.run_figures", lambda *_: {})
    held_out = set(numbers(split_images(write_images(tmp_path / "images", 40), 0.3).held_out))
    folder = write_images(tmp_path / "images", 40, lambda number: 240 if number in held_out else number)
    seen = []

    def recording_fit_pca(images, *arguments, **options):
        seen.append(np.array(images))
        return fit_pca(images, *arguments, **options)

    monkeypatch.setattr("glo_lib.training.build.fit_pca", recording_fit_pca)
    monkeypatch.setattr("glo_lib.evaluation.evaluate.fit_pca", recording_fit_pca)
    learned = train_briefly(folder, tmp_path / "run")
    assert len(seen) == 2 and all(len(images) == 28 and images.max() < 60 for images in seen)
    for filename in split_images(folder, 0.3).held_out:
        facts = os.stat(filename)
        Path(filename).write_bytes(b"")
        os.utime(filename, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert train_briefly(folder, tmp_path / "again") == learned
