"""A packed model decodes nearly the same images, and says what is wrong with its files."""

import hashlib
import json

import numpy as np
import pytest

from glo_lib.evaluation.metrics import psnr
from glo_lib.inference.model import TrainedModel, load, load_stored_codes
from glo_lib.inference.variables import from_arrays
from glo_lib.runs import packed
from glo_lib.runs.images import training_images
from glo_lib.runs.packed import ARRAYS, DESCRIPTION, PackedModel, read_packed, write_packed


@pytest.fixture
def model(trained_model):
    return PackedModel(trained_model.config, trained_model.codes, trained_model.variables, trained_model.weights, {"seconds": 3})


@pytest.fixture
def folder(model, tmp_path):
    return write_packed(tmp_path / "packed", model)


def decode(model):
    loaded = TrainedModel(model.config, model.codes, from_arrays(model.variables, model.weights))
    return loaded.decode(loaded.codes)


def test_the_packed_model_decodes_the_same_images_but_for_rounding(model, folder, trained_model):
    again = read_packed(folder)
    assert psnr(trained_model.decode(trained_model.codes), decode(again)).min() > 45
    assert again.config.num_filters == model.config.num_filters and again.config.run_dir == again.config.data_dir == ""
    assert (again.weights, again.provenance) == (model.weights, {"seconds": 3})
    for name, value in model.variables.items():
        exact = value.ndim == 1  # biases, and the numbers of batch normalisation
        np.testing.assert_allclose(again.variables[name], value, rtol=0 if exact else 1e-3, atol=0 if exact else 1e-6)


def test_a_setting_of_a_vae_that_an_earlier_version_accepted_for_glo_does_no_harm(folder):
    path = folder / DESCRIPTION
    path.write_text(path.read_text().replace('"kl_weight": 1.0', '"kl_weight": 0.1'))
    assert read_packed(folder).config.kl_weight == 1.0


def test_the_files_can_be_read_without_this_library(folder, model):
    description, content = json.loads((folder / DESCRIPTION).read_text()), (folder / ARRAYS).read_bytes()
    assert description["sha256"] == hashlib.sha256(content).hexdigest() and description["num_bytes"] == len(content)
    entry = description["arrays"][0]
    assert entry == {"name": "codes", "type": "float16", "shape": [48, 6], "offset": 0} and all(
        other["offset"] % 4 == 0 for other in description["arrays"]
    )
    codes = np.frombuffer(content[: 48 * 6 * 2], "<f2").reshape(48, 6)
    np.testing.assert_allclose(codes, model.codes, atol=1e-3)


def test_the_model_of_the_library_is_loaded_by_its_name_and_a_folder_of_that_name_by_a_path(folder, monkeypatch):
    monkeypatch.setattr(packed, "PRETRAINED", folder)
    loaded = load("pretrained")
    np.testing.assert_allclose(loaded.decode(loaded.codes), decode(read_packed(folder)), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(loaded.codes, axis=1), 1, atol=1e-6)
    with pytest.raises(FileNotFoundError, match="is not the folder of a run"):
        load("./pretrained")
    for needs_more in (load_stored_codes, training_images):
        with pytest.raises(ValueError, match="the pretrained model holds no more than a decoder and codes; give the folder of a run"):
            needs_more("pretrained")


@pytest.mark.parametrize("name", [DESCRIPTION, ARRAYS])
def test_missing_files_are_named_with_what_makes_them(folder, monkeypatch, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"holds no {name}; give a folder that write_packed wrote"):
        read_packed(folder)
    monkeypatch.setattr(packed, "PRETRAINED", folder)
    with pytest.raises(FileNotFoundError, match=rf"no pretrained model \({name} is missing\); .* make pretrained trains one"):
        read_packed(folder)


def replaced(before, after):
    return lambda text: text.replace(before, after, 1)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (ARRAYS, lambda content: content[:-1], "does not have the digest"),
        (ARRAYS, lambda content: bytes([content[0] ^ 1]) + content[1:], "does not have the digest"),
        (DESCRIPTION, lambda text: text[: len(text) // 2], "is damaged"),
        (DESCRIPTION, lambda text: b"[]", "is damaged"),
        (DESCRIPTION, replaced(b'"format": 1', b'"format": 2'), "has format 2, and this version of glo_lib reads format 1"),
        (DESCRIPTION, replaced(b'"offset": 0', b'"offset": 99999999'), "is damaged"),
        (DESCRIPTION, replaced(b'"type": "float16"', b'"type": "object"'), "is damaged"),
        (DESCRIPTION, replaced(b'"image_size": 32', b'"image_size": 33'), "is damaged"),
        (DESCRIPTION, replaced(b'"name": "codes"', b'"name": "cods"'), "is damaged"),
    ],
)
def test_damaged_files_are_refused_with_what_to_do(folder, name, change, message):
    path = folder / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=f"{message}.*write it again"):
        read_packed(folder)


def test_models_that_are_too_large_or_do_not_fit_into_half_precision_are_not_written(model, tmp_path):
    with pytest.raises(ValueError, match="at most 1,000 are allowed; train on fewer images"):
        write_packed(tmp_path / "new", model, max_bytes=1000)
    with pytest.raises(ValueError, match="codes holds values that float16 cannot hold"):
        write_packed(tmp_path / "new", model._replace(codes=np.full((2, 6), 1e5)))
    assert not (tmp_path / "new").exists()
