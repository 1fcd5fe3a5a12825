"""Grids of images, pixel by pixel, and the parts of the figures."""

import matplotlib.pyplot as plt
import numpy as np

from glo_lib.figures.style import show_grid, show_loss, show_rows, tile
from glo_lib.runs.folder import HistoryRow

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 4, 3, 3)).astype(np.uint8)


def test_tiles_show_every_image_in_its_place_and_white_elsewhere():
    images = np.uint8([[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]).reshape(5, 1, 2, 1)
    assert tile(images, columns=2)[..., 0].tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 255, 255]]
    assert tile(images, columns=6).shape == (1, 12, 1) and tile(images / 127.5 - 1, columns=2)[2, 1, 0] == 10


def test_each_group_of_rows_has_an_axis_with_its_name_and_images():
    groups = {"originals": IMAGES[:4], "reconstructions": IMAGES[4:8]}
    figure = show_rows(groups)
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["originals", "reconstructions"]
    for axis, images in zip(figure.axes, groups.values(), strict=True):
        assert np.array_equal(axis.images[0].get_array(), tile(images, columns=4))
        assert not axis.axison
    broken = show_rows({"a": IMAGES[:5], "b": IMAGES[:2]}, columns=3)
    assert [axis.images[0].get_array().shape for axis in broken.axes] == [(8, 9, 3), (4, 9, 3)]


def test_a_grid_is_one_axis_with_a_title_and_ten_columns_by_default():
    (axis,) = show_grid(IMAGES[:7], columns=3, title="samples").axes
    assert axis.get_title(loc="left") == "samples"
    assert np.array_equal(axis.images[0].get_array(), tile(IMAGES[:7], columns=3))
    (axis,) = show_grid(IMAGES).axes
    assert axis.images[0].get_array().shape == (8, 30, 3) and axis.get_title(loc="left") == ""


def test_a_figure_grows_with_the_number_of_images_and_not_with_their_size():
    small, large, twice = (show_rows({"": np.zeros((n, size, size, 3))}, columns=2) for n, size in ((4, 8), (4, 64), (8, 8)))
    width, height = small.get_size_inches()
    np.testing.assert_allclose([large.get_size_inches(), twice.get_size_inches()], [[width, height], [width, 2 * height]])
    np.testing.assert_allclose(width, height)


def test_images_of_one_column_are_aligned_where_groups_differ_in_length():
    figure = show_rows({"a": IMAGES[:9], "b": IMAGES[:10]})
    figure.canvas.draw()
    boxes = [axis.get_window_extent() for axis in figure.axes]
    above, below = ((box.x0, box.width / axis.images[0].get_array().shape[1]) for axis, box in zip(figure.axes, boxes, strict=True))
    np.testing.assert_allclose(above, below, atol=0.3)  # pixels of the page


def test_the_loss_is_drawn_over_the_steps_on_a_logarithmic_scale():
    (axis,) = show_loss([HistoryRow(100, 1.0, 1.0), HistoryRow(200, 2.0, 0.1)], label="mean squared error").axes
    (line,) = axis.get_lines()
    assert line.get_xydata().tolist() == [[100, 1], [200, 0.1]]
    assert (axis.get_xlabel(), axis.get_ylabel(), axis.get_yscale()) == ("step", "mean squared error", "log")


def test_figures_are_white_in_the_file_whatever_the_reader_has_set(tmp_path):
    with plt.rc_context({"figure.facecolor": "black"}):
        show_grid(np.full((2, 8, 8, 3), -1.0), columns=2, title="black").savefig(tmp_path / "figure.png")
    corner = plt.imread(tmp_path / "figure.png")[0, -1]
    assert corner[:3].tolist() == [1, 1, 1]
