"""The benchmark on photographs, run with small images and with judges that need no weights: the same program as at full size."""

import json
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import gallery, photographs, sheets, steps
from glo_lib.codes import fit_pca
from glo_lib.config import TrainConfig
from glo_lib.evaluation import judgement
from glo_lib.evaluation.judges import Judge
from glo_lib.images.pixels import to_floats

SMALL = {
    **{"held_out": 0.25, "held_out_by": "share", "image_size": 32, "num_dims": 4, "num_filters": "8-6-4", "batch_size": 8},
    **{"max_seconds": 0, "precision": "float32", "kernel_size": 3},
}


def corners(images):
    return to_floats(np.asarray(images))[:, ::15, ::15].reshape(len(images), -1)


@pytest.fixture
def small(monkeypatch, no_figures):
    judges = (Judge("efficientnet_lite0", corners), Judge("face_recogniser", corners, lambda features: features[:, :4]))
    for module in (photographs, judgement):
        monkeypatch.setattr(module, "installed_judges", lambda tight_crop: judges)
        monkeypatch.setattr(module, "missing_judges", lambda: [])
    monkeypatch.setattr(photographs, "COMMON", SMALL)
    monkeypatch.setattr(steps, "MEASURED", 0)


def test_each_model_has_a_line_with_the_numbers_of_both_judges(small, small_images, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(photographs, "steps_per_second", lambda config: [60.0 if config.optimizer == "sgd" else 240.0])
    rows = ["mse", "paper", "mse_128", "vae", "vae_searched", "pca"]
    photographs.main(["--table", f"data_dir={small_images}", "--rows", *rows, "--seeds", "0", "--seconds", "0.1", "--out", "table"])
    models = json.loads((tmp_path / "table.json").read_text())["models"]
    assert [model["row"] for model in models] == rows
    searched = models.pop(4)["numbers"]
    assert len(list((tmp_path / "table").glob("vae*"))) == 1  # the models are the same
    steps = [model["numbers"].get("steps") for model in models]
    assert steps[2] == steps[1] < steps[0]
    encoded = models[3]["numbers"]
    for measure in ("efficientnet_lite0 floor", "face_recogniser floor"):
        assert searched[measure] == pytest.approx(encoded[measure], abs=1e-6)  # the same photographs
    assert searched["psnr_held_out"] > encoded["psnr_held_out"] + 0.1 and searched.keys() < encoded.keys()
    kinds = {f"{judge} {kind}" for judge in photographs.TITLES for kind in ("floor", *photographs.KINDS)}
    assert all(kinds | {"psnr_training", "psnr_held_out"} <= model["numbers"].keys() for model in models)
    floors = {round(model["numbers"]["efficientnet_lite0 floor"], 6) for model in models}
    assert len(floors) == 1  # all models are compared with the same photographs
    table = (tmp_path / "table.md").read_text()
    assert str(small_images) not in table and "benchmarks.photographs --table data_dir=PHOTOGRAPHS --rows" in table
    assert [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")][1:] == [
        "squared error",
        "the paper's model",
        "squared error, in the steps of the paper's model",
        "VAE",
        "VAE, searched codes",
        "PCA",
    ]
    assert table.strip() in capsys.readouterr().out
    sizes = {path.name: Image.open(path).size for path in tmp_path.glob("*.jpg")}
    assert sizes.keys() == {"table_models_held_out.jpg", "table_models_samples.jpg"}  # there is only one loss to show
    (width, height), (same_width, lower) = (sizes[name] for name in sorted(sizes))
    assert width == same_width and height == pytest.approx(lower * 5 / 4, rel=0.02)  # four models and the photographs; four models


def test_a_sheet_of_principal_components_has_the_projections_of_new_photographs_onto_them():
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 3), np.uint8)
    photographs = gallery.Photographs(images[:30], images[30:])
    made = sheets.of_pca(3, photographs)
    flat = to_floats(images).reshape(40, -1)
    mean = flat[:30].mean(axis=0)
    components = np.linalg.svd(flat[:30] - mean)[2][:3]
    others = to_floats(sheets.people(photographs)).reshape(sheets.COLUMNS, -1)
    expected = (others - mean) @ components.T @ components + mean
    assert made.held_out.reshape(sheets.COLUMNS, -1) == pytest.approx(np.clip(expected, -1, 1), abs=1e-4)
    assert made.samples.shape == (sheets.COLUMNS, 4, 4, 3) and np.abs(made.samples).max() <= 1


