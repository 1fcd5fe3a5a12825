"""What a folder or archive holds: every layout of CelebA, LFW and FFHQ by itself, and what is missing or damaged by name."""

import hashlib
import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glo_lib.__main__ import DONE, PARTLY_DONE, REFUSED, main
from glo_lib.images import release
from glo_lib.images.release import ATTRIBUTES, IDENTITY, LANDMARKS, PARTITION
from glo_lib.images.report import examine
from glo_lib.system.cache import cache_root
from tests.make_files import write_file

PEOPLE = ["7", "7", "8", "8", "9", "7"]  # of the images 1 to 6
PARTS = ["0", "0", "0", "1", "1", "2"]  # person 7 is in training and test, 8 in training and validation
NAMES = [f"{number:06}.jpg" for number in range(1, 7)]


def image_bytes(size=(178, 218), kind="JPEG", number=0):
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 255, (*size[::-1], 3), np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


JPEG = image_bytes()


def list_bytes(name, ending, names=NAMES):
    """The contents of one of CelebA's lists, as the release (txt) or Kaggle (csv) has it."""
    table = {ATTRIBUTES: ["Smiling", "Young"], LANDMARKS: ["lefteye_x", "lefteye_y"]}
    cells = {ATTRIBUTES: "1 -1", LANDMARKS: "69 109"}
    values = {PARTITION: PARTS, IDENTITY: PEOPLE}.get(name, [cells.get(name)] * len(names))
    lines = [f"{image} {value}" for image, value in zip(names, values, strict=False)]
    if ending == "csv":
        return "\n".join([",".join(["image_id", *table.get(name, ["value"])]), *(line.replace(" ", ",") for line in lines)]).encode()
    return "\n".join([*([str(len(names)), " ".join(table[name])] if name in table else []), *lines, ""]).encode()


LISTS = (ATTRIBUTES, PARTITION, IDENTITY, LANDMARKS)


def write_release(root, images="Img/img_align_celeba", ending="txt", folders=("Anno", "Eval", "Anno", "Anno"), lists=LISTS):
    for number, name in enumerate(NAMES):
        write_file(root / images / name, JPEG if number else image_bytes(number=1))
    for name, folder in zip(LISTS, folders, strict=True):
        if name in lists:
            write_file(root / folder / f"{name}.{ending}", list_bytes(name, ending))
    return root


def pack(folder, archive):
    archive.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.make_archive(str(archive.with_suffix("")), "zip", folder))


LAYOUTS = {
    "official tree": ({}, ".", "a folder, as in the official tree"),
    "its folder Img": ({}, "Img", "a folder, as in the official tree"),
    "its folder of images": ({}, "Img/img_align_celeba", "a folder, as in the official tree"),
    "flat": ({"images": ".", "folders": [""] * 4}, ".", "a folder, in one place"),
    "lists beside": ({"images": "img_align_celeba", "folders": [""] * 4}, ".", "a folder, in one place"),
    "Kaggle": (
        {"images": "img_align_celeba/img_align_celeba", "ending": "csv", "folders": [""] * 4}, ".", "as Kaggle has it (CSV files), in a"
    ),
    "Kaggle's inner folder": (
        {"images": "img_align_celeba/img_align_celeba", "ending": "csv", "folders": [""] * 4}, "img_align_celeba", "as Kaggle has it"
    ),
}  # fmt: skip


def check_facts(report):
    assert report.data_set == "CelebA" and report.num_images == 6 and report.num_published == 202_599 and report.is_sound
    assert report.sizes == {"178x218": 6} and report.endings == {".jpg": 6} and not report.damaged
    assert [entry.name for entry in report.lists] == list(LISTS) and all(entry.is_sound and entry.rows == 6 for entry in report.lists)
    assert report.parts == {"training": 3, "validation": 2, "test": 1} and report.num_people == 3
    assert report.shared == {"training and validation": 1, "training and test": 1, "validation and test": 0, "any": 2}


