"""The decoder's variables, shapes and modes, and its output computed in numpy."""

import re
from functools import partial

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
    """Give every variable random values, variances positive; return the values by the name below the scope."""
    draw = np.random.default_rng(seed)
    by_name = {variable.op.name.split("/", 1)[1]: variable for variable in v1.global_variables()}
    for name, variable in by_name.items():
        variable.load(draw.uniform(0.5 if "variance" in name else -0.5, 1.5, variable.shape), session)
    return session.run(by_name)


def first_layer_in_numpy(z, variables):
    return np.einsum("bi,yxoi->byxo", z, variables["deconv1/weights"])  # VALID: each code adds one 4x4 patch


def normalized(net, variables, mean, variance):
    scaled = variables["deconv1/BatchNorm/gamma"] * (net - mean) / np.sqrt(variance + BATCH_NORM_EPSILON)
    return np.maximum(scaled + variables["deconv1/BatchNorm/beta"], 0)


def last_layer_in_numpy(net, variables):
    """Stride 2: every pixel adds a kernel at twice its position; SAME crops what reaches beyond the end."""
    weights = variables["deconv2/weights"]  # (3, 3, out, in)
    side = net.shape[1]
    canvas = np.zeros((len(net), 2 * side + 1, 2 * side + 1, weights.shape[2]))
    for y in range(side):
        for x in range(side):
            canvas[:, 2 * y : 2 * y + 3, 2 * x : 2 * x + 3] += np.einsum("bi,yxoi->byxo", net[:, y, x], weights)
    return np.tanh(canvas[:, :-1, :-1] + variables["deconv2/biases"])


@pytest.mark.parametrize(("arguments", "decay"), [({}, 0.99), ({"batch_norm_decay": 0.75}, 0.75), ({"is_training": False}, 1)])
def test_the_output_and_the_moving_averages_follow_from_the_weights_and_the_mode(decoder, arguments, decay):
    """Training mode normalizes with the statistics of the batch, and inference mode with the moving averages, which it does not update."""
    z = some_codes()
    images = decoder(tf.constant(z), num_filters=(5,), **arguments)
    averages = [v1.global_variables(f"decoder/deconv1/BatchNorm/moving_{name}")[0] for name in ("mean", "variance")]
    with initialized_session() as session:
        variables = set_random_values(session)
        before = session.run(averages)
        output = session.run(images)
        session.run(v1.get_collection(v1.GraphKeys.UPDATE_OPS))
        after = session.run(averages)
    net = first_layer_in_numpy(z, variables)
    of_batch = net.mean(axis=(0, 1, 2)), net.var(axis=(0, 1, 2))
    expected = last_layer_in_numpy(normalized(net, variables, *(before if decay == 1 else of_batch)), variables)
    np.testing.assert_allclose(output, expected, atol=1e-5)
    unbiased = of_batch[0], net.var(axis=(0, 1, 2), ddof=1)  # as the fused kernel computes the variance for the average
    for new, old, statistic in zip(after, before, unbiased, strict=True):
        np.testing.assert_allclose(new, decay * old + (1 - decay) * statistic, rtol=1e-4, atol=1e-5)


def test_variables_have_the_names_and_shapes_of_tf_slim(decoder):
    images = decoder(tf.zeros([2, 7]), num_filters=(6, 5), kernel_size=2, channels=1, scope="other")
    trainable = {
        "other/deconv1/weights": (4, 4, 6, 7),
        "other/deconv1/BatchNorm/beta": (6,),
        "other/deconv1/BatchNorm/gamma": (6,),
        "other/deconv2/weights": (2, 2, 5, 6),
        "other/deconv2/BatchNorm/beta": (5,),
        "other/deconv2/BatchNorm/gamma": (5,),
        "other/deconv3/weights": (2, 2, 1, 5),
        "other/deconv3/biases": (1,),
    }
    averages = {f"other/deconv{block}/BatchNorm/moving_{name}": (7 - block,) for block in (1, 2) for name in ("mean", "variance")}
    assert shapes_of(v1.trainable_variables()) == trainable
    assert shapes_of(v1.global_variables()) == trainable | averages
    assert images.shape == (2, 16, 16, 1)


