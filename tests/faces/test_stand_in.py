"""The stand-in for CelebA's release: its numbers, its formats, and landmarks that fit the drawn faces."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from glo_lib.faces import draw_face, sample_factors
from glo_lib.faces.stand_in import NUM_IMAGES, PART_SIZES, Variation, landmarks_of, part_sizes, people_of, variation_of, vary, write_release
from glo_lib.images import release
from glo_lib.images.landmarks import find_landmarks
from glo_lib.images.report import examine
from glo_lib.images.split import split_images
from glo_lib.inference.directions import read_attributes


def test_its_numbers_are_those_published():
    assert part_sizes(release.NUM_IMAGES) == PART_SIZES == release.PART_SIZES and NUM_IMAGES == release.NUM_IMAGES
    people = people_of(NUM_IMAGES)
    training, validation, test = (set(part) for part in np.split(people, np.cumsum(PART_SIZES)[:2]))
    assert len(set(people)) == release.NUM_PEOPLE == max(people) and min(people) == 1
    assert len(training & validation) == 3 and not (training | validation) & test
    assert max(Counter(people).values()) <= 21  # about as many as in the release, where the largest number is 35


@pytest.mark.parametrize("num_images", [10, 11, 99, 5000])
def test_smaller_ones_have_all_parts_and_several_people(num_images):
    assert sum(part_sizes(num_images)) == num_images == len(people_of(num_images)) and min(part_sizes(num_images)) >= 1


@pytest.fixture(scope="module", params=[True, False], ids=["archive", "folder"])
def stand_in(request, tmp_path_factory):
    return write_release(tmp_path_factory.mktemp("release") / "CelebA", num_images=40, drawn=2, archive=request.param)


def test_it_is_recognised_as_celeba_and_sound(stand_in):
    report = examine(stand_in, decode=True)
    assert (report.data_set, report.num_images, report.sizes, report.damaged) == ("CelebA", 40, {"178x218": 40}, {})
    assert report.is_sound and all(entry.rows == 40 for entry in report.lists) and report.shared["training and validation"] == 1
    assert report.parts == dict(zip(release.PART_NAMES, part_sizes(40), strict=True))


def test_every_part_of_the_library_reads_it(stand_in, tmp_path, monkeypatch):
    monkeypatch.setenv("GLO_CACHE_DIR", str(tmp_path / "cache"))
    data_dir = stand_in / "Img" / "img_align_celeba.zip"
    data_dir = data_dir if data_dir.exists() else stand_in
    split = split_images(data_dir, 0.1, by="partition")
    assert (len(split.training), len(split.held_out)) == (32, 8)
    table = read_attributes(stand_in / "Anno" / "list_attr_celeba.txt", split.training)
    assert len(table.names) == 40 and set(np.unique(table.values)) == {-1, 1}
    np.testing.assert_array_equal(find_landmarks(split.training, data_dir)[7], landmarks_of(variation_of(7, drawn=2)))
    contents = {Path(filename).read_bytes() for filename in split.training + split.held_out}
    assert len(contents) == 40  # no two files are alike


def test_the_landmarks_move_with_the_face():
    """Colours around the eyes are the same wherever a face is moved, and mirrored when it is."""
    face = draw_face(sample_factors(1))

    def around(image, point):
        x, y = point
        return image[y - 4 : y + 5, x - 4 : x + 5].astype(int)

    still = Variation(0, (0, 0), False, 1.0)
    for shift in ((6, -6), (-3, 2)):
        moved, mirrored = still._replace(shift=shift), still._replace(shift=shift, mirrored=True)
        for number, twin in enumerate((1, 0, 2, 4, 3)):
            expected = around(face, landmarks_of(still)[number])
            np.testing.assert_array_equal(around(vary(face, moved), landmarks_of(moved)[number]), expected)
            np.testing.assert_array_equal(around(vary(face, mirrored), landmarks_of(mirrored)[twin]), expected[:, ::-1])
    assert vary(face, still._replace(brightness=0.5)).mean() == pytest.approx(face.mean() / 2, abs=0.5)


def test_a_folder_in_use_and_impossible_numbers_are_refused(tmp_path):
    (tmp_path / "x").touch()
    with pytest.raises(FileExistsError, match="is not empty"):
        write_release(tmp_path, 10, 1)
    for numbers in ((9, 1), (10, 0)):
        with pytest.raises(ValueError, match="give at least 10 images and 1 face"):
            write_release(tmp_path / "new", *numbers)
