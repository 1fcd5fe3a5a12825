"""Directions in the space of codes."""

import numpy as np
import pytest

from glo_lib.faces import ATTRIBUTE_NAMES, attributes, sample_factors, write_faces
from glo_lib.inference.directions import (
    Probe,
    attribute_direction,
    fit_probe,
    principal_directions,
    read_attributes,
    score_edit,
    split_rows,
    walk,
)

numbers = np.random.default_rng(0)
ROTATION, _ = np.linalg.qr(numbers.standard_normal((5, 5)))
CODES = (numbers.standard_normal((4000, 5)) * [3, 2, 1, 0.5, 0.1]) @ ROTATION.T + 7


def test_principal_directions_are_the_axes_the_codes_were_made_of():
    found = principal_directions(CODES, 3)
    assert (np.abs(found.directions @ ROTATION[:, :3]).diagonal() > 0.99).all()
    np.testing.assert_allclose(found.scales, [3, 2, 1], rtol=0.05)
    np.testing.assert_allclose(found.mean, CODES.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.directions @ found.directions.T, np.eye(3), atol=1e-6)
    assert (np.take_along_axis(found.directions, np.abs(found.directions).argmax(axis=1)[:, None], 1) > 0).all()


def test_there_are_no_more_directions_than_dimensions():
    with pytest.raises(ValueError, match="num_directions is 6; codes of 5 dimensions have 1 to 5"):
        principal_directions(CODES, 6)


@pytest.fixture(scope="module")
def face_set(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("set") / "faces", num_images=12, processes=1)


def test_celeba_attributes_are_read_in_the_order_of_the_files(face_set):
    files = [face_set / "img_align_celeba" / f"{number:06d}.jpg" for number in (7, 2, 11)]
    table = read_attributes(face_set / "list_attr_celeba.txt", files)
    assert table.names == ATTRIBUTE_NAMES and table.values.shape == (3, 40)
    for row, number in enumerate((6, 1, 10)):
        assert dict(zip(table.names, table.values[row], strict=True)) == attributes(sample_factors(number))


def test_factors_are_read_without_their_words(face_set):
    table = read_attributes(face_set / "factors.csv", ["000003.jpg", "000001.jpg"])
    assert "yaw" in table.names and "earrings" in table.names and "hair_style" not in table.names and "beard" not in table.names
    np.testing.assert_allclose(table.column("yaw"), [sample_factors(2).yaw, sample_factors(0).yaw])
    with pytest.raises(ValueError, match="attribute is 'hair_style'; known are yaw, pitch"):
        table.column("hair_style")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "one\ntwo\n", "does not begin like list_attr_celeba.txt"),
        ("b.txt", "1\nA B\n1.jpg 1\n", r"row of '1\.jpg' \(number 2\): 1 values for 2 attributes"),
        ("c.txt", "1\nA B\n2.jpg 1 -1\n", r"does not know 1 of the images, among them '1\.jpg'"),
        ("d.csv", "image_id,A\n", "holds no rows"),
    ],
)
def test_bad_tables_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_attributes(tmp_path / name, ["1.jpg"])


def test_an_absent_table_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not there; give a list_attr_celeba"):
        read_attributes(tmp_path / "x.txt", ["1.jpg"])


def test_a_probe_finds_the_direction_of_a_label_and_scores_it_on_held_out_rows():
    direction = np.array([1, -2, 0, 0, 2]) / 3
    features = numbers.standard_normal((3000, 5))
    probe = fit_probe(features, np.where(features @ direction > 1, 1, -1))
    assert probe.kind == "label" and probe.direction @ direction > 0.99
    assert probe.score > 0.97 and probe.balanced > 0.9
    assert probe.baseline == pytest.approx(0.84, abs=0.03)  # a unit normal is below 1 in 84 % of the cases
    assert set(probe.predict(features)) == {-1.0, 1.0}


def test_a_probe_of_noise_gets_no_more_than_guessing():
    labels = np.where(numbers.random(3000) < 0.5, 1, -1)
    probe = fit_probe(numbers.standard_normal((3000, 5)), labels)
    assert abs(probe.balanced - 0.5) < 0.06
    assert abs(fit_probe(numbers.standard_normal((3000, 5)), numbers.standard_normal(3000)).score) < 0.02


