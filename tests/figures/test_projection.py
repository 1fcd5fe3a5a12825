"""Figures of the chapter on projection: what is drawn, where, and under which name."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.patches import StepPatch
from matplotlib.quiver import Quiver

from glo_lib.figures.projection import show_descent, show_drift, show_losses, show_norms, show_projections
from glo_lib.runs.folder import HistoryRow

WHITE = (1.0, 1.0, 1.0, 1.0)
POINTS = np.array([[2.0, 0.0], [0.0, 0.5]])
PROJECTED = {"sphere": np.array([[1.0, 0.0], [0.0, 1.0]]), "ball": np.array([[1.0, 0.0], [0.0, 0.5]])}


@pytest.fixture(autouse=True)
def closed_figures():
    """Figures are drawn without a display, and closed."""
    before = matplotlib.get_backend()
    plt.switch_backend("agg")
    yield
    plt.close("all")
    plt.switch_backend(before)


def of_kind(axis, kind):
    return [artist for artist in axis.get_children() if isinstance(artist, kind)]


def offsets(axis):
    """Positions of each set of points, by its name in the legend."""
    return {points.get_label(): np.asarray(points.get_offsets()) for points in of_kind(axis, PathCollection)}


def arrows(axis):
    (quiver,) = of_kind(axis, Quiver)
    return np.asarray(quiver.XY), np.stack([quiver.U, quiver.V], axis=1)


def lines(axis):
    return {line.get_label(): np.asarray(line.get_ydata()) for line in axis.get_lines()}


def test_each_projection_has_a_panel_with_the_codes_and_their_images():
    figure = show_projections(POINTS, PROJECTED)
    assert [axis.get_title() for axis in figure.axes] == ["sphere", "ball"]
    for axis, projected in zip(figure.axes, PROJECTED.values(), strict=True):
        before, after = offsets(axis).values()
        np.testing.assert_array_equal(before, POINTS)
        np.testing.assert_array_equal(after, projected)


def test_arrows_lead_from_each_code_to_its_image():
    for axis, projected in zip(show_projections(POINTS, PROJECTED).axes, PROJECTED.values(), strict=True):
        tails, directions = arrows(axis)
        np.testing.assert_allclose(tails + directions, projected)


def test_the_plane_has_the_unit_circle_and_only_the_ball_is_filled():
    sphere, ball = (axis.patches[0] for axis in show_projections(POINTS, PROJECTED).axes)
    assert sphere.radius == ball.radius == 1
    assert sphere.get_facecolor()[3] == 0
    assert ball.get_facecolor()[3] == 1


def test_descent_draws_the_directions_as_they_are_and_the_target():
    directions = {"sphere": np.array([[0.0, 1.0], [0.5, 0.0]]), "ball": np.array([[0.0, 0.2], [0.3, 0.1]])}
    figure = show_descent(POINTS, directions, np.array([0.5, 0.4]))
    for axis, expected in zip(figure.axes, directions.values(), strict=True):
        tails, drawn = arrows(axis)
        np.testing.assert_array_equal(tails, POINTS)
        np.testing.assert_allclose(drawn, expected)
        np.testing.assert_allclose(offsets(axis)["target"], [[0.5, 0.4]])


def test_drift_shows_norms_left_and_angles_right():
    norms = {"SGD": np.array([1.0, 2.0, 3.0]), "Adam": np.array([1.0, 1.0, 1.0])}
    angles = {"SGD": np.array([4.0, 2.0]), "Adam": np.array([4.0, 4.0])}
    left, right = show_drift(norms, angles, law=np.array([1.0, 2.5, 3.5])).axes
    assert {name: values.tolist() for name, values in lines(left).items()} == {
        "SGD": [1, 2, 3],
        "Adam": [1, 1, 1],
        "predicted": [1, 2.5, 3.5],
    }
    assert {name: values.tolist() for name, values in lines(right).items()} == {"SGD": [4, 2], "Adam": [4, 4]}
    assert "norm" in left.get_ylabel() and "degrees" in right.get_ylabel()
    assert left.get_xlabel() == right.get_xlabel() == "step"


def test_drift_without_a_law_has_no_line_for_it():
    left, _ = show_drift({"SGD": np.ones(3)}, {"SGD": np.ones(2)}).axes
    assert set(lines(left)) == {"SGD"}


def test_curves_of_one_figure_differ_in_style_too():
    left, _ = show_drift({name: np.ones(3) for name in "abc"}, {name: np.ones(2) for name in "abc"}).axes
    assert len({line.get_linestyle() for line in left.get_lines()}) == 3


def test_norms_are_divided_by_the_root_of_the_dimensions_and_counted_relative_to_the_tallest_bin():
    # Six samples of norm 1.21 sqrt(d) and three of 0.51 sqrt(d): the bins of width 0.02 that hold them are 1 and 1/2 high.
    lengths = np.array([1.21] * 6 + [0.51] * 3)[:, None]
    (axis,) = show_norms({dims: np.tile(lengths, dims) for dims in (4, 9)}).axes
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["d = 4", "d = 9"]
    drawn = of_kind(axis, StepPatch)
    assert len(drawn) == 2
    for patch in drawn:
        heights, edges, _ = patch.get_data()
        (filled,) = np.nonzero(heights)
        np.testing.assert_allclose(heights[filled], [0.5, 1])
        np.testing.assert_allclose([edges[filled], edges[filled + 1]], [[0.5, 1.2], [0.52, 1.22]])


def test_losses_of_several_runs_share_a_logarithmic_axis():
    histories = {"first": [HistoryRow(10, 1.0, 0.5), HistoryRow(20, 2.0, 0.1)], "second": [HistoryRow(15, 1.0, 0.3)]}
    (axis,) = show_losses(histories, "MSE").axes
    assert {name: values.tolist() for name, values in lines(axis).items()} == {"first": [0.5, 0.1], "second": [0.3]}
    assert [line.get_xdata().tolist() for line in axis.get_lines()] == [[10, 20], [15]]
    assert (axis.get_xlabel(), axis.get_ylabel(), axis.get_yscale()) == ("step", "MSE", "log")


def test_ground_is_white_whatever_the_reader_has_set():
    with plt.rc_context({"figure.facecolor": "black"}):
        figures = [
            show_projections(POINTS, PROJECTED),
            show_descent(POINTS, PROJECTED, np.ones(2)),
            show_drift({"a": np.ones(3)}, {"a": np.ones(2)}),
            show_norms({4: np.ones((3, 4))}),
            show_losses({"a": [HistoryRow(1, 1.0, 1.0)]}),
        ]
    assert all(figure.get_facecolor() == WHITE for figure in figures)
