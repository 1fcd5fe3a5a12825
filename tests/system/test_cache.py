"""The folder of the cache and the names of its entries."""

import errno
import hashlib
import os
import tempfile

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from glo_lib.system.cache import cache_root, digest_of, make_cache_folder, shown

# What a file name can contain on Linux, once Python has decoded it: any character but NUL, and stray bytes as surrogates.
PARTS = st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]) | st.sampled_from("\udc80\udcff"), max_size=8))


@pytest.mark.parametrize(
    ("chosen", "xdg", "expected"),
    [
        ("~/mine", "~/other", "mine"),
        (None, "~/other", "other/glo_lib"),
        (None, None, ".cache/glo_lib"),
        ("", "", ".cache/glo_lib"),  # an empty variable counts as unset
    ],
)
def test_the_environment_decides_where_the_cache_is(monkeypatch, tmp_path, chosen, xdg, expected):
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable, value in {"GLO_CACHE_DIR": chosen, "XDG_CACHE_HOME": xdg}.items():
        monkeypatch.delenv(variable, raising=False)
        if value is not None:
            monkeypatch.setenv(variable, value)
    assert cache_root() == tmp_path / expected
    assert os.listdir(tmp_path) == []  # the folder is not created


def test_a_folder_of_the_cache_is_created_and_nothing_is_left_in_it(monkeypatch, tmp_path):
    monkeypatch.setenv("GLO_CACHE_DIR", str(tmp_path / "new"))
    assert make_cache_folder() == tmp_path / "new"
    assert make_cache_folder("images") == make_cache_folder("images") == tmp_path / "new" / "images" and os.listdir(tmp_path / "new") == [
        "images"
    ]
    assert os.listdir(tmp_path / "new" / "images") == []


def test_a_cache_that_cannot_be_created_is_named_with_its_variable(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GLO_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(
        PermissionError, match=r"^the cache folder '.*file/images' cannot be written \(Not a directory\); set .*GLO_CACHE_DIR"
    ):
        make_cache_folder("images")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_cache_that_exists_and_cannot_be_written_is_named_and_a_full_disk_is_not_blamed_on_it(monkeypatch, tmp_path, number):
    def refuse(dir):
        raise OSError(number, os.strerror(number), dir)

    monkeypatch.setenv("GLO_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        make_cache_folder()
    assert ("GLO_CACHE_DIR" in str(caught.value)) == (number != errno.ENOSPC)


def test_a_path_in_the_cache_is_shown_without_the_home_folder(tmp_path):
    assert shown(cache_root() / "a" / "b") == "<cache>/a/b" and shown(tmp_path / "a") == str(tmp_path / "a")


def test_a_digest_is_the_start_of_the_sha256_of_the_parts():
    assert digest_of("a", 1) == hashlib.sha256(b"a\x001").hexdigest()[:16]
    assert digest_of(os.fsdecode(b"\xff.jpg")) == hashlib.sha256(b"\xff.jpg").hexdigest()[:16]
    # SHA-256 of "abc" is the example of FIPS 180-2: the names in a cache must not change between versions of this library.
    assert digest_of("abc") == "ba7816bf8f01cfea"


@settings(max_examples=50)
@example(one=["a", "b"], other=["ab"])
@example(one=["", "ab"], other=["ab", ""])
@given(PARTS.filter(len), PARTS.filter(len))
def test_different_parts_have_different_digests(one, other):
    assert (digest_of(*one) == digest_of(*other)) == (one == other)
