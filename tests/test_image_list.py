"""What has happened to the images since a run began is said file by file."""

import os
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from glo_lib import image_list
from glo_lib.image_list import FileFacts, changes, list_facts, read_facts, write_facts


def files(folder: Path, contents: dict[str, bytes]) -> list[str]:
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return sorted(str(folder / name) for name in contents)


def facts(**contents: str) -> list[FileFacts]:
    return [FileFacts(name, len(content), content, "") for name, content in contents.items()]


def test_a_file_is_known_by_name_size_and_content(tmp_path):
    listed = list_facts(files(tmp_path, {"a.jpg": b"one", "b/c.jpg": b"one", "d.jpg": b"two"}))
    assert [entry.name for entry in listed] == ["a.jpg", "b/c.jpg", "d.jpg"] and {entry.size for entry in listed} == {3}
    assert listed[0].digest == listed[1].digest != listed[2].digest
    assert list_facts([]) == []


def test_only_files_that_were_touched_are_read_again(tmp_path, monkeypatch):
    names = files(tmp_path, {"a.jpg": b"one", "b.jpg": b"two", "c.jpg": b"six"})
    before, read, digest = list_facts(names), [], image_list._digest
    monkeypatch.setattr(image_list, "_digest", lambda filename: read.append(os.path.basename(filename)) or digest(filename))
    assert list_facts(names, before) == before and read == []
    times = os.stat(names[1])
    Path(names[1]).write_bytes(b"TWO")
    os.utime(names[1], ns=(times.st_atime_ns, times.st_mtime_ns))  # as if nothing had happened
    after = list_facts(names, before)
    assert read == ["b.jpg"] and changes(before, after) == ["'b.jpg' was altered (still 3 bytes)"]


@pytest.mark.parametrize(
    ("before", "now", "lines"),
    [
        (dict(a="1", b="2"), dict(a="1", b="2"), []),
        (dict(a="1"), dict(a="1", b="2"), ["'b' was added"]),
        (dict(a="1", b="2"), dict(a="1"), ["'b' was removed"]),
        (dict(a="1", b="2"), dict(a="1", c="2"), ["'b' is now called 'c'"]),
        (dict(a="1", b="2"), dict(a="22", b="2"), ["'a' was altered (from 1 to 2 bytes)"]),
        (dict(a="1", b="2"), dict(a="2", b="1"), ["'a' was altered (still 1 bytes)", "'b' was altered (still 1 bytes)"]),
        (dict(a="1", b="2", c="3"), dict(a="9", d="2"), ["'a' was altered (still 1 bytes)", "'b' is now called 'd'", "'c' was removed"]),
        (dict(a="1", b="2"), dict(b="2", a="1"), ["the order of the images"]),
    ],
)
def test_every_change_has_a_line(before, now, lines):
    assert changes(facts(**before), facts(**now)) == lines


def test_of_many_changes_ten_are_named():
    lines = changes([], [FileFacts(f"{n:02d}", 1, str(n), "") for n in range(25)])
    assert len(lines) == 11 and lines[0] == "'00' was added" and lines[-1] == "... and 15 more changes of images"


NAMES = st.text(st.characters(exclude_characters="\0/", exclude_categories=()), min_size=1, max_size=8)


@settings(deadline=None, max_examples=50)
@example(names=["a\nb,\"c\r'.jpg", "\udcff.jpg", " "])
@given(
    names=st.lists(NAMES.filter(lambda name: not any("\ud800" <= c <= "\udc7f" or "\udd00" <= c <= "\udfff" for c in name)), unique=True)
)
def test_lists_with_any_names_are_read_as_they_were_written(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("list") / "images.csv"
    listed = [FileFacts(name, size, f"{size:016x}", "1-2") for size, name in enumerate(names)]
    write_facts(path, listed)
    assert read_facts(path) == listed and os.listdir(path.parent) == ["images.csv"]


@pytest.fixture(scope="module")
def somewhere(tmp_path_factory):
    return tmp_path_factory.mktemp("somewhere") / "images.csv"


@settings(deadline=None, max_examples=50)
@example(damage=b"a,1,2\n")
@example(damage=b'"a,1,2,3')
@given(st.binary(max_size=20) | st.text(st.sampled_from('ab01,"\n\r'), max_size=16).map(str.encode))
def test_an_arbitrary_list_is_read_or_refused_by_name(somewhere, damage):
    somewhere.write_bytes(damage)
    try:
        assert all(isinstance(entry, FileFacts) for entry in read_facts(somewhere))
    except ValueError as error:
        assert "images.csv" in str(error)


def test_a_run_without_a_list_has_an_empty_one(tmp_path):
    assert read_facts(tmp_path / "images.csv") == []
