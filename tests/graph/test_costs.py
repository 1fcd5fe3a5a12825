"""Parameters and operations of layers, against values computed by hand."""

import pytest

from glo_lib.decoder import decoder
from glo_lib.graph.backend import tf
from glo_lib.graph.costs import LayerCost, layer_costs
from glo_lib.graph.layers import conv2d_transpose, kernel_gradients_for
from glo_lib.graph.slim import slim
from glo_lib.vae import encoder

v1 = tf.compat.v1
BOTH_ROUTES = pytest.mark.parametrize("layer", [slim.conv2d_transpose, conv2d_transpose], ids=["slim", "faster"])
DECODER_COSTS = [
    LayerCost("decoder/deconv1", (4, 4, 6), 4 * 4 * 6 * 10 + 6 + 6, 2 * 4 * 4 * 6 * 10),
    LayerCost("decoder/deconv2", (8, 8, 5), 3 * 3 * 5 * 6 + 5 + 5, 2 * 16 * 9 * 5 * 6),
    LayerCost("decoder/deconv3", (16, 16, 3), 3 * 3 * 3 * 5 + 3, 2 * 64 * 9 * 3 * 5),
]
ENCODER_COSTS = [
    LayerCost("encoder/conv1", (8, 8, 5), 3 * 3 * 3 * 5 + 5 + 5, 2 * 64 * 9 * 3 * 5),
    LayerCost("encoder/conv2", (4, 4, 6), 3 * 3 * 5 * 6 + 6 + 6, 2 * 16 * 9 * 5 * 6),
    LayerCost("encoder/posterior", (20,), 96 * 20 + 20, 2 * 96 * 20),
]


def small_decoder(batch=7, **settings):
    return decoder(v1.placeholder(tf.float32, [batch, 10]), num_filters=(6, 5), kernel_size=3, **settings)


@BOTH_ROUTES
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_only_the_layers_of_a_training_graph_are_counted(layer, precision):
    """Gradients (also those of a second call, which get other names), optimizer, averages and saver are not."""
    with tf.Graph().as_default() as graph:
        with v1.name_scope("tower_0"), kernel_gradients_for(precision):
            images = small_decoder(layer=layer)
        for _ in range(2):
            assert None not in tf.gradients(images, v1.trainable_variables())
        with v1.name_scope("train"):
            step = v1.train.AdamOptimizer().minimize(tf.reduce_sum(images))
            with tf.control_dependencies([step]):
                v1.train.ExponentialMovingAverage(0.9).apply(v1.trainable_variables())
        v1.train.Saver()
    assert layer_costs(graph) == DECODER_COSTS


@BOTH_ROUTES
@pytest.mark.parametrize("batch", [1, None])
def test_encoder_and_decoder_are_listed_in_the_order_of_construction_with_costs_per_image(layer, batch):
    with tf.Graph().as_default():
        images = small_decoder(batch, layer=layer)
        posterior = encoder(v1.placeholder(tf.float32, [batch, 16, 16, 3]), num_dims=10, num_filters=(6, 5), kernel_size=3)
        assert None not in tf.gradients([images, *posterior], v1.trainable_variables())
        assert layer_costs() == DECODER_COSTS + ENCODER_COSTS


@BOTH_ROUTES
@pytest.mark.parametrize(("kernel_size", "channels"), [(2, 1), (4, 5), (5, 3)])
def test_costs_do_not_depend_on_the_route(layer, kernel_size, channels):
    with tf.Graph().as_default():
        decoder(tf.zeros([2, 10]), (6, 5, 4), kernel_size, channels, layer=layer)
        side, kernels = 4, [4 * 4 * 6 * 10, *(kernel_size**2 * a * b for a, b in ((5, 6), (4, 5), (channels, 4)))]
        by_hand = [2 * kernels[0], *(2 * (side * 2**block) ** 2 * numbers for block, numbers in enumerate(kernels[1:]))]
        assert [cost.flops for cost in layer_costs()] == by_hand


@BOTH_ROUTES
def test_reused_layers_are_listed_once_for_each_use_and_a_similar_scope_has_its_own_layers(layer):
    with tf.Graph().as_default():
        for reuse in (False, True):
            small_decoder(reuse=reuse, layer=layer)
        conv2d_transpose(tf.zeros([1, 4, 4, 2]), 5, 3, scope="decoder/deconv10")
        assert layer_costs() == [*DECODER_COSTS, *DECODER_COSTS, LayerCost("decoder/deconv10", (4, 4, 5), 95, 2 * 16 * 90)]


@pytest.mark.parametrize("use_resource", [True, False])
def test_a_kernel_that_is_used_in_an_unknown_way_is_named(use_resource):
    with tf.Graph().as_default():
        kernel = v1.get_variable("elsewhere/weights", [3, 3, 5, 1], use_resource=use_resource)
        tf.nn.depthwise_conv2d(tf.zeros([1, 8, 8, 5]), kernel, [1, 1, 1, 1], "SAME")
        with pytest.raises(ValueError, match="elsewhere/weights is used in a way whose cost is not known; known are Conv2DBackpropInput"):
            layer_costs()


def test_a_kernel_that_is_not_used_costs_nothing():
    with tf.Graph().as_default():
        v1.get_variable("elsewhere/weights", [3, 3, 5, 1])
        assert layer_costs() == []
