"""The decoder's variables, shapes, modes, and its output worked out in numpy."""

import re
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from glo_lib import decoder as decoder_module
from glo_lib.decoder import IMAGE_SIZES, image_size_of, num_filters_for
from glo_lib.graph.backend import tf
from glo_lib.graph.layers import conv2d_transpose
from glo_lib.graph.slim import slim

v1 = tf.compat.v1
BATCH_NORM_EPSILON = 1e-3  # the default of slim.batch_norm


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as graph:
        v1.set_random_seed(0)
        yield graph


@pytest.fixture(params=[slim.conv2d_transpose, conv2d_transpose], ids=["slim", "faster"])
def decoder(request):
    """The decoder, with its layers computed by each of the two routes."""
    return partial(decoder_module.decoder, layer=request.param)


def some_codes(rows=4, dims=3, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, dims)).astype(np.float32)


def shapes_of(variables):
    return {variable.op.name: tuple(variable.shape.as_list()) for variable in variables}


def initialized_session():
    session = v1.Session()
    session.run(v1.global_variables_initializer())
    return session


def set_random_values(session, seed=1):
    """Give every variable values from a known range, variances positive; return them by name below the scope."""
    draw = np.random.default_rng(seed)
    values = {}
    for variable in v1.global_variables():
        low = 0.5 if "variance" in variable.op.name or "gamma" in variable.op.name else -0.5
        values[variable.op.name.split("/", 1)[1]] = draw.uniform(low, 1.5, variable.shape).astype(np.float32)
        variable.load(values[variable.op.name.split("/", 1)[1]], session)
    return values


# ------------------------------------------------------------- the smallest decoder, one width, in numpy: (batch, d) -> 8x8


def first_layer_in_numpy(z, variables):
    return np.einsum("bi,yxoi->byxo", z, variables["deconv1/weights"])  # VALID: each code lays down its own 4x4 patch


def normalized(net, variables, mean, variance):
    scaled = variables["deconv1/BatchNorm/gamma"] * (net - mean) / np.sqrt(variance + BATCH_NORM_EPSILON)
    return np.maximum(scaled + variables["deconv1/BatchNorm/beta"], 0)


def last_layer_in_numpy(net, variables):
    """Stride 2: every pixel lays down a kernel at twice its position; SAME cuts off what reaches over the end."""
    weights = variables["deconv2/weights"]  # (3, 3, out, in)
    side = net.shape[1]
    laid_down = np.zeros((len(net), 2 * side + 1, 2 * side + 1, weights.shape[2]))
    for y in range(side):
        for x in range(side):
            laid_down[:, 2 * y : 2 * y + 3, 2 * x : 2 * x + 3] += np.einsum("bi,yxoi->byxo", net[:, y, x], weights)
    return np.tanh(laid_down[:, :-1, :-1] + variables["deconv2/biases"])


def test_in_inference_mode_the_output_follows_from_weights_and_moving_averages(decoder):
    z = some_codes()
    images = decoder(tf.constant(z), num_filters=(5,), is_training=False)
    with initialized_session() as session:
        variables = set_random_values(session)
        output = session.run(images)
    mean, variance = (variables[f"deconv1/BatchNorm/moving_{name}"] for name in ("mean", "variance"))
    net = normalized(first_layer_in_numpy(z, variables), variables, mean, variance)
    np.testing.assert_allclose(output, last_layer_in_numpy(net, variables), atol=1e-5)


def test_in_training_mode_the_output_follows_from_weights_and_statistics_of_the_batch(decoder):
    z = some_codes()
    images = decoder(tf.constant(z), num_filters=(5,), is_training=True)
    with initialized_session() as session:
        variables = set_random_values(session)
        output = session.run(images)
    net = first_layer_in_numpy(z, variables)
    net = normalized(net, variables, net.mean(axis=(0, 1, 2)), net.var(axis=(0, 1, 2)))
    np.testing.assert_allclose(output, last_layer_in_numpy(net, variables), atol=1e-5)