@pytest.mark.parametrize(("written", "given", "layout"), LAYOUTS.values(), ids=LAYOUTS)
def test_celeba_is_recognised_in_every_layout(tmp_path, monkeypatch, written, given, layout):
    monkeypatch.chdir(write_release(tmp_path / "root", **written))
    for path in (given, tmp_path / "root" / given):
        report = examine(path)
        check_facts(report)
        assert layout in report.layout and report.data_dir == str(path)


@pytest.mark.parametrize("given", ["CelebA", "CelebA/Img", "CelebA/Img/img_align_celeba.zip", "archive.zip"])
def test_archives_are_examined_without_being_unpacked(tmp_path, given):
    root = write_release(tmp_path / "packed")
    write_file(root / "preview.jpg", JPEG)  # beside the folder of CelebA's images, so it is none of them
    pack(root, tmp_path / "archive.zip")
    pack(root / "Img", tmp_path / "CelebA" / "Img" / "img_align_celeba.zip")
    for folder in ("Anno", "Eval"):
        shutil.copytree(root / folder, tmp_path / "CelebA" / folder)
    report = examine(tmp_path / given)
    check_facts(report)
    assert report.layout.startswith("a zip archive") and report.data_dir.endswith(".zip") and not cache_root().exists()
    assert report.archive_as_published is (None if given == "archive.zip" else False)


def test_numbers_and_checksums_are_compared_with_those_published(tmp_path, monkeypatch):
    root = write_release(tmp_path)
    contents = (root / "Eval" / f"{PARTITION}.txt").read_bytes()
    published = tuple(file._replace(md5=hashlib.md5(contents).hexdigest()) for file in release.LISTS)
    text = str(examine(root))
    assert "MD5 is not the published one" in text and "!   images: 6, 202,599 published" in text
    assert "training 3 (162,770), validation 2 (19,867), test 1 (19,962)" in text and "people: 3, 10,177 published" in text
    assert "people in more than one part of the official split: 2 (training and validation 1, training and test 1" in text
    monkeypatch.setattr(release, "LISTS", published)
    monkeypatch.setattr(release, "NUM_IMAGES", 6)
    report = examine(root)
    assert [entry.as_published for entry in report.lists] == [False, True, False, False]
    assert "ok  images: 6, 6 published" in str(report) and f"ok  {PARTITION}" in str(report)
    assert "no MD5 published" in str(examine(write_release(tmp_path / "kaggle", "img_align_celeba", "csv", [""] * 4)))


def test_missing_lists_are_named_with_their_use_and_the_page_that_has_them(tmp_path):
    report = examine(write_release(tmp_path, lists=(ATTRIBUTES,)))
    text = str(report)
    assert report.is_sound and report.num_people is None and report.shared == {} and report.parts == {}
    assert f"!   {IDENTITY}: missing (who is in each image: held_out_by identity" in text
    assert f"add {PARTITION}.txt, {IDENTITY}.txt, {LANDMARKS}.txt from {release.PAGE}" in text and "non-commercial" in text


def test_lists_that_do_not_fit_the_images_or_cannot_be_read_are_named(tmp_path):
    root = write_release(tmp_path)
    write_file(root / "Eval" / f"{PARTITION}.txt", b"000001.jpg 3\n")
    write_file(root / "Anno" / f"{IDENTITY}.txt", list_bytes(IDENTITY, "txt", [*NAMES[:4], "000099.jpg"]))
    write_file(root / "Anno" / f"{LANDMARKS}.txt", b"0\nx y\n")
    report = examine(root)
    text = str(report)
    assert not report.is_sound and "line 1: '000001.jpg 3' is not a file name and 0, 1 or 2" in text and "lists no image" in text
    assert "5 rows, 1 of them without an image, 2 images have no row" in text and report.next[0].startswith("replace")


