"""Distances, norms and clusters of codes whose place is known."""

import types

import numpy as np
import pytest

from glo_lib.evaluation.code_space import HELD_OUT, TRAINING, cluster_gains, distances_to_others, measure_code_space, traced_share


def model_of(codes, projection="sphere"):
    return types.SimpleNamespace(codes=codes.astype(np.float32), config=types.SimpleNamespace(projection=projection))


def circle(degrees):
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1).astype(np.float32)


def chord(degrees):
    return 2 * np.sin(np.radians(degrees) / 2)


def test_distances_of_training_held_out_and_sampled_codes_on_a_circle():
    space = measure_code_space(model_of(circle([0, 10, 90, 180])), circle([5, 100]), ["neighbours"], num_samples=200, num_parts=())
    np.testing.assert_allclose(sorted(space.distances[TRAINING]), sorted(chord([10, 10, 80, 90])), atol=1e-6)
    np.testing.assert_allclose(space.distances[HELD_OUT], chord([5, 10]), atol=1e-6)
    assert len(space.distances["neighbours"]) == 200 and space.distances["neighbours"].max() <= chord(90)
    np.testing.assert_allclose(space.norms["neighbours"], 1, atol=1e-6)


def test_the_unit_gaussian_is_as_long_as_its_dimensions_say_and_held_out_codes_may_be_missing():
    codes = np.random.default_rng(0).normal(size=(50, 64))
    space = measure_code_space(model_of(codes / np.linalg.norm(codes, axis=1, keepdims=True)), None, ["unit Gaussian"], num_parts=())
    assert space.distances.keys() == {TRAINING, "unit Gaussian"}
    assert space.norms["unit Gaussian"].mean() == pytest.approx(8, rel=0.01)


def test_a_code_is_not_near_itself_but_it_is_near_an_equal_one():
    codes = np.array([[0.0], [3.0], [3.0], [10.0]])
    assert distances_to_others(codes, np.arange(4)).tolist() == [3, 0, 0, 7]


def test_variations_of_training_images_are_traced_and_new_images_are_not():
    draw = np.random.default_rng(0)
    training = draw.normal(size=(200, 20))
    features = training @ draw.normal(size=(20, 50))  # what a judge sees of the decoded codes
    varied = training[:100] + 0.1 * draw.normal(size=(100, 20))
    assert traced_share(varied, training, features[:100] + draw.normal(size=(100, 50)), features) > 0.95
    new = draw.normal(size=(100, 20))
    assert traced_share(new, training, draw.normal(size=(100, 50)), features) < 0.05


def test_a_mixture_gains_where_there_are_clusters_and_loses_where_there_are_none():
    draw = np.random.default_rng(0)
    normal = draw.normal(size=(2000, 2))
    clusters = normal + np.where(draw.random((2000, 1)) < 0.5, -20, 20) * np.array([1.0, 0.0])
    gains = cluster_gains(clusters, (2,))
    # One Gaussian has the variance 401 along the first axis; of two, each has 1, and half of the codes.
    assert gains == {1: 0.0, 2: pytest.approx(0.5 * np.log(401) - np.log(2), abs=0.05)}
    assert cluster_gains(normal[:60], (20, 1000)).keys() == {1, 20} and cluster_gains(normal[:60], (20,))[20] < 0


def test_two_codes_are_enough():
    codes = circle([0, 90])
    space = measure_code_space(model_of(codes), priors=["full Gaussian"], num_samples=5)
    np.testing.assert_allclose(space.distances[TRAINING], chord(90), rtol=1e-6)
    assert space.cluster_gains == cluster_gains(codes) == {1: 0.0}
    assert cluster_gains(circle([0, 90, 180])).keys() == {1, 2}


def test_too_few_codes_and_unknown_priors_are_refused():
    with pytest.raises(ValueError, match="there are 1 codes; give at least two"):
        cluster_gains(np.zeros((1, 2)))
    with pytest.raises(ValueError, match="prior is 'flat'"):
        measure_code_space(model_of(circle([0, 90])), priors=["flat"])
