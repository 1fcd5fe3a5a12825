"""Directions in the space of codes."""

import numpy as np
import pytest

from glo_lib.faces import ATTRIBUTE_NAMES, attributes, sample_factors, write_faces
from glo_lib.inference import directions

rng = np.random.default_rng(0)
ROTATION, _ = np.linalg.qr(rng.standard_normal((5, 5)))
CODES = (rng.standard_normal((4000, 5)) * [3, 2, 1, 0.5, 0.1]) @ ROTATION.T + 7


def test_principal_directions_are_the_axes_that_the_codes_were_made_of():
    found = directions.principal_directions(CODES, 3)
    assert (np.abs(found.directions @ ROTATION[:, :3]).diagonal() > 0.99).all()
    np.testing.assert_allclose(found.scales, [3, 2, 1], rtol=0.05)
    np.testing.assert_allclose(found.mean, CODES.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.directions @ found.directions.T, np.eye(3), atol=1e-6)
    assert (np.take_along_axis(found.directions, np.abs(found.directions).argmax(axis=1)[:, None], 1) > 0).all()
    with pytest.raises(ValueError, match="num_directions is 6; codes of 5 dimensions have 1 to 5"):
        directions.principal_directions(CODES, 6)


def test_attributes_and_the_numeric_columns_of_csv_files_are_read_in_the_order_of_the_files(tmp_path):
    folder = write_faces(tmp_path / "faces", num_images=12, processes=1)
    files = [folder / "img_align_celeba" / f"{number:06d}.jpg" for number in (7, 2, 11)]
    table = directions.read_attributes(folder / "list_attr_celeba.txt", files)
    assert table.names == ATTRIBUTE_NAMES and table.values.shape == (3, 40)
    for row, number in enumerate((6, 1, 10)):
        assert dict(zip(table.names, table.values[row], strict=True)) == attributes(sample_factors(number))
    table = directions.read_attributes(folder / "factors.csv", ["000003.jpg", "000001.jpg"])
    assert {"yaw", "earrings"} <= set(table.names) and not {"hair_style", "beard"} & set(table.names)
    np.testing.assert_allclose(table.column("yaw"), [sample_factors(2).yaw, sample_factors(0).yaw])
    with pytest.raises(ValueError, match="attribute is 'hair_style'; known are yaw, pitch"):
        table.column("hair_style")


TABLE = [["image_id", "Young", "Hair"], ["1.jpg", "1", ""], ["2.jpg", "-1", "red"]]
LINES = ["2", "Young Hair", "1.jpg 1 -1", "2.jpg -1 1"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_tables_are_read_whatever_program_saved_them(tmp_path, mark, end):
    for number, separator in enumerate((",", ";", ", ", "\t")):
        path = tmp_path / f"{number}.csv"
        path.write_bytes((mark + end.join(separator.join([*row, "", ""]) for row in TABLE)).encode())
        table = directions.read_attributes(path, ["2.jpg", "1.jpg"])
        assert table.names == ("Young",) and table.values.tolist() == [[-1], [1]]
    for number, separator in enumerate((" ", "  ", "\t")):
        path = tmp_path / f"{number}.txt"
        path.write_bytes((mark + end.join(line.replace(" ", separator) + "  " for line in LINES)).encode())
        table = directions.read_attributes(path, ["2.jpg", "1.jpg"])
        assert table.names == ("Young", "Hair") and table.values.tolist() == [[-1, 1], [1, -1]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "one\ntwo\n", "does not begin like list_attr_celeba.txt"),
        ("b.txt", "1\nA B\n1.jpg 1\n", r"line 3, row of '1\.jpg': 1 values for 2 attributes"),
        ("c.txt", "1\nA B\n2.jpg 1 -1\n", r"does not know 1 of the images, among them '1\.jpg'"),
        ("d.csv", "image_id,A\n", "holds no rows"),
    ],
)
def test_bad_tables_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        directions.read_attributes(tmp_path / name, ["1.jpg"])
    with pytest.raises(FileNotFoundError, match="is not there; give a list_attr_celeba"):
        directions.read_attributes(tmp_path / "absent.txt", ["1.jpg"])


