"""Parameters and operations of layers, against numbers worked out by hand and against TensorFlow's own formula."""

import pytest
from tensorflow.python.framework import ops as tensorflow_ops

from glo_lib.decoder import decoder
from glo_lib.graph.backend import tf
from glo_lib.graph.costs import LayerCost, layer_costs
from glo_lib.graph.layers import conv2d_transpose, kernel_gradients_for
from glo_lib.graph.slim import slim
from glo_lib.vae import encoder

v1 = tf.compat.v1
BOTH_ROUTES = pytest.mark.parametrize("layer", [slim.conv2d_transpose, conv2d_transpose], ids=["slim", "faster"])
OF_A_SMALL_DECODER = [
    LayerCost("decoder/deconv1", (4, 4, 6), 4 * 4 * 6 * 10 + 6 + 6, 2 * 4 * 4 * 6 * 10),
    LayerCost("decoder/deconv2", (8, 8, 5), 3 * 3 * 5 * 6 + 5 + 5, 2 * 16 * 9 * 5 * 6),
    LayerCost("decoder/deconv3", (16, 16, 3), 3 * 3 * 3 * 5 + 3, 2 * 64 * 9 * 3 * 5),
]
OF_A_SMALL_ENCODER = [
    LayerCost("encoder/conv1", (8, 8, 5), 3 * 3 * 3 * 5 + 5 + 5, 2 * 64 * 9 * 3 * 5),
    LayerCost("encoder/conv2", (4, 4, 6), 3 * 3 * 5 * 6 + 6 + 6, 2 * 16 * 9 * 5 * 6),
    LayerCost("encoder/posterior", (20,), 96 * 20 + 20, 2 * 96 * 20),
]


def small_decoder(**settings):
    return decoder(tf.zeros([7, 10]), num_filters=(6, 5), kernel_size=3, **settings)


def small_encoder(**settings):
    return encoder(tf.zeros([7, 16, 16, 3]), num_dims=10, num_filters=(6, 5), kernel_size=3, **settings)


def add_gradients(*outputs):
    return tf.gradients([tf.reduce_sum(output) for output in outputs], v1.trainable_variables())


@BOTH_ROUTES
def test_costs_of_a_small_decoder_are_those_worked_out_by_hand(layer):
    with tf.Graph().as_default() as graph:
        small_decoder(layer=layer)
    assert layer_costs(graph) == OF_A_SMALL_DECODER


@BOTH_ROUTES
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("times", [1, 2])
def test_gradients_are_not_counted(layer, precision, times):
    """Nor those of a second call, for which TensorFlow chooses another name."""
    with tf.Graph().as_default():
        with kernel_gradients_for(precision):
            images = small_decoder(layer=layer)
        for _ in range(times):
            assert None not in add_gradients(images)
        assert layer_costs() == OF_A_SMALL_DECODER


@BOTH_ROUTES
def test_neither_an_optimizer_nor_averages_nor_a_saver_are_counted(layer):
    with tf.Graph().as_default():
        with v1.name_scope("tower_0"):
            images = small_decoder(layer=layer)
        with v1.name_scope("train"):
            step = v1.train.AdamOptimizer().minimize(tf.reduce_sum(images))
            with tf.control_dependencies([step]):
                v1.train.ExponentialMovingAverage(0.9).apply(v1.trainable_variables())
        v1.train.Saver()
        assert layer_costs() == OF_A_SMALL_DECODER