@pytest.mark.parametrize(("arguments", "decay"), [({"batch_norm_decay": 0.75}, 0.75), ({}, 0.99)], ids=["given", "default"])
def test_update_ops_move_the_averages_by_their_decay(decoder, arguments, decay):
    z = some_codes()
    decoder(tf.constant(z), num_filters=(5,), **arguments)
    moving = {variable.op.name.split("_")[-1]: variable for variable in v1.global_variables("decoder/.*moving")}
    with initialized_session() as session:
        variables = set_random_values(session)
        session.run(v1.get_collection(v1.GraphKeys.UPDATE_OPS))
        mean, variance = session.run([moving["mean"], moving["variance"]])
    net = first_layer_in_numpy(z, variables)
    batch_mean, batch_variance = net.mean(axis=(0, 1, 2)), net.var(axis=(0, 1, 2), ddof=1)  # unbiased, as the fused kernel averages it
    old_mean, old_variance = (variables[f"deconv1/BatchNorm/moving_{name}"] for name in ("mean", "variance"))
    np.testing.assert_allclose(mean, decay * old_mean + (1 - decay) * batch_mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(variance, decay * old_variance + (1 - decay) * batch_variance, rtol=1e-4)


@pytest.mark.parametrize("is_training", [True, False])
def test_gradients_are_those_of_the_same_layers_written_out(decoder, is_training):
    """The faster last layer has a gradient of its own; here TensorFlow derives the gradient of each layer."""
    z = some_codes()
    codes = v1.placeholder(tf.float32, [None, z.shape[1]])
    images = decoder(codes, num_filters=(5,), is_training=is_training)
    by_name = {variable.op.name.split("/", 1)[1]: variable for variable in v1.global_variables()}

    net = tf.einsum("bi,yxoi->byxo", codes, by_name["deconv1/weights"])
    averages = [by_name[f"deconv1/BatchNorm/moving_{name}"] for name in ("mean", "variance")]
    mean, variance = tf.nn.moments(net, axes=[0, 1, 2]) if is_training else averages
    scale_and_shift = by_name["deconv1/BatchNorm/gamma"], by_name["deconv1/BatchNorm/beta"]
    net = tf.nn.relu((net - mean) / tf.sqrt(variance + BATCH_NORM_EPSILON) * scale_and_shift[0] + scale_and_shift[1])
    net = tf.nn.conv2d_transpose(net, by_name["deconv2/weights"], [len(z), 8, 8, 3], strides=2)
    written_out = tf.tanh(net + by_name["deconv2/biases"])

    upstream = tf.constant(np.random.default_rng(2).standard_normal((len(z), 8, 8, 3)), tf.float32)
    sources = [codes, *v1.trainable_variables()]
    with initialized_session() as session:
        set_random_values(session)
        ours, theirs = session.run([v1.gradients(output, sources, upstream) for output in (images, written_out)], {codes: z})
    for our_gradient, their_gradient in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our_gradient, their_gradient, rtol=1e-3, atol=1e-4)


# ----------------------------------------------------------------------------------------------------- names and shapes


def test_variables_have_the_names_and_shapes_of_tf_slim(decoder):
    decoder(tf.zeros([2, 7]), num_filters=(6, 5), kernel_size=3)
    trainable = {
        "decoder/deconv1/weights": (4, 4, 6, 7),
        "decoder/deconv1/BatchNorm/beta": (6,),
        "decoder/deconv1/BatchNorm/gamma": (6,),
        "decoder/deconv2/weights": (3, 3, 5, 6),
        "decoder/deconv2/BatchNorm/beta": (5,),
        "decoder/deconv2/BatchNorm/gamma": (5,),
        "decoder/deconv3/weights": (3, 3, 3, 5),
        "decoder/deconv3/biases": (3,),
    }
    averages = {
        "decoder/deconv1/BatchNorm/moving_mean": (6,),
        "decoder/deconv1/BatchNorm/moving_variance": (6,),
        "decoder/deconv2/BatchNorm/moving_mean": (5,),
        "decoder/deconv2/BatchNorm/moving_variance": (5,),
    }
    assert shapes_of(v1.trainable_variables()) == trainable
    assert shapes_of(v1.global_variables()) == trainable | averages


