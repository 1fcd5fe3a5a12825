"""What an earlier version wrote is used as it is: run folders, an exported model, and the cache of decoded images.

The files lie in ``earlier_version/``; its README says what they are.
"""

import hashlib
import importlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from glo_lib.config import TrainConfig
from glo_lib.evaluation import evaluate as evaluation
from glo_lib.images import store
from glo_lib.images.files import list_images
from glo_lib.images.identity import read_digests
from glo_lib.inference.encoder import load_encoder
from glo_lib.inference.export import load_npz
from glo_lib.inference.model import load
from glo_lib.runs.folder import read_codes, read_json
from glo_lib.runs.run import read_run, training_images
from glo_lib.training import train

WRITTEN = Path(__file__).parent / "earlier_version"
MODELS = ("glo", "vae")
STEPS = {"glo": 8, "vae": 16}


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    """What the earlier version computed from its runs."""
    with np.load(WRITTEN / "expected.npz", allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture
def earlier(tmp_path, monkeypatch) -> Path:
    """A copy; figures are left out."""
    monkeypatch.setattr(evaluation, "run_figures", lambda *_: {})
    return shutil.copytree(WRITTEN, tmp_path / "earlier")


def config_of(earlier: Path, name: str, **changes) -> TrainConfig:
    """The settings that the run was made with, in the place where it is now."""
    settings = {
        "data_dir": str(earlier / "images"), "run_dir": str(earlier / name), "image_size": 32, "num_dims": 4, "num_filters": (8, 6, 4),
        "batch_size": 4, "num_epochs": 4, "max_seconds": 0, "precision": "float32", "schedule": "constant",
        **({"gpus": 2} if name == "glo" else {"model": "vae"}),
    }  # fmt: skip
    return TrainConfig(**{**settings, **changes})


@pytest.mark.parametrize("name", MODELS)
def test_a_run_is_loaded_with_its_codes(earlier, expected, name):
    run = read_run(earlier / name)
    assert run.config.model == name and run.progress.step == STEPS[name] and run.progress.seconds > 0
    np.testing.assert_allclose(load(earlier / name).codes, expected[f"{name}_codes"], atol=1e-6)


def test_a_loaded_run_decodes_as_before(earlier, expected):
    model = load(earlier / "glo")
    assert model.weights == "averaged"
    np.testing.assert_allclose(model.decode(model.codes[:2]), expected["decoded"], atol=1e-4)


def test_the_encoder_of_a_vae_gives_the_codes_as_before(earlier, expected):
    images = training_images(earlier / "vae", str(earlier / "images")).array()
    np.testing.assert_allclose(load_encoder(earlier / "vae").encode(images).mean, expected["vae_codes"], atol=1e-4)


def test_an_export_is_loaded_and_decodes_as_before(earlier, expected):
    model = load_npz(earlier / "model.npz")
    assert model.weights == "averaged"
    np.testing.assert_allclose(model.codes, expected["glo_codes"], atol=1e-6)
    np.testing.assert_allclose(model.decode(model.codes[:2]), expected["decoded"], atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_a_finished_run_is_evaluated_without_training(earlier, expected, name, monkeypatch):
    module = importlib.import_module("glo_lib.training.train")  # the attribute of the package is the function
    monkeypatch.setattr(module, "build_model", lambda setting: pytest.fail("trained again"))
    metrics = read_json(earlier / name / "metrics.json")
    result = train(config_of(earlier, name))
    assert result.metrics == metrics and result.history[-1].step == STEPS[name]
    for lost in ("metrics.json", "codes.npy"):
        (earlier / name / lost).unlink()
    again = train(config_of(earlier, name)).metrics
    assert again.keys() == metrics.keys() and (again["steps"], again["weights"]) == (metrics["steps"], metrics["weights"])
    assert [again[key] for key in ("psnr_db", "pca_psnr_db")] == pytest.approx([metrics["psnr_db"], metrics["pca_psnr_db"]], abs=1e-3)
    np.testing.assert_allclose(read_codes(earlier / name), expected[f"{name}_codes"], atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_a_run_is_continued_as_the_earlier_version_would_have(earlier, expected, name):
    folder = earlier / name
    manifest, digests = read_json(folder / "manifest.json"), read_digests(folder / "images.csv")
    rows = (folder / "history.csv").read_text()
    result = train(config_of(earlier, name, num_epochs=8))
    assert result.metrics["steps"] == 2 * STEPS[name] and [row.step for row in result.history] == list(range(1, 2 * STEPS[name] + 1))
    np.testing.assert_allclose(read_codes(folder), expected[f"{name}_codes_after_resuming"], rtol=1e-3, atol=1e-3)
    assert read_json(folder / "manifest.json") == manifest
    # The copies have other times, and the same content.
    assert [entry[:3] for entry in read_digests(folder / "images.csv")] == [entry[:3] for entry in digests]
    assert (folder / "history.csv").read_text().splitlines()[: STEPS[name]] == rows.splitlines()


def test_a_run_of_other_images_is_still_refused(earlier):
    (earlier / "images" / "003.jpg").write_bytes((earlier / "images" / "004.jpg").read_bytes())
    with pytest.raises(ValueError, match=r"belongs to another run(.|\n)*'003.jpg' was altered \(from 819 to 871 bytes\)"):
        train(config_of(earlier, "glo"))


def key_of_that_version(filenames: list[str], image_size: int, tight_crop: bool) -> str:
    """Name of the cache as that version computed it."""
    parts = [2, image_size, tight_crop]
    for filename in filenames:
        facts = os.stat(filename)
        parts.append(f"{os.path.abspath(filename)}\t{facts.st_size}\t{facts.st_mtime_ns}")
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]


def test_the_cache_of_decoded_images_is_used_as_it_is(earlier, monkeypatch):
    filenames = list_images(earlier / "images")
    key, cache = key_of_that_version(filenames, 32, False), earlier / "cache" / "images"
    (description,) = cache.glob("*.json")
    content = json.loads(description.read_text())
    assert content["key"] == description.stem
    description.with_suffix(".uint8").rename(cache / f"{key}.uint8")
    (cache / f"{key}.json").write_text(json.dumps({**content, "key": key}))
    stored = (cache / f"{key}.uint8").read_bytes()
    monkeypatch.setenv("GLO_CACHE_DIR", str(earlier / "cache"))
    monkeypatch.setattr(store, "decode_files", lambda *_: pytest.fail("decoded again"))
    decoded = store.decode_images(filenames, 32)
    assert decoded.path == cache / f"{key}.uint8" and decoded.skipped == {}
    assert decoded.array()[:].tobytes() == stored and decoded.shape == (16, 32, 32, 3)


def test_decoding_gives_the_images_of_that_version(earlier):
    (stored,) = (earlier / "cache" / "images").glob("*.uint8")
    now = store.decode_images(list_images(earlier / "images"), 32).array()[:]
    difference = now.astype(int) - np.fromfile(stored, np.uint8).reshape(now.shape)
    assert np.abs(difference).max() <= 1  # processors may round differently