@BOTH_ROUTES
@pytest.mark.parametrize("kernel_size", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_the_costs_do_not_depend_on_the_route(layer, kernel_size, channels):
    with tf.Graph().as_default():
        decoder(tf.zeros([2, 10]), (6, 5, 4), kernel_size, channels, layer=layer)
        side, kernels = 4, [4 * 4 * 6 * 10, *(kernel_size**2 * a * b for a, b in ((5, 6), (4, 5), (channels, 4)))]
        by_hand = [2 * kernels[0], *(2 * (side * 2**block) ** 2 * numbers for block, numbers in enumerate(kernels[1:]))]
        assert [cost.flops for cost in layer_costs()] == by_hand


@pytest.mark.parametrize("with_gradients", [False, True])
def test_costs_of_a_small_encoder_are_those_worked_out_by_hand(with_gradients):
    with tf.Graph().as_default():
        posterior = small_encoder()
        if with_gradients:
            assert None not in add_gradients(*posterior)
        assert layer_costs() == OF_A_SMALL_ENCODER


def test_encoder_and_decoder_of_one_graph_are_listed_in_the_order_in_which_they_were_built():
    with tf.Graph().as_default():
        decoded = small_decoder(layer=conv2d_transpose)
        posterior = small_encoder()
        add_gradients(decoded, *posterior)
        assert layer_costs() == OF_A_SMALL_DECODER + OF_A_SMALL_ENCODER


@BOTH_ROUTES
def test_parameters_of_all_layers_are_all_trainable_variables(layer):
    with tf.Graph().as_default():
        decoder(tf.zeros([2, 10]), num_filters=(6, 5, 4), layer=layer)
        small_encoder()
        everything = sum(variable.shape.num_elements() for variable in v1.trainable_variables())
        assert sum(cost.parameters for cost in layer_costs()) == everything


@BOTH_ROUTES
def test_a_layer_with_ten_in_its_name_is_not_taken_for_layer_one(layer):
    with tf.Graph().as_default():
        for scope in ("decoder", "decoder1"):
            decoder(tf.zeros([2, 10]), num_filters=(6,), scope=scope, layer=layer)
        costs = layer_costs()
    assert [cost.parameters for cost in costs[:2]] == [cost.parameters for cost in costs[2:]]


@BOTH_ROUTES
def test_a_second_use_of_the_variables_costs_the_same_under_the_same_name(layer):
    with tf.Graph().as_default():
        for reuse in (False, True):
            small_decoder(reuse=reuse, layer=layer)
        assert layer_costs() == 2 * OF_A_SMALL_DECODER


@BOTH_ROUTES
@pytest.mark.parametrize("batch", [1, 9, None])
def test_costs_are_per_image_and_need_no_batch_size(layer, batch):
    with tf.Graph().as_default():
        decoder(v1.placeholder(tf.float32, [batch, 10]), num_filters=(6, 5), layer=layer)
        encoder(v1.placeholder(tf.float32, [batch, 16, 16, 3]), num_dims=10, num_filters=(6, 5))
        assert layer_costs() == OF_A_SMALL_DECODER + OF_A_SMALL_ENCODER


@pytest.mark.parametrize("kernel_size", [2, 3, 4, 5])
def test_stride_two_layers_agree_with_the_formula_of_tensorflows_profiler(kernel_size):
    with tf.Graph().as_default() as graph:
        decoder(tf.zeros([1, 10]), num_filters=(6, 5, 4), kernel_size=kernel_size)
    nodes = [op.node_def for op in graph.get_operations() if op.type == "Conv2DBackpropInput"]
    theirs = [int(tensorflow_ops.get_stats_for_node_def(graph, node, "flops").value) for node in nodes]
    assert [cost.flops for cost in layer_costs(graph)][1:] == theirs[1:]
    assert 16 * layer_costs(graph)[0].flops == theirs[0]  # theirs lets each of the 16 output pixels receive a whole kernel


def test_a_graph_without_layers_costs_nothing():
    assert layer_costs(tf.Graph()) == []


@pytest.mark.parametrize("use_resource", [True, False])
def test_a_kernel_that_is_used_in_an_unknown_way_is_an_error_that_names_it(use_resource):
    with tf.Graph().as_default():
        small_decoder(layer=conv2d_transpose)
        kernel = v1.get_variable("elsewhere/weights", [3, 3, 5, 1], use_resource=use_resource)
        tf.nn.depthwise_conv2d(tf.zeros([1, 8, 8, 5]), kernel, [1, 1, 1, 1], "SAME")
        with pytest.raises(ValueError, match="elsewhere/weights is used in a way whose cost is not known; known are Conv2DBackpropInput"):
            layer_costs()


def test_a_kernel_that_is_not_used_costs_nothing():
    with tf.Graph().as_default():
        v1.get_variable("elsewhere/weights", [3, 3, 5, 1])
        assert layer_costs() == []
