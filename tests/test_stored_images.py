"""Images in a file are indexed like an array in memory."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glo_lib.stored_images import StoredImages

ARRAY = np.random.default_rng(0).integers(0, 256, (7, 3, 2, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("stored") / "images.uint8"
    ARRAY.tofile(path)
    return path


@pytest.fixture(scope="module")
def stored(path):
    return StoredImages(path, ARRAY.shape)


def test_it_has_the_facts_of_an_array(stored):
    assert (stored.shape, stored.ndim, stored.dtype, len(stored)) == (ARRAY.shape, 4, np.uint8, 7)
    np.testing.assert_array_equal(np.asarray(stored), ARRAY)
    assert np.asarray(stored, np.float32).dtype == np.float32


INDICES = st.integers(-7, 6)
SLICES = st.builds(slice, st.none() | st.integers(-9, 9), st.none() | st.integers(-9, 9), st.none() | st.integers(-3, 3).filter(bool))


@settings(deadline=None, max_examples=50)
@given(rows=INDICES | SLICES | st.lists(INDICES, max_size=9).map(lambda rows: np.array(rows, np.int64)))
def test_rows_are_those_that_numpy_gives(stored, rows):
    np.testing.assert_array_equal(stored[rows], ARRAY[rows])


def test_a_mask_and_a_table_of_indices_choose_rows(stored):
    mask = np.arange(7) % 2 == 0
    np.testing.assert_array_equal(stored[mask], ARRAY[mask])
    np.testing.assert_array_equal(stored[np.array([[0, 3], [6, 6]])], ARRAY[[[0, 3], [6, 6]]])


@pytest.mark.parametrize("rows", [7, -8, [0, 7], np.array([-8])])
def test_rows_that_are_not_there_are_refused(stored, rows):
    with pytest.raises(IndexError, match="there are 7"):
        stored[rows]


def test_what_is_read_belongs_to_the_caller(stored):
    stored[:2][:] = 0
    np.testing.assert_array_equal(stored[:2], ARRAY[:2])


def test_a_system_that_hands_out_little_at_once_is_asked_again(stored, monkeypatch):
    whole = os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, views, offset: whole(file, [views[0][:5]], offset))
    np.testing.assert_array_equal(stored[1:6], ARRAY[1:6])


def test_a_file_of_another_size_is_refused(path):
    with pytest.raises(ValueError, match=r"has 126 bytes; images of shape \(8, 3, 2, 3\) have 144"):
        StoredImages(path, (8, 3, 2, 3))


def test_a_missing_file_is_an_error_of_its_own(tmp_path):
    with pytest.raises(FileNotFoundError):
        StoredImages(tmp_path / "none", (1, 1, 1, 3))


def test_a_file_that_shrinks_while_in_use_is_noticed(tmp_path):
    path = tmp_path / "images.uint8"
    ARRAY.tofile(path)
    images = StoredImages(path, ARRAY.shape)
    os.truncate(path, 20)
    with pytest.raises(OSError, match="shorter"):
        images[:]


def test_files_are_closed_with_the_last_reference(path):
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    if before is None:
        pytest.skip("no /proc")
    for _ in range(20):
        StoredImages(path, ARRAY.shape)[0]
    assert len(os.listdir("/proc/self/fd")) == before
