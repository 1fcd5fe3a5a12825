"""The first tensor that is not finite is the one in which the fault began, and not one that follows from it."""

import numpy as np
import pytest

from glo_lib.graph.backend import tf
from glo_lib.graph.finite import NOT_FINITE, assert_finite, describe_non_finite, first_not_finite

v1 = tf.compat.v1


@pytest.mark.parametrize(
    ("batch", "weight", "name"),
    [
        ([1.0, 2.0], 1.0, None),
        ([-1.0, 2.0], 1.0, "log:0"),
        ([1.0, 2.0], np.nan, "weight"),
        ([1.0, 2.0], 3e38, "doubled:0"),
        ([0.0, 1.0], 1.0, "gradients/root_grad/"),  # the loss is finite, the gradient of the root at zero is not
    ],
)
def test_the_first_tensor_that_is_not_finite_is_named(batch, weight, name):
    with tf.Graph().as_default(), v1.Session() as session:
        images = v1.placeholder(tf.float32, [2])
        variable = v1.get_variable("weight", initializer=np.float32(1), use_resource=True)
        logarithm = tf.math.log(tf.add(images, 0.5), name="log")
        loss = tf.reduce_mean((tf.sqrt(images, name="root") + logarithm) * tf.multiply(variable, 2, name="doubled"))
        gradients = tf.gradients(loss, [images, variable])
        assertion = assert_finite(loss, gradients)
        variable.load(weight, session)
        feed = {images: batch}
        found = first_not_finite(session, [loss, *gradients], feed)
        if name is None:
            assert found is None
            session.run(assertion, feed)
        else:
            assert found[0].startswith(name) and not np.isfinite(found[1]).all()
            with pytest.raises(tf.errors.InvalidArgumentError, match=NOT_FINITE):
                session.run(assertion, feed)


def test_gradients_of_rows_of_a_table_are_checked_too():
    with tf.Graph().as_default(), v1.Session() as session:
        codes = v1.get_variable("codes", initializer=np.ones([4, 2], np.float32), use_resource=True)
        loss = tf.reduce_sum(tf.sqrt(tf.gather(codes, [1, 3]) - 1))
        (gradient,) = tf.gradients(loss, [codes])
        session.run(v1.global_variables_initializer())
        name, value = first_not_finite(session, [loss, gradient], {})
        assert name.startswith("gradients/") and value.shape == (2, 2)  # of the two rows that were looked up
        with pytest.raises(tf.errors.InvalidArgumentError, match=NOT_FINITE):
            session.run(assert_finite(loss, [gradient]))


def test_gradients_may_overflow_where_the_step_leaves_them_out_but_the_loss_may_not():
    with tf.Graph().as_default(), v1.Session() as session:
        loss, gradient, may_overflow = (v1.placeholder(kind, []) for kind in (tf.float32, tf.float32, tf.bool))
        check = assert_finite(loss, [gradient], may_overflow)
        session.run(check, {loss: 1, gradient: np.inf, may_overflow: True})
        session.run(check, {loss: 1, gradient: 1, may_overflow: False})
        for bad in ({loss: 1, gradient: np.inf, may_overflow: False}, {loss: np.nan, gradient: 1, may_overflow: True}):
            with pytest.raises(tf.errors.InvalidArgumentError, match=NOT_FINITE):
                session.run(check, bad)


def test_infinite_and_undefined_entries_are_counted():
    assert describe_non_finite(np.array([[np.nan, np.inf], [-np.inf, 0]])) == "nan in 1 and infinite in 2 of 4 entries"
    assert describe_non_finite(np.float32(np.inf)) == "infinite in 1 of 1 entries"
