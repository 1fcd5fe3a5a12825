"""The flow begins as the full Gaussian, and learns what a Gaussian cannot describe."""

import numpy as np
import pytest

from glo_lib.inference.priors import flow
from glo_lib.inference.priors.flow import describe_time, fit_flow, gaussian_velocity


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    monkeypatch.setattr(flow, "WIDTH", 64)
    monkeypatch.setattr(flow, "NUM_BLOCKS", 2)


def test_the_velocity_of_gaussian_codes_is_the_regression_of_the_lines_on_their_points():
    draw, variances = np.random.default_rng(0), np.array([4.0, 0.25])
    starts, ends = draw.normal(size=(400_000, 2)), draw.normal(size=(400_000, 2)) * np.sqrt(variances)
    for time in (0.0, 0.3, 1.0):
        between = (1 - time) * starts + time * ends
        slope = (between * (ends - starts)).mean(axis=0) / np.square(between).mean(axis=0)
        np.testing.assert_allclose(gaussian_velocity(np.ones((1, 2)), np.array([[time]]), variances)[0], slope, atol=0.02)


def test_without_training_worth_mentioning_the_flow_is_the_full_gaussian():
    mixing = np.array([[1, 0.8, 0], [0, 0.5, 0.2], [0, 0, 2]])
    codes = (np.random.default_rng(1).normal(size=(500, 3)) @ mixing + [1, -2, 0]).astype(np.float32)
    drawn = fit_flow(codes, "none", num_steps=1).draw(50_000, seed=2)
    np.testing.assert_allclose(drawn.mean(axis=0), codes.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(codes.T), atol=0.15)


def test_the_flow_finds_two_clusters_that_a_gaussian_would_join():
    draw = np.random.default_rng(3)
    codes = (np.where(draw.random((2000, 1)) < 0.3, -4, 4) + 0.3 * draw.normal(size=(2000, 1))).astype(np.float32)
    drawn = fit_flow(codes, "none", num_steps=400).draw(4000, seed=0)
    assert np.mean(drawn < 0) == pytest.approx(0.3, abs=0.06)
    assert np.mean(np.abs(np.abs(drawn) - 4) < 1.2) > 0.9  # of the Gaussian with the same mean and variance, 0.3


def test_a_training_of_no_steps_is_refused():
    with pytest.raises(ValueError, match="num_steps is 0; give at least 1"):
        fit_flow(np.eye(3, dtype=np.float32), num_steps=0)


def test_times_that_are_close_are_described_differently():
    described = describe_time(np.array([[0.0], [0.001], [1.0]]))
    assert described.shape == (3, 2 * len(flow.FREQUENCIES)) and np.abs(described[0] - described[1]).max() > 0.5
