"""The images of a run are found again, or it is said that these are others."""

import shutil

import numpy as np
import pytest
from PIL import Image

from glo_lib.run_images import training_images


def test_the_images_of_the_training_are_found(trained_run, trained_images):
    np.testing.assert_array_equal(training_images(trained_run).array(), trained_images)


def test_images_that_moved_are_found_where_one_says(trained_run, trained_images, small_images, tmp_path):
    moved = shutil.copytree(small_images, tmp_path / "moved")
    np.testing.assert_array_equal(training_images(trained_run, str(moved)).array(), trained_images)


def test_another_number_of_images_is_refused(trained_run, small_images, tmp_path):
    fewer = shutil.copytree(small_images, tmp_path / "fewer")
    (fewer / "005.jpg").unlink()
    with pytest.raises(ValueError, match="the run has 48 codes, and there are 47 images; row i of the codes belongs to image i"):
        training_images(trained_run, str(fewer))


def test_other_images_of_the_same_number_are_refused(trained_run, small_images, tmp_path):
    others = shutil.copytree(small_images, tmp_path / "others")
    Image.new("RGB", (40, 36)).save(others / "005.jpg")
    with pytest.raises(ValueError, match="other names or sizes than those of the training"):
        training_images(trained_run, str(others))


def test_no_run_and_no_images_are_refused(trained_run, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json"):
        training_images(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"data_dir is .*absent'"):
        training_images(trained_run, str(tmp_path / "absent"))
