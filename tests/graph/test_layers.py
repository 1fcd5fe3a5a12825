"""The faster routes are slim's layer: the same variables, the same images, the same gradients."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glo_lib.decoder import decoder
from glo_lib.graph.backend import tf
from glo_lib.graph.layers import (
    LARGEST_SIDE,
    conv2d_transpose,
    doubling_to_few_channels,
    from_one_pixel,
    kernel_gradient,
    kernel_gradients_for,
)
from glo_lib.graph.slim import slim

v1 = tf.compat.v1


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def evaluated(*tensors):
    with v1.Session() as session:
        return session.run(tensors)


def close(ours, theirs):
    for our, their in zip(ours, theirs, strict=True):
        assert our.shape == their.shape
        np.testing.assert_allclose(our, their, rtol=1e-4, atol=1e-4)


def stock_doubling(pixels, kernel, bias):
    batch, height, width, _ = pixels.shape
    images = tf.nn.conv2d_transpose(pixels, kernel, [batch, 2 * height, 2 * width, kernel.shape[2]], 2, "SAME")
    return tf.nn.bias_add(images, bias)


def with_gradients(layer, *arguments):
    """What a layer gives, and the gradients of a random weighting of it for each of its arguments."""
    with tf.Graph().as_default():
        arguments = [tf.constant(argument) for argument in arguments]
        result = layer(*arguments)
        weighted = tf.reduce_sum(result * normal(*result.shape, seed=9))
        return evaluated(result, *tf.gradients(weighted, arguments))


@settings(max_examples=30)
@given(
    batch=st.integers(1, 3),
    sides=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    widths=st.tuples(st.integers(1, 4), st.integers(1, 5)),
    size=st.integers(2, 7),
)
def test_four_phases_beside_each_other_are_the_transposed_convolution(batch, sides, widths, size):
    arguments = normal(batch, *sides, widths[1]), normal(size, size, *widths, seed=1), normal(widths[0], seed=2)
    close(with_gradients(doubling_to_few_channels, *arguments), with_gradients(stock_doubling, *arguments))


def test_a_pixel_lays_down_its_kernel():
    """One pixel of 2 in a map of 2x2, a kernel 1 ... 16 of 4x4: with SAME, the kernel's middle stands around the pixel's place."""
    pixels = np.zeros((1, 2, 2, 1), np.float32)
    pixels[0, 1, 0] = 2
    kernel = np.arange(1, 17, dtype=np.float32).reshape(4, 4, 1, 1)
    with tf.Graph().as_default():
        (image,) = evaluated(doubling_to_few_channels(tf.constant(pixels), tf.constant(kernel), tf.constant([100.0])))
    np.testing.assert_array_equal(
        image[0, ..., 0], [[100, 100, 100, 100], [104, 106, 108, 100], [112, 114, 116, 100], [120, 122, 124, 100]]
    )


def test_the_number_of_images_may_be_unknown():
    pixels, kernel, bias = normal(3, 2, 2, 5), normal(3, 3, 4, 5, seed=1), normal(4, seed=2)
    with tf.Graph().as_default():
        unknown = v1.placeholder_with_default(pixels, [None, 2, 2, 5])
        images = doubling_to_few_channels(unknown, kernel, bias)
        (ours,) = evaluated(*tf.gradients(tf.reduce_sum(images * normal(3, 4, 4, 4, seed=9)), unknown))
    close([ours], with_gradients(stock_doubling, pixels, kernel, bias)[1:2])


def test_one_pixel_is_a_product_of_matrices():
    def stock(pixels, kernel):
        return tf.nn.conv2d_transpose(pixels, kernel, [5, 4, 4, 3], 1, "VALID")

    arguments = normal(5, 1, 1, 7), normal(4, 4, 3, 7, seed=1)
    close(with_gradients(from_one_pixel, *arguments), with_gradients(stock, *arguments))


NORMALIZED = {"normalizer_fn": slim.batch_norm, "normalizer_params": {"scale": True}}
LAYERS = {
    "first": ((2, 1, 1, 6), {"num_outputs": 5, "kernel_size": 4, "padding": "VALID", **NORMALIZED}),
    "middle": ((2, 4, 4, 6), {"num_outputs": 5, "kernel_size": 3, "stride": 2, **NORMALIZED}),
    "last": ((2, 4, 4, 6), {"num_outputs": 3, "kernel_size": 3, "stride": 2, "activation_fn": tf.nn.tanh}),
    "last, linear": ((2, 4, 4, 6), {"num_outputs": 1, "kernel_size": 4, "stride": 2, "activation_fn": None}),
    "one pixel with a bias": ((2, 1, 1, 6), {"num_outputs": 5, "kernel_size": 4, "padding": "VALID"}),
    "few channels, normalized": ((2, 4, 4, 6), {"num_outputs": 3, "kernel_size": 3, "stride": 2, **NORMALIZED}),
    "few channels without stride": ((2, 4, 4, 6), {"num_outputs": 3, "kernel_size": 3}),
    "many channels with a bias": ((2, 4, 4, 6), {"num_outputs": 5, "kernel_size": 3, "stride": 2}),
}


def built(layer, shape, arguments):
    """What a graph with one layer holds: its variables by collection, the named outputs, and the result with given variables."""
    with tf.Graph().as_default() as graph:
        result = layer(tf.constant(normal(*shape)), outputs_collections="outputs", scope="layer", **arguments)
        keys = ("variables", "trainable_variables", "model_variables")
        variables = {key: [(v.op.name, v.shape.as_list(), v.dtype) for v in v1.get_collection(key)] for key in keys}
        with v1.Session() as session:
            for seed, variable in enumerate(v1.global_variables()):
                variable.load(np.abs(normal(*variable.shape, seed=seed)), session)
            ((alias, output),) = slim.utils.convert_collection_to_dict("outputs").items()
            kinds = {op.type for op in graph.get_operations()}
            return variables, alias, session.run([result, output]), "Conv2DBackpropInput" in kinds


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_has_slims_variables_and_slims_output(name):
    variables, alias, results, by_slim = built(conv2d_transpose, *LAYERS[name])
    expected, expected_alias, expected_results, _ = built(slim.conv2d_transpose, *LAYERS[name])
    assert (variables, alias) == (expected, expected_alias)
    assert by_slim == (name not in ("first", "last", "last, linear"))
    close(results, expected_results)


def test_a_layer_starts_from_slims_kind_of_numbers():
    """Xavier: uniform within sqrt(6 / (fan in + fan out)), a bias of zeros."""
    with tf.Graph().as_default(), v1.Session() as session:
        conv2d_transpose(tf.zeros([1, 4, 4, 50]), 3, 4, stride=2, scope="layer")
        session.run(v1.global_variables_initializer())
        kernel, bias = session.run(v1.global_variables())
    bound = np.sqrt(6 / (16 * 3 + 16 * 50))
    assert 0.95 * bound < np.abs(kernel).max() <= bound
    assert abs(kernel.mean()) < 0.05 * bound
    np.testing.assert_array_equal(bias, np.zeros(3))


def decoded(layer, kernel_size, reuse):
    """Images of a decoder with given weights, and the gradients for these; in towers, the second layer of each kind reuses them."""
    with tf.Graph().as_default():
        for tower in range(2 if reuse else 1):
            images = decoder(tf.constant(normal(6, 5)), (8, 6, 4), kernel_size, reuse=tower > 0, layer=layer)
        variables = v1.trainable_variables()
        gradients = tf.gradients(tf.reduce_mean(tf.square(images - normal(6, 32, 32, 3, seed=1))), variables)
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            for seed, variable in enumerate(variables):
                variable.load(0.3 * normal(*variable.shape, seed=seed), session)
            return [variable.op.name for variable in variables], session.run([images, *gradients])


@pytest.mark.parametrize(("kernel_size", "reuse"), [(3, False), (4, False), (5, False), (3, True)])
def test_a_decoder_of_these_layers_is_the_decoder(kernel_size, reuse):
    names, ours = decoded(conv2d_transpose, kernel_size, reuse)
    expected_names, theirs = decoded(slim.conv2d_transpose, kernel_size, reuse)
    assert names == expected_names
    close(ours, theirs)


# ------------------------------------------------------------------------------- gradients for kernels, by another route


def initialized_and_evaluated(*tensors):
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
        return dict(zip([variable.op.name for variable in v1.trainable_variables()], initialized_and_evaluated(*gradients), strict=True))


def test_a_decoder_learns_in_the_same_direction_either_way():
    plain, exchanged = decoder_gradients("float32"), decoder_gradients("bfloat16")
    for name in plain:
        along = np.sum(plain[name] * exchanged[name]) / np.linalg.norm(plain[name]) / np.linalg.norm(exchanged[name])
        assert along > 0.999 or np.linalg.norm(plain[name]) < 1e-6, name
