"""The initial codes: unit Gaussian codes that depend on the seed, and large tables of zeros."""

import numpy as np

from glo_lib.codes.table import large_zeros, normal_codes
from glo_lib.graph.backend import tf


def test_normal_codes_are_unit_gaussian_and_determined_by_their_seed():
    codes = normal_codes(20_000, 5)  # standard error of the means 0.007, of the variances 0.01
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=0.035)
    np.testing.assert_allclose(np.cov(codes.T), np.eye(5), atol=0.05)
    assert codes.dtype == np.float32
    assert np.array_equal(codes, normal_codes(20_000, 5, seed=0))
    assert not np.array_equal(normal_codes(50, 4, seed=[3, 0]), normal_codes(50, 4, seed=[3, 50]))


def test_a_large_table_of_zeros_is_not_a_constant_that_the_session_keeps():
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        zeros = large_zeros([3, 2])
        assert zeros.op.type != "Const" and zeros.shape == (3, 2) and zeros.dtype == tf.float32
        assert large_zeros([3, 2]).op is not zeros.op
        np.testing.assert_array_equal(session.run(zeros), np.zeros((3, 2)))
