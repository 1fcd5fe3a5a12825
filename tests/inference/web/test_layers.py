"""The folded layers decode what the decoder decodes, for every kernel size and after batch normalisation of any scale."""

import numpy as np
import pytest

from glo_lib.decoder import decoder
from glo_lib.graph.backend import tf, v1
from glo_lib.graph.session import open_session
from glo_lib.inference.web.layers import build_layers, fold_layers


@pytest.mark.parametrize("kernel_size", [2, 3, 4, 5, 6])
def test_folded_layers_decode_the_same_images(kernel_size):
    draw = np.random.default_rng(kernel_size)
    codes = draw.standard_normal((3, 5)).astype(np.float32)
    with tf.Graph().as_default(), open_session() as session:
        v1.set_random_seed(0)
        images = decoder(tf.constant(codes), (7, 6, 4), kernel_size, is_training=False, scope="decoder")
        session.run(v1.global_variables_initializer())
        for variable in v1.global_variables():  # as after training: batch normalisation with other numbers than 0 and 1
            if "BatchNorm" in variable.op.name:
                variable.load(draw.uniform(0.3, 2, variable.shape), session)
            elif "biases" in variable.op.name:
                variable.load(draw.uniform(-0.5, 0.5, variable.shape), session)
        exact = session.run(images)
        variables = {variable.op.name: session.run(variable) for variable in v1.global_variables()}
    layers = fold_layers(variables, image_size=32)
    with tf.Graph().as_default(), open_session() as session:
        found = session.run(build_layers(tf.constant(codes), layers))
    assert exact.std() > 0.05, "the images must not be flat"
    np.testing.assert_allclose(found, exact, atol=2e-5)
    assert [layer.side for layer in layers] == [4, 8, 16, 32] and [layer.activation for layer in layers] == ["relu"] * 3 + ["tanh"]
