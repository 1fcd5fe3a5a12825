"""Priors reproduce the mean and covariance they were given, and depend on the seed alone."""

import numpy as np
import pytest

from glo_lib.inference.priors import (
    PRIORS,
    GaussianPrior,
    MixturePrior,
    fit_diagonal_gaussian,
    fit_full_gaussian,
    fit_mixture,
    fit_prior,
    fit_unit_gaussian,
    short_name,
)


def correlated_codes(count=500):
    mixing = np.array([[1, 0.8, 0], [0, 0.5, 0.2], [0, 0, 2]])
    return (np.random.default_rng(1).normal(size=(count, 3)) @ mixing + [1, -2, 0]).astype(np.float32)


def two_heaps(share=0.3, count=2000):
    numbers = np.random.default_rng(3)
    left = numbers.random(count) < share
    return np.where(left[:, None], [-4, 0], [4, 1]) + numbers.normal(size=(count, 2)) * np.where(left[:, None], [0.5, 0.1], [0.2, 1])


def test_the_diagonal_gaussian_reproduces_mean_and_variance_and_drops_correlation():
    codes = correlated_codes()
    drawn = fit_diagonal_gaussian(codes).draw(200_000, seed=2)
    np.testing.assert_allclose(drawn.mean(axis=0), codes.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(drawn.std(axis=0), codes.std(axis=0), rtol=0.01)
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.01 < 0.5 < np.corrcoef(codes.T)[0, 1]


def test_the_unit_gaussian_is_one():
    drawn = fit_unit_gaussian(correlated_codes()).draw(200_000, seed=2)
    np.testing.assert_allclose(np.cov(drawn.T), np.eye(3), atol=0.01)
    np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=0.01)


def test_the_full_gaussian_reproduces_mean_and_covariance():
    codes = correlated_codes()
    prior = fit_full_gaussian(codes)
    np.testing.assert_allclose(prior.covariance, np.cov(codes.T, bias=True), atol=1e-5)
    drawn = prior.draw(200_000, seed=2)
    np.testing.assert_allclose(drawn.mean(axis=0), codes.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(codes.T, bias=True), atol=0.05)


def test_the_mixture_finds_two_heaps_and_reproduces_their_shares_means_and_covariances():
    codes = two_heaps()
    prior = fit_mixture(codes, num_parts=2)
    left = int(prior.means[:, 0].argmax() == 0)
    np.testing.assert_allclose(prior.shares[left], np.mean(codes[:, 0] < 0), atol=0.005)
    heap = codes[codes[:, 0] < 0]
    np.testing.assert_allclose(prior.means[left], heap.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(prior.factors[left] @ prior.factors[left].T, np.cov(heap.T, bias=True), atol=0.02)
    drawn = prior.draw(100_000, seed=5)
    np.testing.assert_allclose(np.mean(drawn[:, 0] < 0), np.mean(codes[:, 0] < 0), atol=0.005)
    np.testing.assert_allclose(drawn.mean(axis=0), codes.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(codes.T), rtol=0.02, atol=0.02)


def test_a_mixture_of_one_part_is_the_full_gaussian():
    codes = correlated_codes()
    mixture, full = fit_mixture(codes, num_parts=1), fit_full_gaussian(codes)
    np.testing.assert_allclose(mixture.means[0], full.mean, atol=1e-5)
    np.testing.assert_allclose(mixture.factors[0] @ mixture.factors[0].T, full.covariance, atol=1e-3)


def test_a_mixture_of_few_codes_has_few_parts():
    assert len(fit_mixture(correlated_codes(30)).shares) == 2  # 30 codes of 3 dimensions: 15 to each is more than 4 x 3
    assert len(fit_mixture(correlated_codes(500)).shares) == 10
    with pytest.raises(ValueError, match="num_parts is 9; 8 codes can be split into 1 to 8"):
        fit_mixture(correlated_codes(8), num_parts=9)


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("projection", ["sphere", "ball"])
def test_samples_are_projected_as_in_training(name, projection):
    prior = fit_prior(name, 0.3 * correlated_codes(), projection)
    drawn, sampled = prior.draw(200, seed=1), prior.sample(200, seed=1)
    norms = np.linalg.norm(drawn, axis=1, keepdims=True)
    assert norms.min() < 1 < norms.max()
    np.testing.assert_allclose(sampled, drawn / (norms if projection == "sphere" else np.maximum(norms, 1)), rtol=1e-5)


@pytest.mark.parametrize("name", PRIORS)
def test_samples_depend_on_the_seed_alone(name):
    codes = correlated_codes()
    one, other = fit_prior(name, codes), fit_prior(name, codes.copy())
    np.random.default_rng(0).random(10)
    assert np.array_equal(one.sample(5, seed=3), other.sample(5, seed=3))
    assert not np.array_equal(one.sample(5, seed=3), one.sample(5, seed=4))
    assert one.sample(5).dtype == np.float32
    with pytest.raises(ValueError, match="num_samples is 0; give at least 1"):
        one.sample(0)


def test_fewer_codes_than_dimensions_give_a_flat_gaussian():
    codes = np.random.default_rng(4).normal(size=(3, 6)).astype(np.float32)
    drawn = fit_full_gaussian(codes).draw(100, seed=0) - codes.mean(axis=0)
    assert np.linalg.matrix_rank(drawn, tol=1e-3) == 2


def test_the_fit_to_codes_before_projection_weighs_long_codes_more():
    """The post's fit: ten times the norm of half the codes moves its mean towards them, and that of projected codes not at all."""
    directions = np.array([[1.0, 0.0], [0.0, 1.0]])[np.arange(100) % 2]
    stored = directions * np.where(np.arange(100) % 2, 10, 1)[:, None]
    np.testing.assert_allclose(fit_diagonal_gaussian(directions).mean, [0.5, 0.5])
    np.testing.assert_allclose(fit_diagonal_gaussian(stored).mean, [0.5, 5])


def test_priors_have_short_names_and_others_are_refused():
    codes = correlated_codes()
    assert isinstance(fit_prior("mixture", codes), MixturePrior) and isinstance(fit_prior("full", codes), GaussianPrior)
    assert [short_name(name) for name in PRIORS] == ["unit", "diagonal", "full", "mixture"]
    with pytest.raises(ValueError, match="prior is 'flat'; allowed are 'unit', 'diagonal', 'full', 'mixture'"):
        fit_prior("flat", codes)


@pytest.mark.parametrize("bad", [np.zeros((0, 3)), np.zeros(3), np.full((4, 2), np.nan)])
def test_what_is_no_table_of_codes_is_refused(bad):
    with pytest.raises(ValueError, match="a prior is fitted to a matrix"):
        fit_full_gaussian(bad)
