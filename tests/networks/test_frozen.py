"""Layers take their weights from a dictionary, and leave no variables behind."""

import numpy as np
import pytest

from glo_lib.graph.backend import tf
from glo_lib.graph.slim import slim
from glo_lib.networks.frozen import frozen_weights

v1 = tf.compat.v1
WEIGHTS = {"outer/layer/weights": np.float32([[1, 2], [3, 4]]), "outer/layer/biases": np.float32([10, 20])}


def layer(inputs):
    with v1.variable_scope("outer"):
        return slim.fully_connected(inputs, 2, activation_fn=None, scope="layer")


@pytest.mark.parametrize("scope", [None, "tower", "some/losses"])
def test_a_layer_computes_with_the_given_weights_wherever_it_is_built(scope):
    with tf.Graph().as_default() as graph, v1.Session() as session:
        inputs = tf.constant([[1.0, 1.0]])
        with v1.variable_scope(scope) if scope else frozen_weights({}), frozen_weights(WEIGHTS):
            outputs = layer(inputs)
        assert session.run(outputs).tolist() == [[14, 26]]
        assert not [name for name in graph.get_all_collection_keys() if "variable" in name and graph.get_collection(name)]
        assert session.run(tf.gradients(outputs, inputs)[0]).tolist() == [[3, 7]]


def test_after_the_block_layers_have_variables_again():
    with tf.Graph().as_default():
        with frozen_weights(WEIGHTS):
            layer(tf.zeros([1, 2]))
        layer(tf.zeros([1, 2]))
        assert [variable.op.name for variable in v1.trainable_variables()] == list(WEIGHTS)


def test_weights_take_the_precision_of_the_computation():
    with tf.Graph().as_default(), frozen_weights(WEIGHTS, "bfloat16"):
        assert layer(tf.zeros([1, 2], "bfloat16")).dtype == tf.bfloat16


def test_missing_weights_and_weights_of_another_shape_are_refused():
    with tf.Graph().as_default():
        with pytest.raises(KeyError, match="outer/layer/biases"), frozen_weights({"outer/layer/weights": WEIGHTS["outer/layer/weights"]}):
            layer(tf.zeros([1, 2]))
        message = r"'outer/layer/weights' have the shape \(2, 2\), and the layer takes \(3, 2\)"
        with pytest.raises(ValueError, match=message), frozen_weights(WEIGHTS):
            layer(tf.zeros([1, 3]))
