"""The network that maps noise to codes leaves no code out."""

import numpy as np
import pytest

from glo_lib.inference.priors import imle
from glo_lib.inference.priors.imle import fit_imle, nearest_of


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    monkeypatch.setattr(imle, "WIDTH", 64)
    monkeypatch.setattr(imle, "NUM_BLOCKS", 2)


def test_the_nearest_candidates_are_those_of_all_distances(monkeypatch):
    monkeypatch.setattr(imle, "ROWS_AT_ONCE", 7)
    draw = np.random.default_rng(0)
    points, candidates = draw.normal(size=(20, 3)), draw.normal(size=(30, 3))
    distances = np.linalg.norm(points[:, None] - candidates, axis=2)
    np.testing.assert_array_equal(nearest_of(points, candidates), distances.argmin(axis=1))


def test_samples_come_near_every_code_of_four_clusters():
    corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], np.float32)
    codes = np.repeat(corners, 64, axis=0) + 0.05 * np.random.default_rng(0).normal(size=(256, 2)).astype(np.float32)
    samples = fit_imle(codes, "none", num_steps=300, noise_dims=2).sample(1000, seed=1)
    distances = np.linalg.norm(samples[:, None] - corners, axis=2)
    assert distances.min(axis=0).max() < 0.2


def test_the_noise_has_no_more_dimensions_than_the_codes():
    assert fit_imle(np.random.default_rng(0).normal(size=(40, 3)), num_steps=1).weights["input"].shape[0] == 3


@pytest.mark.parametrize("name", ["num_steps", "noise_dims"])
def test_numbers_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} is 0; give at least 1"):
        fit_imle(np.eye(3), **{name: 0})
