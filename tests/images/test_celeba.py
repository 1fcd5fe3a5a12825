"""CelebA's lists: found in every layout in which people have them, and read whatever program saved them."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glo_lib.images.celeba import find_list, look_up, read_identities, read_landmarks, read_partition, read_rows, without_empty_ends
from glo_lib.images.files import list_images
from glo_lib.images.release import IDENTITY, PARTITION
from glo_lib.system.cache import cache_root
from tests.make_files import write_file

NESTED = "img_align_celeba/img_align_celeba"


def write_release(root, images, partition, names=("000001.jpg", "000002.jpg")):
    """Write image files and a list that says nothing of them, in a layout."""
    for name in names:
        write_file(root / images / name)
    write_file(root / partition)
    return root


@pytest.mark.parametrize(
    ("images", "partition", "data_dirs"),
    [
        ("Img/img_align_celeba", "Eval/list_eval_partition.txt", (".", "Img", "Img/img_align_celeba")),
        ("Img/img_align_celeba", "Anno/list_eval_partition.txt", (".", "Img", "Img/img_align_celeba")),
        ("img_align_celeba", "Eval/list_eval_partition.txt", (".", "img_align_celeba")),
        ("img_align_celeba", "list_eval_partition.txt", (".", "img_align_celeba")),
        (NESTED, "list_eval_partition.csv", (".", "img_align_celeba", NESTED)),
        ("Img/img_align_celeba_png", "Eval/list_eval_partition.txt", (".", "Img", "Img/img_align_celeba_png")),
        ("img_align_celeba", "img_align_celeba/list_eval_partition.txt", (".", "img_align_celeba")),
        (".", "list_eval_partition.txt", (".",)),
        (".", "Eval/list_eval_partition.csv", (".",)),
        ("celeba/img_align_celeba", "celeba/list_eval_partition.txt", (".", "celeba", "celeba/img_align_celeba")),
    ],
)
def test_the_list_is_found_from_every_folder_that_may_be_given(tmp_path, monkeypatch, images, partition, data_dirs):
    root = write_release(tmp_path / "root", images, partition)
    monkeypatch.chdir(root)
    for data_dir in (*(root / path for path in data_dirs), *data_dirs):  # relative paths too
        found = find_list(PARTITION, data_dir, list_images(data_dir)).path
        assert found is not None and found.samefile(root / partition), data_dir


@pytest.mark.parametrize(
    ("archive", "contents", "partition"),
    [
        ("Img/img_align_celeba.zip", "img_align_celeba", "Eval/list_eval_partition.txt"),
        ("img_align_celeba.zip", "img_align_celeba", "Eval/list_eval_partition.txt"),
        ("archive.zip", ".", "list_eval_partition.csv"),
        ("archive.zip", NESTED, "zip:list_eval_partition.csv"),
        ("archive.zip", "CelebA/Img/img_align_celeba", "zip:CelebA/Eval/list_eval_partition.txt"),
        ("archive.zip", "img_align_celeba", "zip:img_align_celeba/list_eval_partition.txt"),
    ],
)
def test_the_list_is_found_beside_an_archive_and_in_it(tmp_path, archive, contents, partition):
    root, packed = tmp_path / "root", tmp_path / "packed"
    for number in range(2):
        write_file(packed / contents / f"00000{number}.jpg")
    inner = partition.removeprefix("zip:")
    write_file((packed if partition.startswith("zip:") else root) / inner)
    (root / archive).parent.mkdir(parents=True, exist_ok=True)
    shutil.make_archive(str((root / archive).with_suffix("")), "zip", packed)
    found = find_list(PARTITION, root / archive, list_images(root / archive)).path
    assert found is not None and found.as_posix().endswith(inner)


def test_the_search_in_an_archive_ends_at_its_own_folder(tmp_path):
    write_file(tmp_path / "packed" / "a" / "1.jpg")
    shutil.make_archive(str(tmp_path / "archive"), "zip", tmp_path / "packed")
    *inside, beside = find_list(PARTITION, tmp_path / "archive.zip", list_images(tmp_path / "archive.zip")).folders
    assert beside == tmp_path and [folder.name for folder in inside[:-1]] == ["a"] and inside[-1].parent == cache_root() / "archives"


def test_a_linked_folder_has_the_lists_of_either_place(tmp_path):
    root = write_release(tmp_path / "disk", "img_align_celeba", "list_eval_partition.txt")
    (tmp_path / "faces").symlink_to(root / "img_align_celeba")
    assert find_list(PARTITION, tmp_path / "faces", list_images(tmp_path / "faces")).path == root / "list_eval_partition.txt"
    write_file(tmp_path / "home" / "identity_celeba.txt")
    (tmp_path / "home" / "img_align_celeba").symlink_to(root / "img_align_celeba")
    given = tmp_path / "home" / "img_align_celeba"
    assert find_list(IDENTITY, given, list_images(given)).path.samefile(tmp_path / "home" / "identity_celeba.txt")


def test_lists_that_have_nothing_to_do_with_the_folder_are_not_taken(tmp_path):
    for place in ("list_eval_partition.txt", "Eval/list_eval_partition.txt", "photos.old/list_eval_partition.txt"):
        write_file(tmp_path / place)
    write_file(tmp_path / "photos" / "a" / "1.jpg")
    search = find_list(PARTITION, tmp_path / "photos", list_images(tmp_path / "photos"))
    assert search == (None, (tmp_path / "photos" / "a", tmp_path / "photos"))


PAIRS = {"000001.jpg": "0", "000002.jpg": "1", "000003.jpg": "2"}
LINES = [f"{name} {part}" for name, part in PAIRS.items()]
ROWS = [f"{name},{part}" for name, part in PAIRS.items()]
HEADER = "image_id,partition"


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("list.txt", LINES),
        ("list.txt", [f" {line}  " for line in LINES] + ["", "  "]),
        ("list.txt", [line.replace(" ", "\t") + "\t\t" for line in LINES]),
        ("list.txt", [HEADER.replace(",", " "), *LINES]),
        ("list.txt", ROWS),  # renamed
        ("list.csv", [HEADER, *ROWS]),
        ("list.csv", ROWS),
        ("list.CSV", [f'"{a}" , "{b}",,' for a, b in (row.split(",") for row in (HEADER, *ROWS))]),
        ("list.csv", [row.replace(",", ";") for row in (HEADER, *ROWS)]),
        ("list.csv", [row.replace(",", "\t") for row in (HEADER, *ROWS)]),
    ],
)
def test_lists_are_read_whatever_program_saved_them(tmp_path, name, lines, end, mark):
    path = write_file(tmp_path / name, mark + (end.join(lines) + end).encode())
    assert read_partition(path) == PAIRS


def test_identities_are_numbers_or_names_of_people(tmp_path):
    path = write_file(tmp_path / "identity_CelebA.csv", "\ufeffimage_id,identity\r\n000001.jpg,2880\r\n000002.jpg,Zoë K.\r\n".encode())
    assert read_identities(path) == {"000001.jpg": "2880", "000002.jpg": "Zoë K."}


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"a.jpg 0\nb.jpg 3\n", "line 2: 'b.jpg 3' is not a file name and 0, 1 or 2"),
        (b"a.jpg 0\r\n\r\na.jpg 1\r\n", "line 3: 'a.jpg' is listed twice"),
        (b"a.jpg 0 0\n", "line 1: 'a.jpg 0 0' is not"),
        (b"image_id partition\nimage_id partition\n", "line 2: 'image_id partition' is not"),
        ("a.jpg 0\n".encode("utf-16"), "line 1: the file is in UTF-16; save it as UTF-8"),
        (b"\x00\x01\xff", "line 1"),
        (b"x" * 200_000 + b",0\n", "line 1: 'x"),  # longer than a cell of a CSV file may be
    ],
)
def test_a_damaged_line_is_named(tmp_path, contents, message):
    with pytest.raises(ValueError, match=message):
        read_partition(write_file(tmp_path / "list.txt", contents))


TEN = "0 1 2 3 4 5 6 7 8 9"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"b.jpg {TEN[:-2]}", f"'b.jpg {TEN[:-2]}' is not a file name and 10 numbers"),
        (f"b.jpg {TEN} 10", f"'b.jpg {TEN} 10' is not a file name and 10 numbers"),
        (f"b.jpg {TEN[:-1]}nan", f"'b.jpg {TEN[:-1]}nan' is not a file name and 10 numbers"),
        (f"a.jpg {TEN}", "'a.jpg' is listed twice"),
    ],
    ids=["nine", "eleven", "not a number", "twice"],
)
def test_a_damaged_line_of_landmarks_is_named(tmp_path, line, message):
    good = f"2\nlefteye_x lefteye_y righteye_x righteye_y\na.jpg {TEN}\n"
    assert read_landmarks(write_file(tmp_path / "good.txt", good.encode())) == {"a.jpg": tuple(range(10))}
    with pytest.raises(ValueError, match=f"bad.txt', line 4: {message}"):
        read_landmarks(write_file(tmp_path / "bad.txt", f"{good}{line}\n".encode()))


@given(st.binary(max_size=60), st.sampled_from(["list.txt", "list.csv"]))
def test_any_bytes_are_read_or_refused_with_the_name_of_the_file(tmp_path_factory, contents, name):
    path = write_file(tmp_path_factory.getbasetemp() / name, contents)
    try:
        parts = read_partition(path)
    except ValueError as error:
        assert name in str(error) and "line " in str(error)
    else:
        assert set(parts.values()) <= {"0", "1", "2"}


def test_rows_have_the_numbers_of_their_lines(tmp_path):
    assert list(read_rows(write_file(tmp_path / "a.txt", b"\n3\n\na b\n"))) == [(2, ["3"]), (4, ["a", "b"])]
    assert without_empty_ends(["", "a", "", ""]) == ["", "a"] and without_empty_ends(["", ""]) == []


def test_images_are_looked_up_by_name_and_converted_ones_by_that_of_the_original():
    assert look_up(PAIRS, ["x/000003.jpg", str(Path("y", "000001.png"))], "list.txt") == ["2", "0"]
    with pytest.raises(ValueError, match=r"'list.txt' lists 3 images, and not '000004.jpg' \(2 missing\); complete it"):
        look_up(PAIRS, ["000001.jpg", "000004.jpg", "5.jpg"], "list.txt")
