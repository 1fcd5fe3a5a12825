"""Nearest neighbours are those of brute force, whatever the rounding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glo_lib.images.store import StoredImages
from glo_lib.inference import neighbours
from glo_lib.inference.neighbours import nearest_codes, nearest_neighbours, nearest_rows


def in_small_blocks(patch, entries, queries=3, rows=5):
    """Search in blocks of so many queries and rows: the result must not depend on where they end."""
    patch.setattr(neighbours, "QUERY_BYTES", 4 * entries * queries)
    patch.setattr(neighbours, "BLOCK_BYTES", 4 * entries * rows)
    patch.setattr(neighbours, "EXACT_ROWS", 2)


def by_brute_force(queries, rows, num_neighbours, among_themselves=False):
    """The slow route: all distances, sorted; of equal ones the first."""
    squared = np.square(queries[:, None].astype(np.float64) - rows[None]).reshape(len(queries), len(rows), -1).sum(axis=2)
    if among_themselves:
        np.fill_diagonal(squared, np.inf)
    index = np.argsort(squared, axis=1, kind="stable")[:, :num_neighbours]
    return index, np.take_along_axis(squared, index, axis=1)


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


@settings(max_examples=60)
@given(
    count=st.integers(2, 24),
    width=st.integers(1, 4),
    levels=st.integers(1, 6),
    num_neighbours=st.integers(1, 23),
    seed=st.integers(0, 10**6),
)
def test_rows_are_those_of_brute_force_with_and_without_the_row_itself(count, width, levels, num_neighbours, seed):
    """Rows on a coarse grid: many of them are equal, or equally far."""
    draw = np.random.default_rng(seed)
    rows, queries = (draw.integers(0, levels, (number, width)).astype(np.float64) for number in (count, 7))
    with pytest.MonkeyPatch.context() as patch:
        in_small_blocks(patch, width)
        for some, among_themselves in ((queries, False), (rows, True)):
            most = min(num_neighbours, count - among_themselves)
            index, squared = nearest_rows(some, rows, most, among_themselves)
            expected_index, expected = by_brute_force(some, rows, most, among_themselves)
            np.testing.assert_array_equal(index, expected_index)
            np.testing.assert_array_equal(squared, expected)


def test_a_row_is_no_neighbour_of_itself_but_an_equal_row_is():
    rows = np.array([[0.0, 1.0], [4.0, 4.0], [0.0, 1.0], [4.0, 5.0]])
    index, squared = nearest_rows(rows, rows, among_themselves=True)
    assert index.ravel().tolist() == [2, 3, 0, 1]
    assert squared.ravel().tolist() == [0, 1, 0, 1]
    index, _ = nearest_rows(rows, rows)
    assert index.ravel().tolist() == [0, 1, 0, 3]


def test_images_have_neighbours_among_themselves(monkeypatch):
    images = np.random.default_rng(3).integers(0, 256, (30, 4, 4, 3)).astype(np.uint8)
    in_small_blocks(monkeypatch, 48)
    index, squared = nearest_rows(images, images, 4, among_themselves=True)
    expected_index, expected = by_brute_force(images / 127.5 - 1, images / 127.5 - 1, 4, among_themselves=True)
    np.testing.assert_array_equal(index, expected_index)
    np.testing.assert_allclose(squared, expected, rtol=1e-12)
    assert not (index == np.arange(30)[:, None]).any()


@pytest.mark.parametrize("offset", [0.0, 1.0, 300.0])
def test_differences_that_float32_cannot_hold_still_give_the_exact_order(offset, monkeypatch):
    """Features in float64 that differ by 1e-9: as float32 they are all equal."""
    draw = np.random.default_rng(4)
    steps = draw.permutation(40) + 1
    query = offset + draw.uniform(0.5, 1, (1, 20))
    rows = np.repeat(query, 40, axis=0)
    rows[:, 7] += 1e-9 * steps
    assert len(np.unique(rows.astype(np.float32), axis=0)) == 1
    in_small_blocks(monkeypatch, 20)
    index, squared = nearest_rows(query, rows, 5)
    np.testing.assert_array_equal(index[0], np.argsort(steps)[:5])
    np.testing.assert_allclose(np.sqrt(squared[0]), 1e-9 * np.arange(1, 6), rtol=1e-3)
    index, _ = nearest_rows(rows, rows, 2, among_themselves=True)
    np.testing.assert_array_equal(index, by_brute_force(rows, rows, 2, among_themselves=True)[0])


@pytest.mark.parametrize("at_once", [1, 4, 11, 12])
def test_queries_in_several_blocks_give_the_same(at_once, monkeypatch):
    draw = np.random.default_rng(6)
    rows, queries = draw.normal(size=(50, 3, 4)).astype(np.float32), draw.normal(size=(11, 3, 4)).astype(np.float32)
    together = nearest_rows(queries, rows, 3)
    among = nearest_rows(rows, rows, 3, among_themselves=True)
    monkeypatch.setattr(neighbours, "QUERY_BYTES", 4 * 12 * at_once)
    for whole, in_blocks in zip((*together, *among), (*nearest_rows(queries, rows, 3), *nearest_rows(rows, rows, 3, True)), strict=True):
        np.testing.assert_array_equal(whole, in_blocks)


def test_a_block_of_queries_takes_one_pass_over_the_rows(monkeypatch):
    passes = []
    plain = neighbours.flat_blocks
    monkeypatch.setattr(neighbours, "flat_blocks", lambda rows, **settings: passes.append(len(rows)) or plain(rows, **settings))
    rows = np.random.default_rng(7).normal(size=(20, 5))
    nearest_rows(rows, rows)
    assert passes == [20]
    monkeypatch.setattr(neighbours, "QUERY_BYTES", 4 * 5 * 7)
    nearest_rows(rows, rows)
    assert passes == [20] * 4  # queries 0 ... 6, 7 ... 13, 14 ... 19


def test_queries_may_be_bytes():
    images = np.random.default_rng(8).integers(0, 256, (12, 4, 4, 3)).astype(np.uint8)
    (index, distance), (float_index, float_distance) = (
        nearest_neighbours(queries, images, 3) for queries in (images[:4], images[:4] / 127.5 - 1)
    )
    np.testing.assert_array_equal(index, float_index)
    np.testing.assert_array_equal(distance, float_distance)
    assert index[:, 0].tolist() == [0, 1, 2, 3] and distance[:, 0].tolist() == [0] * 4


def test_among_themselves_one_neighbour_less_can_be_had():
    rows = np.eye(3)
    with pytest.raises(ValueError, match="num_neighbours is 3; with 3 images it can be 1 to 2"):
        nearest_rows(rows, rows, 3, among_themselves=True)
    with pytest.raises(ValueError, match="num_neighbours is 0; with 3 images it can be 1 to 3"):
        nearest_rows(rows, rows, 0)
