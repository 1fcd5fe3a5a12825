"""What the figures of the chapter on training show."""

from collections import Counter

import pytest

from glo_lib.figures.training import operations_by_device, show_devices, show_lines
from glo_lib.graph.backend import tf


def test_operations_are_counted_by_part_and_requested_device():
    with tf.Graph().as_default() as graph:
        with tf.device("/cpu:1"):
            one = tf.constant(1.0, name="tower_1/one")
        with tf.device("/gpu:0"):
            tf.negative(one, name="tower_1/minus")
        tf.constant(2.0, name="alone")
    assert operations_by_device(graph) == {"tower_1": {"/cpu:1": 1, "/gpu:0": 1}, "alone": {"none": 1}}


def test_small_parts_are_drawn_together_and_no_operation_is_lost():
    counts = {"large": Counter({"/cpu:0": 8, "/cpu:1": 4}), "a": Counter({"/cpu:0": 1}), "b": Counter({"none": 4})}
    (axis,) = show_devices(counts, at_least=5).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["large", "all else"]
    drawn = {bars.get_label(): [bar.get_width() for bar in bars] for bars in axis.containers}
    assert drawn == {"/cpu:0": [8, 1], "/cpu:1": [4, 0], "none": [0, 4]}
    assert [bar.get_x() for bar in axis.containers[1]] == [8, 1]  # stacked
    assert len(show_devices({"one": Counter({"none": 3})}, at_least=3).axes[0].patches) == 1


@pytest.mark.parametrize(("scale", "expected"), [("linear", ("linear", "linear")), ("log", ("linear", "log")), ("loglog", ("log", "log"))])
def test_lines_have_their_points_labels_and_scales(scale, expected):
    (axis,) = show_lines({"a": ([1, 2], [3, 4]), "b": ([1, 2], [5, 6])}, "steps", "ms", scale, markers=True).axes
    assert [list(line.get_ydata()) for line in axis.lines] == [[3, 4], [5, 6]]
    assert (axis.get_xscale(), axis.get_yscale()) == expected
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("steps", "ms") and axis.lines[0].get_marker() == "o"
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["a", "b"]
