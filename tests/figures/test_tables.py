"""Images in tables, and parts of images enlarged."""

import numpy as np
import pytest

from glo_lib.figures.tables import enlarge, show_patches, show_table_of_images


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


def test_patches_are_cut_out_of_each_image_at_its_corner_and_framed_in_the_originals():
    originals = np.arange(2 * 6 * 6).reshape(2, 6, 6, 1).repeat(3, axis=3).astype(np.uint8)
    figure = show_patches(originals, {"made": originals + 100}, corners=[(0, 1), (4, 2)], size=2)
    assert [axis.get_ylabel() for axis in figure.axes[::2]] == ["images", "original", "made"]
    shown = [np.asarray(axis.images[0].get_array())[..., 0].tolist() for axis in figure.axes]
    assert shown[2:4] == [[[1, 2], [7, 8]], [[62, 63], [68, 69]]]
    assert shown[4:6] == [[[101, 102], [107, 108]], [[162, 163], [168, 169]]]
    frames = [[patch.get_bbox().bounds for patch in axis.patches] for axis in figure.axes]
    assert frames == [[(0.5, -0.5, 2, 2)], [(1.5, 3.5, 2, 2)], [], [], [], []]


@pytest.mark.parametrize(
    ("corners", "message"),
    [
        ([(0, 0)], "2 images and 1 corners"),
        ([(0, 0), (5, 0)], r"2 pixels at \(5, 0\) does not lie within images of 6x6"),
        ([(0, 0), (0, -1)], r"at \(0, -1\) does not lie within"),
    ],
)
def test_patches_outside_of_the_images_are_refused(corners, message):
    with pytest.raises(ValueError, match=message):
        show_patches(np.zeros((2, 6, 6, 3)), {}, corners, size=2)
