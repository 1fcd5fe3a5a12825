"""Peak signal-to-noise ratio against hand values."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glo_lib.metrics import psnr


def test_psnr_of_worked_examples():
    # Peak 2, so 10 log10(4 / MSE): errors of 2 give 0 dB, of 0.2 give 20 dB, of 0.02 give 40 dB.
    images = np.zeros((3, 2, 2, 3)) - 1
    reconstructions = images + np.reshape([2.0, 0.2, 0.02], (3, 1, 1, 1))
    np.testing.assert_allclose(psnr(images, reconstructions), [0, 20, 40], rtol=1e-9, atol=1e-9)


def test_psnr_takes_the_mean_of_the_squares_over_the_image():
    # One entry of four is off by 1: MSE 1/4, 10 log10(16) = 12.04 dB.
    assert psnr(np.zeros((1, 4)), np.array([[0, 0, 1.0, 0]]))[0] == pytest.approx(12.0412, abs=1e-4)


def test_each_image_has_its_own_value():
    draw = np.random.default_rng(0)
    images, reconstructions = draw.uniform(-1, 1, (2, 5, 4, 4, 3))
    together = psnr(images, reconstructions)
    assert together.shape == (5,) and together.dtype == np.float64
    alone = [psnr(images[i : i + 1], reconstructions[i : i + 1])[0] for i in range(5)]
    np.testing.assert_allclose(together, alone)
    assert len(set(together)) == 5


def test_equal_images_have_infinite_psnr_and_no_warning():
    images = np.random.default_rng(0).uniform(-1, 1, (2, 4, 4, 3)).astype(np.float32)
    reconstructions = images.copy()
    reconstructions[1] += 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = psnr(images, reconstructions)
    assert np.isposinf(values[0]) and np.isfinite(values[1])


def test_reconstructions_outside_the_range_count_as_what_a_display_would_show():
    images = np.array([[1.0, -1.0], [1.0, -1.0], [0.8, -0.8]])
    reconstructions = np.array([[7.0, -3.0], [0.8, -0.8], [99.0, -99.0]])
    # Clipped: no error at all; an error of 0.2; an error of 0.2.
    np.testing.assert_allclose(psnr(images, reconstructions), [np.inf, 20, 20])


@settings(deadline=None, max_examples=30)
@given(st.floats(0.01, 0.9), st.floats(1.1, 10))
def test_error_ten_times_smaller_is_twenty_decibels_better(error, factor):
    images = np.zeros((1, 8))
    difference = psnr(images, images + error / factor) - psnr(images, images + error)
    assert difference[0] == pytest.approx(20 * np.log10(factor), abs=1e-9)


def test_float32_images_are_compared_in_double_precision():
    # MSE of one step of float32 at 0.5 over 2^20 entries: a float32 sum of such squares would be off.
    images = np.full((1, 2**20), 0.5, np.float32)
    reconstructions = np.nextafter(images, np.float32(1))
    assert psnr(images, reconstructions)[0] == pytest.approx(10 * np.log10(4 / 2.0**-48), abs=1e-9)


def test_arguments_are_not_changed():
    images, reconstructions = np.zeros((1, 4)), np.full((1, 4), 3.0)
    psnr(images, reconstructions)
    assert images.tolist() == [[0] * 4] and reconstructions.tolist() == [[3] * 4]
