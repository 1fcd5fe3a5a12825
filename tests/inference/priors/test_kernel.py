"""The kernel density has the mean and the covariance of the codes, and leads from the codes to the Gaussian."""

import numpy as np
import pytest

from glo_lib.inference.priors import fit_full_gaussian
from glo_lib.inference.priors.kernel import fit_kernel

MIXING = np.array([[1, 0.8, 0], [0, 0.5, 0.2], [0, 0, 2]])
CODES = (np.random.default_rng(1).normal(size=(500, 3)) @ MIXING + [1, -2, 0]).astype(np.float32)


@pytest.mark.parametrize("noise_size", [0.0, 0.5, 1.0])
def test_draws_have_the_mean_and_covariance_of_the_codes(noise_size):
    drawn = fit_kernel(CODES, noise_size=noise_size).draw(200_000, seed=2)
    np.testing.assert_allclose(drawn.mean(axis=0), CODES.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(CODES.T, bias=True), atol=0.05)


def test_without_noise_the_samples_are_codes_and_with_nothing_else_those_of_the_full_gaussian():
    drawn = fit_kernel(CODES, noise_size=0.0).draw(50, seed=3)
    assert np.abs(drawn[:, None] - CODES).max(axis=2).min(axis=1).max() < 1e-6
    np.testing.assert_allclose(fit_kernel(CODES, noise_size=1.0).draw(50, seed=3), fit_full_gaussian(CODES).draw(50, seed=3), atol=1e-6)


def test_two_distant_codes_have_samples_around_what_is_left_of_them():
    codes = np.array([[-10.0], [10.0]], np.float32)
    drawn = fit_kernel(codes, "none", noise_size=0.1).draw(20_000, seed=0).ravel()
    right = drawn[drawn > 0]
    assert len(right) / len(drawn) == pytest.approx(0.5, abs=0.02)
    assert right.mean() == pytest.approx(10 * np.sqrt(0.99), abs=0.03) and right.std() == pytest.approx(1, abs=0.03)


def test_sizes_outside_of_0_and_1_are_refused():
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=f"noise_size is {wrong}; give a number from 0 to 1"):
            fit_kernel(CODES, noise_size=wrong)
