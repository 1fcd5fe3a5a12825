"""The program that makes the model of the library, with small images: what it writes can be loaded, and says where it comes from."""

import re

import numpy as np
import pytest

from benchmarks import pretrained
from glo_lib.evaluation.metrics import psnr
from glo_lib.faces import load_faces
from glo_lib.inference import load
from glo_lib.inputs import decode_images, list_images
from glo_lib.runs import packed

SMALL = ["image_size=32", "num_dims=6", "num_filters=16-12-8", "batch_size=8", "precision=float32", "learning_rate=0.01"]


@pytest.fixture(autouse=True)
def without_judges_and_figures(monkeypatch, no_figures):
    monkeypatch.setattr(pretrained, "judge_run", lambda run, priors: {"judged": str(run), "priors": priors})


def test_the_model_is_trained_written_and_measured(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "pretrained"
    pretrained.main([*SMALL, "num_epochs=20", "--seconds", "100", "--faces", "48", "--out", str(folder)])
    monkeypatch.setattr(packed, "PRETRAINED", folder)
    provenance, model = packed.read_packed().provenance, load("pretrained")
    assert provenance["command"] == " ".join(
        ["python -m benchmarks.pretrained", *SMALL, "num_epochs=20", "--seconds", "100", "--faces", "48", "--out", str(folder)]
    )
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", provenance["commit"]) and provenance["steps"] == 120
    assert provenance["judgement"]["judged"] and "Gaussian mixture" in provenance["judgement"]["priors"]
    assert {name: codes.shape for name, codes in packed.read_packed().samples.items()} == {"imle": (500, 6), "flow": (500, 6)}
    assert provenance["faces"] == {"version": "v1", "seed": 0, "number": 48}
    assert provenance["images"].startswith("48 drawn faces") and provenance["versions"].keys() >= {"python", "tensorflow", "numpy"}
    images = decode_images(list_images(load_faces(48)), 32).array()
    rounded = psnr(images, model.decode(model.codes)).mean()
    assert provenance["psnr_db"] - provenance["lost_to_half_precision_db"] == pytest.approx(rounded, abs=1e-4)
    assert abs(provenance["lost_to_half_precision_db"]) < 0.05
    assert f"{provenance['psnr_db']:.2f} dB in training" in capsys.readouterr().out


def test_numbers_of_faces_are_compared_by_faces_that_no_model_has_seen(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pretrained, "ENCODING_STEPS", 5)
    monkeypatch.setattr(pretrained, "NUM_NEW", 16)
    pretrained.main([*SMALL, "num_epochs=5", f"run_dir={tmp_path / 'run'}", "--seconds", "100", "--compare", "48"])
    table = capsys.readouterr().out.splitlines()
    cells = [cell.strip() for cell in table[-1].split("|")[1:-1]]
    assert cells[:2] == ["48", "30"] and 5 < float(cells[3]) < 40 and np.isfinite(float(cells[2]))
    assert not (tmp_path / "pretrained").exists()


def test_settings_without_a_value_are_refused(capsys):
    with pytest.raises(SystemExit):
        pretrained.main(["num_dims", "--faces", "8"])
    assert "'num_dims' is not NAME=VALUE" in capsys.readouterr().err
