"""The judgement of a run: each number belongs to the images that it is said to belong to, and the reference is unseen where it can be."""

import shutil

import numpy as np
import pytest

from glo_lib.config import QUICK_PRIORS, TrainConfig
from glo_lib.evaluation import judgement
from glo_lib.evaluation.judgement import TooFewImages, find_reference, judge_run, markdown_table
from glo_lib.evaluation.judges import Judge, compare
from glo_lib.evaluation.metrics import memorisation_ratio, psnr
from glo_lib.images.pixels import to_floats
from glo_lib.images.split import find_split
from glo_lib.inference import load, load_encoder, sample
from glo_lib.inputs import decode_images, list_images
from glo_lib.runs.checkpoints import newest_checkpoint
from glo_lib.runs.folder import RunFolderInUse, lock_run_folder, progress_of, read_json, write_json
from glo_lib.runs.images import HeldOut, held_out_images, training_images


def corners(images):
    """Features of images: twelve pixels."""
    return np.asarray(to_floats(np.asarray(images)))[:, ::16, ::16].reshape(len(images), 12).astype(np.float32)


JUDGES = (Judge("efficientnet_lite0", corners), Judge("face_recogniser", lambda images: -corners(images), lambda features: 0.1 * features))


@pytest.fixture
def judges(monkeypatch):
    """Use two judges that need no weights."""
    monkeypatch.setattr(judgement, "installed_judges", lambda tight_crop: JUDGES)
    monkeypatch.setattr(judgement, "missing_judges", lambda: [])


@pytest.fixture
def run(trained_run, tmp_path):
    """A copy of a run on 48 small images, with metrics of its last step."""
    folder = shutil.copytree(trained_run, tmp_path / "run")
    write_json(folder / "metrics.json", {"steps": progress_of(newest_checkpoint(folder)).step, "psnr_db": 1.0})
    return folder


def test_the_numbers_of_a_run_without_held_out_images_are_added_to_its_metrics(run, judges, trained_images):
    found = judge_run(run, num_judged=12)
    metrics = read_json(run / "metrics.json")
    assert metrics.pop("judges") == found and metrics.keys() == {"steps", "psnr_db"}
    assert found["num_images"] == 12 and found["reference"].startswith("12 of the training images themselves") and found["missing"] == []
    model, order = load(run), np.random.default_rng(0).permutation(48)
    reference, rows = corners(trained_images[np.sort(order[:12])]), np.sort(order[12:24])
    decoded = model.decode(model.codes[rows])
    samples = {prior: model.decode(sample(model, prior, 12, 0)) for prior in QUICK_PRIORS}
    for judge, sign in zip(JUDGES, (1, -1), strict=True):
        numbers = found[judge.name]
        for one, images in (("floor", trained_images[rows]), ("training", decoded)):
            expected = compare(sign * corners(images), sign * reference)
            assert {name: numbers[one][name] for name in expected} == pytest.approx(expected, abs=1e-6)
        assert numbers.keys() == {"floor", "training", "samples"} and list(numbers["samples"]) == list(QUICK_PRIORS)
        for prior, images in samples.items():
            assert numbers["samples"][prior] == pytest.approx(compare(sign * corners(images), sign * reference), abs=1e-6)
    assert found["psnr_training_db"] == pytest.approx(psnr(trained_images[rows], decoded).mean()) and "psnr_held_out_db" not in found
    people = np.linalg.norm(0.1 * (corners(trained_images[rows]) - corners(decoded)), axis=1)
    assert found["face_recogniser"]["training"]["person_distance"] == pytest.approx(np.median(people), abs=1e-5)
    strangers = np.linalg.norm(0.1 * (corners(trained_images[rows]) - reference), axis=1)
    assert found["face_recogniser"]["floor"]["person_distance"] == pytest.approx(np.median(strangers), abs=1e-5)
    assert "person_distance" not in found["efficientnet_lite0"]["training"]


def test_photographs_that_were_drawn_for_the_comparison_are_reconstructed_too(run, judges, trained_images, monkeypatch):
    mirrored = trained_images[:12, ::-1]
    drawn = judgement.Reference(lambda part: mirrored[part], np.arange(12), "12 faces that were drawn for this purpose", True)
    monkeypatch.setattr(judgement, "find_reference", lambda *_: drawn)
    found = judge_run(run)
    assert found["efficientnet_lite0"].keys() == {"floor", "training", "held_out", "samples"}
    assert 5 < found["psnr_held_out_db"] < found["psnr_training_db"]


