"""Held-out images: which they are, and that nothing is learned from them."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glo_lib import faces
from glo_lib.codes import fit_pca
from glo_lib.config import TrainConfig
from glo_lib.graph.backend import tf
from glo_lib.images.split import find_images, find_split, split_images
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


def test_a_list_decides_unless_a_share_is_asked_for_and_the_split_says_how_it_was_made(folder):
    path = folder / "Eval" / PARTITION_NAME
    write_partition(path, "0" * 12 + "1" * 5 + "2" * 3)
    for by in ("auto", "partition"):
        split = split_images(folder, 0.1, by=by)
        assert numbers(split.training) == list(range(12)) and numbers(split.held_out) == list(range(12, 20))
        assert split.how == f"8 of 20 images are held out: validation and test according to {path}"
    split = split_images(folder, 0.1, by="share")
    assert len(split.held_out) == 2 and split.how == "2 of 20 images are held out: drawn at random with seed 0"
    path.unlink()
    assert split_images(folder, 0.1)[:2] == split[:2]
    where = f"no list_eval_partition.txt or .csv in {folder}, nor in Eval or Anno there"
    assert split_images(folder, 0.1).how == f"{split.how} ({where})"
    with pytest.raises(ValueError, match=f"held_out_by is 'partition', and there is {where}; add the list"):
        split_images(folder, 0.1, by="partition")
    with pytest.raises(ValueError, match="by is 'name'; allowed are auto, share, partition, identity"):
        split_images(folder, 0.1, by="name")


def test_whole_people_are_held_out(tmp_path):
    for person in range(10):
        for number in range(1, 4):
            write_file(tmp_path / f"Name_{person}" / f"Name_{person}_{number:04d}.jpg")
    for num_samples, held_out in ((0, 6), (15, 3)):
        split = split_images(tmp_path, 0.2, num_samples, by="identity")
        training, held = ({Path(filename).parent.name for filename in part} for part in split[:2])
        assert not training & held and len(split.held_out) == held_out and len(split.training) + held_out == (num_samples or 30)
        of = f"{held_out // 3} of {(num_samples or 30) // 3} people"
        assert split.how.endswith(f"held out: all those of {of}, according to file names such as 'Name_0_0001.jpg'")


def test_what_was_found_and_how_it_was_split_is_printed_where_images_were_given(folder, capsys, monkeypatch):
    config = TrainConfig(data_dir=str(folder), held_out=0.1)
    assert find_images(config, announce=True) == find_split(config).training
    found, how = f"20 images in {str(folder)!r}: 20 .png", find_split(config).how
    assert capsys.readouterr().out == f"{found}\n{how}\n" and how.startswith("2 of 20 images are held out")
    find_images(TrainConfig(data_dir=str(folder)), announce=True)
    assert capsys.readouterr().out == f"{found}\n"
    find_images(config)
    monkeypatch.setattr(faces, "load_faces", lambda count: folder)
    find_images(TrainConfig(held_out=0.1), announce=True)
    monkeypatch.setenv("GLO_CACHE_DIR", str(folder.parent))
    find_images(config, announce=True)  # as if this library had written the folder
    assert capsys.readouterr().out == ""


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
    ("num_images", "settings", "lines", "values"),
    [
        (
            1,
            {"held_out": 0.2},
            ["held_out is 0.2, and 1 image", "batch_size is 32", "num_dims is 64"],
            {"held_out": 0, "code_init": "normal"},
        ),
        (9, {"num_samples": 1024}, ["num_samples is 1024", "batch_size is 32", "num_dims is 64"], {"num_samples": 0, "num_dims": 8}),
        (1, {"num_samples": 9, "held_out": 0.5}, ["num_samples is 9", "batch_size is"], {"num_samples": 0, "held_out": 0, "batch_size": 1}),
        (2, {"held_out": 0.9, "batch_size": 2}, ["held_out is 0.9", "num_dims is 64"], {"held_out": 0, "code_init": "normal"}),
        (3, {"held_out": 0.9, "held_out_by": "share"}, ["held_out is 0.9"], {"held_out": 0, "held_out_by": "auto", "batch_size": 3}),
    ],
)
def test_one_message_names_all_that_does_not_fit_few_images_and_what_fits(tmp_path, num_images, settings, lines, values):
    for number in range(num_images):
        write_file(tmp_path / f"{number}.jpg")
    with pytest.raises(ValueError) as refused:
        find_split(TrainConfig(data_dir=str(tmp_path), **settings))
    message = str(refused.value)
    assert all(f"\n  {line}" in message for line in lines)
    together = dict(pair.split(" ") for pair in message.rpartition("together: -p ")[2].split(" -p "))
    assert values.items() <= {name: type(values.get(name, ""))(value) for name, value in together.items()}.items()
    config = TrainConfig.from_parameters({"data_dir": str(tmp_path), **settings, **together})
    config.check_fits(len(find_split(config).training))


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
