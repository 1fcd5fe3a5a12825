"""Paths between codes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glo_lib.inference.interpolation import interpolate, measure_path


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.integers(2, 12))
def test_points_on_a_great_circle_have_norm_one_and_equal_steps(seed, num_steps):
    start, end = (code / np.linalg.norm(code) for code in np.random.default_rng(seed).standard_normal((2, 5)))
    path = interpolate(start, end, num_steps)
    np.testing.assert_allclose(path[[0, -1]], [start, end], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(path, axis=1), 1, atol=1e-6)
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    np.testing.assert_allclose(steps, steps.mean(), atol=1e-6)


def test_paths_pass_through_known_points():
    start, end = np.array([1.0, 0.0]), np.array([0.0, 2.0])
    thirty_degrees = np.array([np.cos(np.pi / 6), np.sin(np.pi / 6)])
    np.testing.assert_allclose(interpolate(start, end, 4)[1], 4 / 3 * thirty_degrees)  # a third of the angle and of the norm
    np.testing.assert_allclose(interpolate(start, end, 3, "linear")[1], [0.5, 1.0])
    np.testing.assert_allclose(interpolate(start, 3 * start, 3), [[1, 0], [2, 0], [3, 0]])
    in_ball = interpolate(np.array([3.0, 4.0]), np.array([-0.3, 0.4]), 3, "ball")
    np.testing.assert_allclose(in_ball, [[0.6, 0.8], [0.15, 0.6], [-0.3, 0.4]])  # the first end is projected to the surface


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(2, 12))
def test_opposite_ends_are_joined_by_half_a_circle(seed, num_dims, num_steps):
    start = np.random.default_rng(seed).standard_normal(num_dims).astype(np.float32)
    path = interpolate(start, -3 * start, num_steps)
    np.testing.assert_allclose(path[[0, -1]], [start, -3 * start], rtol=1e-5)
    norms = np.linalg.norm(path, axis=1)
    np.testing.assert_allclose(norms, np.linalg.norm(start) * np.linspace(1, 3, num_steps), rtol=1e-5)
    cosines = np.sum(path[1:] * path[:-1], axis=1) / norms[1:] / norms[:-1]
    np.testing.assert_allclose(cosines, np.cos(np.pi / (num_steps - 1)), atol=1e-5)  # equal angles


def test_the_half_circle_turns_towards_the_axis_that_is_most_nearly_perpendicular():
    for start, middle in (([1, 0], [0, 1]), ([0, 2], [2, 0]), ([3, 0, -4], [0, 5, 0])):
        np.testing.assert_allclose(interpolate(np.array(start), -np.array(start), 3)[1], middle, atol=1e-12)


def test_a_path_between_ends_without_a_circle_goes_as_directly_as_it_can():
    one, zero = np.array([1.0]), np.zeros(2)
    assert interpolate(one, -2 * one, 4).tolist() == [[1], [1], [-2], [-2]]  # the sphere in one dimension has two points
    assert interpolate(zero, np.array([1.0, 0.0]), 3).tolist() == [[0, 0], [0.5, 0], [1, 0]]


def test_bad_interpolations_are_refused():
    start = np.array([1.0, 0.0])
    with pytest.raises(ValueError, match="num_steps is 1"):
        interpolate(start, start, 1)
    with pytest.raises(ValueError, match="path is 'spline'; allowed are"):
        interpolate(start, start, 3, "spline")


def test_a_path_of_known_steps_is_measured():
    measured = measure_path(np.array([0.0, 0.3, 0.3, 0.1])[:, None, None] * np.ones((1, 2, 3)))
    assert measured.length == pytest.approx(0.5) and measured.detour == pytest.approx(5)
    assert measured.unevenness == pytest.approx(np.std([0.3, 0, 0.2]) / np.mean([0.3, 0, 0.2]))
    assert measure_path(np.zeros((3, 4))) == (0, np.inf, 0)
    with pytest.raises(ValueError, match="a path of 1 images has no steps"):
        measure_path(np.zeros((1, 4)))
