"""From files to batches: what is cropped, and that every image keeps its index."""

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from glo_lib import decoding, inputs
from glo_lib.backend import tf
from glo_lib.figures_inputs import running
from glo_lib.images import read_image
from glo_lib.inputs import (
    STEPS_AT_ONCE,
    DecodedImages,
    batch_of_step,
    decode_images,
    get_inputs_dataset,
    get_inputs_queue,
    order_of_images,
    preprocess_inputs,
)
from glo_lib.locks import acquire

v1 = tf.compat.v1


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    folder = tmp_path / "cache"
    monkeypatch.setenv("GLO_CACHE_DIR", str(folder))
    return folder / "images"


@contextlib.contextmanager
def new_session() -> Iterator[v1.Session]:
    with tf.Graph().as_default(), v1.Session() as session:
        yield session


# ------------------------------------------------------------------------------------------------- images that know their index

LEVELS = np.array([20, 74, 128, 182, 236])  # of red, green and blue: three digits to the base of five


def colour_of(index: int) -> tuple[int, int, int]:
    return tuple(int(LEVELS[index // power % 5]) for power in (1, 5, 25))


def indices_in(images: np.ndarray) -> list[int]:
    """The numbers that were painted into images (n, h, w, 3), uint8 or in [-1, 1]."""
    colours = np.asarray(images, np.float64).mean((1, 2))
    colours = colours if images.dtype == np.uint8 else (colours + 1) * 127.5
    digits = np.abs(colours[..., None] - LEVELS).argmin(-1)
    assert np.abs(colours - LEVELS[digits]).max() < 12  # painted colours, and no mixture of them
    return (digits @ [1, 5, 25]).tolist()


def painted(folder: Path, index: int, kind: str = "jpg", size: tuple[int, int] = (12, 10), **options) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    filename = str(folder / f"{index:03}.{kind}")
    image = Image.new("RGB", size, colour_of(index))
    image = image.convert("CMYK") if options.pop("cmyk", False) else image
    image.save(filename, **options)
    return filename


@pytest.fixture(scope="module")
def numbered(tmp_path_factory) -> list[str]:
    """70 JPEG files of very different sizes, so that some are decoded sooner than others."""
    folder = tmp_path_factory.mktemp("numbered")
    return [painted(folder, i, size=(240, 200) if i % 7 == 0 else (8 + i % 5, 8)) for i in range(70)]


# ------------------------------------------------------------------------------------------------------------ graph queues


def running_queue(filenames: list[str], **options) -> contextlib.AbstractContextManager[Callable[[], dict[str, np.ndarray]]]:
    """A function that gives the next batch of the queue."""
    return running(lambda: get_inputs_queue(filenames, lambda single: preprocess_inputs(single, size=8), **options))


@pytest.mark.parametrize("num_threads", [1, 4])
def test_image_and_index_stay_paired_in_the_queue(numbered, num_threads):
    seen = set()
    with running_queue(numbered, batch_size=16, num_threads=num_threads, capacity=96, min_after_dequeue=48) as next_batch:
        for _ in range(30):
            batch = next_batch()
            assert indices_in(batch["image"]) == batch["index"].tolist()
            seen.update(batch["index"].tolist())
    assert seen == set(range(70))  # 480 images, nearly seven times the 70: none is left out


def test_the_queue_mixes_the_images(numbered):
    with running_queue(numbered, batch_size=35, capacity=200, min_after_dequeue=140) as next_batch:
        first, second = next_batch()["index"].tolist(), next_batch()["index"].tolist()
    assert first != sorted(first) and first != second


def test_as_many_threads_fill_the_queue_as_are_asked_for(numbered):
    with tf.Graph().as_default():
        get_inputs_queue(numbered, num_threads=3)
        runners = v1.get_collection(v1.GraphKeys.QUEUE_RUNNERS)
        assert [len(runner.enqueue_ops) for runner in runners if "shuffle_batch" in runner.name] == [3]


def test_a_batch_of_the_queue_has_known_shapes_and_types(numbered):
    with tf.Graph().as_default():
        batch = get_inputs_queue(numbered)
        assert set(batch) == {"image", "index"}
        assert batch["image"].shape == (16, 128, 128, 3) and batch["image"].dtype == tf.float32
        assert batch["index"].shape == (16,) and batch["index"].dtype == tf.int32
        own = get_inputs_queue(numbered, lambda single: preprocess_inputs(single, size=32), batch_size=5, channels=1)
        assert own["image"].shape == (5, 32, 32, 1)


def test_the_queue_reads_png_files_and_a_monitored_session_starts_it(tmp_path):
    filenames = [painted(tmp_path, i, "png") for i in range(4)]
    with tf.Graph().as_default():
        batch = get_inputs_queue(filenames, batch_size=8, extension="PNG", min_after_dequeue=0)
        with v1.train.MonitoredSession() as session:
            result = session.run(batch)
    assert indices_in(result["image"]) == result["index"].tolist()
    assert np.abs(result["image"]).max() <= 1 + 2e-6 and np.abs(result["image"]).max() > 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filenames": []}, "filenames is empty"),
        ({"extension": "gif"}, "extension is 'gif'; allowed are 'jpg', 'jpeg', 'png'"),
        ({"capacity": 100, "min_after_dequeue": 90, "batch_size": 11}, r"capacity is 100; min_after_dequeue \+ batch_size = 101"),
    ],
)
def test_a_queue_that_could_never_work_is_refused(options, message):
    with tf.Graph().as_default(), pytest.raises(ValueError, match=message):
        get_inputs_queue(**{"filenames": ["a.jpg"], **options})


def test_a_queue_that_is_just_large_enough_is_allowed():
    with tf.Graph().as_default():
        get_inputs_queue(["a.jpg"], batch_size=10, capacity=100, min_after_dequeue=90)


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
    with new_session() as session:
        for image, filename in zip(decoded, files.values(), strict=True):
            decode = tf.io.decode_png if filename.endswith("png") else tf.io.decode_jpeg
            by_tensorflow = decode(tf.io.read_file(filename), channels=3)
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
    assert decoded.path.parent == cache and decoded.path.stat().st_size == 3 * 16 * 16 * 3
    with pytest.raises(TypeError, match="does not support item assignment"):
        array[0] = 0


def test_a_system_that_cannot_read_at_a_place_maps_the_file(numbered, cache, monkeypatch):
    decoded = decode_images(numbered[:3], 16)
    stored = np.asarray(decoded.array())
    monkeypatch.delattr(os, "preadv")
    assert isinstance(decoded.array(), np.memmap)
    np.testing.assert_array_equal(decoded.array(), stored)
    with tf.Graph().as_default(), new_session() as session:
        batch = session.run(get_inputs_dataset(decoded, batch_size=2))
    np.testing.assert_array_equal(np.round((batch["image"] + 1) * 127.5), stored[batch["index"]])


def test_the_order_is_that_of_the_file_names_given(numbered):
    order = [69, *range(40, 0, -1), *range(41, 69), 0]
    assert indices_in(decode_images([numbered[i] for i in order], 8).array()) == order


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_plain_and_odd_files_are_mixed_in_order(monkeypatch, tmp_path, batch_size):
    monkeypatch.setattr(decoding, "BATCH_SIZE", batch_size)
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


@pytest.mark.parametrize("pipeline", ["decode_images", "get_inputs_queue"])
def test_a_file_whose_name_is_not_utf8_is_read(tmp_path, pipeline):
    painted(tmp_path, 7)
    filename = str(tmp_path / os.fsdecode(b"na\xffme.jpg"))
    os.rename(tmp_path / "007.jpg", filename)
    if pipeline == "decode_images":
        assert indices_in(decode_images([filename], 8).array()) == [7]
    else:
        with running_queue([filename], batch_size=1, min_after_dequeue=0) as next_batch:
            assert indices_in(next_batch()["image"]) == [7]


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

    monkeypatch.setattr(inputs, "decode_files", decode_files)
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
    monkeypatch.setattr(inputs, "CHECKSUM_BYTES", 100)
    decoded = decode_images(files, 8)  # 6 * 8 * 8 * 3 = 1,152 bytes: 12 blocks
    assert len(json.loads(decoded.path.with_suffix(".json").read_text())["crc32"]) == 12
    for position in [*range(50, 1152, 100), 1151]:
        flip_a_byte(decoded.path, position)
        damaged = decoded.path.read_bytes()
        decode_images(files, 8)
        assert decoded.path.read_bytes() != damaged and indices_in(decoded.array()) == [0, 1, 2, 3, 4, 5]


def test_bytes_behind_the_last_block_are_damage_too(monkeypatch, files, decoder):
    monkeypatch.setattr(inputs, "CHECKSUM_BYTES", 1152 // 4)  # the images end where a block does
    decoded = decode_images(files, 8)
    with open(decoded.path, "ab") as file:
        file.write(b"\0")
    assert decode_images(files, 8).path.stat().st_size == 1152


@pytest.mark.parametrize("quarter", range(4))
def test_of_a_huge_cache_a_spread_of_the_blocks_is_checked(monkeypatch, files, decoder, quarter):
    monkeypatch.setattr(inputs, "CHECKSUM_BYTES", 10)
    monkeypatch.setattr(inputs, "CHECKED_BLOCKS", 4)
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
    monkeypatch.setattr(decoding, "BATCH_SIZE", 4)
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
    monkeypatch.setattr(decoding, "unreadable", lambda filenames: [])
    with pytest.raises(ValueError, match=r"^1 image file.*\n  '.*bad\.jpg': [^\n]*JPEG[^\n]*$"):
        decode_images([*files, str(tmp_path / "bad.jpg")], 8)


def test_a_missing_file_is_named(tmp_path, files, cache):
    with pytest.raises(FileNotFoundError, match=r"missing\.jpg' is in the list of images, and there is no such file"):
        decode_images([*files, str(tmp_path / "missing.jpg")], 8)
    assert not cache.exists()


@pytest.mark.parametrize("batch_size", [2, 64])
def test_bad_files_can_be_skipped_and_the_index_is_that_of_the_others(monkeypatch, tmp_path, files, cache, batch_size):
    monkeypatch.setattr(decoding, "BATCH_SIZE", batch_size)
    for name in ("bad0.jpg", "bad1.png"):
        (tmp_path / name).write_bytes(b"no image")
    bad = [str(tmp_path / "bad0.jpg"), str(tmp_path / "bad1.png")]
    mixed = [bad[0], *files[:3], bad[1], *files[3:]]
    decoded = decode_images(mixed, 8, on_bad_image="skip")
    assert decoded.num_images == 6 and list(decoded.filenames) == files and indices_in(decoded.array()) == [0, 1, 2, 3, 4, 5]
    assert list(decoded.skipped) == bad and all("not an image" in reason for reason in decoded.skipped.values())
    monkeypatch.setattr(inputs, "decode_files", not_again)
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


# ------------------------------------------------------------------------------------------------------------ order of images


def orders(num_images: int, seed: int, first_epoch: int = 0, num_epochs: int = 1) -> np.ndarray:
    """(num_epochs, num_images): the order in each epoch."""
    with new_session() as session:
        first, end = first_epoch * num_images, (first_epoch + num_epochs) * num_images
        return session.run(order_of_images(tf.range(first, end, dtype=tf.int64), num_images, seed)).reshape(num_epochs, num_images)


@settings(deadline=None, max_examples=15)
@given(num_images=st.integers(1, 3000), seed=st.integers(0, 2**31 - 1), epoch=st.integers(0, 10**6))
def test_every_epoch_is_a_permutation(num_images, seed, epoch):
    for order in orders(num_images, seed, epoch, 2):
        assert sorted(order.tolist()) == list(range(num_images))


@pytest.mark.parametrize("num_images", [1, 2, 3, 255, 256, 257, 65536, 65537, 202_599])
def test_every_epoch_is_a_permutation_of_special_numbers_too(num_images):
    np.testing.assert_array_equal(np.sort(orders(num_images, seed=1)[0]), np.arange(num_images))


def test_positions_can_be_asked_for_in_any_order():
    whole = orders(10, seed=3, num_epochs=4).ravel()
    with new_session() as session:
        asked = [39, 0, 17, 17, 5, 20, 9, 10]
        np.testing.assert_array_equal(session.run(order_of_images(tf.constant(asked, tf.int64), 10, 3)), whole[asked])


def test_every_image_is_about_equally_likely_at_every_place():
    num_images, num_epochs = 8, 250
    places = orders(num_images, seed=5, num_epochs=num_epochs)
    counts = np.array([np.bincount(places[:, place], minlength=num_images) for place in range(num_images)])
    # Binomial: 31.25 on the average, with a standard deviation of 5.2.
    assert np.abs(counts - num_epochs / num_images).max() < 5 * 5.2


def test_epochs_and_seeds_have_orders_of_their_own():
    by_epoch = orders(50, seed=0, num_epochs=20)
    assert len({tuple(order) for order in by_epoch.tolist()}) == 20
    with new_session() as session:
        by_seed = session.run([order_of_images(tf.range(50, dtype=tf.int64), 50, seed) for seed in range(10)])
    assert len({tuple(order) for order in np.array(by_seed).tolist()}) == 10


@pytest.mark.parametrize("apart", [256, 512, 2**16, 2**31])
def test_seeds_and_epochs_far_apart_have_orders_of_their_own_too(apart):
    assert (orders(50, seed=0) != orders(50, seed=apart)).any()
    assert (orders(50, seed=0) != orders(50, seed=0, first_epoch=apart)).any()


# ----------------------------------------------------------------------------------------------------------------- batches


def numbered_images(folder: Path, num_images: int) -> DecodedImages:
    """Decoded images of 4x4 pixels, of which number i has the bytes i, i, ..."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{num_images}.uint8"
    path.write_bytes(bytes(i for i in range(num_images) for _ in range(4 * 4 * 3)))
    return DecodedImages(path, num_images, 4, tuple(map(str, range(num_images))))


def stream(decoded: DecodedImages, num_steps: int, **options) -> np.ndarray:
    """(num_steps, batch): the indices of so many steps, after a look at whether the images belong to them."""
    indices = []
    with new_session() as session:
        batch = get_inputs_dataset(decoded, **options)
        for _ in range(num_steps):
            image, index = session.run([batch["image"], batch["index"]])
            expected = np.broadcast_to(index[:, None, None, None] / 127.5 - 1, image.shape)
            np.testing.assert_allclose(image, expected, atol=1e-6)
            indices.append(index)
    return np.array(indices)


def test_batches_have_known_shapes_and_types(tmp_path):
    with tf.Graph().as_default():
        batch = get_inputs_dataset(numbered_images(tmp_path, 20))
        assert set(batch) == {"image", "index"}
        assert batch["image"].shape == (16, 4, 4, 3) and batch["image"].dtype == tf.float32
        assert batch["index"].shape == (16,) and batch["index"].dtype == tf.int64


def test_images_reach_from_minus_one_to_one(tmp_path):
    with new_session() as session:
        batch = session.run(get_inputs_dataset(numbered_images(tmp_path, 256), batch_size=256))
    assert batch["image"].min() == -1 and batch["image"].max() == 1
    np.testing.assert_allclose(batch["image"][:, 0, 0, 0], batch["index"] / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize(("num_images", "batch_size"), [(12, 4), (10, 4), (7, 7), (5, 1), (1, 1), (11, 8)])
def test_every_image_comes_once_an_epoch_with_its_own_index(tmp_path, num_images, batch_size):
    num_epochs = batch_size  # together a whole number of batches, whatever the sizes
    indices = stream(numbered_images(tmp_path, num_images), num_images, batch_size=batch_size).reshape(num_epochs, num_images)
    for epoch in indices:
        assert sorted(epoch.tolist()) == list(range(num_images))


def test_the_stream_is_the_order_of_images_cut_into_batches(tmp_path):
    num_steps = 2 * STEPS_AT_ONCE + 2  # the order is made for so many steps at once
    indices = stream(numbered_images(tmp_path, 10), num_steps, batch_size=5, seed=6)
    np.testing.assert_array_equal(indices.ravel(), orders(10, seed=6, num_epochs=num_steps // 2).ravel())


def test_the_order_changes_from_epoch_to_epoch(tmp_path):
    epochs = stream(numbered_images(tmp_path, 30), 6, batch_size=30)
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 6


def test_the_same_seed_gives_the_same_stream_and_another_seed_another(tmp_path):
    decoded = numbered_images(tmp_path, 30)
    streams = [stream(decoded, 6, batch_size=8, seed=seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(streams[0], streams[1])
    assert (streams[0] != streams[2]).any()


@pytest.mark.parametrize("start_step", [1, 3, 8, STEPS_AT_ONCE - 1, STEPS_AT_ONCE, STEPS_AT_ONCE + 5])
def test_a_resumed_stream_goes_on_where_it_would_have(tmp_path, start_step):
    decoded = numbered_images(tmp_path, 10)
    num_steps = 2 * STEPS_AT_ONCE
    whole = stream(decoded, num_steps, batch_size=4, seed=2)
    rest = stream(decoded, num_steps - start_step, batch_size=4, seed=2, start_step=start_step)
    np.testing.assert_array_equal(rest, whole[start_step:])


@pytest.mark.parametrize("num_shards", [2, 3])
def test_shards_together_are_one_stream_with_the_larger_batch(tmp_path, num_shards):
    decoded = numbered_images(tmp_path, 11)
    whole = stream(decoded, 7, batch_size=3 * num_shards, seed=4, start_step=2)
    shards = [stream(decoded, 7, batch_size=3, seed=4, start_step=2, shard=i, num_shards=num_shards) for i in range(num_shards)]
    np.testing.assert_array_equal(np.concatenate(shards, axis=1), whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 11}, "batch_size is 11 for each of 1 tower.*10 images it can be 1 to 10"),
        ({"batch_size": 6, "num_shards": 2}, "batch_size is 6 for each of 2 tower.*10 images it can be 1 to 5"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": -1}, "batch_size is -1"),
        ({"batch_size": 2, "shard": 1}, r"shard is 1; with 1 shard\(s\) it can be 0 to 0"),
        ({"batch_size": 2, "shard": -1}, "shard is -1"),
        ({"batch_size": 2, "shard": 2, "num_shards": 2}, "shard is 2; with 2"),
    ],
)
def test_batches_that_cannot_be_made_are_refused(tmp_path, options, message):
    with tf.Graph().as_default(), pytest.raises(ValueError, match=message):
        get_inputs_dataset(numbered_images(tmp_path, 10), **options)


def test_from_files_to_batches_every_image_keeps_its_index(numbered):
    decoded = decode_images(numbered, 8)
    with new_session() as session:
        batch = get_inputs_dataset(decoded, batch_size=32)
        for _ in range(5):
            image, index = session.run([batch["image"], batch["index"]])
            assert indices_in(image) == index.tolist()


def test_the_batch_of_a_step_is_that_of_the_stream(tmp_path):
    decoded = numbered_images(tmp_path, 20)
    with new_session() as session:
        batch = get_inputs_dataset(decoded, 4, seed=3, shard=1, num_shards=2)
        stream = [session.run(batch) for _ in range(4)]
    for step in (3, 0):
        again = batch_of_step(decoded, step, 4, seed=3, shard=1, num_shards=2)
        assert again["index"].tolist() == stream[step]["index"].tolist() and (again["image"] == stream[step]["image"]).all()


def test_batches_from_memory_and_from_the_file_are_the_same(tmp_path, monkeypatch):
    decoded = numbered_images(tmp_path, 50)
    options = {"batch_size": 8, "seed": 2, "start_step": 5}
    from_memory = stream(decoded, 20, **options)
    monkeypatch.setattr(inputs, "RESIDENT_BYTES", 50 * 4 * 4 * 3 - 1)
    np.testing.assert_array_equal(stream(decoded, 20, **options), from_memory)


@pytest.mark.parametrize("bytes_too_few", [0, 1])
def test_images_stay_in_their_file_where_they_are_too_many(tmp_path, monkeypatch, bytes_too_few):
    """A file that shrinks behind the stream's back is noticed by the next reading, which only a stream from the file does."""
    decoded = numbered_images(tmp_path, 10)
    monkeypatch.setattr(inputs, "RESIDENT_BYTES", 10 * 4 * 4 * 3 - bytes_too_few)
    with new_session() as session:
        batch = get_inputs_dataset(decoded, batch_size=10)
        session.run(batch)
        os.truncate(decoded.path, 0)
        expectation = pytest.raises(tf.errors.OpError, match="become shorter") if bytes_too_few else contextlib.nullcontext()
        with expectation:
            for _ in range(10):
                session.run(batch)


def test_the_stream_runs_on_the_host_and_floats_are_made_on_the_tower(tmp_path):
    """On a machine with GPUs too, where reading files has no kernel and shuffling indices no business."""
    with tf.Graph().as_default() as graph:
        with tf.compat.v1.device(lambda op: "/gpu:0"):
            batch = get_inputs_dataset(numbered_images(tmp_path, 10), batch_size=2)
        definition = graph.as_graph_def()
        stream_of_bytes = [node for node in definition.node if "Dataset" in node.op or "Iterator" in node.op]
        in_functions = [node for function in definition.library.function for node in function.node_def]
    assert len(stream_of_bytes) > 5 and len(in_functions) > 50
    assert {node.device for node in stream_of_bytes + in_functions} == {"/device:CPU:0"}
    assert tf.DeviceSpec.from_string(batch["image"].device).device_type == "GPU"
