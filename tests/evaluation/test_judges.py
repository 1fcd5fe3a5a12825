"""Judges: what they look at, what they find between known sets of features, and what is said where they are missing."""

import numpy as np
import pytest

from glo_lib.evaluation import judges
from glo_lib.evaluation.judges import TITLES, compare, compare_people, efficientnet_judge, installed_judges, recogniser_judge
from glo_lib.evaluation.metrics import frechet_distance, kernel_distance, precision_recall
from glo_lib.graph.backend import tf
from glo_lib.networks import efficientnet, recogniser

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3)).astype(np.uint8)
BOTH = efficientnet.is_installed() and recogniser.is_installed()
installed = pytest.mark.skipif(not BOTH, reason="the weights of the judges are not installed: make judges")


def test_a_network_sees_the_centre_of_the_images_at_its_own_size_in_batches(monkeypatch):
    monkeypatch.setattr(judges, "IMAGES_PER_BATCH", 2)
    seen = []

    def build(images):
        seen.append(images.shape.as_list())
        return tf.reduce_mean(images, axis=(1, 2))

    bright = np.zeros((5, 40, 40, 3), np.uint8)
    bright[:, 8:32, 8:32] = 255  # exactly three fifths
    np.testing.assert_allclose(judges._network_features(build, 24, 0.6)(bright), 1, atol=1e-5)
    np.testing.assert_allclose(judges._network_features(build, 20)(bright), 2 * 0.36 - 1, atol=0.01)
    assert seen == [[None, 24, 24, 3], [None, 20, 20, 3]]
    unclipped = judges._network_features(build, 24, 0.6)(np.where(bright > 0, 3.0, 0.0))
    np.testing.assert_allclose(unclipped, 1, atol=1e-5)
    assert judges._network_features(build, 20)(bright[:0]).shape == (0, 3)


def test_numbers_are_those_of_the_metrics():
    draw = np.random.default_rng(0)
    features, reference = draw.normal(size=(12, 3)), draw.normal(0.5, 1, (15, 3))
    found, distance = compare(features, reference), kernel_distance(features, reference)
    assert (found["kernel_distance"], found["standard_error"]) == distance
    assert found["frechet_distance"] == pytest.approx(frechet_distance(features, reference))  # all components
    assert (found["precision"], found["recall"]) == precision_recall(reference, features)
    assert len(found) == 5


def test_people_are_the_same_below_a_distance():
    descriptions = np.zeros((4, 128))
    others = np.array([0.1, 0.5, 0.59, 0.7])[:, None] * np.eye(128)[:1]
    assert compare_people(descriptions, others) == {"person_distance": pytest.approx(0.545), "same_person": 0.75}


def test_without_weights_there_are_no_judges_and_a_line_for_each(monkeypatch):
    monkeypatch.setattr(efficientnet, "is_installed", lambda: False)
    monkeypatch.setattr(recogniser, "is_installed", lambda: False)
    assert installed_judges() == ()
    first, second = judges.missing_judges()
    assert "pip install" in first and "make judges" in second


@installed
def test_the_judges_have_features_of_images_of_any_size():
    found = installed_judges()
    assert [judge.name for judge in found] == list(TITLES) and judges.missing_judges() == []
    for judge, width in zip(found, (1280, 256), strict=True):
        features = judge.features(IMAGES)
        assert features.shape == (5, width) and features.dtype == np.float32
        np.testing.assert_allclose(judge.features(IMAGES[1:3] / np.float32(127.5) - 1), features[1:3], atol=1e-3)
        assert judge.features(IMAGES[:2, :32, :32]).shape == (2, width)
    assert found[0].describe_people is None


@installed
def test_descriptions_of_people_are_the_output_of_the_recogniser():
    judge = recogniser_judge(tight_crop=True)
    images = np.repeat(np.repeat(IMAGES[:, :30, :30], 5, axis=1), 5, axis=2)  # already of 150 pixels
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        _, expected = session.run(recogniser.face_recogniser(tf.constant(images / np.float32(127.5) - 1), recogniser.load_weights()))
    np.testing.assert_allclose(judge.describe_people(judge.features(images)), expected, atol=1e-5)
    centre = recogniser_judge().features(IMAGES)  # the central 24 of 40 pixels
    np.testing.assert_allclose(centre, judge.features(IMAGES[:, 8:32, 8:32]), atol=1e-4)


@installed
def test_blurred_photographs_are_farther_from_photographs_than_others():
    from sklearn.datasets import load_sample_images

    corners = np.random.default_rng(0).integers(0, (360, 570), (60, 2))
    pieces = np.stack([photograph[top : top + 64, left : left + 64] for top, left in corners for photograph in load_sample_images().images])
    others = pieces[60:]
    blurred = np.repeat(np.repeat(others[:, ::4, ::4], 4, axis=1), 4, axis=2)
    features = efficientnet_judge().features
    floor, distance = (compare(features(images), features(pieces[:60])) for images in (others, blurred))
    assert abs(floor["kernel_distance"]) < 3 * floor["standard_error"]
    assert distance["kernel_distance"] > 5 * distance["standard_error"]
    assert distance["frechet_distance"] > 2 * floor["frechet_distance"] and distance["precision"] < 0.5 < floor["precision"]
