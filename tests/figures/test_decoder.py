"""What the figures of the chapter on the decoder show."""

import numpy as np

from glo_lib.figures.decoder import show_matrices, show_overlaps, show_shares, show_variances
from glo_lib.graph.costs import LayerCost


def test_matrices_show_their_name_and_nonzero_numbers_in_white_on_dark_cells():
    figure = show_matrices({"one": np.array([[1, 0], [0, 2.5]]), "two": np.array([[0, 3, 0]])})
    assert [axis.get_title() for axis in figure.axes] == ["one", "two"]
    assert [[text.get_text() for text in axis.texts] for axis in figure.axes] == [["1", "2.5"], ["3"]]
    assert [text.get_color() for text in figure.axes[0].texts] == ["black", "white"]


def test_overlaps_have_a_panel_for_each_kernel_size_with_labelled_axes():
    figure = show_overlaps({2: np.ones((2, 2)), 3: np.array([[4, 2], [2, 1]])})
    assert [axis.get_title() for axis in figure.axes] == ["kernel 2", "kernel 3"]
    assert [text.get_text() for text in figure.axes[1].texts] == ["4", "2", "2", "1"]
    assert "pixels" in figure.axes[0].get_ylabel() and "pixels" in figure.axes[0].get_xlabel()


def test_shares_of_parameters_and_operations_each_sum_to_100_percent():
    (axis,) = show_shares([LayerCost("d/one", (4, 4, 2), 30, 100), LayerCost("d/two", (8, 8, 3), 10, 300)]).axes
    assert {bars.get_label(): [bar.get_height() for bar in bars] for bars in axis.containers} == {"parameters": [75, 25], "FLOPs": [25, 75]}
    assert [label.get_text() for label in axis.get_xticklabels()] == ["one", "two"]


def test_variances_start_at_step_one_and_the_true_variance_is_a_level_line():
    (axis,) = show_variances({"constant": [1, 0.5, 0.25], "rising": [0.1, 0.2, 0.2]}, truth=0.2).axes
    constant, rising, truth = axis.lines
    assert list(constant.get_xdata()) == list(rising.get_xdata()) == [1, 2, 3]
    assert list(constant.get_ydata()) == [1, 0.5, 0.25] and set(truth.get_ydata()) == {0.2}
    assert axis.get_xscale() == axis.get_yscale() == "log"
