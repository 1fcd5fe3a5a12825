"""The cache of decoded images: what it holds, when it is rebuilt, and that images in a file are indexed like an array in memory."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from glo_lib.graph.backend import tf
from glo_lib.images import store
from glo_lib.images.identity import identify
from glo_lib.images.reading import read_image
from glo_lib.images.store import DecodedImages, StoredImages, decode_images
from glo_lib.inputs import preprocess_inputs
from glo_lib.system.locks import acquire
from tests.make_files import indices_in, write_file, write_numbered_image


def write_smooth_images(folder: Path) -> list[str]:
    y, x = np.mgrid[:218, :178]
    waves = [np.sin(x / 20) * np.cos(y / 30), np.cos(x / 15 + y / 25), np.sin((x + y) / 40)]
    image, rotated = Image.fromarray(np.uint8(128 + 100 * np.dstack(waves))), Image.Exif()
    rotated[0x0112] = 6
    image.save(folder / "plain.jpg")
    image.convert("L").save(folder / "grey.jpg")
    image.convert("CMYK").save(folder / "cmyk.jpg")
    image.save(folder / "rotated.jpg", exif=rotated)
    image.save(folder / "image.png")
    return [str(folder / name) for name in ("plain.jpg", "grey.jpg", "cmyk.jpg", "rotated.jpg", "image.png")]


@pytest.mark.parametrize(("size", "tight_crop"), [(64, False), (96, True)])
def test_decoding_equals_the_route_through_preprocess_inputs(tmp_path, size, tight_crop):
    files = write_smooth_images(tmp_path)
    decoded = decode_images(files, size, tight_crop).array()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for image, filename in zip(decoded, files, strict=True):
            by_tensorflow = tf.io.decode_image(tf.io.read_file(filename), channels=3, expand_animations=False)
            by_pillow = tf.constant(read_image(filename))
            routes = [preprocess_inputs({"image": whole}, tight_crop, size)["image"] for whole in (by_tensorflow, by_pillow)]
            by_tensorflow, by_pillow = ((result + 1) * 127.5 for result in session.run(routes))
            assert np.abs(image - (np.rot90(by_tensorflow, -1) if "rotated" in filename else by_tensorflow)).max() <= 1
            # Pillow's JPEG decoder rounds differently; on average the difference stays below one per cent of 255.
            assert np.abs(image - by_pillow).mean() < 2.55


@pytest.fixture
def files(tmp_path) -> list[str]:
    """Six small files, one of which is not a JPEG file, in a folder whose name is not UTF-8."""
    return [write_numbered_image(tmp_path / os.fsdecode(b"na\xffme"), i, "png" if i == 4 else "jpg") for i in range(6)]


def test_decoded_images_are_bytes_in_a_file_of_the_cache(monkeypatch, files, cache):
    decoded = decode_images(files[:3], 16)
    assert decoded.num_images == 3 and decoded.image_size == 16 and decoded.filenames == tuple(files[:3])
    assert decoded.path.parent == cache / "images" and decoded.path.stat().st_size == decoded.num_bytes == 3 * 16 * 16 * 3
    stored = decoded.array()
    assert isinstance(stored, StoredImages) and stored.shape == decoded.shape == (3, 16, 16, 3)
    images = stored[:]
    monkeypatch.delattr(os, "preadv")  # as on Windows
    assert isinstance(decoded.array(), np.memmap)
    np.testing.assert_array_equal(decoded.array(), images)


@pytest.fixture
def decoder(monkeypatch) -> dict[str, Callable]:
    """A simple decoder, so that only the cache is tested; its hook "before" is called before each file."""
    hooks = {"before": lambda filename: None}

    def decode_files(filenames, image_size, tight_crop, max_megapixels):
        for position, filename in enumerate(filenames):
            hooks["before"](filename)
            yield position, np.asarray(Image.open(filename).resize((image_size, image_size)))[np.newaxis]

    monkeypatch.setattr(store, "decode_files", decode_files)
    return hooks


def forbidden(*_):
    raise AssertionError("decoded a second time")


def files_of(decoded: DecodedImages) -> list[str]:
    """The names of the files that a cache consists of, sorted."""
    return [decoded.path.with_suffix(".json").name, decoded.path.name]


def assert_rebuilt(files: list[str], decoded: DecodedImages) -> None:
    """Decode again; the cache has to be right, and nothing else is in its folder."""
    assert decode_images(files, 8) == decoded and indices_in(decoded.array()) == [0, 1, 2, 3, 4, 5]
    assert sorted(os.listdir(decoded.path.parent)) == files_of(decoded)


def test_a_second_call_does_not_decode_again(monkeypatch, tmp_path, files, decoder):
    first = decode_images(files, 8, on_bad_image="skip")
    decoder["before"] = forbidden
    assert decode_images(files, 8) == decode_images(identify(files), 8) == first and first.skipped == {}
    monkeypatch.chdir(tmp_path)
    assert decode_images([os.path.relpath(filename) for filename in files], 8).path == first.path


def test_every_geometry_and_every_list_of_files_has_a_cache_of_its_own(files, cache, decoder):
    calls = [(files, 8), (files, 16), (files, 8, True), (files[::-1], 8), (files[:5], 8)]
    paths = {decode_images(*call).path for call in calls} | {decode_images(files, 8, max_megapixels=1).path}
    assert len(paths) == len(calls) + 1 and len(os.listdir(cache / "images")) == 2 * len(paths)
    assert indices_in(decode_images(files[::-1], 8).array()) == [5, 4, 3, 2, 1, 0]


def flip_byte(path: Path, position: int) -> None:
    contents = bytearray(path.read_bytes())
    contents[position] ^= 1
    path.write_bytes(contents)


DAMAGED_IMAGES = {
    "first byte": lambda images: flip_byte(images, 0),
    "last byte": lambda images: flip_byte(images, -1),
    "truncated": lambda images: os.truncate(images, images.stat().st_size - 1),
    "longer": lambda images: images.write_bytes(images.read_bytes() + b"\0"),
    "missing": lambda images: images.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGED_IMAGES)
def test_a_cache_with_damaged_images_is_rebuilt(files, decoder, damage):
    decoded = decode_images(files, 8)
    DAMAGED_IMAGES[damage](decoded.path)
    assert_rebuilt(files, decoded)


@pytest.mark.parametrize("description", [b"", b"\xff\xfe\0", b"[1, 2]"])
def test_a_cache_with_an_unreadable_description_is_rebuilt(files, decoder, description):
    decoded = decode_images(files, 8)
    decoded.path.write_bytes(bytes(decoded.num_bytes))  # only the description could reveal that the images are wrong
    decoded.path.with_suffix(".json").write_bytes(description)
    assert_rebuilt(files, decoded)


WRONG_ENTRIES = [{"crc32": []}, {"crc32": 5}, {"skipped": {"99": "y"}}, {"skipped": {"x": "y"}}, {"skipped": {"0": 3}}, {"skipped": [1]}]


@pytest.mark.parametrize("entry", [*WRONG_ENTRIES, "too many checksums"], ids=str)
def test_a_cache_with_a_wrong_entry_in_its_description_is_rebuilt(files, decoder, entry):
    decoded = decode_images(files, 8)
    description = decoded.path.with_suffix(".json")
    right = json.loads(description.read_text())
    wrong = {"crc32": right["crc32"] * 2} if entry == "too many checksums" else entry
    description.write_text(json.dumps({**right, **wrong}))
    assert_rebuilt(files, decoded)
    assert json.loads(description.read_text()) == right


def test_the_cache_of_other_images_under_this_name_is_rebuilt(files, decoder):
    other, decoded = decode_images(files[::-1], 8), decode_images(files, 8)
    for suffix in (".uint8", ".json"):
        os.replace(other.path.with_suffix(suffix), decoded.path.with_suffix(suffix))
    assert_rebuilt(files, decoded)


def test_all_blocks_of_a_cache_are_checked_and_of_a_huge_one_blocks_at_regular_distances(monkeypatch, files, decoder):
    monkeypatch.setattr(store, "CHECKSUM_BYTES", 10)
    decoded = decode_images(files, 8)
    good = decoded.path.read_bytes()  # 6 * 8 * 8 * 3 = 1,152 bytes are 116 blocks

    def is_rebuilt(damaged: bytes) -> bool:
        decoded.path.write_bytes(damaged)
        decode_images(files, 8)
        return decoded.path.read_bytes() == good

    assert all(is_rebuilt(good[:start] + b"?" + good[start + 1 :]) for start in range(5, 1152, 10))
    monkeypatch.setattr(store, "CHECKED_BLOCKS", 4)
    assert all(is_rebuilt(good[:start] + bytes(290) + good[start + 290 :]) for start in range(0, 1152, 290))
    assert not is_rebuilt(good[:15] + b"?" + good[16:])  # block 1 is not among the four


@pytest.mark.parametrize(("moment", "error"), [("decoding", KeyboardInterrupt()), ("renaming", OSError("disk full"))])
def test_an_error_leaves_no_file_behind(monkeypatch, files, cache, decoder, moment, error):
    def fail(name, *_):
        if moment == "renaming" or name == files[4]:
            raise error

    with monkeypatch.context() as patch:
        if moment == "decoding":
            patch.setitem(decoder, "before", fail)
        else:
            patch.setattr(os, "replace", fail)
        with pytest.raises(type(error)):
            decode_images(files, 8)
    assert os.listdir(cache / "images") == []
    assert_rebuilt(files, decode_images(files, 8))


def test_two_processes_that_build_the_same_cache_agree(files, decoder):
    pending = [files]
    decoder["before"] = lambda _: decode_images(pending.pop(), 8) if pending else None  # the other one builds meanwhile
    decoded = decode_images(files, 8)
    assert not pending
    assert_rebuilt(files, decoded)


KILLED = """
import os, sys
import numpy as np
from PIL import Image
from glo_lib.images import store
def decode_files(filenames, image_size, *_):
    for position, filename in enumerate(filenames):
        if position == 4:
            os.kill(os.getpid(), 9)
        if position == 1:
            yield position, "cannot be read"
        else:
            yield position, np.asarray(Image.open(filename).resize((image_size, image_size)))[np.newaxis]
