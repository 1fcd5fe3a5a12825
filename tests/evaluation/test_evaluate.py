"""What `metrics.json` holds: reconstructions against a known error, and the best linear decoder against the SVD."""

import numpy as np
import pytest

from glo_lib.codes import fit_pca
from glo_lib.evaluation import evaluate as evaluation
from glo_lib.evaluation.evaluate import pca_psnr, reconstruction_psnr, versions


class Echo:
    """Stands in for a model: its codes are the images themselves, and it decodes them with a known error."""

    def __init__(self, images, error):
        self.codes, self._error = images / np.float32(127.5) - 1, error

    def decode(self, codes):
        return codes + self._error


def images_of(count, seed=0):
    return np.random.default_rng(seed).integers(64, 192, (count, 4, 4, 3)).astype(np.uint8)


def test_reconstruction_psnr_is_that_of_the_known_error():
    # An error of 0.02 everywhere is 10 log10(4 / 0.0004) = 40 dB.
    assert reconstruction_psnr(Echo(images_of(30), 0.02), images_of(30)) == pytest.approx(40, abs=1e-3)


def test_only_the_first_images_count(monkeypatch):
    monkeypatch.setattr(evaluation, "EVALUATED_IMAGES", 5)
    images = images_of(30)
    model = Echo(images.copy(), 0.02)
    model.codes[5:] = 9
    assert reconstruction_psnr(model, images) == pytest.approx(40, abs=1e-3)


def test_pca_psnr_is_that_of_the_svd():
    images = images_of(40)
    flat = images.reshape(40, -1) / 127.5 - 1
    left, scales, right = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    rebuilt = left[:, :6] * scales[:6] @ right[:6] + flat.mean(axis=0)
    expected = (10 * np.log10(4 / np.square(np.clip(rebuilt, -1, 1) - flat).mean(axis=1))).mean()
    assert pca_psnr(images, 6) == pytest.approx(expected, abs=0.01)


def test_pca_with_every_component_is_exact():
    assert pca_psnr(images_of(20), 100) > 80  # 19 components carry 20 images; what is left is float32


def test_more_components_never_reconstruct_worse():
    images = images_of(40)
    values = [pca_psnr(images, count) for count in (1, 5, 10, 20, 39)]
    assert values == sorted(values)
    assert fit_pca(images, 39).components.shape == (39, 48)


def test_versions_name_what_the_numbers_depend_on():
    found = versions()
    assert {"python", "tensorflow", "tf_keras", "tf-slim", "numpy", "glo_lib"} == found.keys()
    assert all(value and value != "unknown" for value in found.values())
