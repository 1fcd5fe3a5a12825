"""Gradient descent on the rows of a batch, against its formula."""

import numpy as np
import pytest

from glo_lib.codes import RowwiseSgd
from glo_lib.graph.backend import tf
from glo_lib.projection import project_ball

v1 = tf.compat.v1
CODES = np.array([[0.6, 0.0], [0.0, 0.5], [0.3, 0.4]], np.float32)


def after_a_step(rows, project=None):
    with tf.Graph().as_default(), v1.Session() as session:
        codes = v1.get_variable("codes", initializer=CODES, use_resource=True)
        looked_up = codes if rows is None else tf.gather(codes, rows)
        step = RowwiseSgd(2.0, project).minimize(tf.reduce_sum(looked_up * [1.0, -0.5]))
        session.run(v1.global_variables_initializer())
        session.run(step)
        return session.run(codes)


@pytest.mark.parametrize("rows", [[1], [0, 2], [2, 2], None])
def test_each_row_moves_by_the_rate_times_its_gradient_and_the_others_stay(rows):
    """A row that was looked up twice has twice the gradient."""
    expected = CODES.copy()
    for row in range(3) if rows is None else rows:
        expected[row] -= 2.0 * np.array([1.0, -0.5], np.float32)
    np.testing.assert_allclose(after_a_step(rows), expected, rtol=1e-6)


def test_rows_that_moved_are_projected_and_the_others_stay():
    moved = after_a_step([0], project_ball)
    np.testing.assert_allclose(moved[0], np.array([-1.4, 1.0]) / np.hypot(1.4, 1.0), rtol=1e-6)
    np.testing.assert_array_equal(moved[1:], CODES[1:])
