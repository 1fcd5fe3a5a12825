"""Whole people: who is in an image, and that nobody is in both parts."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glo_lib.images.people import find_people, hold_out_people
from tests.make_files import write_file


def write_all(folder, names):
    return [write_file(folder / name) for name in names]


def test_celebas_list_says_who_is_in_an_image(tmp_path):
    filenames = write_all(tmp_path / "Img" / "img_align_celeba", ("000001.jpg", "000002.jpg", "000003.jpg"))
    path = write_file(tmp_path / "Anno" / "identity_CelebA.txt", b"000001.jpg 2880\n000002.jpg 17\n000003.jpg 2880\n")
    assert find_people(tmp_path / "Img", filenames) == (["2880", "17", "2880"], path)


@pytest.mark.parametrize(
    ("names", "people", "source"),
    [
        (("Ann_Lee_0001.jpg", "Ann_Lee_0002.jpg", "Bo_1.png"), ["Ann_Lee", "Ann_Lee", "Bo"], "file names such as 'Ann_Lee_0001.jpg'"),
        (("Ann_Lee/Ann_Lee_0001.jpg", "Bo/Bo_0001.jpg"), ["Ann_Lee", "Bo"], "file names such as 'Ann_Lee_0001.jpg'"),
        (("a/Zoë_1.jpg", "a/Yi_1.jpg", "b/Xi_1.jpg"), ["Zoë", "Yi", "Xi"], "file names such as 'Zoë_1.jpg'"),
        (("n1/0001_01.jpg", "n1/0002_01.jpg", "n2/0001_01.jpg"), ["n1", "n1", "n2"], "one folder for each person, such as 'n1'"),
        (("ann/IMG_0001.jpg", "ann/DSC_0001.jpg", "bo/IMG_0001.jpg"), ["ann", "ann", "bo"], "one folder for each person, such as 'ann'"),
    ],
)
def test_names_and_folders_say_who_is_in_an_image(tmp_path, names, people, source):
    found = find_people(tmp_path, write_all(tmp_path, names))
    assert [name.removeprefix(f"{tmp_path}/") for name in found.names] == people and found.source == source


def test_what_is_missing_is_said(tmp_path):
    filenames = write_all(tmp_path, ("Ann_0001.jpg", "17.jpg"))
    with pytest.raises(
        ValueError, match=r"no identity_CelebA.txt or .csv in .*'17.jpg' is not a name such as NAME_0001.jpg.*not a folder for each"
    ):
        find_people(tmp_path, filenames)
    with pytest.raises(ValueError, match=r"'2024_01.jpg' is not a name"):
        find_people(tmp_path, write_all(tmp_path, ("2024_01.jpg", "2024_02.jpg")))
    write_file(tmp_path / "identity_CelebA.txt", b"17.jpg 3\n")
    with pytest.raises(ValueError, match=r"lists 1 images, and not 'Ann_0001\.jpg'"):
        find_people(tmp_path, filenames)


PEOPLE = st.lists(st.integers(1, 9), min_size=2, max_size=8)


@given(PEOPLE, st.floats(0.01, 0.9), st.integers(0, 3))
def test_nobody_is_in_both_parts_and_the_share_is_met_as_nearly_as_possible(counts, share, seed):
    names = [f"person {number}" for number, count in enumerate(counts) for _ in range(count)]
    held_out = hold_out_people(names, share, seed)
    parts = [{name for name, out in zip(names, held_out, strict=True) if out == wanted} for wanted in (True, False)]
    assert all(parts) and not set.intersection(*parts)
    target = max(1, round(share * len(names)))
    possible = [sum(some) for size in range(1, len(counts)) for some in itertools.combinations(counts, size)]
    assert abs(held_out.sum() - target) == min(abs(total - target) for total in possible)
    np.testing.assert_array_equal(held_out, hold_out_people(names, share, seed))


def test_the_seed_chooses_the_people():
    names = [f"{number // 3}" for number in range(300)]
    assert len({tuple(hold_out_people(names, 0.2, seed)) for seed in range(5)}) == 5


def test_a_single_person_cannot_be_divided():
    with pytest.raises(ValueError, match="all images are of one person, 'IMG'; give another held_out_by"):
        hold_out_people(["IMG"] * 4, 0.5)
