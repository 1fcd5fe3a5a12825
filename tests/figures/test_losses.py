"""What the figures of the chapter on the losses show."""

from glo_lib.figures.losses import show_level_parts


def test_level_parts_are_stacked_from_the_finest_level():
    (axis,) = show_level_parts({"noise": [3, 2, 1], "offset": [0, 0, 4]}, "loss (units)").axes
    assert [[bar.get_x() for bar in bars] for bars in axis.containers] == [[0, 0], [3, 0], [5, 0]]
    assert [[bar.get_width() for bar in bars] for bars in axis.containers] == [[3, 0], [2, 0], [1, 4]]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["noise", "offset"] and axis.yaxis_inverted()
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["level 0", "level 1", "level 2"]
    assert axis.get_xlabel() == "loss (units)"
