"""What the figures of the chapter on projection show."""

import numpy as np

from glo_lib.figures.projection import show_descent, show_drift, show_losses, show_norms, show_projections
from glo_lib.runs.folder import HistoryRow

POINTS = np.array([[2.0, 0.0], [0.0, 0.5]])
PROJECTED = {"sphere": np.array([[1.0, 0.0], [0.0, 1.0]]), "ball": np.array([[1.0, 0.0], [0.0, 0.5]])}


def lines(axis):
    return {line.get_label(): np.asarray(line.get_ydata()).tolist() for line in axis.get_lines()}


def test_projections_show_the_unit_circle_and_codes_with_arrows_to_their_projections():
    figure = show_projections(POINTS, PROJECTED)
    assert [axis.get_title() for axis in figure.axes] == ["sphere", "ball"]
    for axis, projected in zip(figure.axes, PROJECTED.values(), strict=True):
        arrows, before, after = axis.collections
        np.testing.assert_array_equal([before.get_offsets(), after.get_offsets()], [POINTS, projected])
        np.testing.assert_allclose(arrows.XY + np.stack([arrows.U, arrows.V], axis=1), projected)
    circles = [axis.patches[0] for axis in figure.axes]
    assert [(circle.radius, circle.get_facecolor()[3]) for circle in circles] == [(1, 0), (1, 1)]  # only the ball is filled


def test_descent_shows_the_directions_to_scale_and_the_target():
    directions = {"sphere": np.array([[0.0, 1.0], [0.5, 0.0]]), "ball": np.array([[0.0, 0.2], [0.3, 0.1]])}
    figure = show_descent(POINTS, directions, np.array([0.5, 0.4]))
    for axis, expected in zip(figure.axes, directions.values(), strict=True):
        arrows, star = axis.collections
        np.testing.assert_allclose([arrows.XY, np.stack([arrows.U, arrows.V], axis=1)], [POINTS, expected])
        np.testing.assert_allclose(star.get_offsets(), [[0.5, 0.4]])


def test_drift_shows_norms_on_the_left_and_angles_on_the_right():
    norms, angles = {"SGD": np.array([1, 2, 3]), "Adam": np.ones(3)}, {"SGD": np.array([4, 2]), "Adam": np.array([4, 4])}
    left, right = show_drift(norms, angles, law=np.array([1.0, 2.5, 3.5])).axes
    assert lines(left) == {"SGD": [1, 2, 3], "Adam": [1, 1, 1], "predicted": [1, 2.5, 3.5]}
    assert lines(right) == {"SGD": [4, 2], "Adam": [4, 4]}
    assert "norm" in left.get_ylabel() and "degrees" in right.get_ylabel()
    assert len({line.get_linestyle() for line in right.get_lines()}) == 2  # style as well as colour tells curves apart
    left, _ = show_drift(norms, angles).axes
    assert set(lines(left)) == {"SGD", "Adam"}


def test_norms_are_relative_to_the_root_of_the_dimensions_and_counts_to_the_tallest_bin():
    # Six samples of norm 1.21 sqrt(d) and three of 0.51 sqrt(d): the bins of width 0.02 that hold them have heights 1 and 1/2.
    lengths = np.array([1.21] * 6 + [0.51] * 3)[:, None]
    (axis,) = show_norms({dims: np.tile(lengths, dims) for dims in (4, 9)}).axes
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["d = 4", "d = 9"]
    for patch in axis.patches:
        heights, edges, _ = patch.get_data()
        (filled,) = np.nonzero(heights)
        np.testing.assert_allclose(heights[filled], [0.5, 1])
        np.testing.assert_allclose([edges[filled], edges[filled + 1]], [[0.5, 1.2], [0.52, 1.22]])


def test_losses_of_several_runs_share_a_logarithmic_axis():
    histories = {"first": [HistoryRow(10, 1.0, 0.5), HistoryRow(20, 2.0, 0.1)], "second": [HistoryRow(15, 1.0, 0.3)]}
    (axis,) = show_losses(histories, "MSE").axes
    assert lines(axis) == {"first": [0.5, 0.1], "second": [0.3]}
    assert [line.get_xdata().tolist() for line in axis.get_lines()] == [[10, 20], [15]]
    assert (axis.get_xlabel(), axis.get_ylabel(), axis.get_yscale()) == ("step", "MSE", "log")
