"""Codes are moved up to half the way to one of their nearest neighbours."""

import numpy as np
import pytest

from glo_lib.inference.priors.neighbours import fit_neighbours, move_codes
from glo_lib.projection import project_array

CIRCLE = np.array([[np.cos(angle), np.sin(angle)] for angle in np.radians([0, 90, 200])], np.float32)


def degrees(codes):
    return np.degrees(np.arctan2(codes[:, 1], codes[:, 0]))


def test_a_code_is_moved_along_the_great_circle_or_the_line():
    share = np.array([[0.0], [1 / 3], [0.5], [1.0]])
    start, end = np.repeat(CIRCLE[:1], 4, axis=0), np.repeat(CIRCLE[1:2], 4, axis=0)
    np.testing.assert_allclose(degrees(move_codes(start, end, share)), [0, 30, 45, 90], atol=1e-4)
    expected = [[1, 0], [2 / 3, 1 / 3], [0.5, 0.5], [0, 1]]
    np.testing.assert_allclose(move_codes(start, end, share, "ball"), expected, atol=1e-6)


def test_equal_and_opposite_codes_stay_where_they_are():
    np.testing.assert_allclose(move_codes(CIRCLE, CIRCLE, np.full((3, 1), 0.5)), CIRCLE, atol=1e-6)
    np.testing.assert_allclose(move_codes(CIRCLE, -CIRCLE, np.full((3, 1), 0.5)), CIRCLE, atol=1e-6)


def test_samples_cover_the_half_of_each_way_to_the_nearest_code_evenly():
    angles = degrees(fit_neighbours(CIRCLE, num_neighbours=1).sample(30_000, seed=1)) % 360  # 0 and 90 are nearest to each other, 90 to 200
    ways = {"from 0 to 45": (0, 45), "from 90 to 45": (45, 90), "from 200 to 145": (145, 200)}
    shares = {name: np.mean((angles >= low - 1e-3) & (angles <= high + 1e-3)) for name, (low, high) in ways.items()}
    assert list(shares.values()) == pytest.approx([1 / 3] * 3, abs=0.01) and sum(shares.values()) == pytest.approx(1)
    for low, high in ways.values():
        inside = angles[(angles > low) & (angles < high)]
        assert np.mean(inside) == pytest.approx((low + high) / 2, abs=0.5)


def test_each_of_the_nearest_is_chosen_equally_often_and_none_beyond():
    line = np.array([[0.0], [1.0], [3.0], [100.0]], np.float32)
    samples = fit_neighbours(line, "none", num_neighbours=2).sample(40_000, seed=0).ravel()
    from_first = samples[(samples >= 0) & (samples < 0.5)]
    assert np.mean(samples > 4) == pytest.approx(1 / 4, abs=0.01)  # only the code at 100 is moved from there
    assert samples[samples > 4].min() > 49.9 and len(from_first)
    assert np.mean((samples > 1.5) & (samples <= 3)) == pytest.approx(5 / 16, abs=0.01)  # from 3 to 1 or 0; and half of 1 to 3


def test_a_code_is_not_its_own_neighbour_even_among_equal_codes():
    codes = np.repeat(CIRCLE, [4, 1, 1], axis=0)
    angles = degrees(fit_neighbours(codes, num_neighbours=4).sample(2000, seed=0)) % 360
    near_first = np.isclose(angles % 360, 0, atol=1e-3) | np.isclose(angles, 360, atol=1e-3)
    assert 0.45 < near_first.mean() < 0.55  # two thirds of the samples start there, and three of four neighbours are equal to them


def test_all_other_codes_are_neighbours_where_there_are_few_and_a_single_code_has_none():
    assert fit_neighbours(CIRCLE).num_neighbours == 2
    np.testing.assert_array_equal(fit_neighbours(CIRCLE[:1]).sample(3), np.repeat(CIRCLE[:1], 3, axis=0))
    with pytest.raises(ValueError, match="num_neighbours is 0; give at least 1"):
        fit_neighbours(CIRCLE, num_neighbours=0)


@pytest.mark.parametrize("projection", ["sphere", "ball", "none"])
def test_samples_are_projected_and_depend_on_the_seed_alone(projection):
    codes = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    prior = fit_neighbours(codes, projection)
    samples = prior.sample(20, seed=3)
    assert samples.shape == (20, 6) and samples.dtype == np.float32
    np.testing.assert_allclose(samples, project_array(samples, projection), atol=1e-6)
    np.testing.assert_array_equal(samples, fit_neighbours(codes, projection).sample(20, seed=3))
    assert not np.array_equal(samples, prior.sample(20, seed=4))
