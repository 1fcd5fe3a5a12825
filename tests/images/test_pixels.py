"""Bytes and floats represent the same pixels, and the blocks of an array add up to the whole array."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glo_lib.images.pixels import flat_blocks, slices, to_bytes, to_floats


def random_images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 6, 6, 3)).astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bytes_become_floats_from_minus_one_to_one(dtype):
    images = np.uint8([[0, 255], [51, 204]])
    floats = to_floats(images, dtype)
    assert floats.dtype == dtype and floats[0].tolist() == [-1, 1]  # the ends exactly
    np.testing.assert_allclose(floats[1], [-0.6, 0.6], atol=1e-7)  # 51 / 127.5 = 0.4, 204 / 127.5 = 1.6
    assert images.tolist() == [[0, 255], [51, 204]]


def test_floats_only_change_their_type():
    images = np.float32([-1, 0.5, 0.25, 3])
    assert to_floats(images, np.float64).tolist() == [-1, 0.5, 0.25, 3] and to_floats(images, np.float64).dtype == np.float64
    assert to_floats(images) is images


def test_floats_become_the_nearest_bytes_and_those_out_of_range_are_clipped():
    floats = np.float32([-1, 1, 0, -0.6, 0.6, -1.5, 7, -1 + 0.9 / 255, -1 + 1.1 / 255])
    # 0 lies between 127 and 128 and is rounded up; neighbouring bytes differ by 2 / 255, so half of that is 1 / 255.
    assert to_bytes(floats).tolist() == [0, 255, 128, 51, 204, 0, 255, 0, 1]
    assert to_bytes(floats.reshape(3, 3)).shape == (3, 3)


def test_bytes_survive_the_conversion_to_floats_and_back():
    every_byte = np.arange(256).astype(np.uint8)
    np.testing.assert_array_equal(to_bytes(to_floats(every_byte)), every_byte)
    assert to_bytes(every_byte) is every_byte


@pytest.mark.parametrize(("total", "size", "expected"), [(0, 3, []), (1, 3, [(0, 1)]), (4, 3, [(0, 3), (3, 4)]), (6, 3, [(0, 3), (3, 6)])])
def test_slices_cover_all_rows_and_end_with_the_last_one(total, size, expected):
    assert [(part.start, part.stop, part.step) for part in slices(total, size)] == [(start, stop, None) for start, stop in expected]


def test_every_third_image_is_taken_and_a_block_has_the_given_size():
    images = np.repeat(np.arange(10).astype(np.uint8), 2).reshape(10, 1, 2, 1)  # number i has the bytes i, i
    blocks = list(flat_blocks(images, every=3, block_bytes=2 * 4 * 2))  # two rows of two floats
    assert [np.round((block + 1) * 127.5).tolist() for block in blocks] == [[[0, 0], [3, 3]], [[6, 6], [9, 9]]]


@settings(max_examples=40)
@given(count=st.integers(0, 20), rows=st.integers(1, 25), every=st.integers(1, 9))
def test_blocks_together_are_every_nth_image_in_order(count, rows, every):
    images = random_images(20)[:count]
    blocks = list(flat_blocks(images, every, block_bytes=rows * 4 * 6 * 6 * 3))
    assert all(len(block) == rows for block in blocks[:-1]) and all(1 <= len(block) <= rows for block in blocks)
    expected = to_floats(images[::every].reshape(-1, 108))
    np.testing.assert_array_equal(np.concatenate([np.empty((0, 108), np.float32), *blocks]), expected)


def test_an_image_larger_than_a_block_is_a_block_of_its_own():
    assert [len(block) for block in flat_blocks(random_images(3), block_bytes=1)] == [1, 1, 1]
