"""Directions of attributes change their own attribute by a step, priors are described completely, and the regression predicts codes."""

import numpy as np
import pytest

from glo_lib.faces import sample_factors
from glo_lib.inference.directions import Attributes
from glo_lib.inference.priors import PRIORS, fit_prior
from glo_lib.inference.web import contents
from glo_lib.inference.web.contents import attribute_effects, describe_directions, describe_priors, drawn_attributes, search_arrays, shrink
from glo_lib.projection import project_array


def test_correlated_attributes_have_directions_of_their_own():
    draw = np.random.default_rng(0)
    man = draw.integers(0, 2, 4000)
    beard = man * draw.integers(0, 2, 4000)  # only men have beards
    codes = np.stack([2.0 * man, 3.0 * beard, 0 * man], axis=1) + 1e-3 * draw.standard_normal((4000, 3))
    table = Attributes(("man", "beard"), np.stack([man, beard], axis=1).astype(float))
    np.testing.assert_allclose(attribute_effects(codes, table), [[2, 0, 0], [0, 3, 0]], atol=0.01)
    means = codes[beard == 1].mean(axis=0) - codes[beard == 0].mean(axis=0)
    assert means[0] > 1, "the difference of means would make the face a man's, too"


@pytest.mark.parametrize(("noise", "longer"), [(0.0, 1.0), (1.0, 2.0), (30.0, contents.LONGEST_STEP)])
def test_a_step_is_longer_where_the_code_tells_less_about_the_attribute(noise, longer):
    draw = np.random.default_rng(1)
    codes = draw.standard_normal((20_000, 2))
    values = codes[:, :1] + noise * draw.standard_normal((20_000, 1))
    effect = attribute_effects(codes, Attributes(("value",), values))[0]
    step = 2 * values.std()  # two standard deviations of the attribute
    expected = longer * step * np.cov(codes[:, 0], values[:, 0])[0, 1] / values.var()
    assert effect[0] == pytest.approx(expected, rel=0.05) and abs(effect[1]) < 0.1 * longer


def test_attributes_are_the_factors_that_the_faces_were_drawn_from():
    table, face = drawn_attributes([9, 4], seed=3), sample_factors(4, seed=3)
    row = dict(zip(table.names, table.values[1], strict=True))
    assert row["smile"] == face.smile and row["turn"] == face.yaw and row["light"] == face.light_angle and row["age"] == face.age
    assert row["glasses"] == (face.glasses != "none") and row["hat"] == (face.hat != "none") and row["beard"] == (face.beard != "none")


def test_attributes_of_the_written_codes_are_stored_as_bytes_between_their_extremes():
    values = np.stack([np.arange(200.0) - 50, np.arange(200) % 2], axis=1)
    codes = np.random.default_rng(0).standard_normal((200, 4)).astype(np.float32)
    described, arrays = describe_directions(codes, Attributes(("ramp", "odd"), values), rows=np.array([0, 100, 199]))
    ramp = described["attributes"][0]
    assert ramp["name"] == "ramp" and ramp["low"] == pytest.approx(-48.01) and ramp["high"] == pytest.approx(147.01)
    assert [entry["is_binary"] for entry in described["attributes"]] == [False, True]
    assert arrays["attributes/0"].tolist() == [0, 128, 255] and arrays["attributes/1"].tolist() == [0, 0, 255]
    assert described["num_principal"] == 4 and arrays["attributes/effects"].shape == (2, 4)
    assert describe_directions(codes, None, np.arange(200))[0]["attributes"] == []


def test_every_prior_is_described_by_what_it_is_drawn_from(trained_model):
    described, arrays = describe_priors(trained_model, None)
    assert [prior["name"] for prior in described] == list(PRIORS)
    kinds = {prior["name"]: prior["kind"] for prior in described}
    assert kinds["imle"] == kinds["flow"] == "stored" and kinds["unit Gaussian"] == "gaussian" and kinds["Gaussian mixture"] == "mixture"
    mixture = fit_prior("Gaussian mixture", trained_model.codes, trained_model.config.projection)
    np.testing.assert_array_equal(arrays["priors/3/means"], mixture.means)
    assert arrays["priors/6/samples"].shape == (contents.NUM_STORED_SAMPLES, 6)
    given, arrays = describe_priors(trained_model, {"flow": np.ones((7, 6))})
    assert given[-1] == {"name": "flow", "kind": "stored", "num_samples": 7} and arrays["priors/6/samples"].shape == (7, 6)


def test_the_regression_predicts_codes_from_small_images(trained_model):
    arrays = search_arrays(trained_model)
    small = shrink(trained_model.decode(trained_model.codes)).reshape(48, -1)
    predicted = project_array(small @ arrays["search/weights"] + arrays["search/intercept"], "sphere")
    right, wrong = (np.sum(predicted * codes, axis=1).mean() for codes in (trained_model.codes, trained_model.codes[::-1]))
    assert right > 0.9 > wrong, "the cosine of the predicted and the true code, and of the code of another image"
    np.testing.assert_allclose(arrays["search/deviation"], trained_model.codes.std(axis=0))


def test_small_images_are_not_shrunk():
    images = np.ones((2, 8, 8, 3))
    assert shrink(images, side=16) is images
