"""Priors reproduce the moments of the codes that they were fitted to."""

import numpy as np
import pytest

from glo_lib.config import GAUSSIANS, short_prior_name
from glo_lib.inference.priors import fit_diagonal_gaussian, fit_full_gaussian, fit_mixture, fit_prior, fit_unit_gaussian


def correlated_codes(count=500):
    mixing = np.array([[1, 0.8, 0], [0, 0.5, 0.2], [0, 0, 2]])
    return (np.random.default_rng(1).normal(size=(count, 3)) @ mixing + [1, -2, 0]).astype(np.float32)


CODES = correlated_codes()
COVARIANCE = np.cov(CODES.T, bias=True)


@pytest.mark.parametrize(
    ("fit", "mean", "covariance"),
    [
        (fit_unit_gaussian, np.zeros(3), np.eye(3)),
        (fit_diagonal_gaussian, CODES.mean(axis=0), np.diag(COVARIANCE.diagonal())),
        (fit_full_gaussian, CODES.mean(axis=0), COVARIANCE),
        (lambda codes: fit_mixture(codes, num_parts=1), CODES.mean(axis=0), COVARIANCE),
    ],
)
def test_draws_have_the_mean_and_covariance_of_the_prior(fit, mean, covariance):
    prior = fit(CODES)
    if hasattr(prior, "covariance"):
        np.testing.assert_allclose(prior.covariance, covariance, atol=1e-5)
    drawn = prior.draw(200_000, seed=2)
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=0.02)
    np.testing.assert_allclose(np.cov(drawn.T), covariance, atol=0.05)


def test_the_mixture_finds_two_clusters_with_their_shares_means_and_covariances():
    draw = np.random.default_rng(3)
    is_left = draw.random((2000, 1)) < 0.3
    codes = np.where(is_left, [-4, 0], [4, 1]) + draw.normal(size=(2000, 2)) * np.where(is_left, [0.5, 0.1], [0.2, 1])
    prior = fit_mixture(codes, num_parts=2)
    left, cluster = prior.means[:, 0].argmin(), codes[is_left[:, 0]]
    np.testing.assert_allclose(prior.shares[left], is_left.mean(), atol=0.005)
    np.testing.assert_allclose(prior.means[left], cluster.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(prior.factors[left] @ prior.factors[left].T, np.cov(cluster.T, bias=True), atol=0.02)
    drawn = prior.draw(100_000, seed=5)
    np.testing.assert_allclose(np.mean(drawn[:, 0] < 0), is_left.mean(), atol=0.005)
    np.testing.assert_allclose(drawn.mean(axis=0), codes.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(codes.T), rtol=0.02, atol=0.02)


def test_fewer_codes_than_dimensions_give_a_degenerate_gaussian():
    drawn = fit_full_gaussian(CODES[:2]).draw(100, seed=0) - CODES[:2].mean(axis=0)
    assert np.linalg.matrix_rank(drawn, tol=1e-3) == 1


@pytest.mark.parametrize("name", GAUSSIANS[1:])
def test_a_single_code_is_all_that_can_be_drawn_from_a_prior_that_is_fitted_to_it(name):
    np.testing.assert_allclose(fit_prior(name, CODES[:1], "none").sample(5, seed=0), np.repeat(CODES[:1], 5, axis=0), atol=1e-6)


def test_the_number_of_parts_of_a_mixture_depends_on_the_number_of_codes():
    assert len(fit_mixture(CODES[:30]).shares) == 2  # 30 codes of 3 dimensions: 15 to each is more than 4 x 3
    assert len(fit_mixture(CODES).shares) == 10
    with pytest.raises(ValueError, match="num_parts is 9; 8 codes can be split into 1 to 8"):
        fit_mixture(CODES[:8], num_parts=9)


@pytest.mark.parametrize("name", GAUSSIANS)
@pytest.mark.parametrize("projection", ["sphere", "ball"])
def test_samples_are_projected_draws_that_depend_on_the_seed_alone(name, projection):
    prior = fit_prior(short_prior_name(name), 0.3 * CODES, projection)
    drawn, sampled = prior.draw(200, seed=1), prior.sample(200, seed=1)
    norms = np.linalg.norm(drawn, axis=1, keepdims=True)
    assert norms.min() < 1 < norms.max() and sampled.dtype == np.float32
    np.testing.assert_allclose(sampled, drawn / (norms if projection == "sphere" else np.maximum(norms, 1)), rtol=1e-5)
    assert np.array_equal(sampled, fit_prior(name, 0.3 * CODES, projection).sample(200, seed=1))
    assert not np.array_equal(sampled, prior.sample(200, seed=2))
    with pytest.raises(ValueError, match="num_samples is 0; give at least 1"):
        prior.sample(0)


def test_the_log_density_of_a_mixture_is_that_of_its_formula():
    prior = fit_mixture(CODES, num_parts=2)
    codes = CODES[:5].astype(np.float64)
    density = 0
    for share, mean, factor in zip(prior.shares, prior.means, prior.factors, strict=True):
        covariance, away = factor.astype(np.float64) @ factor.T.astype(np.float64), codes - mean
        exponent = -0.5 * np.einsum("ni,ij,nj->n", away, np.linalg.inv(covariance), away)
        density += share * np.exp(exponent) / np.sqrt((2 * np.pi) ** 3 * np.linalg.det(covariance))
    np.testing.assert_allclose(prior.log_density(codes), np.log(density), atol=1e-3)


def test_codes_that_are_no_finite_matrix_are_refused():
    for codes in (np.zeros((0, 3)), np.zeros(3), np.full((4, 2), np.nan)):
        with pytest.raises(ValueError, match="a prior is fitted to a matrix"):
            fit_full_gaussian(codes)