def damaged_release(root):
    write_release(root)
    images = root / "Img" / "img_align_celeba"
    write_file(images / NAMES[1], JPEG[: len(JPEG) // 2])
    write_file(images / NAMES[2], b"<html>quota exceeded</html>")
    write_file(images / NAMES[3], b"")
    write_file(images / NAMES[4], JPEG[:-2] + bytes(40) + JPEG[-2:] + bytes(9))  # some zeros are no damage
    return root


def test_damaged_images_are_named_with_the_reason(tmp_path):
    report = examine(damaged_release(tmp_path))
    names = [f"Img/img_align_celeba/{name}" for name in NAMES]
    assert list(report.damaged) == names[1:4] and not report.is_sound
    assert "an HTML page" in report.damaged[names[2]] and report.damaged[names[3]] == "the file is empty"
    assert "NO  damaged images: 3" in str(report) and f"{names[1]}: " in str(report) and "on_bad_image skip" in report.next[0]


def test_damage_within_a_file_is_found_when_every_pixel_is_read(tmp_path):
    # A PNG file has checksums, so its damage is certain to be noticed.
    png = bytearray(image_bytes(kind="PNG"))
    png[len(png) // 2] ^= 255
    write_file(tmp_path / "photographs" / "a.png", bytes(png))
    write_file(tmp_path / "photographs" / "b.png", image_bytes(kind="PNG"))
    assert examine(tmp_path / "photographs").damaged == {}
    assert list(examine(tmp_path / "photographs", decode=True).damaged) == ["a.png"]


def test_damaged_members_of_an_archive_are_named(tmp_path):
    archive = pack(damaged_release(tmp_path / "packed"), tmp_path / "img_align_celeba.zip")
    contents = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as zip_file:
        member = zip_file.getinfo(f"Img/img_align_celeba/{NAMES[5]}")
    contents[member.header_offset + 30 + len(member.filename) + member.compress_size // 2] ^= 255
    archive.write_bytes(contents)
    report = examine(archive)
    assert [Path(name).name for name in report.damaged] == [*NAMES[1:4], NAMES[5]]
    assert "CRC" in report.damaged[f"Img/img_align_celeba/{NAMES[5]}"] or "decompress" in report.damaged[f"Img/img_align_celeba/{NAMES[5]}"]
    assert report.next[0] == f"download img_align_celeba.zip again: {release.PAGE}"


@pytest.mark.parametrize("name", ["img_celeba.7z.001", "img_celeba.7z"])
def test_archives_of_the_photographs_before_alignment_are_declined_with_advice(tmp_path, name):
    path = Path(write_file(tmp_path / "Img" / name, b"7z\xbc\xaf\x27\x1c"))
    for given in (tmp_path, path):
        report = examine(given)
        assert report.data_set == "nothing" and not report.is_sound
        assert f"{name} (1 file) holds the photographs before they were aligned" in str(report) and release.PAGE in str(report)
    write_release(tmp_path)
    assert examine(tmp_path).is_sound and f"!   {name}" in str(examine(tmp_path))


def test_other_archives_and_files_are_named(tmp_path):
    write_file(tmp_path / "a.tar", b"\0" * 257 + b"ustar")
    assert "a tar archive; unpack it (tar xf)" in str(examine(tmp_path / "a.tar"))
    write_file(tmp_path / "b.zip", bytes(range(1, 99)))
    assert "not a zip archive" in str(examine(tmp_path / "b.zip"))
    write_file(tmp_path / "empty" / "notes.txt")
    assert examine(pack(tmp_path / "empty", tmp_path / "c.zip")).data_set == examine(tmp_path / "empty").data_set == "nothing"


def test_what_is_not_there_is_explained_for_celeba_and_short_for_all_else(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"(?s)does not exist.*official page of CelebA.*non-commercial.*list_attr_celeba.txt"):
        examine(tmp_path / "CelebA")
    with pytest.raises(FileNotFoundError, match=r"zip archive of them$"):
        examine(tmp_path / "photographs")


LFW = ["Aaron_Eckhart/Aaron_Eckhart_0001.jpg", "Zoe_K/Zoe_K_0001.jpg", "Zoe_K/Zoe_K_0002.jpg"]


@pytest.mark.parametrize(
    ("folder", "names", "size", "given", "layout"),
    [
        ("lfw", LFW, (250, 250), "lfw", "a folder, a folder for each person"),
        ("x", [Path(name).name for name in LFW], (250, 250), "x", "a folder, names of people as file names"),
        ("x", [Path(name).name for name in LFW], (64, 64), "x", "a folder, names of people as file names"),
        ("data/lfw_home/lfw_funneled", LFW, (250, 250), "data", "a folder, a folder for each person, as scikit-learn downloads it"),
        ("lfw_home/lfw_funneled", LFW, (250, 250), "lfw_home", "a folder, a folder for each person, as scikit-learn downloads it"),
        ("lfw_home/lfw", LFW, (250, 250), "lfw_home/lfw", "a folder, a folder for each person, as scikit-learn downloads it"),
    ],
)
def test_lfw_is_recognised_by_folders_and_by_names(tmp_path, folder, names, size, given, layout):
    for name in names:
        write_file(tmp_path / folder / name, image_bytes(size))
    report = examine(tmp_path / given)
    assert (report.data_set, report.layout, report.num_people, report.num_published) == ("LFW", layout, 2, 13_233)
    assert "people: 2, 5,749 published" in str(report) and "held_out_by identity" in report.next[-1]


def test_two_versions_of_lfw_side_by_side_are_the_same_photographs(tmp_path):
    for version in ("lfw_funneled", "lfw"):
        for name in LFW:
            write_file(tmp_path / "lfw_home" / version / name, image_bytes((250, 250)))
    report = examine(tmp_path / "lfw_home")
    assert "the same photographs are there 2 times (lfw_funneled, lfw)" in str(report)
    assert report.data_dir == str(tmp_path / "lfw_home" / "lfw_funneled") and report.data_dir in report.next[-1]


@pytest.mark.parametrize(
    ("names", "layout"),
    [
        (["00000/00000.png", "00000/00001.png", "69000/69999.png"], "a folder, a thousand images in each folder"),
        (["00000.png", "00001.png"], "a folder, all images together"),
        (["thumbnails128x128/00000.png"], "a folder, all images together"),
    ],
)
def test_thumbnails_of_ffhq_are_recognised(tmp_path, names, layout):
    for name in names:
        write_file(tmp_path / "ffhq" / name, image_bytes((128, 128), "PNG"))
    report = examine(tmp_path / "ffhq")
    assert (report.data_set, report.layout, report.num_published) == ("FFHQ thumbnails", layout, 70_000)


@pytest.mark.parametrize(
    ("names", "size", "people"),
    [
        (["beach.jpg", "a/dunes.jpg"], (30, 20), None),
        (["Ann_0001.jpg", "Bob_0001.jpg"], (30, 20), 2),
        (["00000.png"], (64, 64), None),  # the size of no thumbnail of FFHQ
        (["000001.jpg"], (64, 64), None),
    ],
)
def test_other_images_are_counted(tmp_path, names, size, people):
    for name in names:
        write_file(tmp_path / "x" / name, image_bytes(size, "PNG" if name.endswith("png") else "JPEG"))
    report = examine(tmp_path / "x")
    assert (report.data_set, report.num_images, report.num_published, report.num_people) == ("images", len(names), None, people)
    assert report.next == (
        f"papermill book/train.ipynb out.ipynb -p data_dir {tmp_path / 'x'}" + " -p held_out 0.1 -p held_out_by identity" * bool(people),
    )


def test_the_command_prints_text_or_json_and_its_status_says_whether_all_is_well(tmp_path, capsys):
    root = write_release(tmp_path / "a")
    assert main(["data", str(root)]) == DONE
    assert capsys.readouterr().out.startswith(f"CelebA in {str(root)!r}: a folder, as in the official tree")
    assert main(["data", str(root), "--json"]) == DONE
    facts = json.loads(capsys.readouterr().out)
    assert facts["parts"] == {"training": 3, "validation": 2, "test": 1} and facts["sound"] and facts["lists"][0]["md5"]
    assert facts["md5_source"] == release.MD5_SOURCE
    assert main(["data", str(damaged_release(tmp_path / "b")), "--decode"]) == PARTLY_DONE
    assert "every pixel was read" in capsys.readouterr().out
    assert main(["data", str(tmp_path / "no")]) == REFUSED
    assert "python -m glo_lib data: " in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["data", str(tmp_path / "empty")]) == REFUSED
