"""What the figures of the chapter on the losses show."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from glo_lib.figures.losses import enlarge, show_level_parts, show_table_of_images


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def flat_images(*values):
    return np.stack([np.full((4, 4, 3), value, np.float32) for value in values])


def test_table_of_images_shows_each_image_in_its_row_and_column():
    figure = show_table_of_images({"dark": flat_images(-1, -0.5), "light": flat_images(0.5, 1)}, ["first", "second"])
    shown = [axis.images[0].get_array()[0, 0, 0] for axis in figure.axes]
    assert shown == [0, 64, 191, 255]  # (value + 1) * 127.5, rounded


def test_table_of_images_names_rows_at_the_left_and_columns_at_the_top():
    figure = show_table_of_images({"dark": flat_images(-1, -0.5), "light": flat_images(0.5, 1)}, ["first", "second"])
    assert [axis.get_ylabel() for axis in figure.axes] == ["dark", "", "light", ""]
    assert [axis.get_title() for axis in figure.axes] == ["first", "second", "", ""]


def test_table_of_images_refuses_a_row_of_another_length():
    with pytest.raises(ValueError, match="row 'dark' has 2 images; there are 3 columns"):
        show_table_of_images({"dark": flat_images(-1, -0.5)}, ["first", "second", "third"])


def test_enlarging_repeats_every_pixel():
    image = np.arange(8).reshape(1, 2, 2, 2)
    large = enlarge(image, 6)
    assert large.shape == (1, 6, 6, 2)
    assert np.array_equal(large[0, :3, :3], np.broadcast_to(image[0, 0, 0], (3, 3, 2)))
    assert np.array_equal(large[0, 3:, :3], np.broadcast_to(image[0, 1, 0], (3, 3, 2)))
    assert np.array_equal(large[0, :3, 3:], np.broadcast_to(image[0, 0, 1], (3, 3, 2)))


def test_parts_of_a_bar_follow_each_other_from_the_finest_level():
    (axis,) = show_level_parts({"noise": [3, 2, 1], "offset": [0, 0, 4]}, "loss").axes
    starts = [[bar.get_x() for bar in bars] for bars in axis.containers]
    widths = [[bar.get_width() for bar in bars] for bars in axis.containers]
    assert starts == [[0, 0], [3, 0], [5, 0]]
    assert widths == [[3, 0], [2, 0], [1, 4]]


def test_bars_are_named_from_top_to_bottom_and_levels_in_the_legend():
    (axis,) = show_level_parts({"noise": [3, 2], "offset": [0, 4]}, "loss (units)").axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["noise", "offset"]
    assert axis.yaxis_inverted()
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["level 0", "level 1"]
    assert axis.get_xlabel() == "loss (units)"
