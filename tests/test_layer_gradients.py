"""Gradients by another route are the same gradients."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glo_lib.backend import tf
from glo_lib.decoder import decoder
from glo_lib.layer_gradients import LARGEST_SIDE, kernel_gradient, kernel_gradients_for

v1 = tf.compat.v1


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def evaluated(*tensors):
    with v1.Session() as session:
        session.run(v1.global_variables_initializer())
        return session.run(tensors)


def stock_kernel_gradient(grad, pixels, size):
    sizes = [size, size, grad.shape[3], pixels.shape[3]]
    return tf.raw_ops.Conv2DBackpropFilter(
        input=grad, filter_sizes=sizes, out_backprop=pixels, strides=[1, 2, 2, 1], padding="SAME"
    )  # fmt: skip


@settings(max_examples=25)
@given(
    batch=st.integers(1, 5), side=st.integers(1, 9), widths=st.tuples(st.integers(1, 6), st.integers(1, 6)), size=st.integers(2, 6)
)  # fmt: skip
def test_the_exchanged_convolution_is_tensorflows_gradient(batch, side, widths, size):
    grad, pixels = normal(batch, 2 * side, 2 * side, widths[0]), normal(batch, side, side, widths[1], seed=1)
    with tf.Graph().as_default():
        ours, theirs = evaluated(kernel_gradient(grad, pixels, size), stock_kernel_gradient(grad, pixels, size))
    assert ours.shape == theirs.shape == (size, size, *widths)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_a_gradient_known_by_hand():
    """One image, one pixel x = 2 that a 2x2 kernel spreads over 2x2 pixels: the kernel's gradient is twice the gradient there."""
    grad = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32).reshape(1, 2, 2, 1)
    with tf.Graph().as_default():
        (found,) = evaluated(kernel_gradient(grad, np.full((1, 1, 1, 1), 2.0, np.float32), 2))
    np.testing.assert_array_equal(found[..., 0, 0], [[2, 4], [6, 8]])


def gradients_of_a_layer(precision, side, stride=2, padding="SAME"):
    """Gradients of a transposed convolution for its kernel and its pixels, and the operations of the graph."""
    with tf.Graph().as_default() as graph, kernel_gradients_for(precision):
        kernel, pixels = tf.constant(normal(3, 3, 4, 5)), tf.constant(normal(2, side, side, 5, seed=1))
        result = tf.nn.conv2d_transpose(pixels, kernel, shape_of(side, stride, padding), stride, padding)
        target = tf.constant(normal(*result.shape, seed=2))
        found = evaluated(*tf.gradients(tf.reduce_sum(result * target), [kernel, pixels]))
        return found, [op.type for op in graph.get_operations()]


def shape_of(side, stride, padding):
    return [2, *[side * stride + (max(3 - stride, 0) if padding == "VALID" else 0)] * 2, 4]


@pytest.mark.parametrize(
    ("side", "stride", "padding", "exchanged"),
    [
        (4, 2, "SAME", True),
        (LARGEST_SIDE, 2, "SAME", True),
        (LARGEST_SIDE + 1, 2, "SAME", False),
        (4, 1, "SAME", False),
        (4, 2, "VALID", False),
    ],
)
def test_in_bfloat16_small_maps_are_exchanged_and_all_others_left_alone(side, stride, padding, exchanged):
    (kernel, pixels), operations = gradients_of_a_layer("bfloat16", side, stride, padding)
    (stock_kernel, stock_pixels), stock_operations = gradients_of_a_layer("float32", side, stride, padding)
    np.testing.assert_allclose(pixels, stock_pixels, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(kernel, stock_kernel, rtol=1e-6, atol=1e-4)  # without the rewriter everything is float32
    assert ("Conv2DBackpropFilter" not in operations) == exchanged
    assert "Conv2DBackpropFilter" in stock_operations


def decoder_gradients(precision):
    """Gradients of all variables of a small decoder for the squared sum of what it draws."""
    with tf.Graph().as_default():
        v1.set_random_seed(0)
        with kernel_gradients_for(precision):
            images = decoder(tf.constant(normal(6, 5)), (8, 6, 4))
        gradients = tf.gradients(tf.reduce_mean(tf.square(images - normal(6, 32, 32, 3, seed=1))), v1.trainable_variables())
        return dict(zip([variable.op.name for variable in v1.trainable_variables()], evaluated(*gradients), strict=True))


def test_a_decoder_learns_in_the_same_direction_either_way():
    plain, exchanged = decoder_gradients("float32"), decoder_gradients("bfloat16")
    for name in plain:
        along = np.sum(plain[name] * exchanged[name]) / np.linalg.norm(plain[name]) / np.linalg.norm(exchanged[name])
        assert along > 0.999 or np.linalg.norm(plain[name]) < 1e-6, name
