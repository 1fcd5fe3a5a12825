"""Bytes and floats stand for the same pixels, and blocks put together are the whole array."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glo_lib.images.pixels import flat_blocks, slices, to_bytes, to_floats
from glo_lib.images.store import StoredImages


def some_images(count, size=6):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3)).astype(np.uint8)


# --------------------------------------------------------------------------------------------------------- bytes and floats


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bytes_become_floats_from_minus_one_to_one(dtype):
    floats = to_floats(np.uint8([[0, 255], [51, 204]]), dtype)
    assert floats.dtype == dtype and floats[0].tolist() == [-1, 1]  # the ends exactly
    np.testing.assert_allclose(floats[1], [-0.6, 0.6], atol=1e-7)  # 51 / 127.5 = 0.4, 204 / 127.5 = 1.6


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_only_change_their_type(dtype):
    images = np.float32([-1, 0.5, 0.25, 3])
    assert to_floats(images, dtype).tolist() == [-1, 0.5, 0.25, 3] and to_floats(images, dtype).dtype == dtype
    assert to_floats(images) is images


def test_the_conversion_leaves_the_bytes_as_they_are():
    images = np.uint8([0, 7])
    to_floats(images)
    assert images.tolist() == [0, 7]


def test_floats_become_the_nearest_bytes_and_those_outside_are_clipped():
    floats = np.float32([-1, 1, 0, -0.6, 0.6, -1.5, 7, -1 + 0.9 / 255, -1 + 1.1 / 255])
    # 0 lies between 127 and 128 and is rounded up; a step from byte to byte is 2 / 255, so half of one is 1 / 255.
    assert to_bytes(floats).tolist() == [0, 255, 128, 51, 204, 0, 255, 0, 1]
    assert to_bytes(floats).dtype == to_bytes(floats.astype(np.float64)).dtype == np.uint8
    assert to_bytes(floats.reshape(3, 3)).shape == (3, 3)


def test_bytes_stay_bytes():
    images = some_images(2)
    assert to_bytes(images) is images


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_byte_survives_the_way_to_floats_and_back(dtype):
    everything = np.arange(256).astype(np.uint8)
    np.testing.assert_array_equal(to_bytes(to_floats(everything, dtype)), everything)


# ----------------------------------------------------------------------------------------------------------- block by block


@pytest.mark.parametrize(
    ("total", "size", "expected"),
    [(0, 3, []), (1, 3, [(0, 1)]), (3, 3, [(0, 3)]), (4, 3, [(0, 3), (3, 4)]), (6, 3, [(0, 3), (3, 6)]), (2, 1, [(0, 1), (1, 2)])],
)
def test_slices_cover_all_rows_and_end_with_the_last(total, size, expected):
    assert [(part.start, part.stop, part.step) for part in slices(total, size)] == [(start, stop, None) for start, stop in expected]


def test_blocks_map_bytes_to_the_range_from_minus_one_to_one():
    images = np.uint8([[0, 255], [51, 204]]).reshape(2, 1, 2, 1)
    (block,) = flat_blocks(images)
    # 51 / 127.5 = 0.4, 204 / 127.5 = 1.6.
    np.testing.assert_allclose(block, [[-1, 1], [-0.6, 0.6]], atol=1e-6)
    assert block.dtype == np.float32
    assert block[0].tolist() == [-1, 1]  # the ends exactly


def test_blocks_leave_float_images_as_they_are():
    images = np.float32([[-1, 0.5], [0.25, 1]]).reshape(2, 2, 1, 1)
    (block,) = flat_blocks(images)
    assert np.array_equal(block, images.reshape(2, 2))


@settings(deadline=None, max_examples=40)
@given(count=st.integers(1, 20), rows=st.integers(1, 25))
def test_blocks_put_together_are_all_images_in_order_whatever_their_size(count, rows):
    images = some_images(20)[:count]
    parts = list(flat_blocks(images, block_bytes=rows * 4 * 6 * 6 * 3))
    assert [len(part) for part in parts[:-1]] == [rows] * (len(parts) - 1)
    assert 1 <= len(parts[-1]) <= rows
    assert np.array_equal(np.concatenate(parts), (images.astype(np.float32) / 127.5 - 1).reshape(count, -1))


def test_blocks_hold_at_least_one_image_when_an_image_is_larger_than_a_block():
    assert [len(part) for part in flat_blocks(some_images(3), block_bytes=1)] == [1, 1, 1]


def test_every_third_image_is_taken_and_a_block_has_its_size_all_the_same():
    images = np.repeat(np.arange(10).astype(np.uint8), 2).reshape(10, 1, 2, 1)  # number i has the bytes i, i
    blocks = list(flat_blocks(images, every=3, block_bytes=2 * 4 * 2))  # two rows of two floats
    assert [np.round((block + 1) * 127.5).tolist() for block in blocks] == [[[0, 0], [3, 3]], [[6, 6], [9, 9]]]


@settings(deadline=None, max_examples=40)
@given(count=st.integers(1, 20), rows=st.integers(1, 9), every=st.integers(1, 9))
def test_every_nth_image_is_the_same_one_wherever_blocks_end(count, rows, every):
    images = some_images(20, size=2)[:count]
    parts = list(flat_blocks(images, every, block_bytes=rows * 4 * 2 * 2 * 3))
    np.testing.assert_array_equal(np.concatenate(parts), to_floats(images[::every].reshape(-1, 12)))


def test_no_image_gives_no_block():
    assert list(flat_blocks(some_images(0))) == []


@pytest.mark.parametrize("every", [1, 3])
def test_blocks_of_stored_images_are_those_of_the_array(tmp_path, every):
    images = some_images(7)
    images.tofile(tmp_path / "images.uint8")
    stored = StoredImages(tmp_path / "images.uint8", images.shape)
    size = 2 * 4 * 6 * 6 * 3
    for ours, theirs in zip(flat_blocks(stored, every, size), flat_blocks(images, every, size), strict=True):
        np.testing.assert_array_equal(ours, theirs)