def test_the_samples_of_principal_components_have_the_variance_of_the_images_along_each():
    images = np.random.default_rng(0).normal(size=(200, 2, 2, 3)).astype(np.float32) / 10
    pca = fit_pca(images, 3)
    drawn = sheets.gaussian_codes(pca, 20_000)
    assert drawn.std(axis=0) == pytest.approx(pca.transform(images).std(axis=0), rel=0.03)
    assert (sheets.gaussian_codes(pca, 5) == drawn[:5]).all()


def test_the_speed_is_measured_once_so_that_an_interrupted_benchmark_goes_on_with_the_same_steps(
    small, small_images, tmp_path, monkeypatch
):
    rates = photographs.measure_rates(tmp_path, ["mse", "pca"], str(small_images))
    assert rates["mse"][0] > 1 and "pca" not in rates
    monkeypatch.setattr(photographs, "steps_per_second", lambda config: pytest.fail("measured again"))
    assert photographs.measure_rates(tmp_path, ["mse"], str(small_images)) == rates


def test_the_speed_of_another_table_is_taken_from_its_results(small, small_images, tmp_path, monkeypatch):
    stored = Path(photographs.__file__).with_name("photographs.json")
    rates = json.loads(stored.read_text("utf8"))["steps_per_second"]
    made = []
    monkeypatch.setattr(photographs, "make_table", lambda *arguments: made.append(arguments))
    monkeypatch.setattr(photographs, "steps_per_second", lambda config: pytest.fail("measured"))
    arguments = [
        "--table",
        f"data_dir={small_images}",
        "--rates",
        str(stored),
        "--rows",
        "mse_128",
        "pca",
        "--out",
        str(tmp_path / "table"),
    ]
    photographs.main(arguments)
    (data_dir, rows, seeds, seconds, used, out, command), *_ = made
    assert (data_dir, rows, seeds, seconds, out) == (str(small_images), ["mse_128", "pca"], (0, 1, 2), 300, tmp_path / "table")
    assert used == rates and f"--rates {stored}" in command
    (tmp_path / "rates.json").write_text(json.dumps({"mse": [64.0]}))
    assert photographs.read_rates(tmp_path / "rates.json", ["mse", "pca"]) == {"mse": [64.0]}
    with pytest.raises(ValueError, match="has no steps per second of lap1, vae; it has those of mse"):
        photographs.read_rates(tmp_path / "rates.json", ["lap1", "mse", "vae"])


def test_a_run_has_as_many_steps_in_each_phase_as_fit_into_its_share_of_the_seconds():
    config = TrainConfig(phases="0.5 mse, 0.5 lap1", batch_size=32)
    fitted = steps.with_steps_for(config, 64, [30.0, 10.0], num_images=128)
    assert fitted.num_steps(128) == 64 * 0.5 * (30 + 10)
    assert [(phase.end, phase.loss) for phase in fitted.recipe] == [(0.75, "mse"), (1.0, "lap1")]
    assert steps.with_steps_for(TrainConfig(), 0.01, [1.0], num_images=128).num_epochs == 1


def test_the_folder_of_the_page_has_numbers_of_both_runs_and_every_picture_that_they_name(small, small_images, tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "SETTINGS", SMALL)
    monkeypatch.setattr(gallery, "COLUMNS", {32: 3})
    monkeypatch.setattr(gallery, "LONG_PHASES", "0.5 mse, 0.5 lap1")
    monkeypatch.setattr(gallery, "SEARCH_STEPS", 2)
    monkeypatch.setattr(gallery, "PRIORS", ("full Gaussian", "neighbours"))
    monkeypatch.setattr(gallery, "steps_per_second", lambda config: [30.0] * len(config.recipe))
    monkeypatch.setattr(gallery, "SHORT_SECONDS", 0.3)
    monkeypatch.setattr(gallery, "LONG_SECONDS", 0.6)
    monkeypatch.setattr(gallery, "LONG_FILTERS", {32: (64, 32, 16)})
    out = tmp_path / "page"
    arguments = [f"data_dir={small_images}", "batch_size=8", "--sizes", "32", "--out", str(out)]
    photographs.main(arguments)
    results = json.loads((out / "results.json").read_text())
    assert list(results["runs"]) == ["32 pixels, short", "32 pixels, long"]
    for run in results["runs"].values():
        assert run["metrics"]["psnr_db"] > 0 and run["judges"]["face_recogniser"]["held_out"]["kernel_distance"]
    assert str(small_images) not in (out / "results.json").read_text() and "data_dir=PHOTOGRAPHS batch_size=8" in results["command"]
    assert results["settings"] == {"batch_size": "8"} and list(results["steps_per_second"]) == list(results["runs"])
    assert results["images"] == {"training": 36, "held_out": 12}
    short, long = results["runs"].values()
    assert long["metrics"]["steps"] == 2 * short["metrics"]["steps"] and long["settings"]["num_filters"] == [64, 32, 16]
    assert set(results["pictures"]) == {path.name for path in out.glob("*.jpg")}
    parts = {name.removesuffix("_32.jpg"): len(rows) for name, rows in results["pictures"].items()}
    samples = {"samples_short": 1, "samples_full_gaussian": 2, "samples_neighbours": 2}
    assert parts == {"reconstructions": 3, "closer": 3, "held_out": 3, **samples, "interpolation": 4, "directions": 4, "worst": 3}
    for name in results["pictures"]:
        picture = Image.open(out / name)
        assert picture.width == pytest.approx(gallery.PICTURE_INCHES * 90, rel=0.1) and picture.getpixel((0, 0)) == (255, 255, 255), name
    monkeypatch.setattr(gallery, "steps_per_second", lambda config: pytest.fail("measured again"))
    monkeypatch.setattr(judgement, "judge_run", lambda *_, **__: pytest.fail("judged again"))
    photographs.main(arguments)  # the same runs, as after an interruption
    again = json.loads((out / "results.json").read_text())
    assert again["runs"] == results["runs"]
    with pytest.raises(pytest.fail.Exception, match="measured again"):  # other settings have other steps per second
        photographs.main([f"data_dir={small_images}", "batch_size=4", "--sizes", "32", "--out", str(out)])


