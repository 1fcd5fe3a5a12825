"""A file has its old content or its new one, whole, whatever happens in between."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from glo_lib.system.replace import replacing, write_text


@pytest.fixture
def path(tmp_path) -> Path:
    """A file that is there already, alone in its folder."""
    (tmp_path / "note.txt").write_text("old")
    return tmp_path / "note.txt"


@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_that_is_not_there_is_made(tmp_path, kind):
    with replacing(kind(tmp_path / "note.txt")) as partial:
        partial.write_text("new")
        assert os.listdir(tmp_path) == [partial.name]
    assert os.listdir(tmp_path) == ["note.txt"] and (tmp_path / "note.txt").read_text() == "new"


@pytest.mark.parametrize("several_writers", [False, True])
def test_the_old_content_stays_until_the_block_ends(path, several_writers):
    with replacing(path, several_writers) as partial, open(partial, "w") as file:
        for part in ("ne", "w"):
            file.write(part)
            file.flush()
            assert path.read_text() == "old"
    assert path.read_text() == "new" and os.listdir(path.parent) == ["note.txt"]


def test_a_reader_never_sees_half_a_file(path):
    contents = {letter * 100_000 for letter in "abc"}
    write_text(path, min(contents))
    stop = threading.Event()

    def write_in_turn():
        while not stop.is_set():
            for content in contents:
                write_text(path, content)

    writer = threading.Thread(target=write_in_turn)
    writer.start()
    try:
        seen = {path.read_text() for _ in range(300)}
    finally:
        stop.set()
        writer.join()
    assert seen <= contents


@pytest.mark.parametrize("several_writers", [False, True])
@pytest.mark.parametrize(
    "error", [ValueError("wrong"), OSError(28, "disk full"), KeyboardInterrupt()], ids=lambda error: type(error).__name__
)
def test_an_error_leaves_the_old_file_and_no_temporary_one(path, error, several_writers):
    with pytest.raises(type(error)), replacing(path, several_writers) as partial:
        partial.write_text("ne")
        raise error
    assert path.read_text() == "old" and os.listdir(path.parent) == ["note.txt"]


def test_an_error_before_anything_is_written_leaves_nothing(tmp_path):
    with pytest.raises(ValueError), replacing(tmp_path / "note.txt"):
        raise ValueError
    assert os.listdir(tmp_path) == []


def test_a_file_that_cannot_be_renamed_leaves_no_temporary_one(tmp_path):
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(OSError), replacing(tmp_path / "folder") as partial:
        partial.write_text("new")
    assert os.listdir(tmp_path) == ["folder"] and os.listdir(tmp_path / "folder") == ["inside"]


@pytest.mark.parametrize("several_writers", [False, True])
@pytest.mark.parametrize("name", ["codes.npy", "picture.PNG", "archive.tar.gz", "checkpoint", ".lock", "two words.csv"])
def test_the_temporary_file_is_hidden_beside_the_other_and_has_its_suffix(tmp_path, name, several_writers):
    with replacing(tmp_path / name, several_writers) as partial:
        assert partial.parent == tmp_path and partial.name.startswith(".") and partial.name != name
        assert partial.suffix == Path(name).suffix or not Path(name).suffix  # np.save and Pillow go by the suffix
        partial.write_text("new")
    assert os.listdir(tmp_path) == [name]


KILLED = """
import os, sys
from glo_lib.system.replace import replacing
with replacing(sys.argv[1]) as partial:
    partial.write_text("ne")
    os._exit(9)
"""


def test_a_killed_writer_leaves_the_old_file_and_the_next_one_clears_up(path):
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)]).returncode == 9
    assert path.read_text() == "old" and len(os.listdir(path.parent)) == 2
    write_text(path, "new")
    assert path.read_text() == "new" and os.listdir(path.parent) == ["note.txt"]


def test_each_of_several_writers_has_a_name_of_its_own(path, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with replacing(path, several_writers=True) as first:
        first.write_text("first")
        monkeypatch.setattr(os, "getpid", lambda: 2)
        with replacing(path, several_writers=True) as second:
            second.write_text("second")
            assert first != second and first.read_text() == "first"
        assert path.read_text() == "second"
    assert path.read_text() == "first" and os.listdir(path.parent) == ["note.txt"]


def test_a_single_writer_has_the_same_name_each_time(path, monkeypatch):
    names = []
    for process in (1, 2):
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        with replacing(path) as partial:
            partial.write_text("new")
        names.append(partial)
    assert names[0] == names[1]


def test_text_is_written_as_utf8_whatever_the_locale(path):
    write_text(str(path), "größe-顔\n")
    assert path.read_bytes() == "größe-顔\n".encode()


def test_text_that_is_no_utf8_leaves_the_old_file(path):
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\udcff")
    assert path.read_text() == "old" and os.listdir(path.parent) == ["note.txt"]
