"""What the figures of the chapter on the losses show."""

import numpy as np
import pytest

from glo_lib.figures.losses import enlarge, show_level_parts, show_table_of_images


def flat_images(*values):
    return np.stack([np.full((4, 4, 3), value, np.float32) for value in values])


def test_table_of_images_shows_and_names_its_rows_and_columns():
    figure = show_table_of_images({"dark": flat_images(-1, -0.5), "light": flat_images(0.5, 1)}, ["first", "second"])
    assert [axis.images[0].get_array()[0, 0, 0] for axis in figure.axes] == [0, 64, 191, 255]  # (value + 1) * 127.5, rounded
    assert [axis.get_ylabel() for axis in figure.axes] == ["dark", "", "light", ""]
    assert [axis.get_title() for axis in figure.axes] == ["first", "second", "", ""]
    with pytest.raises(ValueError, match="row 'dark' has 2 images; there are 3 columns"):
        show_table_of_images({"dark": flat_images(-1, -0.5)}, ["first", "second", "third"])


def test_enlarging_repeats_every_pixel():
    image = np.arange(8).reshape(1, 2, 2, 2)
    np.testing.assert_array_equal(enlarge(image, 6), image[:, [0, 0, 0, 1, 1, 1]][:, :, [0, 0, 0, 1, 1, 1]])


def test_level_parts_are_stacked_from_the_finest_level():
    (axis,) = show_level_parts({"noise": [3, 2, 1], "offset": [0, 0, 4]}, "loss (units)").axes
    assert [[bar.get_x() for bar in bars] for bars in axis.containers] == [[0, 0], [3, 0], [5, 0]]
    assert [[bar.get_width() for bar in bars] for bars in axis.containers] == [[3, 0], [2, 0], [1, 4]]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["noise", "offset"] and axis.yaxis_inverted()
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["level 0", "level 1", "level 2"]
    assert axis.get_xlabel() == "loss (units)"
