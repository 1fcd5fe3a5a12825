"""What the figures of the chapter on inference show."""

import numpy as np

from glo_lib.figures.inference import show_code_cloud, show_convergence, show_steps
from glo_lib.inference.encoding import Encoding


def test_convergence_shows_each_start_and_the_best_start_so_far():
    losses = np.array([[[4.0, 2], [3, 3]], [[2, 2], [3, 1]], [[5, 2], [1, 3]]])  # (3 steps, 2 starts, 2 images)
    encoding = Encoding(np.zeros((2, 1)), np.zeros(2), np.ones(2, bool), np.zeros(2, int), losses, ("mean", "random 1"))
    (axis,) = show_convergence(encoding).axes
    lines = {line.get_label(): list(line.get_ydata()) for line in axis.lines}
    assert lines == {"mean": [3, 2, 3.5], "random 1": [3, 2, 2], "best of all": [2.5, 1.5, 1]}
    assert axis.get_yscale() == "log" and "step" in axis.get_xlabel()


def test_steps_are_the_changes_between_neighbouring_images():
    images = np.array([0.0, 0.1, 0.4])[:, None, None, None] * np.ones((1, 2, 2, 3))
    (axis,) = show_steps({"even": images[:2], "uneven": images}).axes
    np.testing.assert_allclose(axis.lines[0].get_ydata(), [0.1])
    np.testing.assert_allclose(axis.lines[1].get_ydata(), [0.1, 0.3])
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["even", "uneven"]


def test_a_cloud_shows_every_code_once_in_each_panel_with_a_legend_for_labels_and_a_scale_for_numbers():
    places = np.arange(8.0).reshape(4, 2)
    figure = show_code_cloud(places, {"glasses": np.array([1, -1, -1, 1]), "light": np.array([0.1, 0.2, 0.3, 0.4])}, ("first", "second"))
    labels, numbers, scale = figure.axes
    assert [points.get_label() for points in labels.collections] == ["no", "yes"]
    np.testing.assert_array_equal(labels.collections[1].get_offsets(), places[[0, 3]])
    np.testing.assert_array_equal(numbers.collections[0].get_offsets(), places)
    np.testing.assert_array_equal(numbers.collections[0].get_array(), [0.1, 0.2, 0.3, 0.4])
    assert (labels.get_title(), numbers.get_title()) == ("glasses", "light") and numbers.get_xlabel() == "first"
    assert labels.get_legend() is not None and numbers.get_legend() is None and scale.get_ylim() == (0.1, 0.4)
