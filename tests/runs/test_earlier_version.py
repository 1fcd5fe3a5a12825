"""Files written by an earlier version can still be used: run folders and an exported model. Its cache of images is not used any more.

They are stored in ``earlier_version/``, whose README describes them.
"""

import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from glo_lib.images import store
from glo_lib.images.files import list_images
from glo_lib.images.identity import read_digests
from glo_lib.inference.encoder import load_encoder
from glo_lib.inference.export import load_npz
from glo_lib.inference.model import load
from glo_lib.runs.folder import read_codes, read_json, write_json
from glo_lib.runs.images import training_images
from glo_lib.runs.run import read_run
from glo_lib.training import train

STORED = Path(__file__).parent / "earlier_version"
STEPS = {"glo": 8, "vae": 16}


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    """The results that the earlier version computed from its runs."""
    with np.load(STORED / "expected.npz", allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture
def earlier(tmp_path, no_figures) -> Path:
    return shutil.copytree(STORED, tmp_path / "earlier")


@pytest.fixture
def config_of(earlier, small_config):
    """Function that makes the settings of a stored run, with the folders of the copy."""
    special = {"glo": {"gpus": 2}, "vae": {"model": "vae"}}
    common = {"num_dims": 4, "num_filters": (8, 6, 4), "batch_size": 4, "schedule": "constant"}
    return lambda name, **changes: small_config(earlier / "images", earlier / name, **{**common, **special[name], **changes})


def test_runs_and_an_export_are_loaded_and_decode_and_encode_as_before(earlier, expected):
    for model in (load(earlier / "glo"), load_npz(earlier / "model.npz")):
        assert model.weights == "averaged"
        np.testing.assert_allclose(model.codes, expected["glo_codes"], atol=1e-6)
        np.testing.assert_allclose(model.decode(model.codes[:2]), expected["decoded"], atol=1e-4)
    np.testing.assert_allclose(load(earlier / "vae").codes, expected["vae_codes"], atol=1e-6)
    images = training_images(earlier / "vae", str(earlier / "images")).array()
    np.testing.assert_allclose(load_encoder(earlier / "vae").encode(images).mean, expected["vae_codes"], atol=1e-4)


@pytest.mark.parametrize("name", STEPS)
def test_a_finished_run_is_evaluated_without_training(earlier, config_of, expected, name, monkeypatch):
    module = importlib.import_module("glo_lib.training.train")  # the attribute of the package is the function
    monkeypatch.setattr(module, "build_model", lambda setting: pytest.fail("trained again"))
    run, metrics = read_run(earlier / name), read_json(earlier / name / "metrics.json")
    assert run.config.model == name and run.progress.step == STEPS[name] and run.progress.seconds > 0
    result = train(config_of(name))
    assert result.metrics == metrics and result.history[-1].step == STEPS[name]
    for lost in ("metrics.json", "codes.npy"):
        (earlier / name / lost).unlink()
    again = train(config_of(name)).metrics
    assert again.keys() == metrics.keys() and (again["steps"], again["weights"]) == (metrics["steps"], metrics["weights"])
    assert [again[key] for key in ("psnr_db", "pca_psnr_db")] == pytest.approx([metrics["psnr_db"], metrics["pca_psnr_db"]], abs=1e-3)
    np.testing.assert_allclose(read_codes(earlier / name), expected[f"{name}_codes"], atol=1e-4)


def test_settings_of_a_vae_that_were_accepted_for_glo_and_had_no_effect_do_no_harm(earlier, config_of):
    of_vae = {"kl_weight": 0.1, "learned_noise": True}
    folder, exported = earlier / "glo", earlier / "model.npz"
    write_json(folder / "config.json", read_json(folder / "config.json") | of_vae)
    with np.load(exported, allow_pickle=False) as arrays:
        content = {name: arrays[name] for name in arrays.files}
    np.savez(exported, **content | {"config": json.dumps(json.loads(str(content["config"])) | of_vae)})
    for model in (load(folder), load_npz(exported)):
        assert (model.config.kl_weight, model.config.learned_noise) == (1.0, False)
    assert train(config_of("glo")).metrics == read_json(folder / "metrics.json")


@pytest.mark.parametrize("name", STEPS)
def test_a_run_is_continued_as_the_earlier_version_would_have(earlier, config_of, expected, name):
    folder = earlier / name
    manifest, digests = read_json(folder / "manifest.json"), read_digests(folder / "images.csv")
    rows = (folder / "history.csv").read_text()
    result = train(config_of(name, num_epochs=8))
    assert result.metrics["steps"] == 2 * STEPS[name] and [row.step for row in result.history] == list(range(1, 2 * STEPS[name] + 1))
    np.testing.assert_allclose(read_codes(folder), expected[f"{name}_codes_after_resuming"], rtol=1e-3, atol=1e-3)
    assert read_json(folder / "manifest.json") == manifest
    # The copies have the same content and other times.
    assert [entry[:3] for entry in read_digests(folder / "images.csv")] == [entry[:3] for entry in digests]
    assert (folder / "history.csv").read_text().splitlines()[: STEPS[name]] == rows.splitlines()


def test_the_images_are_decoded_anew_and_are_those_of_the_earlier_cache(earlier, monkeypatch):
    """Large photographs are decoded in another way since, so caches of that version are not used; small images are decoded as before."""
    (before,) = (earlier / "cache" / "images").glob("*.uint8")
    monkeypatch.setenv("GLO_CACHE_DIR", str(earlier / "cache"))
    decoded = store.decode_images(list_images(earlier / "images"), 32)
    assert decoded.path.parent == before.parent and decoded.path != before and before.exists() and decoded.shape == (16, 32, 32, 3)
    earlier_images = np.fromfile(before, np.uint8).reshape(decoded.shape)
    assert np.abs(earlier_images.astype(int) - decoded.array()[:]).max() <= 1  # processors may round differently
