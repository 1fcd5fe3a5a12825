"""Sphere and ball: hand values, geometry, and gradients in closed form."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from glo_lib.graph.backend import tf
from glo_lib.projection import PROJECTIONS, get_projection, project, project_array, project_ball

v1 = tf.compat.v1
BOTH = pytest.mark.parametrize("projection", [project, project_ball])

# Norms from 1e-4 to 1e3: far from the floor of the squared norm (1e-12), and from where rows are shortened first.
codes_of_any_shape = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9), elements=st.floats(-100, 100, width=32)
).map(lambda z: np.where(np.abs(z) < 1e-4, np.float32(0), z))


def value(projection, z):
    with tf.Graph().as_default(), v1.Session() as session:
        return session.run(projection(tf.constant(z, tf.float32)))


def gradient(projection, z, upstream):
    """The upstream gradient pulled back through the projection."""
    with tf.Graph().as_default(), v1.Session() as session:
        codes = tf.constant(z, tf.float32)
        return session.run(v1.gradients(projection(codes), codes, tf.constant(upstream, tf.float32))[0])


def some_codes(rows=64, dims=5, scale=1.0, seed=0):
    return (np.random.default_rng(seed).standard_normal((rows, dims)) * scale).astype(np.float32)


def norms(z):
    return np.linalg.norm(z.astype(np.float64), axis=1)


def test_sphere_divides_each_row_by_its_own_norm():
    # Norms 5, 13 and 0.5 (3-4-5 and 5-12-13 triangles).
    z = [[3.0, 4.0], [-5.0, 12.0], [0.3, -0.4]]
    np.testing.assert_allclose(value(project, z), [[0.6, 0.8], [-5 / 13, 12 / 13], [0.6, -0.8]], rtol=1e-6)


def test_ball_divides_only_rows_longer_than_one():
    z = [[3.0, 4.0], [0.3, -0.4], [0.6, 0.8], [0.0, -2.0]]
    np.testing.assert_allclose(value(project_ball, z), [[0.6, 0.8], [0.3, -0.4], [0.6, 0.8], [0.0, -1.0]], rtol=1e-6)


@settings(deadline=None, max_examples=30)
@given(codes_of_any_shape)
def test_rows_on_the_sphere_have_norm_one_and_zero_stays_zero(z):
    np.testing.assert_allclose(norms(value(project, z)), np.where(z.any(axis=1), 1, 0), atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(codes_of_any_shape)
def test_rows_in_the_ball_have_the_smaller_of_their_norm_and_one(z):
    np.testing.assert_allclose(norms(value(project_ball, z)), np.minimum(norms(z), 1), atol=1e-6)


@BOTH
@settings(deadline=None, max_examples=15)
@given(z=codes_of_any_shape)
def test_projecting_twice_is_projecting_once(projection, z):
    once = value(projection, z)
    np.testing.assert_allclose(value(projection, once), once, atol=1e-6)


@BOTH
@settings(deadline=None, max_examples=15)
@given(z=codes_of_any_shape)
def test_no_row_changes_its_direction(projection, z):
    projected = value(projection, z)
    cosine = (projected * z).sum(axis=1) / np.maximum(norms(projected) * norms(z), 1e-30)
    np.testing.assert_allclose(cosine, z.any(axis=1), atol=1e-5)


@BOTH
def test_the_norm_of_one_row_does_not_depend_on_the_others(projection):
    z = some_codes()
    together = value(projection, z)
    alone = np.concatenate([value(projection, row[None]) for row in z[:4]])
    np.testing.assert_allclose(together[:4], alone, rtol=1e-6)


@BOTH
def test_no_point_of_the_set_is_nearer_than_the_projection(projection):
    z = some_codes(rows=20, dims=3, scale=2.0)
    others = some_codes(rows=2000, dims=3, seed=1)
    others /= norms(others)[:, None]  # points of the sphere, which belong to both sets
    if projection is project_ball:
        others *= np.random.default_rng(2).uniform(0, 1, (len(others), 1)) ** (1 / 3)  # fill the ball evenly
    distance = norms(z - value(projection, z))
    nearest_other = np.linalg.norm(z[:, None] - others[None], axis=2).min(axis=1)
    assert np.all(distance <= nearest_other + 1e-5)


@BOTH
def test_zero_code_stays_zero_with_a_finite_gradient(projection):
    z = np.zeros((2, 4), np.float32)
    z[1] = 3.0  # an ordinary row beside it
    assert np.array_equal(value(projection, z)[0], np.zeros(4))
    assert np.all(np.isfinite(gradient(projection, z, np.ones_like(z))))


def test_very_short_codes_reach_the_sphere_too():
    z = np.float32([[3e-6, 4e-6], [-5e-5, 12e-5]])  # norms 5e-6 and 1.3e-4
    np.testing.assert_allclose(value(project, z), [[0.6, 0.8], [-5 / 13, 12 / 13]], rtol=1e-5)


@BOTH
@pytest.mark.parametrize("scale", [1e15, 1e18, 2.0**64, 2.0**100, 1e37])
def test_very_long_codes_do_not_overflow(projection, scale):
    z = np.float32([[3, 4], [-5, 12], [0, -2]]) * np.float32(scale)
    expected = [[0.6, 0.8], [-5 / 13, 12 / 13], [0, -1]]
    np.testing.assert_allclose(value(projection, z), expected, rtol=1e-6)


@BOTH
def test_gradient_of_a_very_long_code_is_that_of_a_short_one_divided_by_the_factor(projection):
    z, upstream = some_codes(scale=3.0), some_codes(seed=1)
    z *= np.maximum(1, 1.5 / norms(z))[:, None].astype(np.float32)  # outside the ball
    long = gradient(projection, z * np.float32(2.0**70), upstream)
    np.testing.assert_allclose(long * 2.0**70, gradient(projection, z, upstream), rtol=1e-4, atol=1e-5)


@BOTH
def test_a_long_code_leaves_the_rows_beside_it_bit_identical(projection):
    z = some_codes()
    beside = np.concatenate([z, np.full((1, z.shape[1]), 1e30, np.float32)])
    assert np.array_equal(value(projection, beside)[:-1], value(projection, z))


def test_sphere_gradient_is_orthogonal_to_the_code():
    z, upstream = some_codes(), some_codes(seed=1)
    pulled_back = gradient(project, z, upstream)
    assert norms(pulled_back).min() > 0.1  # else it would be orthogonal for a dull reason
    cosine = (pulled_back * z).sum(axis=1) / (norms(pulled_back) * norms(z))
    np.testing.assert_allclose(cosine, 0, atol=1e-5)


def test_sphere_gradient_is_the_closed_form():
    """The Jacobian of z / |z| is (I - u u^T) / |z| with u = z / |z|."""
    z, upstream = some_codes(scale=3.0), some_codes(seed=1)
    length = norms(z)[:, None]
    unit = z / length
    expected = (upstream - unit * (unit * upstream).sum(axis=1, keepdims=True)) / length
    np.testing.assert_allclose(gradient(project, z, upstream), expected, rtol=1e-4, atol=1e-6)


def test_ball_leaves_codes_inside_bit_identical_and_passes_their_gradient_on():
    z = some_codes()
    z *= (np.linspace(0, 0.99, len(z)) / norms(z))[:, None].astype(np.float32)
    upstream = some_codes(seed=1)
    assert np.array_equal(value(project_ball, z), z)
    assert np.array_equal(gradient(project_ball, z, upstream), upstream)


def test_ball_and_sphere_agree_outside_the_ball_in_value_and_gradient():
    z, upstream = some_codes(scale=3.0), some_codes(seed=1)
    z *= np.maximum(1, 1.5 / norms(z))[:, None].astype(np.float32)
    np.testing.assert_allclose(value(project_ball, z), value(project, z), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(gradient(project_ball, z, upstream), gradient(project, z, upstream), rtol=1e-4, atol=1e-5)


def test_sphere_steps_along_the_gradient_only_lengthen_the_code():
    """Why the norm grows in training: the step is orthogonal to z, so Pythagoras gives |z - s g|^2 = |z|^2 + s^2 |g|^2."""
    z, upstream = some_codes(), some_codes(seed=1)
    step = 0.5 * gradient(project, z, upstream)
    np.testing.assert_allclose(norms(z - step) ** 2, norms(z) ** 2 + norms(step) ** 2, rtol=1e-5)


@BOTH
def test_batch_size_may_be_unknown_when_the_graph_is_built(projection):
    with tf.Graph().as_default(), v1.Session() as session:
        codes = v1.placeholder(tf.float32, [None, 2])
        projected = projection(codes)
        assert projected.shape.as_list() == [None, 2]
        for rows in (1, 3):
            np.testing.assert_allclose(session.run(projected, {codes: [[0.0, 5.0]] * rows}), [[0.0, 1.0]] * rows)


def test_get_projection_finds_both_by_name():
    assert get_projection("sphere") is project
    assert get_projection("ball") is project_ball
    assert set(PROJECTIONS) == {"sphere", "ball", "none"}


@pytest.mark.parametrize("name", ["Sphere", "cube", "", None])
def test_get_projection_names_the_wrong_value_and_the_allowed_ones(name):
    with pytest.raises(ValueError, match=re.escape(f"projection is {name!r}; allowed are 'sphere', 'ball'")):
        get_projection(name)


def test_project_array_is_the_projection_in_blocks():
    codes = some_codes(rows=10, dims=3)
    expected = codes / np.linalg.norm(codes, axis=1, keepdims=True)
    np.testing.assert_allclose(project_array(codes, "sphere", rows_at_once=4), expected, rtol=1e-5)
    inside = 0.1 * expected
    np.testing.assert_allclose(project_array(inside, "ball", rows_at_once=4), inside, rtol=1e-5)


@pytest.mark.parametrize("projection", PROJECTIONS)
@pytest.mark.parametrize("rows_at_once", [1, 3, 64, 65, 1000])
def test_project_array_does_not_depend_on_the_size_of_a_block(projection, rows_at_once):
    codes = some_codes(scale=2.0).astype(np.float64)
    projected = project_array(codes, projection, rows_at_once)
    assert projected.shape == codes.shape and projected.dtype == np.float32
    np.testing.assert_allclose(projected, value(PROJECTIONS[projection], codes), rtol=1e-6)


def test_project_array_leaves_its_argument_alone_and_takes_no_rows():
    codes = some_codes()
    before = codes.copy()
    project_array(codes, "sphere")
    assert np.array_equal(codes, before)
    assert project_array(codes[:0], "ball").shape == (0, 5)


def test_project_array_names_a_projection_that_does_not_exist():
    with pytest.raises(ValueError, match="projection is 'cube'; allowed are 'sphere', 'ball'"):
        project_array(some_codes(), "cube")