def test_a_probe_finds_the_direction_of_a_label_whatever_the_unit_of_the_features():
    direction = np.array([1, -2, 0, 0, 2]) / 3
    features = np.random.default_rng(1).standard_normal((3000, 5))
    labels = np.where(features @ direction > 1, 1, -1)
    probe = directions.fit_probe(features, labels)
    assert probe.kind == "label" and probe.direction @ direction > 0.99
    assert probe.score > 0.97 and probe.balanced > 0.9
    assert probe.baseline == pytest.approx(0.84, abs=0.03)  # a unit normal is below 1 in 84 % of the cases
    assert set(probe.predict(features)) == {-1.0, 1.0}
    assert directions.fit_probe(1000 * features, labels).score == probe.score


def test_the_score_of_a_number_is_the_share_of_variance_explained():
    draw = np.random.default_rng(3)
    features = draw.standard_normal((4000, 5))
    probe = directions.fit_probe(features, 3 * features[:, 1] + draw.normal(0, 4, 4000))  # a variance of 9 out of 9 + 16
    assert probe.kind == "number" and probe.score == pytest.approx(9 / 25, abs=0.06)
    assert probe.weights[1] == pytest.approx(3, abs=0.3)


def test_scores_come_from_held_out_rows():
    """With more features than rows, a probe fits the rows perfectly and learns nothing about others."""
    draw = np.random.default_rng(4)
    features, labels = draw.standard_normal((120, 400)), np.where(draw.random(120) < 0.5, 1, -1)
    probe = directions.fit_probe(features, labels)
    fitted, held = directions.split_rows(120)
    assert np.mean(probe.predict(features[fitted]) == labels[fitted]) == 1
    assert probe.score == np.mean(probe.predict(features[held]) == labels[held]) < 0.8


def test_rows_that_no_probe_can_be_fitted_to_are_refused():
    with pytest.raises(ValueError, match="all alike"):
        directions.fit_probe(np.zeros((20, 2)), np.ones(20))
    with pytest.raises(ValueError, match="20 rows of features and 19 values"):
        directions.fit_probe(np.zeros((20, 2)), np.ones(19))
    with pytest.raises(ValueError, match=r"held_out is 0\.01; of 20 rows"):
        directions.split_rows(20, 0.01)


def test_the_direction_of_an_attribute_is_the_difference_of_the_means_and_a_walk_follows_it():
    labels = np.array([1, 1, -1, -1])
    codes = np.array([[1.0, 1], [3, 1], [0, 5], [0, 7]])
    direction = directions.attribute_direction(codes, labels)
    assert direction.tolist() == [2, -5] and directions.walk(codes[:1], direction, [0, 2]).tolist() == [[[1, 1], [5, -9]]]
    with pytest.raises(ValueError, match="2 of 2 labels are present for 2 codes"):
        directions.attribute_direction(codes[:2], labels[:2])


def test_an_edit_is_scored_by_the_share_changed_and_the_shares_unchanged():
    judges = {name: directions.Probe(np.eye(3)[entry], 0.0, "label", 1, 0.5, 1) for entry, name in enumerate(("glasses", "smile", "hat"))}
    before = np.array([[-1, 1, 1], [-1, 1, 1], [-1, -1, 1], [1, 1, -1]])
    after = np.array([[1, 1, 1], [1, 1, 1], [-1, 1, 1], [1, 1, 1]])
    score = directions.score_edit(judges, before, after, {"glasses": 1})
    assert score.num_edited == 3 and score.changed == pytest.approx(2 / 3)
    assert score.stayed == {"smile": 0.75, "hat": 0.75}
    assert directions.score_edit(judges, before, after, {"glasses": 1, "smile": -1}).changed == 0  # both must change
    assert np.isnan(directions.score_edit(judges, after[:1], after[:1], {"smile": 1}).changed)

    with pytest.raises(ValueError, match=r"no judge for \['beard'\]"):
        directions.score_edit(judges, before, after, {"beard": 1})
    with pytest.raises(ValueError, match="4 images before the edit and 1 after"):
        directions.score_edit(judges, before, after[:1], {"smile": 1})
