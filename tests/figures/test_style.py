"""Grids of images, pixel by pixel, and what the figures are made of."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glo_lib.figures.style import show_grid, show_loss, show_rows, tile
from glo_lib.runs.folder import HistoryRow

WHITE = (1.0, 1.0, 1.0, 1.0)


@pytest.fixture(autouse=True)
def closed_figures(monkeypatch):
    """Figures are drawn without a display, and closed."""
    before = matplotlib.get_backend()
    plt.switch_backend("agg")
    yield
    plt.close("all")
    plt.switch_backend(before)


def numbered(count, height=4, width=3):
    """uint8 images, each filled with its own number, its first row and column marked."""
    images = np.empty((count, height, width, 3), np.uint8)
    images[:] = np.arange(count, dtype=np.uint8)[:, None, None, None]
    images[:, 0, :] += 100
    images[:, :, 0] += 50
    return images


# ---------------------------------------------------------------------------------------------------------------- tile


def test_tile_of_a_worked_example():
    # Two images of 1 x 2 pixels a row; the sixth place is white.
    images = np.uint8([[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]).reshape(5, 1, 2, 1)
    expected = [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 255, 255]]
    assert tile(images, columns=2)[..., 0].tolist() == expected


@settings(deadline=None, max_examples=40)
@given(count=st.integers(1, 13), columns=st.integers(1, 15))
def test_every_image_is_in_its_place_and_the_rest_is_white(count, columns):
    images, height, width = numbered(count), 4, 3
    picture = tile(images, columns)
    rows = (count + columns - 1) // columns
    assert picture.shape == (rows * height, columns * width, 3) and picture.dtype == np.uint8
    for place in range(rows * columns):
        row, column = divmod(place, columns)
        part = picture[row * height : (row + 1) * height, column * width : (column + 1) * width]
        assert np.array_equal(part, images[place] if place < count else np.full((height, width, 3), 255))


def test_floats_are_mapped_to_the_nearest_byte():
    # (x + 1) * 127.5, rounded: 0, 255, 127.5 -> 128, 63.75 -> 64, 191.25 -> 191; what lies outside is clipped.
    images = np.float32([-1, 1, 0, -0.5, 0.5, -3, 3]).reshape(1, 1, 7, 1)
    assert tile(images, columns=1).ravel().tolist() == [0, 255, 128, 64, 191, 0, 255]


def test_floats_made_of_bytes_come_back_as_those_bytes():
    images = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)
    floats = images.astype(np.float32) / 127.5 - 1
    assert np.array_equal(tile(floats, columns=2), tile(images, columns=2))


def test_tile_does_not_change_its_argument():
    images = np.zeros((2, 2, 2, 3), np.float32)
    tile(images, columns=3)
    assert np.all(images == 0)


# ------------------------------------------------------------------------------------------------------------- figures


def shown(axis):
    """The picture on an axis."""
    (image,) = axis.get_images()
    return np.asarray(image.get_array())


def test_rows_have_an_axis_for_each_group_with_its_name_and_its_images():
    groups = {"originals": numbered(4), "reconstructions": numbered(4)[::-1]}
    figure = show_rows(groups)
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["originals", "reconstructions"]
    for axis, images in zip(figure.axes, groups.values(), strict=True):
        assert np.array_equal(shown(axis), tile(images, columns=4))
        assert not axis.axison
    assert figure.get_facecolor() == WHITE


def test_rows_of_given_length_are_broken_into_several():
    figure = show_rows({"a": numbered(5), "b": numbered(2)}, columns=3)
    assert [shown(axis).shape for axis in figure.axes] == [(8, 9, 3), (4, 9, 3)]


def test_grid_is_one_axis_with_a_title():
    figure = show_grid(numbered(7), columns=3, title="samples")
    (axis,) = figure.axes
    assert axis.get_title(loc="left") == "samples"
    assert np.array_equal(shown(axis), tile(numbered(7), columns=3))
    assert figure.get_facecolor() == WHITE


def test_grid_has_ten_columns_and_no_title_unless_told_otherwise():
    (axis,) = show_grid(numbered(12)).axes
    assert shown(axis).shape == (8, 30, 3)
    assert axis.get_title(loc="left") == ""


def test_figure_grows_with_the_number_of_images_and_not_with_their_size():
    small, large = (show_rows({"": np.zeros((4, size, size, 3))}, columns=2) for size in (8, 64))
    np.testing.assert_allclose(small.get_size_inches(), large.get_size_inches())
    width, height = small.get_size_inches()
    np.testing.assert_allclose(width, height)
    np.testing.assert_allclose(show_rows({"": np.zeros((8, 8, 8, 3))}, columns=2).get_size_inches(), [width, 2 * height])


def left_and_right_of_each_image(figure):
    """Where on the page the images of each axis begin, in pixels of the page, and how wide one image is."""
    figure.canvas.draw()
    boxes = [axis.get_window_extent() for axis in figure.axes]
    return [(box.x0, box.width / (shown(axis).shape[1] / 3)) for axis, box in zip(figure.axes, boxes, strict=True)]


def test_images_of_one_column_stand_under_each_other():
    above, below = left_and_right_of_each_image(show_rows({"a": numbered(5), "b": numbered(5)}))
    np.testing.assert_allclose(above, below, atol=1)


def test_images_of_one_column_stand_under_each_other_where_groups_differ_in_length():
    above, below = left_and_right_of_each_image(show_rows({"a": numbered(10), "b": numbered(9)}))
    np.testing.assert_allclose(above, below, atol=1)


def history_of(*losses):
    return [HistoryRow(step=100 * number, seconds=float(number), loss=loss) for number, loss in enumerate(losses, start=1)]


def test_loss_is_drawn_over_steps_on_a_logarithmic_scale():
    figure = show_loss(history_of(1.0, 0.1, 0.01), label="mean squared error")
    (axis,) = figure.axes
    (line,) = axis.get_lines()
    assert line.get_xdata().tolist() == [100, 200, 300]
    assert line.get_ydata().tolist() == [1.0, 0.1, 0.01]
    assert (axis.get_xlabel(), axis.get_ylabel(), axis.get_yscale()) == ("step", "mean squared error", "log")
    assert figure.get_facecolor() == WHITE


def test_loss_of_no_steps_is_an_empty_figure():
    (axis,) = show_loss([]).axes
    assert axis.get_ylabel() == "loss"
    assert len(axis.get_lines()[0].get_xdata()) == 0


def test_ground_is_white_in_the_file_too(tmp_path):
    with plt.rc_context({"figure.facecolor": "black"}):
        show_grid(np.full((2, 8, 8, 3), -1.0), columns=2, title="black").savefig(tmp_path / "figure.png")
    corner = plt.imread(tmp_path / "figure.png")[0, -1]
    assert corner[:3].tolist() == [1, 1, 1]
