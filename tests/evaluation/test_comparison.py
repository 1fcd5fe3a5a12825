"""The table of the chapter on the VAE: each number belongs to the images it is said to belong to."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import claims
from glo_lib import inference
from glo_lib.config import TrainConfig
from glo_lib.evaluation import comparison, evaluate
from glo_lib.evaluation.comparison import (
    HEADINGS,
    NUMBERS,
    RECONSTRUCTION,
    SAMPLES,
    Contender,
    average_rows,
    glo_contender,
    image_sets,
    markdown_tables,
    measure,
    measure_data,
    pca_contender,
    vae_contender,
)
from glo_lib.evaluation.metrics import psnr
from glo_lib.images.split import find_split
from glo_lib.inference.encoder import load_encoder
from glo_lib.training import train


def small_config(**changes):
    settings = {
        "num_samples": 60, "held_out": 0.2, "image_size": 32, "num_dims": 6, "num_filters": (12, 8, 6), "batch_size": 8, "num_epochs": 4,
        "max_seconds": 0, "precision": "float32",
    }  # fmt: skip
    return TrainConfig(**{**settings, **changes})


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Image sets of 48 and 12 faces, a GLO run and a VAE run on them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLO_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(evaluate, "run_figures", lambda *_: {})
        plain = comparison.AttributeClassifier
        patch.setattr(comparison, "AttributeClassifier", lambda *args, **settings: plain(*args, **settings, steps=5))
        sets = image_sets(small_config(), find_split(small_config()))
        yield sets, train(small_config()).run_dir, train(small_config(model="vae")).run_dir


def test_image_sets_hold_out_what_the_list_says_and_label_the_rest(runs):
    sets, _, _ = runs
    assert sets.training.shape == (48, 32, 32, 3) and sets.held_out.shape == sets.reference.shape == (12, 32, 32, 3)
    assert sets.rows[0] == 0 and sets.rows[-1] == 47 and (np.diff(sets.rows) > 0).all()
    assert sets.classifier is not None and sets.attributes(sets.held_out).shape == (12, 32)


def test_without_a_list_of_attributes_pixels_serve(small_images):
    config = small_config(data_dir=str(small_images), num_samples=0)
    sets = image_sets(config, find_split(config))
    assert sets.classifier is None and sets.attributes is sets.pixels and len(sets.held_out) == 10


def test_reconstructions_and_samples_of_glo_are_those_of_the_model(runs):
    sets, glo, _ = runs
    contender, model = glo_contender(glo, sets, steps=3), inference.load(glo)
    np.testing.assert_allclose(contender.of_training, model.decode(model.codes[sets.rows]), atol=1e-5)
    assert list(contender.samples) == list(inference.PRIORS)
    expected = model.decode(inference.sample(model, "diagonal Gaussian", 12, 0))
    np.testing.assert_allclose(contender.samples["diagonal Gaussian"], expected, atol=1e-5)


def test_a_longer_search_finds_better_codes_of_held_out_images(runs):
    sets, glo, _ = runs
    values = [psnr(sets.held_out, glo_contender(glo, sets, steps=steps).of_held_out).mean() for steps in (1, 60)]
    assert values[1] > values[0] + 0.2


def test_reconstructions_of_the_vae_are_decoded_means(runs):
    sets, _, vae = runs
    contender, model = vae_contender(vae, sets, "β = 1"), inference.load(vae)
    means = load_encoder(vae).encode(sets.held_out).mean
    np.testing.assert_allclose(contender.of_held_out, model.decode(means), atol=1e-5)
    np.testing.assert_allclose(contender.of_training, model.decode(load_encoder(vae).encode(sets.reference).mean), atol=1e-4)
    assert contender.name == "β = 1" and list(contender.samples) == ["unit Gaussian"]


def test_pca_reconstructs_training_images_better_than_held_out_ones(runs):
    sets, _, _ = runs
    (row,) = measure(pca_contender(sets, 40), sets)
    assert row["psnr_training"] > row["psnr_held_out"] + 3 and row["model"] == "PCA"


def test_every_number_is_that_of_its_images(runs):
    """A contender whose reconstructions have known errors and whose samples are the reference itself, or the training images."""
    sets, _, _ = runs
    as_floats = [images / np.float32(127.5) - 1 for images in (sets.reference, sets.held_out)]
    dim = [0.5 * images for images in as_floats]
    known = Contender("known", dim[0] + 0.02, dim[1] + 0.2, {"itself": as_floats[0], "half": dim[0]})
    halved = sets._replace(training=np.uint8((0.5 * (np.asarray(sets.training) / 127.5 - 1) + 1) * 127.5 + 0.5), held_out=sets.held_out)
    halved = halved._replace(held_out=np.uint8((dim[1] + 1) * 127.5 + 0.5))
    row, _ = measure(known, halved)
    assert row["psnr_training"] == pytest.approx(40, abs=0.5) and row["psnr_held_out"] == pytest.approx(20, abs=0.1)
    assert row["ssim_training"] > row["ssim_held_out"]
    row, half = measure(known, sets)
    assert (row["prior"], half["prior"]) == ("itself", "half")
    assert row["precision"] == row["recall"] == 1 and row["sharpness"] == pytest.approx(1, abs=1e-4)
    assert row["frechet_pixels"] == pytest.approx(0, abs=1e-3) and row["memorisation"] == pytest.approx(0, abs=1e-3)
    assert half["sharpness"] == pytest.approx(0.25, abs=1e-3) and half["frechet_pixels"] > 1 and half["frechet_attributes"] > 0


def test_the_row_of_the_data_has_ratio_one(runs):
    row = measure_data(runs[0])
    assert row["memorisation"] == pytest.approx(1) and np.isnan(row["psnr_training"]) and row["frechet_pixels"] > 0


def row_of(value, **names):
    return {"model": "GLO", "prior": "p", **dict.fromkeys(NUMBERS, value), **names}


def test_rows_are_averaged_over_runs():
    means, deviations = average_rows([[row_of(1.0), row_of(5.0, prior="q")], [row_of(3.0), row_of(5.0, prior="q")]])
    assert means[0]["psnr_training"] == 2 and deviations[0]["psnr_training"] == pytest.approx(np.sqrt(2))
    assert means[1] == row_of(5.0, prior="q") and deviations[1]["recall"] == 0


@pytest.mark.parametrize("runs_", [[[row_of(1.0)]], [[row_of(1.0)], [row_of(1.0, model="VAE")]], []])
def test_runs_that_cannot_be_averaged_are_refused(runs_):
    with pytest.raises(ValueError, match="at least two runs with the same rows"):
        average_rows(runs_)


def test_the_tables_have_a_line_for_each_model_and_for_each_prior_and_a_cell_for_each_number():
    rows = [row_of(1.25), row_of(2.5, prior="q"), row_of(float("nan"), model="held-out images")]
    reconstructions, samples = markdown_tables(rows, [row_of(0.5)] * 3).split("\n\n")
    assert [line.split(" | ")[0] for line in reconstructions.splitlines()[2:]] == ["| GLO"]  # once, and not what has no reconstructions
    assert reconstructions.splitlines()[2] == "| GLO | 1.25 ± 0.50 | 1.25 ± 0.50 | 1.250 ± 0.500 | 1.250 ± 0.500 |"
    assert [line.split(" | ")[:2] for line in samples.splitlines()[2:]] == [["| GLO", "p"], ["| GLO", "q"], ["| held-out images", "p"]]
    assert re.fullmatch(r"\| held-out images \| p (\|  )+\|", samples.splitlines()[-1])
    for table, numbers in ((reconstructions, RECONSTRUCTION), (samples, SAMPLES)):
        assert len({line.count("|") for line in table.splitlines()}) == 1
        assert all(HEADINGS[number] in table.splitlines()[0] for number in numbers)
    assert (*RECONSTRUCTION, *SAMPLES) == NUMBERS


def test_the_benchmark_trains_every_contender_of_a_seed(runs, monkeypatch):
    sets, glo, _ = runs
    monkeypatch.setenv("GLO_CACHE_DIR", str(glo.parents[1]))  # two of the five runs are there
    monkeypatch.setattr(evaluate, "run_figures", lambda *_: {})
    monkeypatch.setattr(comparison, "image_sets", lambda *_: sets)
    monkeypatch.setattr(comparison.glo_contender, "__defaults__", ("GLO", 0, 2, ("full Gaussian",)))
    rows = claims.rows_of_seed(small_config())
    models = [row["model"] for row in rows]
    assert models[:-5] == ["GLO", "GLO, random start"]
    assert models[-5:] == ["VAE, same steps", "VAE, same seconds", "VAE, same steps, β = 0.1", "PCA", "held-out images"]
    by_name = {row["model"]: row for row in rows}
    betas = {name: row["psnr_training"] for name, row in by_name.items() if name.startswith("VAE")}
    assert len(set(betas.values())) == 3 and by_name["held-out images"]["memorisation"] == pytest.approx(1)


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


@pytest.mark.parametrize("arguments", [["--seeds", "0"], ["num_epochs", "--seeds", "0", "1"]])
def test_the_benchmark_says_what_it_takes(arguments, capsys):
    with pytest.raises(SystemExit):
        claims.main(arguments)
    assert "settings as name=value, and at least two seeds" in capsys.readouterr().err