def test_number_of_parameters_of_the_original_experiment(decoder):
    assert num_filters_for(128) == (256, 128, 64, 64, 32)
    decoder(tf.zeros([2, 100]), num_filters=num_filters_for(128))
    strided = 3 * 3 * (256 * 128 + 128 * 64 + 64 * 64 + 64 * 32 + 32 * 3)
    scales_and_shifts = 2 * (256 + 128 + 64 + 64 + 32)
    count = sum(variable.shape.num_elements() for variable in v1.trainable_variables())
    assert count == 4 * 4 * 100 * 256 + strided + scales_and_shifts + 3 == 835_491


def test_batch_norm_starts_as_the_identity_and_weights_within_the_range_of_xavier(decoder):
    decoder(tf.zeros([2, 100]), num_filters=(64,))
    with initialized_session() as session:
        values = {variable.op.name: session.run(variable) for variable in v1.global_variables()}
    for name, start in {"beta": 0, "gamma": 1, "moving_mean": 0, "moving_variance": 1}.items():
        assert np.all(values[f"decoder/deconv1/BatchNorm/{name}"] == start)
    assert np.all(values["decoder/deconv2/biases"] == 0)
    # Xavier's uniform range is sqrt(6 / (fan in + fan out)), and each fan is a number of channels times the pixels of the kernel.
    for layer, pixels, channels in (("deconv1", 16, 64 + 100), ("deconv2", 9, 3 + 64)):
        limit = np.sqrt(6 / (pixels * channels))
        assert 0.98 * limit < np.abs(values[f"decoder/{layer}/weights"]).max() <= limit


@pytest.mark.parametrize("size", IMAGE_SIZES)
def test_the_widths_for_a_size_give_images_of_that_size(size):
    num_filters = num_filters_for(size)
    assert image_size_of(num_filters) == size
    assert decoder_module.decoder(tf.zeros([2, 3]), num_filters, layer=conv2d_transpose).shape == (2, size, size, 3)
    with pytest.raises(ValueError, match=re.escape(f"image_size is {size + 1}; the decoder draws images of 32, 64, 128, 256")):
        num_filters_for(size + 1)


def test_the_outputs_collection_receives_the_output_of_each_layer_from_coarse_to_fine(decoder):
    images = decoder(tf.zeros([2, 3]), num_filters=(6, 5), outputs_collections="end_points")
    collected = v1.get_collection("end_points")
    assert [tuple(output.shape) for output in collected] == [(2, 4, 4, 6), (2, 8, 8, 5), (2, 16, 16, 3)]
    assert collected[-1] is images


def test_reuse_makes_no_variable_and_only_training_mode_collects_updates(decoder):
    codes = tf.constant(some_codes())
    first = decoder(codes, num_filters=(6, 5))
    with pytest.raises(ValueError, match="already exists"):
        decoder(codes, num_filters=(6, 5))
    variables = v1.global_variables()
    assert len(v1.get_collection(v1.GraphKeys.UPDATE_OPS)) == 4  # mean and variance of two batch norms
    decoder(codes, num_filters=(6, 5), is_training=False, reuse=True)
    assert len(v1.get_collection(v1.GraphKeys.UPDATE_OPS)) == 4
    second = decoder(codes, num_filters=(6, 5), reuse=v1.AUTO_REUSE)
    assert v1.global_variables() == variables
    with initialized_session() as session:
        set_random_values(session)
        one, other = session.run([first, second])
    assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("shape", "arguments", "message"),
    [
        ([3], {}, "latent_z has shape (3,); the decoder takes (batch, d)"),
        ([2, None], {}, "latent_z has shape (2, None); the decoder takes (batch, d)"),
        (None, {}, "latent_z has shape <unknown>; the decoder takes (batch, d)"),
        ([2, 3], {"num_filters": ()}, "num_filters is (); at least one width"),
        ([2, 3], {"num_filters": (4, 0)}, "num_filters is (4, 0); at least one width"),
        ([2, 3], {"kernel_size": 1}, "kernel_size is 1; with a stride of 2"),
    ],
)
def test_impossible_arguments_are_named(shape, arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        decoder_module.decoder(v1.placeholder(tf.float32, shape), **{"num_filters": (4,), **arguments})
