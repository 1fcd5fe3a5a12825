"""Half precision by casts, and the scaling of the loss in float16."""

import os

import numpy as np
import pytest

from glo_lib.decoder import decoder
from glo_lib.graph.backend import tf
from glo_lib.graph.half_precision import KEPT_IN_FLOAT32, LossScaling, depthwise_in_float32, float32_variables, in_precision

v1 = tf.compat.v1


def evaluated(*tensors):
    with v1.Session() as session:
        session.run(v1.global_variables_initializer())
        return session.run(tensors)


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_layers_compute_in_the_precision_and_their_variables_stay_float32(precision):
    kinds = []

    def layers(inputs):
        weights = v1.get_variable("weights", [2, 2], inputs.dtype, tf.ones_initializer())
        kinds.append(weights.dtype.base_dtype)
        return tf.matmul(inputs, weights)

    with tf.Graph().as_default():
        result = in_precision(layers, tf.constant([[1.0, 2.0**-14]]), precision)
        assert kinds == [tf.as_dtype(precision)] and result.dtype == tf.float32
        assert [variable.dtype.base_dtype for variable in v1.global_variables()] == [tf.float32]
        (values,) = evaluated(result)
    # 1 + 2^-14 needs 14 bits: more than either half has
    np.testing.assert_array_equal(values, [[1 + 2.0**-14] * 2] if precision == "float32" else [[1.0, 1.0]])


def test_a_second_use_reads_the_same_variables():
    with tf.Graph().as_default():
        codes = tf.constant(np.random.default_rng(0).normal(size=(4, 5)), tf.float32)
        with float32_variables():
            first, second = (decoder(tf.cast(codes, tf.bfloat16), (6, 5), reuse=reuse) for reuse in (False, True))
        assert {variable.dtype.base_dtype for variable in v1.global_variables()} == {tf.float32}
        np.testing.assert_array_equal(*evaluated(tf.cast(first, tf.float32), tf.cast(second, tf.float32)))


@pytest.mark.parametrize("sparse", [False, True])
def test_gradients_are_those_of_the_loss_itself_and_an_overflow_changes_nothing_but_the_factor(sparse):
    with tf.Graph().as_default(), v1.Session() as session:
        table = v1.get_variable("table", initializer=tf.ones([3, 2]), use_resource=True)
        factor = v1.placeholder(tf.float32, [])
        loss = factor * tf.reduce_sum(tf.gather(table, [1]) if sparse else table)
        scaling = LossScaling(initial=8.0)
        gradients = scaling.unscaled(tf.gradients(scaling.scaled(loss), [table]))
        assert isinstance(gradients[0], tf.IndexedSlices) == sparse
        optimizer = v1.train.GradientDescentOptimizer(0.5)
        step = scaling.apply_if_finite(gradients, lambda: optimizer.apply_gradients([(gradients[0], table)]))
        scale = next(variable for variable in v1.global_variables() if "scale" in variable.op.name)
        session.run(v1.global_variables_initializer())
        session.run(step, {factor: 1.0})
        expected = np.ones((3, 2))
        expected[[1] if sparse else slice(None)] = 0.5
        np.testing.assert_array_equal(session.run(table), expected)
        session.run(step, {factor: np.inf})
        np.testing.assert_array_equal(session.run(table), expected)
        assert session.run(scale) == 4.0 and session.run(scaling.may_overflow())
        for _ in range(3):
            session.run(step, {factor: np.inf})
        assert session.run(scale) == 1.0 and not session.run(scaling.may_overflow())


@pytest.mark.parametrize("sparse", [False, True])
def test_a_gradient_is_divided_and_looked_at_where_it_is(sparse):
    with tf.Graph().as_default() as graph:
        with tf.device("/gpu:1"):
            gradient = tf.IndexedSlices(tf.ones([1, 2]), tf.constant([1])) if sparse else tf.ones([3, 2])
        with tf.device("/cpu:0"):
            scaling = LossScaling()
            (divided,) = scaling.unscaled([gradient])
            scaling.apply_if_finite([divided], tf.no_op)
        assert (divided.values if sparse else divided).device == gradient.device
        large = [op.device for op in graph.get_operations() if op.type == "IsFinite" and op.inputs[0].shape.rank == 2]
        assert large == [gradient.device]


def test_depthwise_convolutions_are_kept_in_float32_inside_only_and_a_users_own_list_stays(monkeypatch):
    monkeypatch.delenv(KEPT_IN_FLOAT32, raising=False)
    with depthwise_in_float32(False):
        assert KEPT_IN_FLOAT32 not in os.environ
    with pytest.raises(KeyError), depthwise_in_float32():
        assert "DepthwiseConv2dNative," in os.environ[KEPT_IN_FLOAT32]
        raise KeyError
    assert KEPT_IN_FLOAT32 not in os.environ
    monkeypatch.setenv(KEPT_IN_FLOAT32, "Conv2D")
    with depthwise_in_float32():
        assert os.environ[KEPT_IN_FLOAT32] == "Conv2D"
    assert os.environ[KEPT_IN_FLOAT32] == "Conv2D"
