"""The faster routes agree with slim's layer in variables, images and gradients."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glo_lib.decoder import decoder
from glo_lib.graph.backend import tf
from glo_lib.graph.layers import LARGEST_SIDE, conv2d_transpose, doubling_to_few_channels, kernel_gradient, kernel_gradients_for
from glo_lib.graph.slim import slim

v1 = tf.compat.v1


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def evaluate(*tensors):
    with v1.Session() as session:
        return session.run(tensors)


def assert_close(ours, theirs):
    for our, their in zip(ours, theirs, strict=True):
        assert our.shape == their.shape
        np.testing.assert_allclose(our, their, rtol=1e-4, atol=1e-4)


def tensorflow_doubling(pixels, kernel, bias):
    batch, height, width, _ = pixels.shape
    images = tf.nn.conv2d_transpose(pixels, kernel, [batch, 2 * height, 2 * width, kernel.shape[2]], 2, "SAME")
    return tf.nn.bias_add(images, bias)


def with_gradients(layer, *arguments):
    """Return the output of a layer, and the gradients of a randomly weighted sum of it for each argument."""
    with tf.Graph().as_default():
        arguments = [tf.constant(argument) for argument in arguments]
        result = layer(*arguments)
        weighted = tf.reduce_sum(result * normal(*result.shape, seed=9))
        return evaluate(result, *tf.gradients(weighted, arguments))


@settings(max_examples=12)
@given(
    batch=st.integers(1, 3),
    sides=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    widths=st.tuples(st.integers(1, 4), st.integers(1, 5)),
    size=st.integers(2, 7),
)
def test_doubling_to_few_channels_is_the_transposed_convolution(batch, sides, widths, size):
    arguments = normal(batch, *sides, widths[1]), normal(size, size, *widths, seed=1), normal(widths[0], seed=2)
    assert_close(with_gradients(doubling_to_few_channels, *arguments), with_gradients(tensorflow_doubling, *arguments))


def test_one_pixel_is_spread_by_the_kernel():
    """A pixel of 2 in a map of 2x2 and a 4x4 kernel 1 ... 16: with SAME, the kernel is centred on the place of the pixel."""
    pixels = np.zeros((1, 2, 2, 1), np.float32)
    pixels[0, 1, 0] = 2
    kernel = np.arange(1, 17, dtype=np.float32).reshape(4, 4, 1, 1)
    with tf.Graph().as_default():
        (image,) = evaluate(doubling_to_few_channels(tf.constant(pixels), tf.constant(kernel), tf.constant([100.0])))
    expected = [[100, 100, 100, 100], [104, 106, 108, 100], [112, 114, 116, 100], [120, 122, 124, 100]]
    np.testing.assert_array_equal(image[0, ..., 0], expected)


NORMALIZED = {"normalizer_fn": slim.batch_norm, "normalizer_params": {"scale": True}}
LAYERS = {
    "first": ((2, 1, 1, 6), {"num_outputs": 5, "kernel_size": 4, "padding": "VALID", **NORMALIZED}),
    "middle": ((2, 4, 4, 6), {"num_outputs": 5, "kernel_size": 3, "stride": 2, **NORMALIZED}),
    "last": ((2, 4, 4, 6), {"num_outputs": 4, "kernel_size": 3, "stride": 2, "activation_fn": tf.nn.tanh}),
    "last, linear": ((2, 4, 4, 6), {"num_outputs": 1, "kernel_size": 2, "stride": 2, "activation_fn": None}),
    "one pixel with a bias": ((2, 1, 1, 6), {"num_outputs": 5, "kernel_size": 4, "padding": "VALID"}),
    "few channels, normalized": ((2, 4, 4, 6), {"num_outputs": 3, "kernel_size": 3, "stride": 2, **NORMALIZED}),
    "few channels without stride": ((2, 4, 4, 6), {"num_outputs": 3, "kernel_size": 3}),
    "many channels with a bias": ((2, 4, 4, 6), {"num_outputs": 5, "kernel_size": 3, "stride": 2}),
}


def build_layer(layer, shape, arguments):
    """Build one layer; return its variables by collection, its named output, its values, and whether slim's operation is in the graph."""
    with tf.Graph().as_default() as graph:
        result = layer(tf.constant(normal(*shape)), outputs_collections="outputs", scope="layer", **arguments)
        keys = ("variables", "trainable_variables", "model_variables")
        variables = {key: [(v.op.name, v.shape.as_list(), v.dtype) for v in v1.get_collection(key)] for key in keys}
        ((alias, output),) = slim.utils.convert_collection_to_dict("outputs").items()
        by_slim = "Conv2DBackpropInput" in {op.type for op in graph.get_operations()}
        with v1.Session() as session:
            for seed, variable in enumerate(v1.global_variables()):
                variable.load(np.abs(normal(*variable.shape, seed=seed)), session)
            return variables, alias, session.run([result, output]), by_slim


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_has_the_variables_and_the_output_of_slims_layer(name):
    variables, alias, results, by_slim = build_layer(conv2d_transpose, *LAYERS[name])
    expected, expected_alias, expected_results, _ = build_layer(slim.conv2d_transpose, *LAYERS[name])
    assert (variables, alias) == (expected, expected_alias)
    assert by_slim == (name not in ("first", "last", "last, linear"))
    assert_close(results, expected_results)