def test_held_out_images_are_the_reference_and_are_reconstructed(judges, small_images, small_config, train_once, tmp_path, monkeypatch):
    monkeypatch.setattr(judgement, "IMAGES_PER_BLOCK", 20)
    config = small_config(small_images, tmp_path / "run", held_out=0.3, num_epochs=60, learning_rate=0.01)
    folder = train_once(config).run_dir
    found = judge_run(folder, num_judged=0)
    assert (found["num_images"], found["reference"]) == (15, "15 held-out images")
    assert 5 < found["psnr_held_out_db"] < found["psnr_training_db"]
    numbers = found["efficientnet_lite0"]
    assert numbers.keys() == {"floor", "training", "held_out", "samples"} and "memorisation" not in numbers["floor"]
    split, model = find_split(config), load(folder)
    training, held_out = (decode_images(files, 32).array() for files in (split.training, split.held_out))
    samples = model.decode(sample(model, "unit Gaussian", 15, 0))
    expected = memorisation_ratio(corners(samples), corners(held_out), corners(training))
    assert numbers["samples"]["unit Gaussian"]["memorisation"] == pytest.approx(expected, rel=1e-4)
    # Each reconstruction is compared with its own image: with another one, the distance would be that of strangers.
    people = {kind: values["person_distance"] for kind, values in found["face_recogniser"].items() if kind != "samples"}
    assert people["training"] < 0.8 * people["floor"] and people["held_out"] < 0.8 * people["floor"]


def test_an_image_of_the_training_is_never_the_reference(judges, small_images, small_config, train_once, tmp_path):
    photographs = shutil.copytree(small_images, tmp_path / "photographs")
    config = small_config(photographs, tmp_path / "run", held_out=0.3, num_epochs=1)
    folder = train_once(config).run_dir
    before, expected = judge_run(folder, num_judged=0), find_split(config).held_out
    (photographs / "000a.jpg").write_bytes((photographs / "007.jpg").read_bytes())
    assert set(find_split(config).held_out) - set(expected)  # the folder of today would be split in another way
    found = held_out_images(folder, training_images(folder).filenames).filenames
    assert found == expected
    note = "files were added to the folder or removed from it since; left out: 1 that are copies of training images"
    references = {None: f"({note})", photographs: f"({note})", f"{photographs}/*.jpg": "(left out: 1 that are copies of training images)"}
    for data_dir, ending in references.items():
        after = judge_run(folder, num_judged=0, data_dir=data_dir)
        assert after["reference"] == f"15 images that the run was not trained on {ending}"
        assert before == {**after, "reference": "15 held-out images"}


def test_the_encoder_of_a_vae_finds_the_codes(judges, small_images, small_config, train_once, tmp_path):
    config = small_config(small_images, tmp_path / "run", held_out=0.3, model="vae")
    folder = train_once(config).run_dir
    held_out = decode_images(find_split(config).held_out, 32).array()
    expected = compare(corners(load(folder).decode(load_encoder(folder).encode(held_out).mean)), corners(held_out), paired=True)
    found = judge_run(folder, num_judged=0)["efficientnet_lite0"]["held_out"]
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-5)


def test_the_reference_of_drawn_faces_is_drawn_for_it():
    images = np.zeros((14, 32, 32, 3), np.uint8)
    config = TrainConfig(num_samples=14, image_size=32)
    reference = find_reference(config, images, None, num_judged=12)
    assert reference.source == "12 faces that were drawn for this purpose" and reference.unseen
    assert len(reference.rows) == 12 == len(set(reference.rows)) and reference.read(slice(2, 5)).shape == (3, 32, 32, 3)
    seen = {path.rpartition("/")[0] for path in find_split(config).training}
    assert seen and all("s1" not in folder for folder in seen)


