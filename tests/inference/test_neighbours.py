"""Nearest neighbours are those of brute force, whatever the rounding."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glo_lib.images.store import StoredImages
from glo_lib.inference import neighbours
from glo_lib.inference.neighbours import nearest_codes, nearest_neighbours, nearest_rows


def use_small_blocks(patch, entries, queries=3, rows=5):
    """Search in blocks of a few queries and rows. The result must not depend on where the blocks end."""
    patch.setattr(neighbours, "QUERY_BYTES", 4 * entries * queries)
    patch.setattr(neighbours, "BLOCK_BYTES", 4 * entries * rows)
    patch.setattr(neighbours, "DISTANCES", 2 * rows)
    patch.setattr(neighbours, "FLOAT64_ROWS", 2)


def search_by_brute_force(queries, rows, num_neighbours, among_themselves=False):
    """Sort all distances. Of equal distances the first comes first."""
    squared = np.square(queries[:, None].astype(np.float64) - rows[None]).reshape(len(queries), len(rows), -1).sum(axis=2)
    if among_themselves:
        np.fill_diagonal(squared, np.inf)
    index = np.argsort(squared, axis=1, kind="stable")[:, :num_neighbours]
    return index, np.take_along_axis(squared, index, axis=1)


@settings(max_examples=60)
@given(
    count=st.integers(2, 24), width=st.integers(1, 4), levels=st.integers(1, 6), num_neighbours=st.integers(1, 23), seed=st.integers(0, 999)
)
def test_rows_are_those_of_brute_force_with_and_without_the_row_itself(count, width, levels, num_neighbours, seed):
    """The rows lie on a coarse grid, so many of them are equal or equally far."""
    draw = np.random.default_rng(seed)
    rows, queries = (draw.integers(0, levels, (number, width)).astype(np.float64) for number in (count, 7))
    with pytest.MonkeyPatch.context() as patch:
        use_small_blocks(patch, width)
        for some, among_themselves in ((queries, False), (rows, True)):
            most = min(num_neighbours, count - among_themselves)
            index, squared = nearest_rows(some, rows, most, among_themselves)
            expected_index, expected = search_by_brute_force(some, rows, most, among_themselves)
            np.testing.assert_array_equal(index, expected_index)
            np.testing.assert_array_equal(squared, expected)


def test_images_in_any_form_have_the_neighbours_of_brute_force(tmp_path, monkeypatch):
    draw = np.random.default_rng(5)
    images = draw.integers(0, 256, (83, 4, 4, 3)).astype(np.uint8)
    file = tmp_path / "images"
    images.tofile(file)
    queries = np.clip(images[[7, 30]] + draw.normal(0, 40, (2, 4, 4, 3)), 0, 255).astype(np.uint8)
    brute = np.square(queries[:, None] / 127.5 - images[None] / 127.5).mean(axis=(2, 3, 4))
    use_small_blocks(monkeypatch, 48)
    mapped, stored = np.memmap(file, np.uint8, mode="r", shape=images.shape), StoredImages(file, images.shape)
    for form in (images, images / np.float32(127.5) - 1, mapped, stored):
        for some in (queries, queries / np.float32(127.5) - 1):
            index, distance = nearest_neighbours(some, form, 5)
            np.testing.assert_array_equal(index, np.argsort(brute, axis=1)[:, :5])
            np.testing.assert_allclose(distance, np.sort(brute, axis=1)[:, :5], rtol=1e-5)


def test_changes_of_a_copy_on_write_mapping_are_kept(tmp_path):
    np.zeros((4, 2, 2, 3), np.uint8).tofile(tmp_path / "images")
    mapped = np.memmap(tmp_path / "images", np.uint8, mode="c", shape=(4, 2, 2, 3))
    mapped[2] = 255
    index, _ = nearest_neighbours(np.ones((1, 2, 2, 3)), mapped)
    assert index.tolist() == [[2]] and mapped[2].min() == 255


def test_differences_below_the_rounding_of_float32_products_are_resolved():
    """All images differ from the query in one entry of 12,288, by steps that a float32 matrix product cannot resolve."""
    draw = np.random.default_rng(1)
    query = draw.uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32)
    images = np.repeat(query, 20, axis=0)
    offsets = draw.permutation(20) + 1
    images.reshape(20, -1)[:, 5] = query.ravel()[5] + 1e-4 * offsets
    index, distance = nearest_neighbours(query, images, 20)
    np.testing.assert_array_equal(index[0], np.argsort(offsets))
    np.testing.assert_allclose(distance[0] * 12288, np.square(1e-4 * np.sort(offsets)), rtol=0.01)


def test_float64_rows_that_are_equal_in_float32_are_ordered_exactly(monkeypatch):
    draw = np.random.default_rng(4)
    steps = draw.permutation(40) + 1
    query = 300 + draw.uniform(0.5, 1, (1, 20))
    rows = np.repeat(query, 40, axis=0)
    rows[:, 7] += 1e-9 * steps
    assert len(np.unique(rows.astype(np.float32), axis=0)) == 1
    use_small_blocks(monkeypatch, 20)
    index, squared = nearest_rows(query, rows, 5)
    np.testing.assert_array_equal(index[0], np.argsort(steps)[:5])
    np.testing.assert_allclose(np.sqrt(squared[0]), 1e-9 * np.arange(1, 6), rtol=1e-3)


def test_nearest_codes_are_those_of_the_smallest_angle():
    angles = np.deg2rad([0, 50, 100, 185])
    codes = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    index, distance = nearest_codes(np.array([[np.cos(np.deg2rad(60)), np.sin(np.deg2rad(60))]]), codes, 3)
    assert index.tolist() == [[1, 2, 0]]
    np.testing.assert_allclose(distance[0], 2 * np.sin(np.deg2rad([10, 40, 60]) / 2), rtol=1e-5)


def test_a_block_of_queries_takes_one_pass_over_the_rows(monkeypatch):
    passes = []
    flat_blocks = neighbours.flat_blocks
    monkeypatch.setattr(neighbours, "flat_blocks", lambda rows, **settings: passes.append(rows) or flat_blocks(rows, **settings))
    nearest_rows(np.eye(20), np.eye(20))
    assert len(passes) == 1


def test_the_memory_of_the_search_does_not_grow_with_the_number_of_distances():
    """There are 8 million distances, of 64 MB in float64. One part of them takes 8 MB, and its formula holds a few copies."""
    queries, rows = (np.random.default_rng(seed).standard_normal((count, 1)) for seed, count in ((0, 200), (1, 40_000)))
    tracemalloc.start()
    try:
        nearest_rows(queries, rows)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * queries.size * rows.size


@pytest.mark.parametrize(
    ("queries", "num_neighbours", "among_themselves", "message"),
    [
        (np.eye(3), 4, False, "num_neighbours is 4; with 3 images it can be 1 to 3"),
        (np.eye(3), 3, True, "num_neighbours is 3; with 3 images it can be 1 to 2"),
        (np.eye(3), 0, False, "num_neighbours is 0; with 3 images"),
        (np.zeros((1, 2)), 1, False, "must be alike"),
        (np.zeros((0, 3)), 1, False, "there are no queries"),
    ],
)
def test_impossible_searches_are_refused(queries, num_neighbours, among_themselves, message):
    with pytest.raises(ValueError, match=message):
        nearest_rows(queries, np.eye(3), num_neighbours, among_themselves)