def test_the_score_of_a_number_is_the_share_of_variance_explained():
    features = numbers.standard_normal((4000, 5))
    probe = fit_probe(features, 3 * features[:, 1] + numbers.normal(0, 4, 4000))  # 9 of 9 + 16
    assert probe.kind == "number" and probe.score == pytest.approx(9 / 25, abs=0.06)
    assert probe.weights[1] == pytest.approx(3, abs=0.3)


def test_scores_do_not_come_from_the_rows_that_were_fitted():
    """With more features than rows everything can be learned by heart, and nothing is known of the rest."""
    features, labels = numbers.standard_normal((120, 400)), np.where(numbers.random(120) < 0.5, 1, -1)
    probe = fit_probe(features, labels)
    fitted, held = split_rows(120)
    assert np.mean(probe.predict(features[fitted]) == labels[fitted]) == 1
    assert probe.score == np.mean(probe.predict(features[held]) == labels[held]) < 0.8


@pytest.mark.parametrize("unit", [1e-3, 1, 1e3])
def test_the_unit_of_the_features_does_not_matter(unit):
    features = np.random.default_rng(5).standard_normal((400, 4))
    labels = np.where(features[:, 0] + 0.5 * np.random.default_rng(6).standard_normal(400) > 0, 1, -1)
    assert fit_probe(unit * features, labels).score == fit_probe(features, labels).score


def test_rows_without_contrast_are_refused():
    with pytest.raises(ValueError, match="all alike"):
        fit_probe(np.zeros((20, 2)), np.ones(20))
    with pytest.raises(ValueError, match="20 rows of features and 19 values"):
        fit_probe(np.zeros((20, 2)), np.ones(19))
    with pytest.raises(ValueError, match=r"held_out is 0\.01; of 20 rows"):
        split_rows(20, 0.01)


def test_the_direction_of_an_attribute_is_the_difference_of_the_means():
    labels = np.array([1, 1, -1, -1])
    codes = np.array([[1.0, 1], [3, 1], [0, 5], [0, 7]])
    np.testing.assert_allclose(attribute_direction(codes, labels), [2, -5])
    np.testing.assert_allclose(attribute_direction(codes, -labels), [-2, 5])
    with pytest.raises(ValueError, match="2 of 2 labels are present for 2 codes"):
        attribute_direction(codes[:2], labels[:2])


def test_a_walk_starts_from_the_codes_themselves():
    path = walk(CODES[:3], ROTATION[0], [0, 2])
    np.testing.assert_allclose(path[:, 0], CODES[:3])
    np.testing.assert_allclose(path[:, 1] - path[:, 0], np.tile(2 * ROTATION[0], (3, 1)))


def sign_of(entry):
    return Probe(np.eye(3)[entry], 0.0, "label", 1, 0.5, 1)


def test_an_edit_is_scored_by_what_changed_and_what_stayed():
    judges = {"glasses": sign_of(0), "smile": sign_of(1), "hat": sign_of(2)}
    before = np.array([[-1, 1, 1], [-1, 1, 1], [-1, -1, 1], [1, 1, -1]])
    after = np.array([[1, 1, 1], [1, 1, 1], [-1, 1, 1], [1, 1, 1]])
    score = score_edit(judges, before, after, {"glasses": 1})
    assert score.num_edited == 3 and score.changed == pytest.approx(2 / 3)
    assert score.stayed == {"smile": 0.75, "hat": 0.75}


def test_an_edit_of_two_attributes_must_give_both():
    judges = {"glasses": sign_of(0), "smile": sign_of(1)}
    before, after = np.array([[-1, -1, 0], [-1, -1, 0]]), np.array([[1, 1, 0], [1, -1, 0]])
    assert score_edit(judges, before, after, {"glasses": 1, "smile": 1}).changed == 0.5
    assert np.isnan(score_edit(judges, after[:1], after[:1], {"smile": 1}).changed)


def test_edits_without_a_judge_or_of_other_numbers_are_refused():
    with pytest.raises(ValueError, match=r"no judge for \['hat'\]"):
        score_edit({"smile": sign_of(1)}, np.zeros((1, 3)), np.zeros((1, 3)), {"hat": 1})
    with pytest.raises(ValueError, match="2 images before the edit and 1 after"):
        score_edit({"smile": sign_of(1)}, np.zeros((2, 3)), np.zeros((1, 3)), {"smile": 1})
