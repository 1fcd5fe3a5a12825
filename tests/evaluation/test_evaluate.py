"""What `metrics.json` holds: reconstructions against a known error, and the best linear decoder against the SVD."""

import types

import numpy as np
import pytest

from glo_lib.evaluation import evaluate as evaluation
from glo_lib.evaluation.evaluate import EXACT_DB, pca_psnr, reconstruction_psnr, versions
from glo_lib.runs.folder import write_json

IMAGES = np.random.default_rng(0).integers(64, 192, (40, 4, 4, 3)).astype(np.uint8)


def test_reconstruction_psnr_is_that_of_a_known_error_in_the_first_images(monkeypatch):
    codes = IMAGES / np.float32(127.5) - 1
    codes[5:] = 9
    model = types.SimpleNamespace(codes=codes, decode=lambda codes: codes + 0.02)  # its codes are the images themselves
    monkeypatch.setattr(evaluation, "MAX_IMAGES", 5)
    monkeypatch.setattr(evaluation, "IMAGES_PER_BATCH", 2)
    assert reconstruction_psnr(model, IMAGES) == pytest.approx(40, abs=1e-3)  # 10 log10(4 / 0.0004)


def test_pca_psnr_is_that_of_the_svd():
    flat = IMAGES.reshape(40, -1) / 127.5 - 1
    left, scales, right = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    rebuilt = left[:, :6] * scales[:6] @ right[:6] + flat.mean(axis=0)
    expected = (10 * np.log10(4 / np.square(np.clip(rebuilt, -1, 1) - flat).mean(axis=1))).mean()
    assert pca_psnr(IMAGES, 6) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("num_images", [1, 2, 3, 20])
def test_as_many_components_as_the_images_have_are_exact(num_images):
    assert pca_psnr(IMAGES[:num_images], 100) == EXACT_DB


def test_metrics_of_the_same_step_are_returned_as_they_are(tmp_path):
    write_json(tmp_path / "metrics.json", {"steps": 7})
    (tmp_path / "codes.npy").touch()
    run = types.SimpleNamespace(folder=tmp_path, progress=types.SimpleNamespace(step=7))  # nothing that a new evaluation needs
    assert evaluation.evaluate(run) == {"steps": 7}


def test_versions_name_what_the_numbers_depend_on():
    found = versions()
    assert {"python", "tensorflow", "tf_keras", "tf-slim", "numpy", "glo_lib"} == found.keys()
    assert all(value and value != "unknown" for value in found.values())
