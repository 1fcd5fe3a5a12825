"""Features of images tell apart what they should."""

import tracemalloc

import numpy as np
import pytest

from glo_lib.evaluation import features
from glo_lib.evaluation.features import AttributeClassifier, inception_features, pca_features
from glo_lib.evaluation.metrics import frechet_distance
from glo_lib.graph.backend import tf


def images_with_bars(count, seed):
    """Noise with a bright bar on the left, at the top, both or neither; and the labels."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 2, (count, 2)).astype(bool)
    images = draw.integers(0, 120, (count, 16, 16, 3))
    images[:, :, :4] += 100 * labels[:, 0, None, None, None]
    images[:, :4] += 35 * labels[:, 1, None, None, None]
    return images.astype(np.uint8), labels


@pytest.fixture(scope="module")
def classifier():
    return AttributeClassifier(*images_with_bars(300, 0), num_features=8, steps=60)


def test_the_classifier_tells_apart_attributes_of_new_images(classifier, monkeypatch):
    images, labels = images_with_bars(300, 2)
    assert (((classifier.predict(images) > 0.5) == labels).mean(axis=0) > 0.9).all()
    found = classifier.features(images)
    assert found.shape == (300, 8) and found.min() >= 0
    with_bar = found[labels[:, 0]]
    assert frechet_distance(with_bar, found[~labels[:, 0]]) > 5 * frechet_distance(with_bar[::2], with_bar[1::2])
    monkeypatch.setattr(features, "IMAGES_PER_BATCH", 128)
    np.testing.assert_allclose(classifier.features(images / np.float32(127.5) - 1), found, atol=1e-5)


def test_the_images_are_converted_batch_by_batch(classifier, monkeypatch):
    monkeypatch.setattr(features, "IMAGES_PER_BATCH", 64)
    images, _ = images_with_bars(3000, 2)
    tracemalloc.start()
    try:
        classifier.features(images)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < images.size  # bytes; as float32 all images take four times as many


def test_equal_seeds_give_equal_classifiers():
    data, probe = images_with_bars(40, 0), images_with_bars(5, 1)[0]
    one, again, other = (AttributeClassifier(*data, num_features=4, steps=3, seed=seed).predict(probe) for seed in (0, 0, 1))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_pca_features_are_the_coefficients_of_the_principal_components():
    images, _ = images_with_bars(50, 0)
    found = pca_features(images, 5)(images)
    flat = images.reshape(50, -1) / 127.5 - 1
    expected = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(found[:, 0]), np.abs(expected.U[:, 0] * expected.S[0]), rtol=1e-3)
    assert found.shape == (50, 5)


def test_data_of_the_wrong_shape_are_refused():
    for label_shape in ((3, 2), (4,)):
        with pytest.raises(ValueError, match="a row of labels for each image"):
            AttributeClassifier(np.zeros((4, 16, 16, 3), np.uint8), np.zeros(label_shape))
    for size in ((20, 20), (16, 8), (4, 4)):
        with pytest.raises(ValueError, match="8, 16, 32"):
            AttributeClassifier(np.zeros((4, *size, 3), np.uint8), np.zeros((4, 2)))


def test_inception_names_missing_weights_and_takes_images_of_any_size_in_batches(monkeypatch, tmp_path):
    """A stand-in replaces the network, because its weights would have to be downloaded."""
    with pytest.raises(OSError, match=r"weights of Inception v3 .*cannot be had(.|\n)*Give the name of a file"):
        inception_features(str(tmp_path / "none.h5"))
    shapes, arguments = [], {}

    class Network:
        def predict_on_batch(self, images):
            shapes.append(images.shape)
            return tf.reduce_mean(images, axis=(1, 2)).numpy()

    monkeypatch.setattr(tf.keras.applications, "InceptionV3", lambda **given: arguments.update(given) or Network())
    found = inception_features(weights=None)(np.full((40, 32, 32, 3), 255, np.uint8))
    np.testing.assert_allclose(found, 1, atol=1e-6)
    assert shapes == [(32, 299, 299, 3), (8, 299, 299, 3)] and arguments == {"include_top": False, "pooling": "avg", "weights": None}
