"""Parameters and operations of the decoder's layers, against numbers worked out by hand and against TensorFlow's own formula."""

import pytest
from tensorflow.python.framework import ops as tensorflow_ops

from glo_lib.backend import tf
from glo_lib.costs import LayerCost, layer_costs
from glo_lib.decoder import decoder

v1 = tf.compat.v1


def test_costs_of_a_small_decoder_are_those_worked_out_by_hand():
    with tf.Graph().as_default() as graph:
        decoder(tf.zeros([7, 10]), num_filters=(6, 5), kernel_size=3)
    assert layer_costs(graph) == [
        LayerCost("decoder/deconv1", (4, 4, 6), 4 * 4 * 6 * 10 + 6 + 6, 2 * 4 * 4 * 6 * 10),
        LayerCost("decoder/deconv2", (8, 8, 5), 3 * 3 * 5 * 6 + 5 + 5, 2 * 16 * 9 * 5 * 6),
        LayerCost("decoder/deconv3", (16, 16, 3), 3 * 3 * 3 * 5 + 3, 2 * 64 * 9 * 3 * 5),
    ]


def test_parameters_of_all_layers_are_all_trainable_variables():
    with tf.Graph().as_default():
        decoder(tf.zeros([2, 10]), num_filters=(6, 5, 4))
        everything = sum(variable.shape.num_elements() for variable in v1.trainable_variables())
        assert sum(cost.parameters for cost in layer_costs()) == everything


def test_a_layer_with_ten_in_its_name_is_not_taken_for_layer_one():
    with tf.Graph().as_default():
        for scope in ("decoder", "decoder1"):
            decoder(tf.zeros([2, 10]), num_filters=(6,), scope=scope)
        costs = layer_costs()
    assert [cost.parameters for cost in costs[:2]] == [cost.parameters for cost in costs[2:]]


def test_a_second_use_of_the_variables_costs_the_same_under_the_same_name():
    with tf.Graph().as_default():
        for reuse in (False, True):
            decoder(tf.zeros([2, 10]), num_filters=(6, 5), reuse=reuse)
        costs = layer_costs()
    assert costs[:3] == costs[3:]


@pytest.mark.parametrize("batch", [1, 9, None])
def test_costs_are_per_image_and_need_no_batch_size(batch):
    def costs(rows):
        with tf.Graph().as_default():
            decoder(v1.placeholder(tf.float32, [rows, 10]), num_filters=(6, 5))
            return layer_costs()

    assert costs(batch) == costs(4)


@pytest.mark.parametrize("kernel_size", [2, 3, 4, 5])
def test_stride_two_layers_agree_with_the_formula_of_tensorflows_profiler(kernel_size):
    with tf.Graph().as_default() as graph:
        decoder(tf.zeros([1, 10]), num_filters=(6, 5, 4), kernel_size=kernel_size)
    nodes = [op.node_def for op in graph.get_operations() if op.type == "Conv2DBackpropInput"]
    theirs = [int(tensorflow_ops.get_stats_for_node_def(graph, node, "flops").value) for node in nodes]
    assert [cost.flops for cost in layer_costs(graph)][1:] == theirs[1:]
    assert 16 * layer_costs(graph)[0].flops == theirs[0]  # theirs lets each of the 16 output pixels receive a whole kernel


def test_a_graph_without_transposed_convolutions_costs_nothing():
    assert layer_costs(tf.Graph()) == []
