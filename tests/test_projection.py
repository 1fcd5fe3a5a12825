"""Sphere and ball: values computed by hand, geometry, and gradients in closed form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from glo_lib.graph.backend import tf
from glo_lib.projection import PROJECTIONS, get_projection, project, project_array, project_ball

v1 = tf.compat.v1
BOTH = pytest.mark.parametrize("projection", [project, project_ball])

# Zeros, and entries far from the floor of the squared norm (1e-12) and from those that are scaled down first.
ENTRIES = st.just(0.0) | st.floats(2**-13, 100, width=32) | st.floats(-100, -(2**-13), width=32)
CODES = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=ENTRIES)


def value(projection, z):
    with tf.Graph().as_default(), v1.Session() as session:
        return session.run(projection(tf.constant(z, tf.float32)))


def gradient(projection, z, upstream):
    """Propagate the upstream gradient back through the projection."""
    with tf.Graph().as_default(), v1.Session() as session:
        codes = tf.constant(z, tf.float32)
        return session.run(v1.gradients(projection(codes), codes, tf.constant(upstream, tf.float32))[0])


def some_codes(rows=64, dims=5, scale=1.0, seed=0):
    return (np.random.default_rng(seed).standard_normal((rows, dims)) * scale).astype(np.float32)


def norms(z):
    return np.linalg.norm(z.astype(np.float64), axis=1)


def outside_the_ball():
    z = some_codes(scale=3.0)
    return z * np.maximum(1, 1.5 / norms(z))[:, None].astype(np.float32)


def test_projections_computed_by_hand():
    # Norms 5, 13 and 0.5 (3-4-5 and 5-12-13 triangles), and the very short 5e-6.
    z = [[3.0, 4.0], [-5.0, 12.0], [0.3, -0.4], [3e-6, 4e-6]]
    np.testing.assert_allclose(value(project, z), [[0.6, 0.8], [-5 / 13, 12 / 13], [0.6, -0.8], [0.6, 0.8]], rtol=1e-5)
    np.testing.assert_allclose(value(project_ball, z), [[0.6, 0.8], [-5 / 13, 12 / 13], [0.3, -0.4], [3e-6, 4e-6]], rtol=1e-6)


@BOTH
@settings(max_examples=15)
@given(z=CODES)
def test_the_norm_becomes_that_of_the_set_and_the_direction_stays(projection, z):
    projected = value(projection, z)
    expected = np.where(z.any(axis=1), 1, 0) if projection is project else np.minimum(norms(z), 1)
    np.testing.assert_allclose(norms(projected), expected, atol=1e-6)
    cosine = (projected * z).sum(axis=1) / np.maximum(norms(projected) * norms(z), 1e-30)
    np.testing.assert_allclose(cosine, z.any(axis=1), atol=1e-5)


@BOTH
def test_the_zero_code_stays_zero_with_a_finite_gradient(projection):
    z = np.zeros((2, 4), np.float32)
    z[1] = 3.0  # an ordinary row beside it
    assert np.array_equal(value(projection, z)[0], np.zeros(4))
    assert np.all(np.isfinite(gradient(projection, z, np.ones_like(z))))


@BOTH
@pytest.mark.parametrize("scale", [1e18, 2.0**64, 1e37])
def test_very_long_codes_do_not_overflow(projection, scale):
    z = np.float32([[3, 4], [-5, 12], [0, -2]]) * np.float32(scale)
    np.testing.assert_allclose(value(projection, z), [[0.6, 0.8], [-5 / 13, 12 / 13], [0, -1]], rtol=1e-6)
    short = some_codes(dims=2)  # rows beside them stay bit-identical
    assert np.array_equal(value(projection, np.concatenate([short, z]))[:-3], value(projection, short))


@BOTH
def test_the_gradient_of_a_very_long_code_is_that_of_the_scaled_code_divided_by_the_scale(projection):
    z, upstream = outside_the_ball(), some_codes(seed=1)
    long = gradient(projection, z * np.float32(2.0**70), upstream)
    np.testing.assert_allclose(long * 2.0**70, gradient(projection, z, upstream), rtol=1e-4, atol=1e-5)


def test_the_gradient_on_the_sphere_has_the_closed_form():
    """The Jacobian of z / |z| is (I - u u^T) / |z| with u = z / |z|."""
    z, upstream = some_codes(scale=3.0), some_codes(seed=1)
    length = norms(z)[:, None]
    unit = z / length
    expected = (upstream - unit * (unit * upstream).sum(axis=1, keepdims=True)) / length
    np.testing.assert_allclose(gradient(project, z, upstream), expected, rtol=1e-4, atol=1e-6)


def test_inside_the_ball_codes_and_their_gradients_pass_bit_identical():
    z = some_codes()
    z *= (np.linspace(0, 0.99, len(z)) / norms(z))[:, None].astype(np.float32)
    upstream = some_codes(seed=1)
    assert np.array_equal(value(project_ball, z), z)
    assert np.array_equal(gradient(project_ball, z, upstream), upstream)


def test_outside_the_ball_both_projections_agree_in_value_and_gradient():
    z, upstream = outside_the_ball(), some_codes(seed=1)
    np.testing.assert_allclose(value(project_ball, z), value(project, z), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(gradient(project_ball, z, upstream), gradient(project, z, upstream), rtol=1e-4, atol=1e-5)


def test_get_projection_finds_each_by_name_and_names_the_allowed_ones():
    assert {name: get_projection(name) for name in PROJECTIONS} == {"sphere": project, "ball": project_ball, "none": tf.identity}
    with pytest.raises(ValueError, match="projection is 'cube'; allowed are 'sphere', 'ball'"):
        project_array(some_codes(), "cube")


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_project_array_projects_in_blocks_of_any_size(projection):
    codes = some_codes(scale=2.0).astype(np.float64)
    for arguments in ({}, {"rows_at_once": 1}, {"rows_at_once": 3}, {"rows_at_once": 64}):
        projected = project_array(codes, projection, **arguments)
        assert projected.shape == codes.shape and projected.dtype == np.float32
        np.testing.assert_allclose(projected, value(PROJECTIONS[projection], codes), rtol=1e-6)
    assert project_array(codes[:0], projection).shape == (0, 5)
