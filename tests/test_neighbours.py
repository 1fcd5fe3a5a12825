"""Nearest neighbours are those of brute force, whatever the rounding."""

import numpy as np
import pytest

from glo_lib import neighbours
from glo_lib.neighbours import nearest_codes, nearest_neighbours
from glo_lib.stored_images import StoredImages


@pytest.mark.parametrize("as_bytes", [False, True])
def test_neighbours_are_those_of_brute_force(as_bytes, monkeypatch):
    numbers = np.random.default_rng(5)
    images = numbers.integers(0, 256, (83, 4, 4, 3)).astype(np.uint8)
    floats = images / np.float32(127.5) - 1
    queries = floats[[7, 30]] + numbers.normal(0, 0.3, (2, 4, 4, 3)).astype(np.float32)
    brute = np.square(queries[:, None] - floats[None]).mean(axis=(2, 3, 4))
    monkeypatch.setattr(neighbours, "BLOCK_BYTES", 10 * 4 * 48)  # ten images at a time
    index, distance = nearest_neighbours(queries, images if as_bytes else floats, 5)
    np.testing.assert_array_equal(index, np.argsort(brute, axis=1)[:, :5])
    np.testing.assert_allclose(distance, np.sort(brute, axis=1)[:, :5], rtol=1e-6)
    assert index[0, 0] == 7 and index[1, 0] == 30


def test_impossible_neighbours_are_refused():
    with pytest.raises(ValueError, match="num_neighbours is 4; with 3 images it can be 1 to 3"):
        nearest_neighbours(np.zeros((1, 2, 2, 3)), np.zeros((3, 2, 2, 3)), 4)
    with pytest.raises(ValueError, match="must be alike"):
        nearest_neighbours(np.zeros((1, 2, 2, 3)), np.zeros((3, 4, 4, 3)))


def test_differences_below_the_rounding_of_float32_products_are_told_apart():
    """All images differ from the query in one entry of 12,288, by steps that a float32 matrix product cannot see."""
    numbers = np.random.default_rng(1)
    query = numbers.uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32)
    images = np.repeat(query, 20, axis=0)
    offsets = numbers.permutation(20) + 1
    images.reshape(20, -1)[:, 5] = query.ravel()[5] + 1e-4 * offsets
    index, distance = nearest_neighbours(query, images, 20)
    np.testing.assert_array_equal(index[0], np.argsort(offsets))
    np.testing.assert_allclose(distance[0] * 12288, np.square(1e-4 * np.sort(offsets)), rtol=0.01)


def test_equal_images_come_in_the_order_of_their_numbers(monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK_BYTES", 3 * 4 * 12)
    monkeypatch.setattr(neighbours, "EXACT_ROWS", 2)
    images = np.full((11, 2, 2, 3), 77, np.uint8)
    index, distance = nearest_neighbours(images[:2] / 127.5 - 1, images, 4)
    assert index.tolist() == [[0, 1, 2, 3]] * 2
    np.testing.assert_allclose(distance, 0, atol=1e-12)


def test_memory_mapped_images_give_the_same_and_are_left_as_they_were(tmp_path):
    images = np.random.default_rng(2).integers(0, 256, (40, 4, 4, 3)).astype(np.uint8)
    images.tofile(tmp_path / "images")
    mapped = np.memmap(tmp_path / "images", np.uint8, mode="r", shape=images.shape)
    queries = images[3:6] / np.float32(127.5) - 1
    for plain, from_file in zip(nearest_neighbours(queries, images, 3), nearest_neighbours(queries, mapped, 3), strict=True):
        np.testing.assert_array_equal(plain, from_file)
    np.testing.assert_array_equal(mapped, images)


def test_images_that_stay_in_their_file_give_the_same(tmp_path):
    images = np.random.default_rng(2).integers(0, 256, (40, 4, 4, 3)).astype(np.uint8)
    images.tofile(tmp_path / "images")
    queries = images[3:6] / np.float32(127.5) - 1
    stored = StoredImages(tmp_path / "images", images.shape)
    for plain, from_file in zip(nearest_neighbours(queries, images, 3), nearest_neighbours(queries, stored, 3), strict=True):
        np.testing.assert_array_equal(plain, from_file)


def test_changes_of_a_private_mapping_are_not_lost(tmp_path):
    np.zeros((4, 2, 2, 3), np.uint8).tofile(tmp_path / "images")
    mapped = np.memmap(tmp_path / "images", np.uint8, mode="c", shape=(4, 2, 2, 3))
    mapped[2] = 255
    index, _ = nearest_neighbours(np.ones((1, 2, 2, 3)), mapped)
    assert index.tolist() == [[2]] and mapped[2].min() == 255


def test_near_codes_are_those_of_the_smallest_angle():
    angles = np.deg2rad([0, 50, 100, 185])
    codes = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    index, distance = nearest_codes(np.array([[np.cos(np.deg2rad(60)), np.sin(np.deg2rad(60))]]), codes, 3)
    assert index.tolist() == [[1, 2, 0]]
    np.testing.assert_allclose(distance[0], 2 * np.sin(np.deg2rad([10, 40, 60]) / 2), rtol=1e-5)


def test_no_queries_are_refused():
    with pytest.raises(ValueError, match="there are no queries"):
        nearest_neighbours(np.zeros((0, 2, 2, 3)), np.zeros((3, 2, 2, 3)))