store.decode_files = decode_files
store.decode_images(sys.argv[1:], 8, on_bad_image="skip")
"""


UNFINISHED_DAMAGE = {  # what is wrong with the files of a killed process, and the first image that has to be decoded again
    "nothing": (lambda pixels, journal: None, 4),
    "a byte of the second row, which is image 2": (lambda pixels, journal: flip_byte(pixels, 200), 2),
    "truncated": (lambda pixels, journal: os.truncate(pixels, 2 * 192 + 5), 3),
    "half a line": (lambda pixels, journal: os.truncate(journal, journal.stat().st_size - 9), 3),
    "no journal": (lambda pixels, journal: journal.unlink(), 0),
}


def test_decoding_goes_on_where_a_killed_process_was(files, cache, decoder, capsys):
    process = subprocess.run([sys.executable, "-c", KILLED, *files], check=False, cwd=Path(store.__file__).parents[2])
    assert process.returncode == -signal.SIGKILL
    (journal,) = (cache / "images").glob("decoding-*.journal")
    pixels = Path(str(journal).removesuffix(".journal"))
    left = {path: path.read_bytes() for path in (pixels, journal)}
    assert len(left[pixels]) == 3 * 192 and left[journal].count(b"\n") == 4
    for damage, first in UNFINISHED_DAMAGE.values():
        for path in (cache / "images").iterdir():
            path.unlink()
        for path, contents in left.items():
            path.write_bytes(contents)
        damage(pixels, journal)
        again, skipped = [], [1] if first else []
        decoder["before"] = again.append
        decoded = decode_images(files, 8, on_bad_image="skip", progress=True)
        assert again == files[first:] and list(decoded.skipped) == [files[number] for number in skipped]
        assert indices_in(decoded.array()) == [number for number in range(6) if number not in skipped]
        assert (f"decoding goes on after {first} of 6 images" in capsys.readouterr().out) == bool(first)
        leftovers = [] if first else [pixels.name]  # without a journal it is left to those who remove old files
        assert sorted(os.listdir(cache / "images")) == sorted([*files_of(decoded), *leftovers])
        decoder["before"] = forbidden
        assert decode_images(files, 8, on_bad_image="skip") == decoded


def test_a_cache_that_another_process_is_writing_is_not_taken_up(files, cache, decoder):
    key = decode_images(files, 8).path.stem
    for path in (cache / "images").iterdir():
        path.unlink()
    pixels = write_file(cache / "images" / f"decoding-{key}-x")
    write_file(Path(f"{pixels}.journal"), b'{"first": 0, "reason": "of another process"}\n')
    with acquire(pixels):
        assert decode_images(files, 8).skipped == {}
    assert sorted(path.name for path in (cache / "images").glob("decoding-*")) == [f"decoding-{key}-x", f"decoding-{key}-x.journal"]


def test_files_of_killed_processes_are_removed_and_those_of_others_are_not(files, cache, decoder):
    for name in ("decoding-dead", "decoding-alive", "decoding-dead.json"):
        os.utime(write_file(cache / "images" / name), (1, 1))
    with acquire(cache / "images" / "decoding-alive"):
        decoded = decode_images(files, 8)
    assert sorted(os.listdir(cache / "images")) == sorted(["decoding-alive", *files_of(decoded)])


@pytest.fixture
def truncated_jpeg(tmp_path) -> bytes:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)).save(tmp_path / "whole.jpg")
    return (tmp_path / "whole.jpg").read_bytes()[:1400]


def test_all_bad_files_are_named_at_once_and_nothing_is_cached(tmp_path, files, cache, truncated_jpeg):
    contents = [truncated_jpeg, truncated_jpeg[:200], truncated_jpeg[:3], b"", b"<html></html>"]
    bad = [write_file(tmp_path / f"bad{number}.jpg", content) for number, content in enumerate(contents)]
    with pytest.raises(ValueError, match=r"^5 image file\(s\) cannot be read") as caught:
        decode_images([*files, bad[0], *files, *bad[1:], files[0]], 8)
    assert [line.split(":")[0].strip() for line in str(caught.value).split("\n")[1:]] == list(map(repr, bad))
    with pytest.raises(ValueError, match=r"^5 image file\(s\) cannot be read"):
        decode_images(bad, 8, on_bad_image="skip")  # no image would be left
    assert os.listdir(cache / "images") == []


def test_bad_files_can_be_skipped_and_the_index_counts_the_others(monkeypatch, tmp_path, files):
    bad = [write_file(tmp_path / name, b"no image") for name in ("bad0.jpg", "bad1.png")]
    mixed = [bad[0], *files[:3], bad[1], *files[3:]]
    decoded = decode_images(mixed, 8, on_bad_image="skip")
    assert decoded.num_images == 6 and list(decoded.filenames) == files and indices_in(decoded.array()) == [0, 1, 2, 3, 4, 5]
    assert list(decoded.skipped) == bad and all("not an image" in reason for reason in decoded.skipped.values())
    monkeypatch.setattr(store, "decode_files", forbidden)
    assert decode_images(mixed, 8, on_bad_image="skip") == decoded  # from the cache
    with pytest.raises(ValueError, match=r"^2 image file\(s\) cannot be read(.|\n)*bad0\.jpg(.|\n)*bad1\.png"):
        decode_images(mixed, 8)


ARRAY = np.random.default_rng(0).integers(0, 256, (7, 3, 2, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return Path(write_file(tmp_path_factory.mktemp("stored") / "images.uint8", ARRAY.tobytes()))


@pytest.fixture(scope="module")
def stored(path) -> StoredImages:
    return StoredImages(path, ARRAY.shape)


def test_stored_images_have_the_attributes_of_an_array(stored):
    assert (stored.shape, stored.ndim, stored.dtype, len(stored)) == (ARRAY.shape, 4, np.uint8, 7)
    np.testing.assert_array_equal(np.asarray(stored), ARRAY)
    assert np.asarray(stored, np.float32).dtype == np.float32


INDICES = st.integers(-7, 6)
SLICES = st.builds(slice, st.none() | st.integers(-9, 9), st.none() | st.integers(-9, 9), st.none() | st.integers(-3, 3).filter(bool))
ARRAYS = st.lists(INDICES, max_size=9).map(lambda rows: np.array(rows, np.int64))
MASKS = st.lists(st.booleans(), min_size=7, max_size=7).map(np.array)


@settings(max_examples=50)
@given(rows=INDICES | SLICES | ARRAYS | ARRAYS.map(lambda rows: rows.reshape(-1, 1)) | MASKS)
def test_stored_images_are_indexed_like_an_array(stored, rows):
    np.testing.assert_array_equal(stored[rows], ARRAY[rows])


@pytest.mark.parametrize("rows", [7, [0, -8]])
def test_rows_out_of_range_are_refused(stored, rows):
    with pytest.raises(IndexError, match="there are 7"):
        stored[rows]


def test_reading_continues_where_the_system_returns_fewer_bytes_than_asked_for(stored, monkeypatch):
    whole = os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, views, offset: whole(file, [views[0][:5]], offset))
    np.testing.assert_array_equal(stored[1:6], ARRAY[1:6])


def test_a_file_of_another_size_is_refused(path):
    with pytest.raises(ValueError, match=r"has 126 bytes; images of shape \(8, 3, 2, 3\) have 144"):
        StoredImages(path, (8, 3, 2, 3))


def test_a_file_that_is_truncated_while_in_use_is_noticed(tmp_path):
    images = StoredImages(write_file(tmp_path / "images.uint8", ARRAY.tobytes()), ARRAY.shape)
    os.truncate(tmp_path / "images.uint8", 20)
    with pytest.raises(OSError, match="shorter"):
        images[:]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no /proc")
def test_files_are_closed_with_the_last_reference(tmp_path):
    path = write_file(tmp_path / "images.uint8", ARRAY.tobytes())  # one that no other test has open
    for _ in range(20):
        StoredImages(path, ARRAY.shape)[0]
    links = [f"/proc/self/fd/{entry}" for entry in os.listdir("/proc/self/fd")]
    assert not [link for link in links if os.path.exists(link) and os.path.samefile(link, path)]
