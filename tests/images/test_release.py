"""What is published of CelebA, and the messages that say where it is to be had."""

import re

import pytest

from glo_lib.config import TrainConfig
from glo_lib.images import release
from glo_lib.images.split import find_split
from tests.make_files import write_file


def test_the_published_numbers_agree_with_each_other():
    assert sum(release.PART_SIZES) == release.NUM_IMAGES
    checksums = [file.md5 for file in release.LISTS] + [release.ARCHIVE_MD5]
    assert all(re.fullmatch(r"[0-9a-f]{32}", checksum) for checksum in checksums) and len(set(checksums)) == 5


def test_how_to_get_it_names_the_page_the_licence_and_every_file():
    text = release.how_to_get()
    assert release.PAGE in text and "non-commercial research" in text
    assert all(
        name in text for name in (release.IMAGE_ARCHIVE, "000001.jpg", "202599.jpg", *(f"{file.name}.txt" for file in release.LISTS))
    )


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["img_celeba.7z.001", "img_celeba.7z.002", "x"], "img_celeba.7z.001 (2 files) holds the photographs before they were aligned"),
        (["IMG_CELEBA.7Z"], "IMG_CELEBA.7Z (1 file) holds the photographs"),
        (["img_align_celeba_png.7z.001"], "holds the aligned images as PNG files; unpack it"),
        (["img_celeba.7z.0001", "img_celeba.zip", "photographs.7z"], ""),
    ],
)
def test_archives_that_cannot_be_read_are_declined_by_name(names, expected):
    found = release.describe_seven_zip(names)
    assert expected in found and bool(found) == bool(expected)


def test_a_training_on_files_that_are_missing_never_uses_others(tmp_path):
    """The message says where CelebA is to be had, or what is there instead; the embedded faces are for an empty data_dir alone."""
    for missing in (tmp_path / "img_align_celeba.zip", tmp_path / "CelebA"):
        with pytest.raises(FileNotFoundError, match=r"(?s)does not exist.*official page.*non-commercial.*identity_CelebA.txt"):
            find_split(TrainConfig(data_dir=str(missing)))
    write_file(tmp_path / "faces" / "Anno" / "list_attr_celeba.txt")
    write_file(tmp_path / "faces" / "Img" / "img_celeba.7z.001")
    with pytest.raises(FileNotFoundError, match=r"(?s)holds no image.*img_celeba.7z.001.*before they were aligned.*official page"):
        find_split(TrainConfig(data_dir=str(tmp_path / "faces")))
    archive = write_file(tmp_path / "faces" / "Img" / "img_align_celeba.zip")
    with pytest.raises(FileNotFoundError, match=re.escape(f"give data_dir {archive!r}")):
        find_split(TrainConfig(data_dir=str(tmp_path / "faces")))
    write_file(tmp_path / "notes" / "a.txt")
    with pytest.raises(FileNotFoundError, match=r"'python -m glo_lib data .*notes' says what is there$"):
        find_split(TrainConfig(data_dir=str(tmp_path / "notes")))
    with pytest.raises(FileNotFoundError, match=r"zip archive of them$"):
        find_split(TrainConfig(data_dir=str(tmp_path / "photographs")))


@pytest.mark.parametrize("by", ["partition", "identity"])
def test_a_missing_list_is_said_to_be_on_the_official_page(tmp_path, by):
    for number in range(1, 4):
        write_file(tmp_path / f"{number:06}.jpg")
    with pytest.raises(ValueError, match=f"give another held_out_by; for CelebA .*{re.escape(release.PAGE)}"):
        find_split(TrainConfig(data_dir=str(tmp_path), held_out=0.5, held_out_by=by))
    assert release.where_to_get(["beach.jpg"]) == release.where_to_get([]) == ""
