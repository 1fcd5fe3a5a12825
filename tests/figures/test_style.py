"""Grids of images, pixel by pixel, and the parts of the figures."""

import base64
import io
from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter
from PIL import Image

from glo_lib.figures.style import new_figure, show_grid, show_loss, show_rows, tile, use_notebook_style
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


@pytest.fixture
def shown(monkeypatch):
    """Return a function that shows a figure as a notebook does: for each kind the picture, its width on the page and its file."""
    formatter = DisplayFormatter()
    monkeypatch.setattr(matplotlib, "get_backend", lambda **_: "module://matplotlib_inline.backend_inline")
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(display_formatter=formatter))
    use_notebook_style()

    def show(figure):
        data, metadata = formatter.format(figure)
        files = {kind: base64.b64decode(content) for kind, content in data.items() if kind.startswith("image/")}
        return {kind: (Image.open(io.BytesIO(file)), metadata[kind]["width"], file) for kind, file in files.items()}

    return show


def figure_with(draw):
    figure, axis = new_figure((4, 2))
    draw(axis)
    return figure


def test_a_figure_with_photographs_is_shown_as_jpeg_and_every_other_one_as_png(shown):
    assert [*shown(show_grid(IMAGES))] == ["image/jpeg"]
    beside_curves, (left, right) = new_figure((4, 2), 1, 2)
    left.plot([1, 2])
    right.imshow(IMAGES[0])
    assert [*shown(beside_curves)] == ["image/jpeg"]
    for draw in (lambda axis: axis.plot([1, 2]), lambda axis: axis.imshow(np.eye(3)), lambda axis: axis.bar([1, 2], [3, 4])):
        assert [*shown(figure_with(draw))] == ["image/png"]
    assert shown(plt.figure()) == {}  # an empty figure would be a large white area


def test_curves_have_two_pixels_of_the_file_for_each_pixel_of_the_page_and_photographs_one(shown):
    curves, width, _ = shown(figure_with(lambda axis: axis.plot([1, 2])))["image/png"]
    assert curves.width // 2 == width and 0.8 * 4 * 90 < width < 1.1 * 4 * 90
    photograph, width, _ = shown(show_grid(IMAGES, columns=4))["image/jpeg"]
    assert photograph.width == width


def test_lines_have_no_halo_of_the_compression(shown):
    """Around a black area on white, JPEG leaves pixels that are nearly white or black; PNG leaves those of the lines and edges alone."""
    picture, *_ = shown(figure_with(lambda axis: axis.fill_between([0, 1], 1, color="black")))["image/png"]
    row = np.asarray(picture.convert("L"))[picture.height // 2]
    assert (row == 255).sum() + (row == 0).sum() >= len(row) - 12


def test_a_figure_of_curves_is_a_small_file(shown):
    walks = np.random.default_rng(0).normal(size=(200, 4)).cumsum(axis=0)
    *_, file = shown(figure_with(lambda axis: axis.plot(walks)))["image/png"]
    assert len(file) < 40_000


def test_outside_a_notebook_nothing_is_changed(monkeypatch):
    monkeypatch.setattr("IPython.get_ipython", lambda: pytest.fail("there is no notebook"))
    use_notebook_style()
