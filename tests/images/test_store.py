"""The cache of decoded images: what is decoded, when it is made anew, and that images in a file are indexed like an array in memory."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from glo_lib.graph.backend import tf
from glo_lib.images import decode, store
from glo_lib.images.identity import identify
from glo_lib.images.reading import read_image
from glo_lib.images.store import StoredImages, decode_images
from glo_lib.inputs import preprocess_inputs
from glo_lib.system.locks import acquire
from tests.make_files import indices_in, painted, painted_files

v1 = tf.compat.v1


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    folder = tmp_path / "cache"
    monkeypatch.setenv("GLO_CACHE_DIR", str(folder))
    return folder / "images"


@pytest.fixture(scope="module")
def numbered(tmp_path_factory) -> list[str]:
    return painted_files(tmp_path_factory.mktemp("numbered"))


# --------------------------------------------------------------------------------------------------------- decoded images


def smooth_image(height: int = 218, width: int = 178) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 20) * np.cos(y / 30), np.cos(x / 15 + y / 25), np.sin((x + y) / 40)]
    return Image.fromarray(np.uint8(128 + 100 * np.dstack(waves)))


@pytest.mark.parametrize(("size", "tight_crop"), [(64, False), (128, True)])
def test_decoding_equals_the_route_through_preprocess_inputs(tmp_path, size, tight_crop):
    files = {name: str(tmp_path / name) for name in ("plain.jpg", "grey.jpg", "cmyk.jpg", "image.png")}
    for name, filename in files.items():
        mode = {"grey.jpg": "L", "cmyk.jpg": "CMYK"}.get(name, "RGB")
        smooth_image().convert(mode).save(filename)
    decoded = decode_images(list(files.values()), size, tight_crop).array()
    with tf.Graph().as_default(), v1.Session() as session:
        for image, filename in zip(decoded, files.values(), strict=True):
            tensorflows_decoder = tf.io.decode_png if filename.endswith("png") else tf.io.decode_jpeg
            by_tensorflow = tensorflows_decoder(tf.io.read_file(filename), channels=3)
            routes = [
                preprocess_inputs({"image": whole}, tight_crop, size)["image"]
                for whole in (by_tensorflow, tf.constant(read_image(filename)))
            ]
            expected, by_pillow = ((result + 1) * 127.5 for result in session.run(routes))
            assert np.abs(image - expected).max() <= 1
            # Pillow's JPEG decoder rounds in other places; on the average that stays below one per cent of 255.
            assert np.abs(image - by_pillow).mean() < 2.55


def test_decoded_images_are_bytes_in_a_file_that_cannot_be_changed_by_accident(numbered, cache):
    decoded = decode_images(numbered[:3], 16)
    assert decoded.num_images == 3 and decoded.image_size == 16 and decoded.filenames == tuple(numbered[:3])
    array = decoded.array()
    assert array.shape == decoded.shape == (3, 16, 16, 3) and array.dtype == np.uint8
    assert decoded.path.parent == cache and decoded.path.stat().st_size == decoded.num_bytes == 3 * 16 * 16 * 3
    with pytest.raises(TypeError, match="does not support item assignment"):
        array[0] = 0


def test_a_system_that_cannot_read_at_a_place_maps_the_file(numbered, cache, monkeypatch):
    decoded = decode_images(numbered[:3], 16)
    stored = np.asarray(decoded.array())
    monkeypatch.delattr(os, "preadv")
    assert isinstance(decoded.array(), np.memmap)
    np.testing.assert_array_equal(decoded.array(), stored)


def test_the_order_is_that_of_the_file_names_given(numbered):
    order = [69, *range(40, 0, -1), *range(41, 69), 0]
    assert indices_in(decode_images([numbered[i] for i in order], 8).array()) == order


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_plain_and_odd_files_are_mixed_in_order(monkeypatch, tmp_path, batch_size):
    monkeypatch.setattr(decode, "FILES_PER_BATCH", batch_size)
    tags = Image.Exif()
    tags[0x0112] = 6
    kinds = [
        ("jpg", {}),
        ("png", {}),
        ("jpg", {"cmyk": True}),
        ("jpeg", {"exif": tags}),
        ("jpg", {"progressive": True}),
        ("png", {"format": "GIF"}),
    ]
    filenames = [painted(tmp_path, i, kinds[i * 5 % 6][0], **kinds[i * 5 % 6][1]) for i in range(14)]
    filenames = [*filenames[1:], filenames[0]]  # the first in the list is a plain file and so is the last
    assert indices_in(decode_images(filenames, 8).array()) == [*range(1, 14), 0]


def test_files_of_which_none_is_plain_are_decoded(tmp_path):
    filenames = [painted(tmp_path, i, "png") for i in range(3)]
    assert indices_in(decode_images(filenames, 8).array()) == [0, 1, 2]


def test_rotated_sixteen_bit_and_transparent_images_are_decoded_as_they_are_seen(tmp_path):
    tags = Image.Exif()
    tags[0x0112] = 6  # stored lying on its side: what is stored on the left is seen at the top
    half = np.zeros((16, 16, 3), np.uint8)
    half[:, :8] = 255
    Image.fromarray(half).save(tmp_path / "rotated.jpg", exif=tags)
    Image.fromarray(np.full((8, 8), 32768, np.uint16)).save(tmp_path / "deep.png")
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    rotated, deep, clear = decode_images([str(tmp_path / name) for name in ("rotated.jpg", "deep.png", "clear.png")], 8).array()
    assert rotated[:3].min() > 245 and rotated[5:].max() < 10
    assert (deep == 128).all() and (clear == 255).all()


def test_a_file_whose_name_is_not_utf8_is_decoded(tmp_path):
    filename = str(tmp_path / os.fsdecode(b"na\xffme.jpg"))
    os.rename(painted(tmp_path, 7), filename)
    assert indices_in(decode_images([filename], 8).array()) == [7]


# -------------------------------------------------------------------------------------------------------------- the cache


@pytest.fixture
def files(tmp_path) -> list[str]:
    """Six small files, of which one is not plain."""
    return [painted(tmp_path / "files", i, "png" if i == 4 else "jpg") for i in range(6)]


@pytest.fixture
def decoder(monkeypatch) -> dict[str, Callable]:
    """Pillow alone in the place of the decoder: what is tested here is the cache. The entry "before" is called before each file."""
    hooks = {"before": lambda filename: None}

    def decode_files(filenames, image_size, tight_crop):
        for position, filename in enumerate(filenames):
            hooks["before"](filename)
            yield position, np.asarray(Image.open(filename).resize((image_size, image_size)))[np.newaxis]

    monkeypatch.setattr(store, "decode_files", decode_files)
    return hooks


def not_again(*_):
    raise AssertionError("decoded a second time")


def test_a_second_call_does_not_decode_again(monkeypatch, tmp_path, files, decoder):
    first = decode_images(files, 8)
    decoder["before"] = not_again
    assert decode_images(files, 8) == first
    monkeypatch.chdir(tmp_path)
    relative = [os.path.relpath(filename) for filename in files]
    assert decode_images(relative, 8).path == first.path  # the same files under other names


def test_files_that_were_identified_before_have_the_cache_of_their_names(files, decoder):
    first = decode_images(files, 8)
    decoder["before"] = not_again
    assert decode_images(identify(files), 8) == first


def test_other_geometry_or_other_files_have_a_cache_of_their_own(files, cache, decoder):
    calls = [(files, 8), (files, 16), (files, 8, True), (files[::-1], 8), (files[:5], 8)]
    assert len({decode_images(*call).path for call in calls}) == len(calls)
    assert len(os.listdir(cache)) == 2 * len(calls)
    assert indices_in(decode_images(files[::-1], 8).array()) == [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("what_changes", ["time", "size"])
def test_a_changed_file_is_decoded_anew(files, decoder, what_changes):
    before, facts = decode_images(files, 8), os.stat(files[4])
    painted(Path(files[4]).parent, 9, "png", compress_level=0 if what_changes == "size" else 6)
    os.replace(Path(files[4]).parent / "009.png", files[4])
    later = facts.st_mtime_ns + (what_changes == "time")
    os.utime(files[4], ns=(later, later))
    if what_changes == "time":
        with open(files[4], "ab") as file:  # as long as before: bytes after the end of a PNG are ignored
            file.write(bytes(facts.st_size - os.path.getsize(files[4])))
        os.utime(files[4], ns=(later, later))
    assert (os.path.getsize(files[4]) == facts.st_size) == (what_changes == "time")
    after = decode_images(files, 8)
    assert after.path != before.path and indices_in(after.array()) == [0, 1, 2, 3, 9, 5]


def flip_a_byte(path: Path, position: int) -> None:
    contents = bytearray(path.read_bytes())
    contents[position] ^= 1
    path.write_bytes(contents)


IMAGE_DAMAGES = {
    "first byte": lambda images: flip_a_byte(images, 0),
    "last byte": lambda images: flip_a_byte(images, -1),
    "truncated": lambda images: os.truncate(images, images.stat().st_size - 1),
    "empty": lambda images: os.truncate(images, 0),
    "longer": lambda images: images.write_bytes(images.read_bytes() + b"\0"),
    "other images": lambda images: images.write_bytes(images.read_bytes()[::-1]),
    "no images": lambda images: images.unlink(),
}
DESCRIPTION_DAMAGES = {
    "missing": lambda description: description.unlink(),
    "half": lambda description: description.write_text(description.read_text()[:-9]),
    "not text": lambda description: description.write_bytes(b"\xff\xfe\0"),
    "a list": lambda description: description.write_text("[1, 2]"),
    "without sums": lambda description: description.write_text("{}"),
    "a number for the sums": lambda description: description.write_text('{"crc32": 5}'),
    "no sums": lambda description: description.write_text('{"crc32": []}'),
    "too many sums": lambda description: description.write_text(json.dumps({"crc32": json.loads(description.read_text())["crc32"] * 2})),
}


@pytest.mark.parametrize("damage", [*IMAGE_DAMAGES.items(), *DESCRIPTION_DAMAGES.items()], ids=lambda item: item[0])
def test_a_damaged_cache_is_made_anew(files, cache, decoder, damage):
    decoded = decode_images(files, 8)
    name, do = damage
    if name in IMAGE_DAMAGES:
        do(decoded.path)
    else:  # the images are wrong too: nobody may believe them when the description is in doubt
        decoded.path.write_bytes(bytes(decoded.path.stat().st_size))
        do(decoded.path.with_suffix(".json"))
    again = decode_images(files, 8)
    assert again == decoded and indices_in(again.array()) == [0, 1, 2, 3, 4, 5]
    assert sorted(os.listdir(cache)) == sorted([decoded.path.name, decoded.path.with_suffix(".json").name])


def test_the_sums_cover_every_block_of_a_cache(monkeypatch, files, decoder):
    monkeypatch.setattr(store, "CHECKSUM_BYTES", 100)
    decoded = decode_images(files, 8)  # 6 * 8 * 8 * 3 = 1,152 bytes: 12 blocks
    assert len(json.loads(decoded.path.with_suffix(".json").read_text())["crc32"]) == 12
    for position in [*range(50, 1152, 100), 1151]:
        flip_a_byte(decoded.path, position)
        damaged = decoded.path.read_bytes()
        decode_images(files, 8)
        assert decoded.path.read_bytes() != damaged and indices_in(decoded.array()) == [0, 1, 2, 3, 4, 5]


def test_bytes_behind_the_last_block_are_damage_too(monkeypatch, files, decoder):
    monkeypatch.setattr(store, "CHECKSUM_BYTES", 1152 // 4)  # the images end where a block does
    decoded = decode_images(files, 8)
    with open(decoded.path, "ab") as file:
        file.write(b"\0")
    assert decode_images(files, 8).path.stat().st_size == 1152


@pytest.mark.parametrize("quarter", range(4))
def test_of_a_huge_cache_a_spread_of_the_blocks_is_checked(monkeypatch, files, decoder, quarter):
    monkeypatch.setattr(store, "CHECKSUM_BYTES", 10)
    monkeypatch.setattr(store, "CHECKED_BLOCKS", 4)
    decoded = decode_images(files, 8)
    good = decoded.path.read_bytes()  # 1,152 bytes are 116 blocks, of which four are looked at
    start, end = quarter * 290, min(quarter * 290 + 290, len(good))
    with monkeypatch.context() as patch:
        patch.setitem(decoder, "before", not_again)
        assert decode_images(files, 8) == decoded
    decoded.path.write_bytes(good[:start] + bytes(end - start) + good[end:])
    decode_images(files, 8)
    assert decoded.path.read_bytes() == good


@pytest.mark.parametrize("error", [RuntimeError("out of order"), KeyboardInterrupt()])
def test_an_error_in_the_middle_leaves_no_file_behind(monkeypatch, files, cache, decoder, error):
    def fails_at_the_fifth_file(filename):
        if filename == files[4]:
            raise error

    with monkeypatch.context() as patch:
        patch.setitem(decoder, "before", fails_at_the_fifth_file)
        with pytest.raises(type(error)):
            decode_images(files, 8)
    assert os.listdir(cache) == []
    assert indices_in(decode_images(files, 8).array()) == [0, 1, 2, 3, 4, 5]


def test_an_error_at_the_very_end_leaves_no_temporary_file_behind(monkeypatch, files, cache, decoder):
    replace = os.replace

    def fails_for_descriptions(source, target):
        if str(target).endswith(".json"):
            raise OSError("disk full")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fails_for_descriptions)
        with pytest.raises(OSError, match="disk full"):
            decode_images(files, 8)
    assert not [name for name in os.listdir(cache) if name.startswith("decoding-")]


def test_a_builder_that_finishes_first_does_no_harm_to_the_other(files, cache, decoder):
    pending = [files]

    def meanwhile(_):
        if pending:
            decode_images(pending.pop(), 8)

    decoder["before"] = meanwhile
    decoded = decode_images(files, 8)
    assert not pending and indices_in(decoded.array()) == [0, 1, 2, 3, 4, 5] and len(os.listdir(cache)) == 2


def test_several_builders_at_once_agree(files, cache):
    start, results = threading.Barrier(2), []

    def build():
        start.wait(30)
        results.append(indices_in(decode_images(files, 8).array()))

    threads = [threading.Thread(target=build) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[0, 1, 2, 3, 4, 5]] * 2 and len(os.listdir(cache)) == 2


# ------------------------------------------------------------------------------------------------------------- bad files


@pytest.mark.parametrize("first", ["plain", "odd"])  # TensorFlow or Pillow comes upon the first of them
def test_all_corrupt_files_are_named_at_once_and_nothing_is_cached(monkeypatch, tmp_path, files, cache, first):
    monkeypatch.setattr(decode, "FILES_PER_BATCH", 4)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)).save(tmp_path / "whole.jpg")
    bad = {
        "truncated.jpg": (tmp_path / "whole.jpg").read_bytes()[:900],
        "empty.jpg": b"",
        "page.jpg": b"<html></html>",
        "noise.png": bytes(99),
    }
    for name, contents in bad.items():
        (tmp_path / name).write_bytes(contents)
    names = [str(tmp_path / name) for name in bad][:: 1 if first == "plain" else -1]
    with pytest.raises(ValueError, match=r"^4 image file\(s\) cannot be read") as caught:
        decode_images([*files, names[0], *files, *names[1:], files[0]], 8)
    lines = str(caught.value).split("\n")[1:]
    assert [line.split(":")[0].strip() for line in lines] == [repr(name) for name in names]
    assert os.listdir(cache) == []


@pytest.mark.parametrize("length", [3, 200, 1400])
def test_a_truncated_jpeg_is_refused_wherever_it_ends(tmp_path, cache, length):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)).save(tmp_path / "a.jpg")
    assert os.path.getsize(tmp_path / "a.jpg") > 1500
    os.truncate(tmp_path / "a.jpg", length)
    with pytest.raises(ValueError, match=r"^1 image file\(s\) cannot be read[^\n]*\n  '.*a\.jpg': "):
        decode_images([str(tmp_path / "a.jpg")], 8)
    assert os.listdir(cache) == []


def test_a_file_that_pillow_reads_and_tensorflow_does_not_is_named_with_tensorflows_reason(monkeypatch, tmp_path, files):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)).save(tmp_path / "bad.jpg")
    os.truncate(tmp_path / "bad.jpg", 900)
    monkeypatch.setattr(decode, "unreadable", lambda filenames: [])
    with pytest.raises(ValueError, match=r"^1 image file.*\n  '.*bad\.jpg': [^\n]*JPEG[^\n]*$"):
        decode_images([*files, str(tmp_path / "bad.jpg")], 8)


def test_a_missing_file_is_named(tmp_path, files, cache):
    with pytest.raises(FileNotFoundError, match=r"missing\.jpg' is in the list of images, and there is no such file"):
        decode_images([*files, str(tmp_path / "missing.jpg")], 8)
    assert not cache.exists()


@pytest.mark.parametrize("batch_size", [2, 64])
def test_bad_files_can_be_skipped_and_the_index_is_that_of_the_others(monkeypatch, tmp_path, files, cache, batch_size):
    monkeypatch.setattr(decode, "FILES_PER_BATCH", batch_size)
    for name in ("bad0.jpg", "bad1.png"):
        (tmp_path / name).write_bytes(b"no image")
    bad = [str(tmp_path / "bad0.jpg"), str(tmp_path / "bad1.png")]
    mixed = [bad[0], *files[:3], bad[1], *files[3:]]
    decoded = decode_images(mixed, 8, on_bad_image="skip")
    assert decoded.num_images == 6 and list(decoded.filenames) == files and indices_in(decoded.array()) == [0, 1, 2, 3, 4, 5]
    assert list(decoded.skipped) == bad and all("not an image" in reason for reason in decoded.skipped.values())
    monkeypatch.setattr(store, "decode_files", not_again)
    assert decode_images(mixed, 8, on_bad_image="skip") == decoded  # from the cache
    with pytest.raises(ValueError, match=r"^2 image file\(s\) cannot be read(.|\n)*bad0\.jpg(.|\n)*bad1\.png"):
        decode_images(mixed, 8)


def test_without_bad_files_both_policies_share_a_cache(files, decoder):
    first = decode_images(files, 8, on_bad_image="skip")
    decoder["before"] = not_again
    assert decode_images(files, 8) == first and first.skipped == {}


def test_skipping_all_files_is_refused(tmp_path, cache):
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"^1 image file\(s\) cannot be read"):
        decode_images([str(tmp_path / "bad.jpg")], 8, on_bad_image="skip")
    assert os.listdir(cache) == []


def test_a_cache_of_other_images_under_this_name_is_not_read(files, decoder):
    other, decoded = decode_images(files[::-1], 8), decode_images(files, 8)
    for ending in (".uint8", ".json"):
        decoded.path.with_suffix(ending).write_bytes(other.path.with_suffix(ending).read_bytes())
    assert indices_in(decode_images(files, 8).array()) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("skipped", ['{"0": 3}', '{"x": "y"}', "[1]", "7", '{"99": "y"}'])
def test_a_cache_with_a_damaged_list_of_skipped_files_is_made_anew(files, decoder, skipped):
    decoded = decode_images(files, 8)
    description = decoded.path.with_suffix(".json")
    description.write_text(json.dumps({**json.loads(description.read_text()), "skipped": json.loads(skipped)}))
    assert indices_in(decode_images(files, 8).array()) == [0, 1, 2, 3, 4, 5]


def test_what_killed_builders_left_is_cleared_and_what_others_are_building_is_not(files, cache, decoder):
    cache.mkdir(parents=True)
    for name in ("decoding-dead", "decoding-alive", "decoding-dead.json"):
        (cache / name).write_text("")
        os.utime(cache / name, (1, 1))
    with acquire(cache / "decoding-alive"):
        decoded = decode_images(files, 8)
    assert sorted(os.listdir(cache)) == sorted(["decoding-alive", decoded.path.name, decoded.path.with_suffix(".json").name])


def test_a_jpeg_of_huge_declared_size_is_refused_before_memory_is_taken(tmp_path, cache):
    Image.new("RGB", (20, 20)).save(tmp_path / "a.jpg")
    content = bytearray((tmp_path / "a.jpg").read_bytes())
    start = content.index(b"\xff\xc0")
    content[start + 5 : start + 9] = b"\xff" * 4  # 65,535 pixels a side: 12 GB
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.jpg': Image size \(4294836225 pixels\) exceeds limit"):
        decode_images([str(tmp_path / "a.jpg")], 8)


# ------------------------------------------------------------------------------------------------------------------------- images in a file

ARRAY = np.random.default_rng(0).integers(0, 256, (7, 3, 2, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("stored") / "images.uint8"
    ARRAY.tofile(path)
    return path


@pytest.fixture(scope="module")
def stored(path):
    return StoredImages(path, ARRAY.shape)


def test_it_has_the_facts_of_an_array(stored):
    assert (stored.shape, stored.ndim, stored.dtype, len(stored)) == (ARRAY.shape, 4, np.uint8, 7)
    np.testing.assert_array_equal(np.asarray(stored), ARRAY)
    assert np.asarray(stored, np.float32).dtype == np.float32


INDICES = st.integers(-7, 6)
SLICES = st.builds(slice, st.none() | st.integers(-9, 9), st.none() | st.integers(-9, 9), st.none() | st.integers(-3, 3).filter(bool))


@settings(deadline=None, max_examples=50)
@given(rows=INDICES | SLICES | st.lists(INDICES, max_size=9).map(lambda rows: np.array(rows, np.int64)))
def test_rows_are_those_that_numpy_gives(stored, rows):
    np.testing.assert_array_equal(stored[rows], ARRAY[rows])


def test_a_mask_and_a_table_of_indices_choose_rows(stored):
    mask = np.arange(7) % 2 == 0
    np.testing.assert_array_equal(stored[mask], ARRAY[mask])
    np.testing.assert_array_equal(stored[np.array([[0, 3], [6, 6]])], ARRAY[[[0, 3], [6, 6]]])


@pytest.mark.parametrize("rows", [7, -8, [0, 7], np.array([-8])])
def test_rows_that_are_not_there_are_refused(stored, rows):
    with pytest.raises(IndexError, match="there are 7"):
        stored[rows]


def test_what_is_read_belongs_to_the_caller(stored):
    stored[:2][:] = 0
    np.testing.assert_array_equal(stored[:2], ARRAY[:2])


def test_a_system_that_hands_out_little_at_once_is_asked_again(stored, monkeypatch):
    whole = os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, views, offset: whole(file, [views[0][:5]], offset))
    np.testing.assert_array_equal(stored[1:6], ARRAY[1:6])


def test_a_file_of_another_size_is_refused(path):
    with pytest.raises(ValueError, match=r"has 126 bytes; images of shape \(8, 3, 2, 3\) have 144"):
        StoredImages(path, (8, 3, 2, 3))


def test_a_missing_file_is_an_error_of_its_own(tmp_path):
    with pytest.raises(FileNotFoundError):
        StoredImages(tmp_path / "none", (1, 1, 1, 3))


def test_a_file_that_shrinks_while_in_use_is_noticed(tmp_path):
    path = tmp_path / "images.uint8"
    ARRAY.tofile(path)
    images = StoredImages(path, ARRAY.shape)
    os.truncate(path, 20)
    with pytest.raises(OSError, match="shorter"):
        images[:]


def test_files_are_closed_with_the_last_reference(path):
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    if before is None:
        pytest.skip("no /proc")
    for _ in range(20):
        StoredImages(path, ARRAY.shape)[0]
    assert len(os.listdir("/proc/self/fd")) == before
