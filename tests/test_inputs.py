"""From files to batches: what is cropped, and that every image keeps its index."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glo_lib import inputs
from glo_lib.figures.inputs import running
from glo_lib.graph.backend import tf
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
from tests.make_files import indices_in, painted, painted_files

v1 = tf.compat.v1


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GLO_CACHE_DIR", str(tmp_path / "cache"))


@contextlib.contextmanager
def new_session() -> Iterator[v1.Session]:
    with tf.Graph().as_default(), v1.Session() as session:
        yield session


@pytest.fixture(scope="module")
def numbered(tmp_path_factory) -> list[str]:
    return painted_files(tmp_path_factory.mktemp("numbered"))


# ---------------------------------------------------------------------------------------------------------------------- crop, resize, scale


def preprocessed(image: np.ndarray, **options) -> np.ndarray:
    with new_session() as session:
        return session.run(preprocess_inputs({"image": tf.constant(image)}, **options)["image"])


def positions(height: int, width: int) -> np.ndarray:
    """A picture in which the pixel in row y and column x has the colour (y, x, 7)."""
    return np.dstack([*np.mgrid[:height, :width], np.full((height, width), 7)]).astype(np.uint8)


@pytest.mark.parametrize(
    ("height", "width", "tight_crop", "top", "left", "side"),
    [
        (218, 178, False, 20, 0, 178),  # CelebA: 20 rows above and below
        (218, 178, True, 55, 35, 108),  # CelebA's face: (218 - 108) / 2 and (178 - 108) / 2
        (178, 218, False, 0, 20, 178),
        (120, 111, True, 6, 1, 108),  # 3 columns too many: 1 is cut on the left and 2 on the right
        (9, 6, False, 1, 0, 6),
        (90, 100, True, 0, 5, 90),  # smaller than the tight crop: the short side
        (108, 108, True, 0, 0, 108),
        (5, 1, False, 2, 0, 1),
    ],
)
def test_the_central_square_is_cut_out(height, width, tight_crop, top, left, side):
    # At the size of the square nothing is resized, and the colours say which pixels were kept.
    image = positions(height, width)
    kept = (preprocessed(image, tight_crop=tight_crop, size=side) + 1) * 127.5
    np.testing.assert_allclose(kept, image[top : top + side, left : left + side], atol=1e-3)


@pytest.fixture(scope="module")
def centre_of_window():
    """The centre of the window that is cut out of an image (h, w, 2): shrunk to one pixel, a ramp keeps the value at its centre."""
    with new_session() as session:
        image = v1.placeholder(tf.float32, [None, None, 2])
        centres = {tight_crop: preprocess_inputs({"image": image}, tight_crop, size=1)["image"][0, 0] for tight_crop in (False, True)}
        yield lambda array, tight_crop: session.run(centres[tight_crop], {image: array})


@settings(deadline=None, max_examples=50)
@given(height=st.integers(1, 150), width=st.integers(1, 150), tight_crop=st.booleans())
def test_the_window_is_central_for_any_shape(centre_of_window, height, width, tight_crop):
    side = min(height, width, 108) if tight_crop else min(height, width)
    ramps = np.dstack(np.mgrid[:height, :width]).astype(np.float32) / 256
    centre = (centre_of_window(ramps, tight_crop) + 1) / 2 * 256
    np.testing.assert_allclose(centre, [(length - side) // 2 + (side - 1) / 2 for length in (height, width)], atol=0.01)


@pytest.mark.parametrize("size", [8, 16, 40])
def test_black_is_minus_one_and_white_is_one_and_nothing_lies_outside(size):
    for value, expected in [(0, -1), (255, 1), (51, -0.6), (204, 0.6)]:
        np.testing.assert_allclose(preprocessed(np.full((16, 21, 3), value, np.uint8), size=size), expected, atol=2e-6)
    noise = np.random.default_rng(0).integers(0, 2, (33, 33, 3)).astype(np.uint8) * 255
    assert np.abs(preprocessed(noise, size=size)).max() <= 1 + 2e-6


def test_float_images_are_taken_as_zero_to_one():
    image = np.float32([[[0.0], [0.25]], [[0.5], [1.0]]])
    np.testing.assert_allclose(preprocessed(image, size=2), image * 2 - 1, atol=1e-6)


@pytest.mark.parametrize("factor", [5, 8])
def test_shrinking_averages_and_does_not_pick_single_pixels(factor):
    # A picked pixel of the checkerboard is black or white, whichever lies at the place; an average is grey.
    checkerboard = (np.indices((factor * 16, factor * 16)).sum(0) % 2 * 255).astype(np.uint8)[..., None]
    assert np.abs(preprocessed(checkerboard, size=16)).max() < 0.05


def test_enlarging_interpolates_between_the_pixels():
    step = np.zeros((4, 4, 1), np.uint8)
    step[:, 2:] = 255
    row = preprocessed(step, size=8)[4, :, 0]
    # Pixel i of the result lies at i / 2 - 1/4 of the original; between columns 1 and 2 the value rises in a line.
    np.testing.assert_allclose(row, [-1, -1, -1, -0.5, 0.5, 1, 1, 1], atol=1e-6)


def test_the_result_has_a_known_shape_and_everything_else_passes_unchanged():
    with tf.Graph().as_default():
        given = {"image": v1.placeholder(tf.uint8, [None, None, 3]), "index": tf.constant(5), "name": tf.constant("a")}
        before = dict(given)
        result = preprocess_inputs(given, size=24)
        assert result["image"].shape == (24, 24, 3) and result["image"].dtype == tf.float32
        assert result["index"] is given["index"] and result["name"] is given["name"] and given == before
        assert preprocess_inputs({"image": tf.zeros([9, 9, 1])})["image"].shape == (128, 128, 1)


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


def test_the_queue_reads_a_file_whose_name_is_not_utf8(tmp_path):
    filename = str(tmp_path / os.fsdecode(b"na\xffme.jpg"))
    os.rename(painted(tmp_path, 7), filename)
    with running_queue([filename], batch_size=1, min_after_dequeue=0) as next_batch:
        assert indices_in(next_batch()["image"]) == [7]


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


def test_batches_of_a_memory_map_are_the_same(numbered, monkeypatch):
    decoded = decode_images(numbered[:3], 16)
    stored = np.asarray(decoded.array())
    monkeypatch.delattr(os, "preadv")
    with new_session() as session:
        batch = session.run(get_inputs_dataset(decoded, batch_size=2))
    np.testing.assert_array_equal(np.round((batch["image"] + 1) * 127.5), stored[batch["index"]])


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
