"""The cache's place and the names of its entries."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glo_lib.system.cache import CACHE_VARIABLE, cache_root, digest_of

# What a file name can hold on Linux, once Python has decoded it: any character but NUL, and stray bytes as surrogates.
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]) | st.sampled_from("\udc80\udcff"), max_size=8)


def test_the_variable_decides_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    assert cache_root() == tmp_path / "mine"


def test_the_users_own_cache_folder_comes_second(monkeypatch, tmp_path):
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root() == tmp_path / "glo_lib"


@pytest.mark.parametrize("set_to", [None, ""])
def test_the_home_folder_comes_last(monkeypatch, tmp_path, set_to):
    for variable in (CACHE_VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
        if set_to is not None:  # an empty variable means the same as none
            monkeypatch.setenv(variable, set_to)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root() == tmp_path / ".cache" / "glo_lib"


@pytest.mark.parametrize(("variable", "expected"), [(CACHE_VARIABLE, "faces"), ("XDG_CACHE_HOME", "faces/glo_lib")])
def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path, variable, expected):
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(variable, "~/faces")
    assert cache_root() == tmp_path / expected


def test_asking_where_the_cache_is_makes_no_folder(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    assert isinstance(cache_root(), Path)
    assert os.listdir(tmp_path) == []


def test_a_digest_is_the_start_of_the_sha256_of_the_parts():
    assert digest_of("a", 1) == hashlib.sha256(b"a\x001").hexdigest()[:16]
    # SHA-256 of "abc" is the example of FIPS 180-2: the names in a cache must not change between versions of this library.
    assert digest_of("abc") == "ba7816bf8f01cfea"


@settings(deadline=None, max_examples=50)
@given(st.lists(TEXTS, min_size=1, max_size=4), st.lists(TEXTS, min_size=1, max_size=4))
def test_different_parts_have_different_digests(one, other):
    assert (digest_of(*one) == digest_of(*other)) == (one == other)


def test_it_matters_where_one_part_ends_and_in_which_order_they_come():
    names = [("a", "b"), ("ab",), ("a", "", "b"), ("b", "a"), ("", "ab"), ("ab", "")]
    assert len({digest_of(*parts) for parts in names}) == len(names)


def test_a_file_name_that_is_not_utf8_has_a_digest():
    assert digest_of(os.fsdecode(b"\xff.jpg")) == hashlib.sha256(b"\xff.jpg").hexdigest()[:16]