@pytest.mark.parametrize("kernel_size", [2, 4, 5])
def test_kernel_size_is_that_of_every_layer_but_the_first(decoder, kernel_size):
    images = decoder(tf.zeros([2, 7]), num_filters=(6, 5), kernel_size=kernel_size)
    sides = [shape[:2] for name, shape in shapes_of(v1.trainable_variables()).items() if name.endswith("weights")]
    assert sides == [(4, 4), (kernel_size, kernel_size), (kernel_size, kernel_size)]
    assert images.shape == (2, 16, 16, 3)


def test_number_of_parameters_of_the_original_experiment(decoder):
    decoder(tf.zeros([2, 100]), num_filters=(256, 128, 64, 64, 32))
    count = sum(variable.shape.num_elements() for variable in v1.trainable_variables())
    widths = (256, 128, 64, 64, 32, 3)
    first = 4 * 4 * 100 * 256
    strided = sum(3 * 3 * wide * narrow for wide, narrow in pairwise(widths))
    scales_and_shifts = 2 * sum(widths[:-1])
    assert count == first + strided + scales_and_shifts + 3 == 835_491


def test_scope_is_the_prefix_of_every_variable(decoder):
    decoder(tf.zeros([2, 3]), num_filters=(4,), scope="elsewhere")
    assert {variable.op.name.split("/")[0] for variable in v1.global_variables()} == {"elsewhere"}


def test_batch_norm_starts_as_the_identity_and_weights_within_the_range_of_xavier(decoder):
    decoder(tf.zeros([2, 100]), num_filters=(64,))
    with initialized_session() as session:
        values = {variable.op.name: session.run(variable) for variable in v1.global_variables()}
    for name, start in {"beta": 0, "gamma": 1, "moving_mean": 0, "moving_variance": 1}.items():
        assert np.all(values[f"decoder/deconv1/BatchNorm/{name}"] == start)
    assert np.all(values["decoder/deconv2/biases"] == 0)
    # Xavier's uniform range for a kernel (4, 4, 64, 100): sqrt(6 / (fan in + fan out)), each of them times the 16 pixels.
    limit = np.sqrt(6 / (16 * (64 + 100)))
    largest = np.abs(values["decoder/deconv1/weights"]).max()
    assert 0.99 * limit < largest <= limit


# ------------------------------------------------------------------------------------------------------------- outputs


@pytest.mark.parametrize("size", IMAGE_SIZES)
def test_widths_for_a_size_give_images_of_that_size(decoder, size):
    num_filters = num_filters_for(size)
    assert image_size_of(num_filters) == size
    assert decoder(tf.zeros([2, 3]), num_filters).shape == (2, size, size, 3)


def test_widths_for_128_pixels_are_those_of_the_original_experiment():
    assert num_filters_for(128) == (256, 128, 64, 64, 32)


@pytest.mark.parametrize("size", [16, 100, 512, "64", None])
def test_widths_for_any_other_size_are_refused_by_name(size):
    with pytest.raises(ValueError, match=re.escape(f"image_size is {size!r}; the decoder draws images of 32, 64, 128, 256")):
        num_filters_for(size)


@pytest.mark.parametrize("is_training", [True, False])
def test_output_stays_within_minus_one_and_one_and_reaches_for_both(decoder, is_training):
    images = decoder(tf.constant(some_codes()), num_filters=(8, 6), is_training=is_training)
    with initialized_session() as session:
        weights = set_random_values(session)["deconv3/weights"]
        v1.global_variables("decoder/deconv3/weights")[0].load(20 * (weights - weights.mean()), session)
        output = session.run(images)
    assert np.abs(output).max() <= 1
    assert output.min() < -0.9 and output.max() > 0.9


def test_images_have_as_many_channels_as_asked_for(decoder):
    assert decoder(tf.zeros([2, 3]), num_filters=(4,), channels=1).shape == (2, 8, 8, 1)
    assert shapes_of(v1.global_variables())["decoder/deconv2/biases"] == (1,)


def test_batch_size_may_be_unknown_when_the_graph_is_built(decoder):
    codes = v1.placeholder(tf.float32, [None, 3])
    images = decoder(codes, num_filters=(4, 4), is_training=False)
    assert images.shape.as_list() == [None, 16, 16, 3]
    with initialized_session() as session:
        one, five = (session.run(images, {codes: some_codes(5)[:rows]}) for rows in (1, 5))
    assert five.shape == (5, 16, 16, 3)
    np.testing.assert_allclose(one[0], five[0], atol=1e-6)  # in inference mode an image does not depend on the batch