def decode_with_gradients(layer, kernel_size, towers):
    """Images of a decoder with given weights, and all gradients; the second tower reuses the variables, the batch size is unknown."""
    with tf.Graph().as_default(), v1.Session() as session:
        codes = v1.placeholder(tf.float32, [None, 5])
        for tower in range(towers):
            images = decoder(codes, (8, 6), kernel_size, reuse=tower > 0, layer=layer)
        assert images.shape.as_list() == [None, 16, 16, 3]
        variables = v1.trainable_variables()
        gradients = tf.gradients(tf.reduce_mean(tf.square(images - normal(6, 16, 16, 3, seed=1))), [codes, *variables])
        session.run(v1.global_variables_initializer())
        for seed, variable in enumerate(variables):
            variable.load(0.3 * normal(*variable.shape, seed=seed), session)
        return [variable.op.name for variable in variables], session.run([images, *gradients], {codes: normal(6, 5)})


@pytest.mark.parametrize(("kernel_size", "towers"), [(3, 2), (4, 1)])
def test_a_decoder_of_faster_layers_is_the_decoder_of_slims_layers(kernel_size, towers):
    names, ours = decode_with_gradients(conv2d_transpose, kernel_size, towers)
    expected_names, theirs = decode_with_gradients(slim.conv2d_transpose, kernel_size, towers)
    assert names == expected_names
    assert_close(ours, theirs)


@settings(max_examples=12)
@given(
    batch=st.integers(1, 5), side=st.integers(1, 9), widths=st.tuples(st.integers(1, 6), st.integers(1, 6)), size=st.integers(2, 6)
)  # fmt: skip
def test_the_kernel_gradient_is_tensorflows(batch, side, widths, size):
    grad, pixels = normal(batch, 2 * side, 2 * side, widths[0]), normal(batch, side, side, widths[1], seed=1)
    with tf.Graph().as_default():
        expected = tf.raw_ops.Conv2DBackpropFilter(
            input=grad, filter_sizes=[size, size, *widths], out_backprop=pixels, strides=[1, 2, 2, 1], padding="SAME"
        )
        ours, theirs = evaluate(kernel_gradient(grad, pixels, size), expected)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_a_kernel_gradient_computed_by_hand():
    """A single pixel of 2, which a 2x2 kernel spreads over 2x2 pixels: the gradient for the kernel is twice the gradient there."""
    grad = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32).reshape(1, 2, 2, 1)
    with tf.Graph().as_default():
        (found,) = evaluate(kernel_gradient(grad, tf.fill([1, 1, 1, 1], 2.0), 2))
    np.testing.assert_array_equal(found[..., 0, 0], [[2, 4], [6, 8]])


def gradients_of_a_layer(precision, sides, kernel_sides, stride, padding):
    """Gradients of a transposed convolution for its kernel and its pixels, and the operations of the graph."""
    with tf.Graph().as_default() as graph, kernel_gradients_for(precision):
        kernel, pixels = tf.constant(normal(*kernel_sides, 4, 5)), tf.constant(normal(2, *sides, 5, seed=1))
        rest = max(3 - stride, 0) if padding == "VALID" else 0
        result = tf.nn.conv2d_transpose(pixels, kernel, [2, *(side * stride + rest for side in sides), 4], stride, padding)
        target = tf.constant(normal(*result.shape, seed=2))
        found = evaluate(*tf.gradients(tf.reduce_sum(result * target), [kernel, pixels]))
        return found, [op.type for op in graph.get_operations()]


@pytest.mark.parametrize(
    ("sides", "kernel_sides", "stride", "padding", "exchanged"),
    [
        ((LARGEST_SIDE, LARGEST_SIDE), (3, 3), 2, "SAME", True),
        ((LARGEST_SIDE + 1, LARGEST_SIDE + 1), (3, 3), 2, "SAME", False),
        ((4, 6), (3, 3), 2, "SAME", False),
        ((4, 4), (3, 2), 2, "SAME", False),
        ((4, 4), (3, 3), 1, "SAME", False),
        ((4, 4), (3, 3), 2, "VALID", False),
    ],
)
def test_in_bfloat16_only_small_square_maps_take_the_other_route(sides, kernel_sides, stride, padding, exchanged):
    (kernel, pixels), operations = gradients_of_a_layer("bfloat16", sides, kernel_sides, stride, padding)
    (expected_kernel, expected_pixels), expected_operations = gradients_of_a_layer("float32", sides, kernel_sides, stride, padding)
    np.testing.assert_allclose(pixels, expected_pixels, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(kernel, expected_kernel, rtol=1e-6, atol=1e-4)  # without TensorFlow's rewriter everything is float32
    assert ("Conv2DBackpropFilter" not in operations) == exchanged
    assert "Conv2DBackpropFilter" in expected_operations
