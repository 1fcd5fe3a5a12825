"""One look at the images gives the key of their cache, the manifest, and the changes of each image since a run began."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from glo_lib.images import identity
from glo_lib.images.identity import FileDigest, Identity, ImageFile, changes, identify, read_digests, write_digests
from tests.make_files import write_file


def write_files(folder: Path, contents: dict[str, bytes]) -> list[str]:
    return [write_file(folder / name, content) for name, content in contents.items()]


def test_the_file_system_is_only_asked_once(tmp_path, monkeypatch):
    found = identify(write_files(tmp_path, {"b/c.jpg": b"two", "a.jpg": b"1"}))
    monkeypatch.delattr(os, "stat")
    known = found.digests()
    assert found.digests(known) == known and found.manifest() and found.cache_key(64, False, 64)
    assert found.without(found.filenames[:1]).manifest()["num_images"] == 1


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg' is in the list of images, and there is no such file"):
        identify([*write_files(tmp_path, {"a.jpg": b"1"}), str(tmp_path / "gone.jpg")])


def test_without_some_files_the_others_are_identified_as_if_they_were_alone(tmp_path):
    names = write_files(tmp_path, {"a.jpg": b"1", "b/c.jpg": b"22", "b/d.jpg": b"333", "b/e.jpg": b""})
    found = identify(names)
    assert found.without({}) == found
    assert found.without({names[2]: "damaged"}) == identify([names[0], names[1], names[3]])
    assert found.without([names[0]]) == identify(names[1:]) and found.without([names[0]]).files[0].name == "c.jpg"
    assert found.without(names) == identify([])


@pytest.mark.parametrize("names", [["a.jpg"], ["a.jpg", "b/c.jpg", "b/d/e.png"], ["b/d.jpg", "b/c.jpg"]])
def test_a_file_is_identified_by_its_path_its_name_below_the_common_folder_its_size_and_its_times(tmp_path, monkeypatch, names):
    paths = write_files(tmp_path, {name: bytes(number + 1) for number, name in enumerate(names)})
    common = os.path.commonpath([os.path.dirname(path) for path in paths])
    expected = []
    for number, path in enumerate(paths):
        os.utime(path, ns=(0, 1_700_000_000_000_000_001 + number))
        name, times = os.path.relpath(path, common), (1_700_000_000_000_000_001 + number, os.stat(path).st_ctime_ns)
        expected.append(ImageFile(path, name, number + 1, *times))
    assert identify(paths) == Identity(tuple(expected))
    monkeypatch.chdir(tmp_path)
    assert identify(names) == Identity(tuple(file._replace(path=name) for file, name in zip(expected, names, strict=True)))
    assert identify(names).filenames == tuple(names) and identify(names).cache_key(64, False, 64) == identify(paths).cache_key(
        64, False, 64
    )


UNUSUAL = os.fsdecode("größe\t".encode() + b"\xff.jpg")


def test_known_values_of_key_manifest_and_digest(tmp_path, monkeypatch):
    """A cache or a run folder of an earlier version can be used only as long as these values stay the same."""
    found = Identity(
        (ImageFile("/data/a.jpg", "a.jpg", 10, 1_700_000_000_000_000_001, 5), ImageFile(f"/data/{UNUSUAL}", UNUSUAL, 20, 3, 4))
    )
    assert found.cache_key(64, False, 64) == "0a0974d67d75536b"
    assert (
        found.cache_key(64, True, 64) == found.cache_key(64, 1, 64) == "b5a1c944f0d6af98"
        and found.cache_key(128, False, 64) == "7263ce6fb44c7e9a"
    )
    assert json.loads(json.dumps(found.manifest())) == {"num_images": 2, "digest": "587b3a552471c7b3"}
    assert Identity(()).cache_key(64, False, 64) == "8300027bc32ee520" and Identity(()).digests() == []
    monkeypatch.setattr(identity, "FILES_PER_TASK", 1)
    found = identify(write_files(tmp_path, {"a.jpg": bytes(10), UNUSUAL: bytes(20)}))
    times = [f"{file.mtime_ns}-{file.ctime_ns}" for file in found.files]
    assert found.digests() == [FileDigest("a.jpg", 10, "6003c90975e1e1c9", times[0]), FileDigest(UNUSUAL, 20, "0c10a958419765cb", times[1])]


def digests_of(**contents: str) -> list[FileDigest]:
    return [FileDigest(name, len(content), content, "") for name, content in contents.items()]


def test_only_files_that_were_touched_are_read_again(tmp_path, monkeypatch):
    names = write_files(tmp_path, {"a.jpg": b"one", "b.jpg": b"two", "c.jpg": b"six"})
    before, read, digest = identify(names).digests(), [], identity._content_digest
    monkeypatch.setattr(identity, "_content_digest", lambda filename: read.append(os.path.basename(filename)) or digest(filename))
    assert identify(names).digests(before) == before and read == []
    times = os.stat(names[1])
    while os.stat(names[1]).st_ctime_ns == times.st_ctime_ns:  # a file system's clock may tick only every few milliseconds
        Path(names[1]).write_bytes(b"TWO")
        os.utime(names[1], ns=(times.st_atime_ns, times.st_mtime_ns))  # only the ctime shows the change
    after = identify(names).digests(before)
    assert read == ["b.jpg"] and changes(before, after) == ["'b.jpg' was altered (still 3 bytes)"]


@pytest.mark.parametrize(
    ("before", "now", "lines"),
    [
        (dict(a="1", b="2"), dict(a="1", b="2"), []),
        (dict(a="1", b="2"), dict(a="22", b="2"), ["'a' was altered (from 1 to 2 bytes)"]),
        (dict(a="1", b="2"), dict(a="2", b="1"), ["'a' was altered (still 1 bytes)", "'b' was altered (still 1 bytes)"]),
        (dict(b="2", c="3"), dict(d="2", e="4"), ["'b' is now called 'd'", "'e' was added", "'c' was removed"]),
        (dict(a="1", b="2"), dict(b="2", a="1"), ["the order of the images"]),
    ],
    ids=["nothing", "size", "content", "names", "order"],
)
def test_every_change_has_a_line(before, now, lines):
    assert changes(digests_of(**before), digests_of(**now)) == lines


@pytest.mark.parametrize(("count", "more"), [(10, []), (25, ["... and 15 more changes of images"])])
def test_at_most_ten_changes_are_named(count, more):
    lines = changes([], [FileDigest(f"{number:02d}", 1, str(number), "") for number in range(count)])
    assert lines == [f"'{number:02d}' was added" for number in range(10)] + more


NAMES = st.text(
    st.characters(exclude_characters="\0/", exclude_categories=["Cs"]) | st.sampled_from("\udc80\udcff"), min_size=1, max_size=8
)


@settings(max_examples=50)
@example(names=["a\nb,\"c\r'.jpg", "\udcff.jpg", " "])
@given(names=st.lists(NAMES, unique=True))
def test_a_list_with_any_names_survives_writing_and_reading(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("list") / "images.csv"
    listed = [FileDigest(name, size, f"{size:016x}", "1-2") for size, name in enumerate(names)]
    write_digests(path, listed)
    assert read_digests(path) == listed and os.listdir(path.parent) == ["images.csv"]


@pytest.mark.parametrize("damage", [b"a,1,2\n", b'"a,1,2,3', b"a,one,2,3\n", b"\0"])
def test_a_damaged_list_is_refused_by_name(tmp_path, damage):
    with pytest.raises(ValueError, match=r"images\.csv' is damaged"):
        read_digests(Path(write_file(tmp_path / "images.csv", damage)))


def test_a_missing_list_is_empty(tmp_path):
    assert read_digests(tmp_path / "images.csv") == []