def test_every_trainable_variable_and_the_codes_receive_a_gradient(decoder):
    codes = tf.constant(some_codes(8))
    images = decoder(codes, num_filters=(6, 5))
    target = tf.constant(np.random.default_rng(5).uniform(-1, 1, images.shape), tf.float32)
    with initialized_session() as session:
        gradients = session.run(v1.gradients(tf.reduce_mean(tf.square(images - target)), [codes, *v1.trainable_variables()]))
    assert all(np.all(np.isfinite(gradient)) and np.abs(gradient).max() > 0 for gradient in gradients)


def test_outputs_collection_receives_the_output_of_each_layer_from_coarse_to_fine(decoder):
    images = decoder(tf.zeros([2, 3]), num_filters=(6, 5), outputs_collections="end_points")
    collected = v1.get_collection("end_points")
    assert [tuple(output.shape) for output in collected] == [(2, 4, 4, 6), (2, 8, 8, 5), (2, 16, 16, 3)]
    assert collected[-1] is images
    assert v1.get_collection("another") == []


# ----------------------------------------------------------------------------------------------------- modes and reuse


def test_updates_of_the_averages_are_collected_in_training_mode_only(decoder):
    decoder(tf.zeros([2, 3]), num_filters=(6, 5))
    assert len(v1.get_collection(v1.GraphKeys.UPDATE_OPS)) == 4  # mean and variance of two batch norms
    decoder(tf.zeros([2, 3]), num_filters=(6, 5), is_training=False, reuse=True)
    assert len(v1.get_collection(v1.GraphKeys.UPDATE_OPS)) == 4


def test_averages_do_not_move_in_inference_mode(decoder):
    images = decoder(tf.constant(some_codes()), num_filters=(6,), is_training=False)
    with initialized_session() as session:
        before = set_random_values(session)
        session.run(images)
        after = {variable.op.name.split("/", 1)[1]: session.run(variable) for variable in v1.global_variables()}
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("reuse", [True, v1.AUTO_REUSE])
def test_reuse_makes_no_variable_and_gives_the_same_images(decoder, reuse):
    codes = tf.constant(some_codes())
    first = decoder(codes, num_filters=(6, 5))
    variables = v1.global_variables()
    second = decoder(codes, num_filters=(6, 5), reuse=reuse)
    assert v1.global_variables() == variables
    with initialized_session() as session:
        set_random_values(session)
        one, other = session.run([first, second])
    assert np.array_equal(one, other)


def test_same_scope_twice_without_reuse_is_an_error(decoder):
    decoder(tf.zeros([2, 3]), num_filters=(4,))
    with pytest.raises(ValueError, match="already exists"):
        decoder(tf.zeros([2, 3]), num_filters=(4,))


def test_reuse_before_there_is_anything_to_reuse_is_an_error(decoder):
    with pytest.raises(ValueError, match="does not exist"):
        decoder(tf.zeros([2, 3]), num_filters=(4,), reuse=True)


# -------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("shape", [[3], [2, 3, 4], [2, None], None])
def test_codes_that_are_not_a_matrix_of_known_width_are_refused(decoder, shape):
    codes = v1.placeholder(tf.float32, shape)
    with pytest.raises(ValueError, match=re.escape(f"latent_z has shape {codes.shape}; the decoder takes (batch, d)")):
        decoder(codes, num_filters=(4,))


@pytest.mark.parametrize("num_filters", [(), (4, 0), (-1,)])
def test_missing_or_empty_widths_are_refused(decoder, num_filters):
    with pytest.raises(ValueError, match=re.escape(f"num_filters is {num_filters}; at least one width")):
        decoder(tf.zeros([2, 3]), num_filters=num_filters)


@pytest.mark.parametrize("kernel_size", [1, 0])
def test_kernel_that_would_leave_gaps_is_refused(decoder, kernel_size):
    with pytest.raises(ValueError, match=f"kernel_size is {kernel_size}; with a stride of 2"):
        decoder(tf.zeros([2, 3]), num_filters=(4,), kernel_size=kernel_size)
