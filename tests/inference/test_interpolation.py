"""Ways between codes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from glo_lib.inference.interpolation import interpolate, measure_path

codes_of_norm_one = (
    arrays.arrays(np.float64, 5, elements=st.floats(-1, 1)).filter(lambda z: np.linalg.norm(z) > 0.1).map(lambda z: z / np.linalg.norm(z))
)


@settings(deadline=None, max_examples=50)
@given(codes_of_norm_one, codes_of_norm_one, st.integers(2, 12))
def test_great_circle_points_have_norm_one_and_even_steps(start, end, num_steps):
    if np.pi - np.arccos(np.clip(start @ end, -1, 1)) < 1e-3:
        return
    path = interpolate(start, end, num_steps)
    np.testing.assert_allclose(path[[0, -1]], [start, end], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(path, axis=1), 1, atol=1e-6)
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    np.testing.assert_allclose(steps, steps.mean(), atol=1e-6)


def test_great_circle_passes_the_known_point_and_linear_does_not():
    start, end = np.array([1.0, 0.0]), np.array([0.0, 2.0])
    third = interpolate(start, end, 4)[1]
    np.testing.assert_allclose(
        third, (4 / 3) * np.array([np.cos(np.pi / 6), np.sin(np.pi / 6)]), atol=1e-12
    )  # 30 degrees, a third of the norm
    np.testing.assert_allclose(interpolate(start, end, 3, "linear")[1], [0.5, 1.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((1, "linear"), "num_steps is 1"), ((3, "spline"), "path is 'spline'; allowed are")],
)
def test_bad_interpolations_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        interpolate(np.ones(2), np.zeros(2), *arguments)


def test_opposite_ends_are_refused():
    with pytest.raises(ValueError, match="opposite"):
        interpolate(np.array([1.0, 0.0]), np.array([-1.0, 0.0]), 5)


def test_the_straight_line_in_the_ball_stays_there_and_moves_far_ends_to_its_surface():
    path = interpolate(np.array([3.0, 4.0]), np.array([-0.3, 0.4]), 5, "ball")
    np.testing.assert_allclose(path[[0, -1]], [[0.6, 0.8], [-0.3, 0.4]])
    np.testing.assert_allclose(np.diff(path, axis=0), np.broadcast_to([-0.225, -0.1], (4, 2)))
    assert np.linalg.norm(path, axis=1).max() <= 1 + 1e-12


def test_a_projected_line_walks_unevenly_where_the_great_circle_does_not():
    start, end = np.array([1.0, 0.0]), np.array([-0.8, 0.6])
    line = interpolate(start, end, 9, "linear")
    projected = line / np.linalg.norm(line, axis=1, keepdims=True)
    assert measure_path(interpolate(start, end, 9)).unevenness < 1e-6
    assert measure_path(projected).unevenness > 0.3


def test_a_path_of_known_steps_is_measured():
    images = np.array([0.0, 0.3, 0.3, 0.1])[:, None, None] * np.ones((1, 2, 3))
    measured = measure_path(images)
    assert measured.length == pytest.approx(0.5) and measured.detour == pytest.approx(5)
    assert measured.unevenness == pytest.approx(np.std([0.3, 0, 0.2]) / np.mean([0.3, 0, 0.2]))


def test_a_path_that_stands_still_has_no_length_and_one_image_is_no_path():
    assert measure_path(np.zeros((3, 4))).length == 0
    with pytest.raises(ValueError, match="a path of 1 images has no steps"):
        measure_path(np.zeros((1, 4)))
