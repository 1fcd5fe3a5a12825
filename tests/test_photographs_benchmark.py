"""The benchmark on photographs, run with small images and with judges that need no weights: the same program as at full size."""

import json

import numpy as np
import pytest

from benchmarks import photographs
from glo_lib.evaluation import judgement
from glo_lib.evaluation.judges import Judge
from glo_lib.images.pixels import to_floats

SMALL = {
    **{"held_out": 0.25, "held_out_by": "share", "image_size": 32, "num_dims": 4, "num_filters": "8-6-4", "batch_size": 8},
    **{"num_epochs": 1, "precision": "float32", "kernel_size": 3},
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


def test_each_model_has_a_line_with_the_numbers_of_both_judges(small, small_images, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    photographs.main([str(small_images), "--rows", "mse+lap1", "paper", "vae", "pca", "--seeds", "0", "--seconds", "60", "--out", "table"])
    models = json.loads((tmp_path / "table.json").read_text())["models"]
    assert [model["row"] for model in models] == ["mse+lap1", "paper", "vae", "pca"]
    kinds = {f"{judge} {kind}" for judge in photographs.TITLES for kind in ("floor", *photographs.KINDS)}
    assert all(kinds | {"psnr_training", "psnr_held_out"} <= model["numbers"].keys() for model in models)
    floors = {round(model["numbers"]["efficientnet_lite0 floor"], 6) for model in models}
    assert len(floors) == 1  # all models are compared with the same photographs
    table = (tmp_path / "table.md").read_text()
    assert str(small_images) not in table and "benchmarks.photographs PHOTOGRAPHS --rows" in table
    assert [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")][1:] == [
        "squared error + Lap1",
        "the paper's model",
        "VAE",
        "PCA",
    ]
    assert table.strip() in capsys.readouterr().out


def test_the_table_has_the_mean_and_the_deviation_over_the_seeds():
    measured = [photographs.Measured("mse", seed, {"psnr_training": 24.0 + seed, "efficientnet_lite0 floor": 1.0}) for seed in (0, 1, 2)]
    lines = photographs.markdown(measured, 300).splitlines()
    assert lines[0].startswith("300 seconds a model.") and "EfficientNet-Lite0 1.0" in lines[0]
    assert lines[-1].split("|")[1:4] == [" squared error ", " 25.00 ± 1.00 ", "  "]
