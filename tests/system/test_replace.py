"""A file has its old content or its new one, whole, whatever happens in between."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from glo_lib.system.replace import replacing, write_text


@pytest.fixture
def path(tmp_path) -> Path:
    """An existing file, alone in its folder."""
    (tmp_path / "note.txt").write_text("old")
    return tmp_path / "note.txt"


@pytest.mark.parametrize("several_writers", [False, True])
@pytest.mark.parametrize("name", ["codes.npy", "archive.tar.gz", "checkpoint", ".lock"])
def test_the_temporary_file_is_hidden_in_the_same_folder_and_has_the_same_suffix(tmp_path, name, several_writers):
    with replacing(str(tmp_path / name), several_writers) as partial:
        assert partial.parent == tmp_path and partial.name.startswith(".") and partial.name != name
        assert partial.suffix == Path(name).suffix or not Path(name).suffix  # np.save and Pillow go by the suffix
        partial.write_text("new")
        assert os.listdir(tmp_path) == [partial.name]
    assert os.listdir(tmp_path) == [name] and (tmp_path / name).read_text() == "new"


@pytest.mark.parametrize("several_writers", [False, True])
@pytest.mark.parametrize("error", [OSError(28, "disk full"), KeyboardInterrupt()], ids=["full disk", "Ctrl-C"])
def test_an_error_leaves_the_old_file_and_no_temporary_one(path, error, several_writers):
    with pytest.raises(type(error)), replacing(path, several_writers) as partial:
        partial.write_text("ne")
        assert path.read_text() == "old"
        raise error
    assert path.read_text() == "old" and os.listdir(path.parent) == ["note.txt"]


def test_an_error_of_the_operating_system_names_the_file_and_not_the_temporary_one(path):
    partial = path.with_name(".note.partial.txt")
    for names in ((), (partial,), (str(partial), None, str(path))):
        with pytest.raises(OSError, match=rf"^\[Errno {errno.ENOSPC}\] disk full: {str(path)!r}$"), replacing(path):
            raise OSError(errno.ENOSPC, "disk full", *names)
    with pytest.raises(OSError, match="disk full: 'other'"), replacing(path):
        raise OSError(errno.ENOSPC, "disk full", "other")
    with pytest.raises(OSError, match=r"^no number$"), replacing(path):
        raise OSError("no number")


def test_an_error_while_cleaning_up_does_not_hide_the_first(path, monkeypatch):
    """On a read-only disk the temporary file can be neither written nor deleted."""

    def refuse(partial, *_):
        raise OSError(errno.EROFS, "read-only", str(partial))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OSError, match=f"read-only: {str(path)!r}$"), replacing(path) as partial:
        refuse(partial)


KILLED = """
import os, sys
from glo_lib.system.replace import replacing
with replacing(sys.argv[1]) as partial:
    partial.write_text("ne")
    os._exit(9)
"""


def test_a_killed_writer_leaves_the_old_file_and_the_next_writer_cleans_up(path):
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)]).returncode == 9
    assert path.read_text() == "old" and len(os.listdir(path.parent)) == 2
    write_text(path, "new")
    assert path.read_text() == "new" and os.listdir(path.parent) == ["note.txt"]


def test_each_of_several_writers_has_a_temporary_name_of_its_own(path, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with replacing(path, several_writers=True) as first:
        first.write_text("first")
        monkeypatch.setattr(os, "getpid", lambda: 2)
        with replacing(path, several_writers=True) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first" and os.listdir(path.parent) == ["note.txt"]
