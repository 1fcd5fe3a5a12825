"""The table of the chapter on the VAE: each number belongs to the images that it is said to belong to."""

import dataclasses
import functools
import json
import types
from pathlib import Path

import numpy as np
import pytest

from benchmarks import claims
from glo_lib import inference
from glo_lib.config import GAUSSIANS, TrainConfig
from glo_lib.evaluation import comparison, evaluate
from glo_lib.evaluation.comparison import HEADINGS, MEASURES, average_rows, measure
from glo_lib.evaluation.judges import Judge
from glo_lib.evaluation.metrics import kernel_distance, psnr
from glo_lib.images.pixels import to_floats
from glo_lib.images.split import find_split
from glo_lib.inference.encoder import load_encoder
from glo_lib.training import train

CONFIG = TrainConfig(
    num_samples=60, held_out=0.2, image_size=32, num_dims=6, num_filters=(12, 8, 6), batch_size=8, num_epochs=4, max_seconds=0,
    precision="float32",
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Image sets of 48 and 12 faces, a GLO run and a VAE run on them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLO_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(evaluate, "run_figures", lambda *_: {})
        patch.setattr(comparison, "AttributeClassifier", functools.partial(comparison.AttributeClassifier, steps=5))
        sets = comparison.image_sets(CONFIG, find_split(CONFIG))
        yield sets, *(train(dataclasses.replace(CONFIG, model=model)).run_dir for model in ("glo", "vae"))


def test_image_sets_follow_the_split_and_use_attributes_where_there_are_some(runs, small_images):
    sets, _, _ = runs
    assert sets.training.shape == (48, 32, 32, 3) and sets.held_out.shape == sets.reference.shape == (12, 32, 32, 3)
    assert sets.rows[0] == 0 and sets.rows[-1] == 47 and (np.diff(sets.rows) > 0).all()
    assert sets.classifier is not None and sets.attributes(sets.held_out).shape == (12, 32)
    config = TrainConfig(data_dir=str(small_images), held_out=0.2, image_size=32)
    sets = comparison.image_sets(config, find_split(config))
    assert sets.classifier is None and sets.attributes is sets.pixels and len(sets.held_out) == 10


def test_a_glo_contender_decodes_its_codes_and_a_longer_search_finds_better_ones(runs):
    sets, glo, _ = runs
    (short, long), model = (comparison.glo_contender(glo, sets, steps=steps) for steps in (1, 60)), inference.load(glo)
    np.testing.assert_allclose(short.of_training, model.decode(model.codes[sets.rows]), atol=1e-5)
    assert list(short.samples) == list(GAUSSIANS)
    expected = model.decode(inference.sample(model, "diagonal Gaussian", 12, 0))
    np.testing.assert_allclose(short.samples["diagonal Gaussian"], expected, atol=1e-5)
    assert psnr(sets.held_out, long.of_held_out).mean() > psnr(sets.held_out, short.of_held_out).mean() + 0.2


def test_a_vae_contender_decodes_the_means_of_its_encoder(runs):
    sets, _, vae = runs
    contender, model, encoder = comparison.vae_contender(vae, sets, "β = 1"), inference.load(vae), load_encoder(vae)
    np.testing.assert_allclose(contender.of_held_out, model.decode(encoder.encode(sets.held_out).mean), atol=1e-5)
    np.testing.assert_allclose(contender.of_training, model.decode(encoder.encode(sets.reference).mean), atol=1e-4)
    assert contender.name == "β = 1" and list(contender.samples) == ["unit Gaussian"]


def test_pca_reconstructs_training_images_better_than_held_out_ones(runs):
    (row,) = measure(comparison.pca_contender(runs[0], 20), runs[0])
    assert row["psnr_training"] > row["psnr_held_out"] + 3 and row["model"] == "PCA"


def test_every_number_is_that_of_its_images(runs):
    """Reconstructions are too bright by a known amount. Samples are the reference images themselves, or have half their contrast."""
    sets, _, _ = runs
    training, held_out = (0.5 * (images / np.float32(127.5) - 1) for images in (sets.training, sets.held_out))
    halved = sets._replace(training=np.uint8((training + 1) * 127.5 + 0.5), held_out=np.uint8((held_out + 1) * 127.5 + 0.5))
    half = training[sets.rows]
    known = comparison.Contender("known", half + 0.02, held_out + 0.2, {"itself": 2 * half, "half": half})
    row, _ = measure(known, halved)
    assert row["psnr_training"] == pytest.approx(40, abs=0.5) and row["psnr_held_out"] == pytest.approx(20, abs=0.1)
    assert row["ssim_training"] > row["ssim_held_out"]
    row, half_row = measure(known, sets)
    assert (row["prior"], half_row["prior"]) == ("itself", "half")
    assert row["precision"] == row["recall"] == 1 and row["sharpness"] == pytest.approx(1, abs=1e-4)
    assert row["frechet_pixels"] == pytest.approx(0, abs=1e-3) and row["memorisation"] == pytest.approx(0, abs=1e-3)
    assert half_row["sharpness"] == pytest.approx(0.25, abs=1e-3)
    assert half_row["frechet_pixels"] > 1 and half_row["frechet_attributes"] > 0
    data_row = comparison.measure_data(sets)
    assert data_row["memorisation"] == pytest.approx(1) and np.isnan(data_row["psnr_training"]) and data_row["frechet_pixels"] > 0


def corners(images):
    """Features of images: twelve pixels."""
    return to_floats(np.asarray(images))[:, ::16, ::16].reshape(len(images), 12)


def test_judges_compare_with_held_out_images(runs):
    judge = Judge("face_recogniser", corners, lambda features: 0.2 * features)
    sets = comparison.image_sets(CONFIG, find_split(CONFIG), judges=(judge,))
    of_training = to_floats(sets.reference)
    dark = np.clip(to_floats(sets.held_out) - 1, -1, 1)
    known = comparison.Contender("known", of_training, dark, {"itself": of_training, "dark": dark})
    row, dark_row = measure(known, sets)
    expected = {
        name: kernel_distance(corners(images), corners(sets.held_out)).value for name, images in (("same", of_training), ("dark", dark))
    }
    assert row["kernel_training_face_recogniser"] == row["kernel_face_recogniser"] == pytest.approx(expected["same"], abs=1e-6)
    assert dark_row["kernel_face_recogniser"] == pytest.approx(expected["dark"], abs=1e-6)
    pairs = kernel_distance(corners(dark), corners(sets.held_out), paired=True).value
    assert row["kernel_held_out_face_recogniser"] == pytest.approx(pairs, abs=1e-6) != pytest.approx(expected["dark"], abs=1e-6)
    strangers = np.linalg.norm(0.2 * (corners(sets.held_out) - corners(dark)), axis=1)
    assert row["same_person_training"] == 1 and row["same_person_held_out"] == pytest.approx((strangers < 0.6).mean())
    assert row["memorisation_face_recogniser"] == 0 and dark_row["memorisation_face_recogniser"] > 0
    data_row = comparison.measure_data(sets)
    assert data_row["kernel_face_recogniser"] == pytest.approx(expected["same"], abs=1e-6)
    assert data_row["memorisation_face_recogniser"] == pytest.approx(1)
    reconstructions, samples = comparison.markdown_tables([row, dark_row, data_row]).split("\n\n")
    assert f"{1000 * row['kernel_face_recogniser']:.1f} |" in samples.splitlines()[2]
    assert "kernel distance × 1000, held out, Face recogniser" in reconstructions and "EfficientNet" not in reconstructions + samples
    means, deviations = average_rows([[row], [dark_row | {"prior": "itself"}]])
    assert means[0]["kernel_face_recogniser"] == pytest.approx((expected["same"] + expected["dark"]) / 2, abs=1e-6)
    assert f"± {1000 * deviations[0]['kernel_face_recogniser']:.1f} |" in comparison.markdown_tables(means, deviations)


def row_of(value, **names):
    return {"model": "GLO", "prior": "p", **dict.fromkeys(MEASURES, value), **names}


def test_rows_are_averaged_over_runs():
    means, deviations = average_rows([[row_of(1.0), row_of(5.0, prior="q")], [row_of(3.0), row_of(5.0, prior="q")]])
    assert means == [row_of(2.0), row_of(5.0, prior="q")]
    assert deviations[0]["psnr_training"] == pytest.approx(np.sqrt(2)) and deviations[1]["recall"] == 0
    for different in ([[row_of(1.0)]], [[row_of(1.0)], [row_of(1.0, model="VAE")]]):
        with pytest.raises(ValueError, match="at least two runs with the same rows"):
            average_rows(different)


def test_the_tables_have_a_row_for_each_model_and_for_each_prior():
    rows = [row_of(1.25), row_of(2.5, prior="q"), row_of(float("nan"), model="held-out images")]
    reconstructions, samples = (table.splitlines() for table in comparison.markdown_tables(rows, [row_of(0.5)] * 3).split("\n\n"))
    assert reconstructions[2:] == ["| GLO | 1.25 ± 0.50 | 1.25 ± 0.50 | 1.250 ± 0.500 | 1.250 ± 0.500 |"]
    assert [line.split(" | ")[:2] for line in samples[2:]] == [["| GLO", "p"], ["| GLO", "q"], ["| held-out images", "p"]]
    assert samples[-1] == "| held-out images | p " + 6 * "|  " + "|"
    assert {line.count("|") for line in reconstructions} == {6} and {line.count("|") for line in samples} == {9}
    assert all(heading in reconstructions[0] + samples[0] for heading in HEADINGS.values())


def test_the_benchmark_trains_and_measures_every_contender(runs, monkeypatch):
    sets, glo, vae = runs
    trained = []

    def record(config):
        trained.append(config)
        return types.SimpleNamespace(run_dir=glo if config.model == "glo" else vae, metrics={"seconds": 7.0})

    monkeypatch.setattr(claims, "train", record)
    monkeypatch.setattr(claims, "installed_judges", lambda tight_crop: ())
    monkeypatch.setattr(comparison, "image_sets", lambda *_: sets)
    monkeypatch.setattr(comparison, "glo_contender", functools.partial(comparison.glo_contender, steps=2))
    monkeypatch.setattr(comparison, "measure", lambda contender, _: [{"model": contender.name} for _ in contender.samples])
    models = [row["model"] for row in claims.rows_of_seed(CONFIG)]
    vaes = ["VAE, same steps", "VAE, same seconds", "VAE, same steps, β = 0.1"]
    assert models == ["GLO"] * len(GAUSSIANS) + ["GLO, random start", *vaes, "PCA", "held-out images"]
    assert [(config.model, config.code_init) for config in trained] == [("glo", "pca"), ("glo", "normal")] + 3 * [("vae", "pca")]
    assert [(config.max_seconds, config.kl_weight) for config in trained[2:]] == [(0, 1), (7, 1), (0, 0.1)]


def test_of_a_vae_there_is_a_contender_with_fitted_priors_and_one_with_searched_codes(runs, monkeypatch):
    sets, glo, vae = runs
    monkeypatch.setattr(claims, "train", lambda config: types.SimpleNamespace(run_dir=glo if config.model == "glo" else vae))
    monkeypatch.setattr(claims, "SEARCH_STEPS", 30)
    alone = claims.contenders_of("GLO", CONFIG, sets)
    plain, searched = claims.contenders_of("VAE", dataclasses.replace(CONFIG, model="vae"), sets)
    assert [list(contender.samples) for contender in (*alone, plain, searched)] == 2 * [list(claims.FAIR_PRIORS)] + [["full Gaussian"]]
    assert psnr(sets.held_out, searched.of_held_out).mean() > psnr(sets.held_out, plain.of_held_out).mean()
    assert not np.array_equal(plain.samples["full Gaussian"], plain.samples["unit Gaussian"])


@pytest.mark.parametrize(
    ("gains", "trained", "best"),
    [([20, 21, 21.05], [2, 4, 8], 8), ([20, 21, 20.5], [2, 4, 8], 4), ([20, 21, 22], [2, 4], 4)],
    ids=["hardly better", "worse", "as long as allowed"],
)
def test_a_model_is_trained_for_longer_until_its_held_out_images_gain_no_more(monkeypatch, gains, trained, best, capsys):
    lengths, decibels = [], iter(gains)
    monkeypatch.setattr(claims, "MOST_EPOCHS", 4 if best == trained[-1] == 4 else 1000)
    monkeypatch.setattr(claims, "contenders_of", lambda name, config, sets: lengths.append(config.num_epochs) or [sets])
    monkeypatch.setattr(claims, "psnr", lambda images, decoded: np.array([next(decibels)]))
    sets = types.SimpleNamespace(held_out=None, of_held_out=None)
    found = claims.train_until_converged("GLO", dataclasses.replace(CONFIG, num_epochs=2), sets)
    assert found == (best, [sets], dict(zip(trained, gains, strict=False)))
    assert lengths == trained and f"GLO, 4 epochs: {gains[1]:.2f} dB" in capsys.readouterr().err


def test_the_converged_models_are_measured_beside_principal_components(runs, monkeypatch):
    sets, seen = runs[0], []
    monkeypatch.setattr(claims, "installed_judges", lambda tight_crop: ())
    monkeypatch.setattr(comparison, "image_sets", lambda *_: sets)
    monkeypatch.setattr(
        claims, "train_until_converged", lambda name, config, sets: seen.append(config) or claims.Converged(7, [name], {7: 20})
    )
    monkeypatch.setattr(comparison, "measure", lambda contender, _: [{"model": getattr(contender, "name", contender)}])
    rows = claims.converged_rows_of_seed(CONFIG)
    assert [row["model"] for row in rows] == ["GLO", "VAE", "VAE, learned noise", "PCA", "held-out images"]
    assert (rows[0]["epochs"], rows[0]["psnr_held_out_by_epochs"]) == (7, {7: 20}) and "epochs" not in rows[3]
    assert [(config.model, config.learned_noise) for config in seen] == [("glo", False), ("vae", False), ("vae", True)]


@pytest.mark.parametrize(("lengths", "sentence"), [((7, 14), "Epochs of training with each seed. GLO: 7, 14."), ((), "")])
def test_the_table_states_the_epochs_of_models_that_were_trained_until_they_converged(lengths, sentence):
    runs = [[{**row_of(1.0), **({"epochs": lengths[seed]} if lengths else {})}, row_of(1.0, model="PCA")] for seed in (0, 1)]
    content = {"data": "faces", "seeds": [0, 1], "runs": runs, "mean": runs[0], "deviation": runs[0], "arguments": []}
    lines = claims.tables(content).splitlines()
    assert lines[2] == sentence if lengths else not any("Epochs" in line for line in lines)


def test_the_benchmark_writes_its_table_for_two_seeds(small_images, tmp_path, monkeypatch, capsys):
    values = {0: 1.0, 7: 3.0}
    monkeypatch.setattr(claims, "rows_of_seed", lambda config: [row_of(values[config.seed]), row_of(float("nan"), model="held-out images")])
    claims.main([f"data_dir={small_images}", "num_epochs=2", "--seeds", "0", "7", "--out", str(tmp_path / "table")])
    content, text = json.loads((tmp_path / "table.json").read_text()), (tmp_path / "table.md").read_text()
    assert content["seeds"] == [0, 7] and [run[0]["recall"] for run in content["runs"]] == [1, 3]
    assert content["mean"][0]["recall"] == 2 and content["deviation"][0]["recall"] == pytest.approx(np.sqrt(2))
    assert content["mean"][1]["psnr_training"] is None and content["settings"]["num_epochs"] == 2
    assert str(small_images) not in text + json.dumps(content) and f"data_dir={Path(small_images).name}" in text
    assert "2.000 ± 1.414" in text and text in capsys.readouterr().out
    for arguments in (["--seeds", "0"], ["num_epochs", "--seeds", "0", "1"]):
        with pytest.raises(SystemExit):
            claims.main(arguments)
        assert "settings as name=value, and at least two seeds" in capsys.readouterr().err
