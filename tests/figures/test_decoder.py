"""What the figures of the chapter on the decoder show."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from glo_lib.figures.decoder import show_matrices, show_overlaps, show_shares, show_variances
from glo_lib.graph.costs import LayerCost


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def texts_of(axis):
    return [text.get_text() for text in axis.texts]


def test_matrices_have_their_name_and_their_numbers_but_no_zeros():
    figure = show_matrices({"one": np.array([[1, 0], [0, 2.5]]), "two": np.array([[0, 3, 0]])})
    assert [axis.get_title() for axis in figure.axes] == ["one", "two"]
    assert [texts_of(axis) for axis in figure.axes] == [["1", "2.5"], ["3"]]
    assert [axis.images[0].get_array().shape for axis in figure.axes] == [(2, 2), (1, 3)]


def test_numbers_are_white_where_the_cell_is_dark():
    (axis,) = show_matrices({"one": np.array([[1, 4]])}).axes
    assert [text.get_color() for text in axis.texts] == ["black", "white"]


def test_overlaps_are_drawn_for_each_kernel_with_labelled_axes():
    figure = show_overlaps({2: np.ones((2, 2)), 3: np.array([[4, 2], [2, 1]])})
    assert [axis.get_title() for axis in figure.axes] == ["kernel 2", "kernel 3"]
    assert texts_of(figure.axes[1]) == ["4", "2", "2", "1"]
    assert "pixels" in figure.axes[0].get_ylabel() and "pixels" in figure.axes[0].get_xlabel()


def test_shares_of_parameters_and_of_operations_each_sum_to_a_hundred():
    (axis,) = show_shares([LayerCost("d/one", (4, 4, 2), 30, 100), LayerCost("d/two", (8, 8, 3), 10, 300)]).axes
    heights = [[bar.get_height() for bar in bars] for bars in axis.containers]
    assert heights == [[75, 25], [25, 75]]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["one", "two"]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["parameters", "FLOPs"]


def test_variances_are_drawn_from_step_one_with_the_truth_as_a_level_line():
    (axis,) = show_variances({"constant": [1, 0.5, 0.25], "rising": [0.1, 0.2, 0.2]}, truth=0.2).axes
    constant, rising, truth = axis.lines
    assert list(constant.get_xdata()) == list(rising.get_xdata()) == [1, 2, 3]
    assert list(constant.get_ydata()) == [1, 0.5, 0.25]
    assert set(truth.get_ydata()) == {0.2}
    assert axis.get_xscale() == axis.get_yscale() == "log"