def test_below_each_sample_is_the_training_photograph_with_the_nearest_code(monkeypatch):
    model = types.SimpleNamespace(codes=np.eye(4, dtype=np.float32), decode=lambda codes: np.zeros((len(codes), 2, 2, 3)))
    monkeypatch.setattr(gallery, "sample", lambda *_: np.eye(4)[[2, 0, 3]] + 0.1)
    rows = gallery.samples(model, "full Gaussian", np.arange(4)[:, None, None, None] * np.ones((1, 2, 2, 3)), columns=3)
    assert [images.mean(axis=(1, 2, 3)).tolist() for images in rows.values()] == [[0, 0, 0], [2, 0, 3]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["num_dims=4"], "give data_dir=PHOTOGRAPHS"),
        (["--table", "data_dir=x", "num_dims=4"], "settings of the table are fixed"),
        (["data_dir=x", "--rows", "mse", "--seconds", "9"], "without --table there is no use for --rows, --seconds"),
        (["data_dir=x", "--seeds", "1"], "without --table there is no use for --seeds"),
        (["data_dir=x", "--rates", "rates.json"], "without --table there is no use for --rates"),
        (["--table", "data_dir=x", "--sizes", "64"], "error: with --table there is no use for --sizes"),
        (["--table", "data_dir=x", "--rates", "nowhere.json"], "--rates: [Errno 2] No such file"),
    ],
)
def test_a_command_without_photographs_or_with_something_that_does_not_count_is_refused(small, arguments, message, capsys):
    with pytest.raises(SystemExit):
        photographs.main(arguments)
    assert message in capsys.readouterr().err


def test_the_table_has_the_mean_and_the_deviation_over_the_seeds():
    measured = [photographs.Measured("mse", seed, {"psnr_training": 24.0 + seed, "efficientnet_lite0 floor": 1.0}) for seed in (0, 1, 2)]
    lines = photographs.markdown(measured, 300).splitlines()
    assert lines[0].startswith("300 seconds a model, in steps.") and "EfficientNet-Lite0 1.0" in lines[0]
    assert lines[-1].split("|")[1:5] == [" squared error ", " 3 ", " 25.00 ± 1.00 ", "  "]


@pytest.mark.parametrize("name", ["photographs", "photographs_600", "photographs_1500"])
def test_the_table_in_the_repository_belongs_to_the_stored_numbers(name):
    path = Path(photographs.__file__).with_name(f"{name}.json")
    stored = json.loads(path.read_text())
    models = [photographs.Measured(**model) for model in stored["models"]]
    assert path.with_suffix(".md").read_text().startswith(photographs.markdown(models, stored["seconds"]))


@pytest.mark.parametrize("name", ["photographs_600", "photographs_1500"])
def test_a_table_with_the_speed_of_another_one_says_so(name):
    folder = Path(photographs.__file__).parent
    tables = {table: json.loads((folder / f"{table}.json").read_text("utf8")) for table in ("photographs", name)}
    assert tables[name]["steps_per_second"] == tables["photographs"]["steps_per_second"]
    assert "--rates benchmarks/photographs.json" in (folder / f"{name}.md").read_text("utf8")
