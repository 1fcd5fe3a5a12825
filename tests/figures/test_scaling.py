"""What the figures of the chapter on several machines show."""

import numpy as np
import pytest
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from glo_lib.codes import create_codes, first_row
from glo_lib.figures.scaling import ErrorPoint, rows_of_servers, show_errors, show_gain, show_machines, show_parts, show_table_sizes
from glo_lib.graph.backend import tf


@pytest.mark.parametrize(("rows", "servers"), [(10, 2), (11, 2), (11, 4), (5, 1)])
def test_the_rows_of_a_server_are_those_of_the_table_in_training(rows, servers):
    with tf.Graph().as_default():
        parts = create_codes(rows, 3, ["/cpu:0"] * servers)
    assert rows_of_servers(rows, servers) == [(first_row(part), first_row(part) + part.shape[0] - 1) for part in parts]


def test_every_machine_is_drawn_and_every_server_exchanges_with_every_worker():
    (axis,) = show_machines(1000, servers=2, workers=3, towers=2).axes
    words = "\n".join(text.get_text() for text in axis.texts)
    for name in ("chief", "parameter server 0", "parameter server 1", "worker 2", "codes 0 to 499", "codes 500 to 999"):
        assert name in words
    assert words.count("tower 1") == 3 and "worker 3" not in words
    arrows = [patch for patch in axis.patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == 2 * (2 * 3) + 2  # there and back, and two from the chief
    assert sum(isinstance(patch, FancyBboxPatch) for patch in axis.patches) == 1 + 2 + 3


def test_fitted_and_held_out_steps_are_told_apart_and_errors_are_in_per_cent():
    above, below = show_errors([ErrorPoint(0.1, 0.12, True), ErrorPoint(0.2, 0.1, False)]).axes
    assert [line.get_label() for line in above.lines] == ["fitted", "held out", "predicted = measured"]
    assert [line.get_xydata().tolist() for line in above.lines[:2]] == [[[100, 120]], [[200, 100]]]
    assert np.allclose([line.get_ydata()[0] for line in below.lines[:2]], [20, -50])


def test_parts_of_a_step_have_curves_and_the_whole_step_a_band():
    (axis,) = show_parts([1, 8], {"compute": [2, 2], "decoder": [0, 8]}, ([2, 8], [3, 10]), {"ring": [1, 1]}).axes
    drawn = {line.get_label(): line.get_ydata() for line in axis.lines}
    assert list(drawn) == ["compute", "decoder", "ring"]
    assert np.array_equal([*drawn.values()], [[2, 2], [np.nan, 8], [1, 1]], equal_nan=True)  # no zero on a logarithmic axis
    (band,) = axis.collections
    assert band.get_label() == "whole step" and band.get_datalim(axis.transData).bounds == (1, 2, 7, 8)
    assert [label.get_text() for label in axis.get_xticklabels()] == ["1", "8"]


def test_table_sizes_have_times_from_zero_and_memory_without_the_smallest():
    left, right = show_table_sizes([10, 100, 1000], [(1, 2), (3, 4), (2, 6)], [0, 1, 10], [0, 2, 20]).axes
    assert left.get_ylim() == (0, 7.5) and list(left.lines[0].get_ydata()) == [1, 3, 2]
    assert {line.get_label(): list(line.get_ydata()) for line in right.lines} == {"measured": [1, 10], "codes, moments, visits": [2, 20]}


def test_gains_have_the_line_above_which_they_pay():
    (axis,) = show_gain([1, 8], {"no variation": [1, 1.5]}, cost=1.2).axes
    assert [list(line.get_ydata()) for line in axis.lines] == [[1, 1.5], [1.2, 1.2]]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["no variation", "f = 1.2: above, asynchronous updates pay"]
