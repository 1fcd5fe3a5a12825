"""Priors are found by their names, and every one of them has the same interface."""

import numpy as np
import pytest

from glo_lib.inference.priors import LEARNED, PRIORS, fit_prior, flow, imle, short_prior_name

CODES = np.random.default_rng(1).normal(size=(60, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def short_training(monkeypatch, tmp_path):
    monkeypatch.setenv("GLO_CACHE_DIR", str(tmp_path))
    for module in (flow, imle):
        monkeypatch.setattr(module, "WIDTH", 16)


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("projection", ["sphere", "ball"])
def test_samples_are_projected_draws_that_depend_on_the_seed_alone(name, projection):
    prior = fit_prior(short_prior_name(name), CODES, projection)
    drawn, sampled = prior.draw(200, seed=1), prior.sample(200, seed=1)
    assert drawn.shape == sampled.shape == (200, 3) and sampled.dtype == np.float32
    norms = np.linalg.norm(drawn, axis=1, keepdims=True)
    np.testing.assert_allclose(sampled, drawn / (norms if projection == "sphere" else np.maximum(norms, 1)), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(sampled, fit_prior(name, CODES, projection).sample(200, seed=1))
    assert not np.array_equal(sampled, prior.sample(200, seed=2))
    with pytest.raises(ValueError, match="num_samples is 0; give at least 1"):
        prior.sample(0)


@pytest.mark.parametrize("fit", [flow.fit_flow, imle.fit_imle])
def test_the_same_training_gives_the_same_prior_and_from_a_single_code_nothing_else_can_be_drawn(fit):
    first, second = fit(CODES, num_steps=3), fit(CODES, num_steps=3)
    np.testing.assert_array_equal(first.sample(10, seed=1), second.sample(10, seed=1))
    np.testing.assert_allclose(fit(CODES[:1], "none", num_steps=2).sample(5), np.repeat(CODES[:1], 5, axis=0), atol=1e-5)


def test_priors_that_are_learned_are_kept_in_the_cache(tmp_path):
    for name in PRIORS:
        fit_prior(name, CODES)
    assert {path.name.partition("-")[0] for path in (tmp_path / "priors").iterdir()} == set(LEARNED)


def test_unknown_names_and_codes_that_are_no_finite_matrix_are_refused():
    allowed = "'unit', 'diagonal', 'full', 'mixture', 'kernel', 'neighbours', 'imle', 'flow'"
    with pytest.raises(ValueError, match=f"prior is 'flat'; allowed are {allowed}"):
        fit_prior("flat", CODES)
    for name in PRIORS:
        with pytest.raises(ValueError, match="a prior is fitted to a matrix"):
            fit_prior(name, np.full((4, 2), np.nan))
