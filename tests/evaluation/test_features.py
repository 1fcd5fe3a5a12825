"""Features of images: what they must tell apart."""

import numpy as np
import pytest

from glo_lib.evaluation import features
from glo_lib.evaluation.features import AttributeClassifier, inception_features, pca_features
from glo_lib.evaluation.metrics import frechet_distance
from glo_lib.graph.backend import tf


def bars(count, seed):
    """Noise with a bright bar on the left, on top, on both or nowhere, and which of them."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 2, (count, 2)).astype(bool)
    images = draw.integers(0, 120, (count, 16, 16, 3))
    images[:, :, :4] += 100 * labels[:, 0, None, None, None]
    images[:, :4] += 35 * labels[:, 1, None, None, None]
    return images.astype(np.uint8), labels


@pytest.fixture(scope="module")
def classifier():
    return AttributeClassifier(*bars(300, 0), num_features=8, steps=60)


def test_the_classifier_tells_attributes_of_images_it_has_not_seen(classifier):
    images, labels = bars(100, 1)
    right = ((classifier.predict(images) > 0.5) == labels).mean(axis=0)
    assert (right > 0.9).all()


def test_features_are_as_wide_as_asked_and_bytes_and_floats_give_the_same(classifier, monkeypatch):
    images, _ = bars(20, 1)
    found = classifier.features(images)
    assert found.shape == (20, 8) and found.min() >= 0
    monkeypatch.setattr(features, "AT_ONCE", 7)
    np.testing.assert_allclose(classifier.features(images / np.float32(127.5) - 1), found, atol=1e-5)


def test_equal_seeds_give_equal_classifiers():
    data, probe = bars(40, 0), bars(5, 1)[0]
    one, again, other = (AttributeClassifier(*data, num_features=4, steps=3, seed=seed).predict(probe) for seed in (0, 0, 1))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_features_of_one_kind_are_nearer_to_each_other_than_to_another_kind(classifier):
    images, labels = bars(300, 2)
    left, none = images[labels[:, 0]], images[~labels[:, 0]]
    within = frechet_distance(classifier.features(left[::2]), classifier.features(left[1::2]))
    assert frechet_distance(classifier.features(left), classifier.features(none)) > 5 * within


def test_pca_features_are_the_coefficients():
    images, _ = bars(50, 0)
    found = pca_features(images, 5)(images)
    centred = images.reshape(50, -1) / 127.5 - 1
    centred = centred - centred.mean(axis=0)
    expected = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(found[:, 0]), np.abs(expected.U[:, 0] * expected.S[0]), rtol=1e-3)
    assert found.shape == (50, 5)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((4, 16, 16, 3), np.uint8), np.zeros((3, 2)), "a row of labels for each image"),
        (np.zeros((4, 16, 16, 3), np.uint8), np.zeros(4), "a row of labels for each image"),
        (np.zeros((4, 20, 20, 3), np.uint8), np.zeros((4, 2)), "8, 16, 32"),
        (np.zeros((4, 16, 8, 3), np.uint8), np.zeros((4, 2)), "8, 16, 32"),
    ],
)
def test_data_that_cannot_be_learned_from_are_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        AttributeClassifier(images, labels)


def test_inception_takes_images_of_any_size_in_blocks(monkeypatch):
    """With random weights: those of ImageNet would need the network."""
    network_input = []

    class Network:
        def predict_on_batch(self, images):
            network_input.append(images.shape)
            return tf.reduce_mean(images, axis=(1, 2)).numpy()

    settings_ = {}
    monkeypatch.setattr(tf.keras.applications, "InceptionV3", lambda **given_: settings_.update(given_) or Network())
    found = inception_features(weights=None)(np.full((40, 32, 32, 3), 255, np.uint8))
    np.testing.assert_allclose(found, 1, atol=1e-6)
    assert network_input == [(32, 299, 299, 3), (8, 299, 299, 3)] and settings_["pooling"] == "avg" and not settings_["include_top"]


def test_weights_that_cannot_be_had_are_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(OSError, match=r"weights of Inception v3 .*cannot be had(.|\n)*Give the name of a file"):
        inception_features(str(tmp_path / "none.h5"))
