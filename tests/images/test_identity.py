"""One look at the images gives the keys of their cache, the manifest, and what has happened to each since a run began."""

import hashlib
import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from glo_lib.images import identity
from glo_lib.images.identity import FileDigest, Identity, ImageFile, changes, identify, read_digests, write_digests
from tests.make_files import written

# ------------------------------------------------------------------------------------------------------------- one look


def files_with(folder: Path, contents: dict[str, bytes]) -> list[str]:
    return [written(folder / name, content) for name, content in contents.items()]


def test_a_file_is_found_with_its_size_and_times(tmp_path):
    names = files_with(tmp_path, {"b/c.jpg": b"123", "a.jpg": b"1"})
    os.utime(names[0], ns=(5, 7))
    found = identify(names)
    assert found.filenames == tuple(names)  # in the order given
    assert [file.name for file in found.files] == ["b/c.jpg", "a.jpg"] and [file.size for file in found.files] == [3, 1]
    assert found.files[0].mtime_ns == 7 and found.files[0].ctime_ns == os.stat(names[0]).st_ctime_ns != 7


def test_every_file_is_looked_at_once_whatever_is_asked_for(tmp_path, monkeypatch):
    names, looks, stat = files_with(tmp_path, {"a.jpg": b"one", "b/c.jpg": b"two", "b/d.jpg": b"six"}), Counter(), os.stat

    def counted(path, *arguments, **options):
        looks[os.fspath(path)] += 1
        return stat(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", counted)
    found = identify(names)
    known = found.digests()
    assert found.digests(known) == known and found.manifest() and found.cache_key(64, False) and found.without(names[:1]).manifest()
    assert {name: looks[name] for name in names} == dict.fromkeys(names, 1)


def test_a_missing_file_is_named(tmp_path):
    names = files_with(tmp_path, {"a.jpg": b"1"})
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg' is in the list of images, and there is no such file"):
        identify([*names, str(tmp_path / "gone.jpg")])


def test_without_some_files_the_others_are_identified_as_if_they_had_been_alone(tmp_path):
    names = files_with(tmp_path, {"a.jpg": b"1", "b/c.jpg": b"22", "b/d.jpg": b"333", "b/e.jpg": b""})
    found = identify(names)
    assert found.without({}) == found
    assert found.without({names[2]: "damaged"}) == identify([names[0], names[1], names[3]])
    assert found.without([names[0]]) == identify(names[1:]) and found.without([names[0]]).files[0].name == "c.jpg"
    assert found.without(names) == identify([])


# ---------------------------------------------------------------------------------- the same values as in earlier versions
# A cache or a run folder of an earlier version is used further only while the formulas stay as they are.


def short_sha256(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()[:16]


SIZES = {"a.jpg": 10, "b/c.jpg": 20, "b/d.jpg": 30}
LISTS = {
    "one file": ["a.jpg"],
    "a folder": ["a.jpg", "b.jpg"],
    "nested folders": ["a.jpg", "b/c.jpg", "b/d/e.png"],
    "one folder below": ["b/c.jpg", "b/d.jpg"],
    "another order": ["b/d.jpg", "a.jpg", "b/c.jpg"],
    "odd names": ["two words.jpg", "tab\t.jpg", "größe.jpg", os.fsdecode(b"na\xffme.jpg")],
}


@pytest.mark.parametrize("relative", [False, True], ids=["absolute", "relative"])
@pytest.mark.parametrize("names", LISTS.values(), ids=LISTS)
def test_keys_manifest_and_digests_have_the_values_of_earlier_versions(tmp_path, monkeypatch, names, relative):
    paths = files_with(tmp_path, {name: bytes([number]) * (number + 1) for number, name in enumerate(names)})
    for number, path in enumerate(paths):
        os.utime(path, ns=(0, 1_700_000_000_000_000_001 + number))
    monkeypatch.chdir(tmp_path)
    given = names if relative else paths
    found, facts = identify(given), [os.stat(path) for path in paths]
    assert found.filenames == tuple(given)

    of_cache = [f"{path}\t{fact.st_size}\t{fact.st_mtime_ns}" for path, fact in zip(paths, facts, strict=True)]
    for size, tight_crop in [(64, False), (64, True), (128, False)]:
        assert found.cache_key(size, tight_crop) == short_sha256("2", str(size), str(tight_crop), *of_cache)

    common = os.path.commonpath([os.path.dirname(path) for path in paths])
    below = [os.path.relpath(path, common) for path in paths]
    digest = short_sha256(*(f"{name}\t{fact.st_size}" for name, fact in zip(below, facts, strict=True)))
    assert found.manifest() == {"num_images": len(names), "digest": digest}

    of_content = [hashlib.blake2b(Path(path).read_bytes(), digest_size=8).hexdigest() for path in paths]
    changed = [f"{fact.st_mtime_ns}-{fact.st_ctime_ns}" for fact in facts]
    assert found.digests() == list(map(FileDigest, below, [fact.st_size for fact in facts], of_content, changed))


def test_known_values_of_key_manifest_and_digest(tmp_path):
    """Noted from the version in which three functions looked at the files one after the other."""
    file = ImageFile("/data/a.jpg", "a.jpg", 10, 1_700_000_000_000_000_001, 5)
    assert Identity((file,)).cache_key(64, False) == "f81c674995583cbc"
    assert Identity((file,)).cache_key(64, True) == Identity((file,)).cache_key(64, 1) == "7de7a9b24d15b638"
    found = identify(files_with(tmp_path, {name: bytes(size) for name, size in SIZES.items()}))
    assert found.manifest() == {"num_images": 3, "digest": "9e120e9b99122ae6"}
    assert [entry.digest for entry in found.digests()] == ["6003c90975e1e1c9", "0c10a958419765cb", "4d4c679a77dd6260"]


def test_no_images_have_a_key_and_no_digests():
    assert identify([]).digests() == [] and identify([]).cache_key(64, False) == short_sha256("2", "64", "False")


# ------------------------------------------------------------------------------------------------------------ the manifest


def manifest_of(folder: Path, sizes: dict[str, int]) -> dict:
    return identify(files_with(folder, {name: bytes(size) for name, size in sizes.items()})).manifest()


def test_a_manifest_counts_the_images_and_survives_json(tmp_path):
    manifest = manifest_of(tmp_path, SIZES)
    assert manifest["num_images"] == 3 and re.fullmatch("[0-9a-f]{16}", manifest["digest"])
    assert json.loads(json.dumps(manifest)) == manifest


def test_a_folder_that_moves_as_a_whole_keeps_its_manifest(monkeypatch, tmp_path):
    here = manifest_of(tmp_path / "here", SIZES)
    assert manifest_of(tmp_path / "quite" / "elsewhere", SIZES) == here
    monkeypatch.chdir(tmp_path / "here")
    assert identify(list(SIZES)).manifest() == here


@pytest.mark.parametrize(
    "sizes",
    [
        {"A.jpg": 10, "b/c.jpg": 20, "b/d.jpg": 30},
        {"a.jpg": 11, "b/c.jpg": 20, "b/d.jpg": 30},
        {"a.jpg": 20, "b/c.jpg": 10, "b/d.jpg": 30},
        {"a.jpg": 10, "b/d.jpg": 30, "b/c.jpg": 20},
        {"a.jpg": 10, "c/c.jpg": 20, "c/d.jpg": 30},
        {"a.jpg": 10, "b/c.jpg": 20},
        {**SIZES, "e.jpg": 0},
    ],
    ids=["renamed", "larger", "sizes exchanged", "another order", "folder renamed", "one less", "one more"],
)
def test_other_images_have_another_manifest(tmp_path, sizes):
    assert manifest_of(tmp_path / "other", sizes) != manifest_of(tmp_path / "data", SIZES)


def test_a_single_image_has_a_manifest(tmp_path):
    one = manifest_of(tmp_path, {"a.jpg": 1})
    assert one["num_images"] == 1 and one != manifest_of(tmp_path, {"b.jpg": 1})


# ------------------------------------------------------------------------------------------------------------- the digests


def digests_of(**contents: str) -> list[FileDigest]:
    return [FileDigest(name, len(content), content, "") for name, content in contents.items()]


def test_a_file_is_known_by_name_size_and_content(tmp_path):
    listed = identify(files_with(tmp_path, {"a.jpg": b"one", "b/c.jpg": b"one", "d.jpg": b"two"})).digests()
    assert [entry.name for entry in listed] == ["a.jpg", "b/c.jpg", "d.jpg"] and {entry.size for entry in listed} == {3}
    assert listed[0].digest == listed[1].digest != listed[2].digest


def test_digests_of_many_files_are_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(identity, "FILES_PER_TASK", 3)
    names = files_with(tmp_path, {f"{number:02d}.jpg": bytes([number]) for number in range(10)})
    expected = [(f"{number:02d}.jpg", hashlib.blake2b(bytes([number]), digest_size=8).hexdigest()) for number in range(10)]
    assert [(entry.name, entry.digest) for entry in identify(names).digests()] == expected


def test_only_files_that_were_touched_are_read_again(tmp_path, monkeypatch):
    names = files_with(tmp_path, {"a.jpg": b"one", "b.jpg": b"two", "c.jpg": b"six"})
    before, read, digest = identify(names).digests(), [], identity._digest
    monkeypatch.setattr(identity, "_digest", lambda filename: read.append(os.path.basename(filename)) or digest(filename))
    assert identify(names).digests(before) == before and read == []
    times = os.stat(names[1])
    Path(names[1]).write_bytes(b"TWO")
    os.utime(names[1], ns=(times.st_atime_ns, times.st_mtime_ns))  # as if nothing had happened
    after = identify(names).digests(before)
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
    assert changes(digests_of(**before), digests_of(**now)) == lines


def test_of_many_changes_ten_are_named():
    lines = changes([], [FileDigest(f"{n:02d}", 1, str(n), "") for n in range(25)])
    assert len(lines) == 11 and lines[0] == "'00' was added" and lines[-1] == "... and 15 more changes of images"


NAMES = st.text(st.characters(exclude_characters="\0/", exclude_categories=()), min_size=1, max_size=8)


@settings(deadline=None, max_examples=50)
@example(names=["a\nb,\"c\r'.jpg", "\udcff.jpg", " "])
@given(
    names=st.lists(NAMES.filter(lambda name: not any("\ud800" <= c <= "\udc7f" or "\udd00" <= c <= "\udfff" for c in name)), unique=True)
)
def test_lists_with_any_names_are_read_as_they_were_written(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("list") / "images.csv"
    listed = [FileDigest(name, size, f"{size:016x}", "1-2") for size, name in enumerate(names)]
    write_digests(path, listed)
    assert read_digests(path) == listed and os.listdir(path.parent) == ["images.csv"]


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
        assert all(isinstance(entry, FileDigest) for entry in read_digests(somewhere))
    except ValueError as error:
        assert "images.csv" in str(error)


def test_a_run_without_a_list_has_an_empty_one(tmp_path):
    assert read_digests(tmp_path / "images.csv") == []
