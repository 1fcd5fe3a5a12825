"""The files of a web page decode what the model decodes, and hold what is known of its images."""

import json
from pathlib import Path

import numpy as np
import pytest

from glo_lib.images.pixels import to_bytes
from glo_lib.images.split import find_split
from glo_lib.inference.directions import Attributes
from glo_lib.inference.model import TrainedModel, load
from glo_lib.inference.variables import from_arrays
from glo_lib.inference.web import export, export_run_for_web, export_web, read_web
from glo_lib.inference.web.contents import drawn_attributes
from glo_lib.runs import packed
from glo_lib.runs.packed import PackedModel, write_packed

FEW = {"imle": np.ones((3, 6), np.float32)}


def test_the_page_decodes_the_same_images_but_for_rounding(trained_model, tmp_path):
    page = read_web(export_web(trained_model, tmp_path / "page", stored_samples=FEW, provenance={"seconds": 3}))
    codes = trained_model.codes[:32]
    differences = np.abs(to_bytes(trained_model.decode(codes)).astype(int) - to_bytes(page.decode(codes)))
    told = page.description["rounding"]
    assert differences.max() <= 2 and told["largest_difference"] >= differences.max() and told["psnr_db"] > 50
    assert page.description["num_dims"] == 6 and page.description["provenance"] == {"seconds": 3} and page.description["num_examples"] == 0
    np.testing.assert_allclose(page.arrays["codes"], trained_model.codes, atol=1e-3)
    assert json.loads((tmp_path / "page" / "model.json").read_text())["num_bytes"] == (tmp_path / "page" / "arrays.bin").stat().st_size


def test_of_too_many_codes_an_evenly_spaced_part_is_written(trained_model, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "CODES_BYTES", 10 * 6 * 2)
    table = Attributes(("number",), np.arange(48.0)[:, None])
    page = read_web(export_web(trained_model, tmp_path, table, stored_samples=FEW))
    assert page.description["num_codes"] == 10 and page.description["num_images"] == 48 and page.arrays["attributes/0"].shape == (10,)
    np.testing.assert_allclose(page.arrays["codes"][[0, -1]], trained_model.codes[[0, -1]], atol=1e-3)


def test_the_decoder_is_known_by_a_digest_of_its_own(trained_model, tmp_path):
    values = {name: 1.01 * value for name, value in trained_model.variables.items()}
    trained_further = TrainedModel(trained_model.config, trained_model.codes, from_arrays(values))
    first = read_web(export_web(trained_model, tmp_path / "first", stored_samples=FEW)).description
    second = read_web(export_web(trained_model, tmp_path / "second", stored_samples={"imle": 2 * FEW["imle"]})).description
    third = read_web(export_web(trained_further, tmp_path / "third", stored_samples=FEW)).description
    assert first["decoder_sha256"] == second["decoder_sha256"] != third["decoder_sha256"] and first["sha256"] != second["sha256"]


def test_what_does_not_belong_to_the_model_is_refused(trained_model, tmp_path):
    with pytest.raises(ValueError, match="attributes of 3 images and 48 codes; give a row for each code"):
        export_web(trained_model, tmp_path / "a", Attributes(("x",), np.ones((3, 1))))
    with pytest.raises(ValueError, match=r"examples are float64 of shape \(1, 32, 32, 3\); give uint8 of shape \(n, 32, 32, 3\)"):
        export_web(trained_model, tmp_path / "a", examples=np.ones((1, 32, 32, 3)))
    assert not (tmp_path / "a").exists()


def test_as_many_codes_are_written_as_there_is_room_for_beside_the_decoder(trained_model, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "LEAST_CODES", 5)
    whole = export_web(trained_model, tmp_path / "whole", stored_samples=FEW)
    of_codes = read_web(whole).arrays["codes"].size * 2
    others = (whole / "arrays.bin").stat().st_size - of_codes + export.OTHER_BYTES
    page = export_web(trained_model, tmp_path / "page", stored_samples=FEW, max_bytes=others + of_codes // 4)
    assert 12 <= read_web(page).description["num_codes"] < 48  # the room kept for directions is more than they take
    assert sum(path.stat().st_size for path in page.iterdir()) <= others + of_codes // 4


def test_a_decoder_that_leaves_no_room_is_refused_before_the_priors_are_fitted(trained_model, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "describe_priors", None)
    with pytest.raises(ValueError, match=r"take [\d,]+ bytes, and the files may have 101,000 with the codes; train with narrower layers"):
        export_web(trained_model, tmp_path / "a", max_bytes=101_000)
    assert not (tmp_path / "a").exists()


@pytest.fixture
def pretrained(trained_model, tmp_path, monkeypatch):
    provenance = {"faces": {"version": "v1", "seed": 0, "number": 48}, "judgement": {"missing": []}}
    model = PackedModel(trained_model.config, trained_model.codes, trained_model.variables, trained_model.weights, provenance, FEW)
    monkeypatch.setattr(packed, "PRETRAINED", write_packed(tmp_path / "pretrained", model))


def test_the_pretrained_model_comes_with_attributes_unseen_faces_and_its_stored_samples(pretrained, tmp_path):
    page = read_web(export_run_for_web("pretrained", tmp_path / "page"))
    assert [entry["name"] for entry in page.description["directions"]["attributes"]] == list(drawn_attributes([0]).names)
    glasses = drawn_attributes(range(48)).values[:, 0]
    np.testing.assert_array_equal(page.arrays["attributes/0"], 255 * glasses)
    assert page.arrays["examples"].shape == (6, 32, 32, 3) and page.arrays["examples"].std() > 20
    assert page.description["provenance"]["judgement"] == {"missing": []}
    np.testing.assert_allclose(page.arrays["priors/6/samples"], FEW["imle"])
    with pytest.raises(ValueError, match="leave the table of attributes out"):
        export_run_for_web("pretrained", tmp_path / "page", "table.csv")


def test_of_faces_that_are_drawn_differently_today_no_attributes_are_known(pretrained, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "VERSION", "v2")
    assert not read_web(export_run_for_web("pretrained", tmp_path / "page")).description["directions"]["attributes"]


def test_a_run_takes_its_attributes_from_a_table_and_its_judgement_from_its_metrics(trained_run, tmp_path):
    page = read_web(export_run_for_web(trained_run, tmp_path / "page"))
    assert page.description["directions"]["attributes"] == [] and page.description["num_examples"] == 0
    table = tmp_path / "table.csv"
    table.write_text("image_id,dark\n" + "".join(f"{number:03d}.jpg,{number % 2}\n" for number in range(48)))
    page = read_web(export_run_for_web(trained_run, tmp_path / "page", table))
    assert page.description["directions"]["attributes"] == [{"name": "dark", "low": 0.0, "high": 1.0, "is_binary": True}]
    assert page.arrays["attributes/0"].tolist() == [0, 255] * 24


def test_a_run_on_drawn_faces_knows_the_attributes_of_those_that_were_not_held_out(small_config, train_once, tmp_path):
    config = small_config("", tmp_path / "run", num_samples=20, held_out=0.2, held_out_by="share", num_epochs=1)
    run = train_once(config).run_dir
    page = read_web(export_run_for_web(run, tmp_path / "page"))
    kept = [int(Path(name).stem) - 1 for name in find_split(config).training]
    assert len(kept) == 16 == len(load(run).codes) and kept != list(range(16)) and page.description["num_examples"] == 6
    np.testing.assert_array_equal(page.arrays["attributes/0"], 255 * drawn_attributes(kept).values[:, 0])
    assert page.description["provenance"]["steps"] == 2
