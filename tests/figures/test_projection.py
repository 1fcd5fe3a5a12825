"""What the figures of the chapter on projection show, and what its small training records."""

import numpy as np
import pytest

from glo_lib.figures.projection import show_descent, show_drift, show_losses, show_norms, show_projections, train_small_glo
from glo_lib.projection import project, project_ball
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
    left, right = show_drift(norms, angles, label="loss").axes
    assert set(lines(left)) == {"SGD", "Adam"} and right.get_ylabel() == "loss"


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


@pytest.fixture(scope="module")
def images():
    """Six images of one colour each, 32 pixels a side."""
    return np.ones((6, 32, 32, 3), np.float32) * np.linspace(-0.9, 0.9, 6, dtype=np.float32)[:, None, None, None]


START = 2 * np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)


def small_run(images, **settings):
    return train_small_glo(images, START, num_steps=25, batch_size=3, **settings)


def norms(codes):
    return np.linalg.norm(codes, axis=-1)


def test_a_small_training_records_each_batch_before_and_after_its_step(images):
    run = small_run(images)
    assert run.losses.shape == (25,) and run.losses[-5:].mean() < 0.9 * run.losses[:5].mean()
    assert run.before.shape == run.after.shape == (25, 3, 4) and run.codes.shape == (6, 4)
    known = {tuple(row) for row in START}
    for before, after in zip(run.before, run.after, strict=True):  # a code changes in the steps of its batches only
        assert {tuple(row) for row in before} <= known
        known = (known - {tuple(row) for row in before}) | {tuple(row) for row in after}
    assert known == {tuple(row) for row in run.codes}


def test_a_small_training_depends_on_its_seed_alone(images):
    first, again, other = (small_run(images, seed=seed).codes for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_small_training_projects_stored_codes_only_if_it_is_told_to(images):
    on_the_sphere = small_run(images, reproject=lambda rows: 2 * project(rows)).after
    np.testing.assert_allclose(norms(on_the_sphere), 2, rtol=1e-5)
    assert norms(small_run(images).after).std() > 0.3  # the initial codes have different norms
    in_the_ball = norms(small_run(images, projection=project_ball, reproject=project_ball).after)
    assert in_the_ball.max() <= 1 + 1e-6 and in_the_ball.min() < 0.99


def test_both_rates_fall_to_zero_in_a_small_training(images):
    run = small_run(images)
    moves = norms(run.after - run.before).mean(axis=1)
    assert moves[-1] < 0.05 * moves[:5].mean()