def test_the_reference_says_what_is_known_of_the_held_out_images(small_images):
    images, files = np.zeros((30, 32, 32, 3), np.uint8), list_images(small_images)
    config = TrainConfig(data_dir=str(small_images), image_size=32, held_out=0.2)
    for data_dir in (None, f"{small_images}/*.jpg"):
        found = find_reference(config, images, HeldOut(files[:12]), 11, data_dir)
        assert (found.source, found.unseen) == ("11 held-out images", True) and found.rows.max() > 11
    chosen = np.sort(np.random.default_rng(0).permutation(12)[:11])
    np.testing.assert_array_equal(found.read(slice(0, 11)), decode_images(files, 32).array()[:12][chosen])
    changed = HeldOut(files[:12], "images that the run was not trained on", "files were added")
    assert find_reference(config, images, changed).source == "12 images that the run was not trained on (files were added)"
    with pytest.raises(TooFewImages, match="here there are 4 images that the run was not trained on; give more images, or hold out more"):
        find_reference(config, images, changed._replace(filenames=files[:4]))


def test_what_cannot_be_judged_is_refused(run, judges, tmp_path):
    for number in (-1, 9):
        with pytest.raises(ValueError, match=f"num_judged is {number}; give at least 10, or 0"):
            judge_run(run, number)
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json"):
        judge_run(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with lock_run_folder(run), pytest.raises(RunFolderInUse):
        judge_run(run)
    write_json(run / "metrics.json", {"steps": 1})
    with pytest.raises(ValueError, match=r"has not been evaluated after its last step, \d+; train it to its end first"):
        judge_run(run)


def test_a_run_with_too_few_images_is_not_judged_and_says_so(judges, small_images, small_config, train_once, tmp_path):
    """Nine photographs, of which four can be compared with four others: a run on them ends well, and so does what follows it."""
    config = small_config(small_images, tmp_path / "run", num_samples=9, batch_size=3, num_epochs=1)
    found = judge_run(train_once(config).run_dir)
    assert found == {
        "missing": ["networks judge at least 10 images of each kind, and here there are 4; give more images, or hold out more"]
    }
    assert markdown_table(found) == found["missing"][0]


def test_without_judges_the_metrics_say_what_is_missing(run, monkeypatch):
    monkeypatch.setattr(judgement, "installed_judges", lambda tight_crop: ())
    monkeypatch.setattr(judgement, "missing_judges", lambda: ["this is missing", "that too"])
    found = judge_run(run)
    assert found == read_json(run / "metrics.json")["judges"] == {"missing": ["this is missing", "that too"]}
    assert markdown_table(found) == "this is missing\n\nthat too"


def test_the_table_has_a_row_for_each_kind_and_only_columns_with_numbers():
    numbers = {"kernel_distance": 0.0123, "standard_error": 0.0004, "frechet_distance": 1, "precision": 0.5, "recall": 0.25}
    kinds = {"floor": numbers, "training": {**numbers, "memorisation": 0.75}, "samples": {"unit Gaussian": numbers}}
    content = {"missing": ["no other judge"], "reference": "1,000 faces", "num_images": 1000, "trained_with": []}
    text = markdown_table({**content, "efficientnet_lite0": kinds})
    assert text.splitlines() == [
        "EfficientNet-Lite0: 1,000 images of each kind, compared with 1,000 faces",
        "",
        "|  | kernel distance × 1000 | Fréchet distance | precision | recall | memorisation |",
        "|---|--:|--:|--:|--:|--:|",
        "| training images | 12.3 ± 0.4 | 1.00 | 0.50 | 0.25 |  |",
        "| reconstructions of training images | 12.3 ± 0.4 | 1.00 | 0.50 | 0.25 | 0.75 |",
        "| samples, unit Gaussian | 12.3 ± 0.4 | 1.00 | 0.50 | 0.25 |  |",
        "",
        "no other judge",
    ]
    both = {**content, "efficientnet_lite0": kinds, "face_recogniser": kinds}
    first, second, _ = markdown_table({**both, "trained_with": ["efficientnet_lite0"]}).split("\n\n|")
    assert first.startswith("Face recogniser: ") and "EfficientNet-Lite0 (the loss used this network" in second


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, []), ({"loss": "mse+0.5*perceptual"}, ["efficientnet_lite0"]), ({"phases": "0.5 perceptual, 0.5 lap1"}, ["efficientnet_lite0"])],
)
def test_a_judge_is_not_impartial_if_its_network_was_in_the_loss(settings, expected):
    assert judgement._judges_in_loss(TrainConfig(**settings)) == expected
