"""From image files to batches: what is cropped, and that every image keeps its index."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from glo_lib import inputs
from glo_lib.figures.inputs import running
from glo_lib.graph.backend import tf
from glo_lib.inputs import (
    STEPS_PER_BLOCK,
    DecodedImages,
    batch_of_step,
    decode_images,
    get_inputs_dataset,
    get_inputs_queue,
    order_of_images,
    positions_of_steps,
    preprocess_inputs,
)
from tests.make_files import indices_in, write_numbered_image

v1 = tf.compat.v1


@contextlib.contextmanager
def new_session() -> Iterator[v1.Session]:
    with tf.Graph().as_default(), v1.Session() as session:
        yield session


@pytest.fixture(scope="module")
def numbered_files(tmp_path_factory) -> list[str]:
    """70 JPEG files of very different sizes, so that some take longer to decode than others."""
    folder = tmp_path_factory.mktemp("numbered")
    return [write_numbered_image(folder, i, size=(240, 200) if i % 7 == 0 else (8 + i % 5, 8)) for i in range(70)]


def preprocessed(image: np.ndarray, **options) -> np.ndarray:
    with new_session() as session:
        return session.run(preprocess_inputs({"image": tf.constant(image)}, **options)["image"])


@pytest.mark.parametrize(
    ("height", "width", "tight_crop", "top", "left", "side"),
    [
        (218, 178, False, 20, 0, 178),  # CelebA: 20 rows above and below
        (218, 178, True, 55, 35, 108),  # CelebA's face: (218 - 108) / 2 and (178 - 108) / 2
        (120, 111, True, 6, 1, 108),  # 3 columns too many: 1 is cut on the left and 2 on the right
        (90, 100, True, 0, 5, 90),  # smaller than the tight crop: the short side
        (5, 1, False, 2, 0, 1),
    ],
)
def test_the_central_square_is_cut_out(height, width, tight_crop, top, left, side):
    # The pixel in row y and column x has the colour (y, x, 7). At the size of the square nothing is resized.
    image = np.dstack([*np.mgrid[:height, :width], np.full((height, width), 7)]).astype(np.uint8)
    kept = (preprocessed(image, tight_crop=tight_crop, size=side) + 1) * 127.5
    np.testing.assert_allclose(kept, image[top : top + side, left : left + side], atol=1e-3)


@pytest.mark.parametrize(("image", "expected"), [(0, -1), (255, 1), (51, -0.6), (0.0, -1), (0.25, -0.5), (1.0, 1)])
def test_bytes_and_floats_from_zero_to_one_are_mapped_to_the_range_from_minus_one_to_one(image, expected):
    image = np.full((16, 21, 3), image, np.uint8 if isinstance(image, int) else np.float32)
    np.testing.assert_allclose(preprocessed(image, size=8), expected, atol=2e-6)


def test_resizing_averages_pixels_and_does_not_leave_the_range():
    # A single picked pixel of the checkerboard would be black or white; the average is grey.
    checkerboard = (np.indices((80, 80)).sum(0) % 2 * 255).astype(np.uint8)[..., None]
    assert np.abs(preprocessed(checkerboard, size=16)).max() < 0.05
    assert np.abs(preprocessed(checkerboard, size=100)).max() <= 1 + 2e-6


def test_the_result_has_a_known_shape_and_everything_else_passes_unchanged():
    with tf.Graph().as_default():
        given = {"image": v1.placeholder(tf.uint8, [None, None, 3]), "index": tf.constant(5), "name": tf.constant("a")}
        before = dict(given)
        result = preprocess_inputs(given, size=24)
        assert result["image"].shape == (24, 24, 3) and result["image"].dtype == tf.float32
        assert result["index"] is given["index"] and result["name"] is given["name"] and given == before
        assert preprocess_inputs({"image": tf.zeros([9, 9, 1])})["image"].shape == (128, 128, 1)


def running_queue(filenames: list[str], **options) -> contextlib.AbstractContextManager[Callable[[], dict[str, np.ndarray]]]:
    """A function that returns the next batch of the queue."""
    return running(lambda: get_inputs_queue(filenames, lambda single: preprocess_inputs(single, size=8), **options))


@pytest.mark.parametrize("num_threads", [1, 4])
def test_the_queue_shuffles_the_images_and_keeps_image_and_index_together(numbered_files, num_threads):
    seen = []
    with running_queue(numbered_files, batch_size=16, num_threads=num_threads, capacity=96, min_after_dequeue=48) as next_batch:
        for _ in range(30):
            batch = next_batch()
            assert indices_in(batch["image"]) == batch["index"].tolist()
            seen += batch["index"].tolist()
    assert seen[:16] != sorted(seen[:16])
    assert set(seen) == set(range(70))  # 480 images, nearly seven times the 70: none is missing


def test_a_batch_of_the_queue_has_known_shapes_and_types_and_is_filled_by_the_given_number_of_threads(numbered_files):
    with tf.Graph().as_default():
        batch = get_inputs_queue(numbered_files, num_threads=3)
        runners = v1.get_collection(v1.GraphKeys.QUEUE_RUNNERS)
        assert [len(runner.enqueue_ops) for runner in runners if "shuffle_batch" in runner.name] == [3]
        assert set(batch) == {"image", "index"}
        assert batch["image"].shape == (16, 128, 128, 3) and batch["image"].dtype == tf.float32
        assert batch["index"].shape == (16,) and batch["index"].dtype == tf.int32
        assert get_inputs_queue(numbered_files, batch_size=5, channels=1)["image"].shape == (5, 128, 128, 1)


def test_the_queue_reads_png_files_with_any_name_and_is_started_by_a_monitored_session(tmp_path):
    filenames = [write_numbered_image(tmp_path / os.fsdecode(b"na\xffme"), i, "png") for i in range(4)]
    with tf.Graph().as_default():
        batch = get_inputs_queue(filenames, batch_size=8, extension="PNG", min_after_dequeue=0)
        with v1.train.MonitoredSession() as session:
            result = session.run(batch)
    assert indices_in(result["image"]) == result["index"].tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filenames": []}, "filenames is empty"),
        ({"extension": "gif"}, "extension is 'gif'; allowed are 'jpg', 'jpeg', 'png'"),
        ({"batch_size": 11}, r"capacity is 100; min_after_dequeue \+ batch_size = 101"),
    ],
)
def test_a_queue_that_could_never_work_is_refused(options, message):
    arguments = {"filenames": ["a.jpg"], "batch_size": 10, "capacity": 100, "min_after_dequeue": 90}
    with tf.Graph().as_default():
        get_inputs_queue(**arguments)  # just large enough
        with pytest.raises(ValueError, match=message):
            get_inputs_queue(**{**arguments, **options})


def orders(num_images: int, seed: int, first_epoch: int = 0, num_epochs: int = 1) -> np.ndarray:
    """(num_epochs, num_images): the order in each epoch."""
    with new_session() as session:
        first, end = first_epoch * num_images, (first_epoch + num_epochs) * num_images
        return session.run(order_of_images(tf.range(first, end, dtype=tf.int64), num_images, seed)).reshape(num_epochs, num_images)


@settings(max_examples=10)
@example(num_images=1, seed=0, epoch=0)
@example(num_images=2, seed=0, epoch=0)
@example(num_images=3, seed=0, epoch=0)
@example(num_images=257, seed=0, epoch=0)
@example(num_images=65_537, seed=0, epoch=0)
@given(num_images=st.integers(1, 3000), seed=st.integers(0, 2**31 - 1), epoch=st.integers(0, 10**6))
def test_every_epoch_is_a_permutation(num_images, seed, epoch):
    for order in orders(num_images, seed, epoch, 2):
        np.testing.assert_array_equal(np.sort(order), np.arange(num_images))


def test_all_epochs_and_seeds_have_different_orders():
    far = [256, 2**16, 2**31]  # the cipher sees only the lowest bits of its keys
    by_epoch = [*orders(50, seed=0, num_epochs=20), *(orders(50, seed=0, first_epoch=epoch)[0] for epoch in far)]
    by_seed = [orders(50, seed)[0] for seed in [1, 2, *far]]
    assert len({tuple(order) for order in np.array(by_epoch + by_seed).tolist()}) == 20 + 3 + 5


def numbered_images(folder: Path, num_images: int) -> DecodedImages:
    """Decoded images of 4x4 pixels; all bytes of image number i are i."""
    path = folder / f"{num_images}.uint8"
    path.write_bytes(bytes(i for i in range(num_images) for _ in range(4 * 4 * 3)))
    return DecodedImages(path, num_images, 4, tuple(map(str, range(num_images))))


def stream(decoded: DecodedImages, num_steps: int, **options) -> np.ndarray:
    """(num_steps, batch): the indices of the first steps; every image is checked against its index."""
    indices = []
    with new_session() as session:
        batch = get_inputs_dataset(decoded, **options)
        for _ in range(num_steps):
            image, index = session.run([batch["image"], batch["index"]])
            expected = np.broadcast_to(index[:, None, None, None] / 127.5 - 1, image.shape)
            np.testing.assert_allclose(image, expected, atol=1e-6)
            indices.append(index)
    return np.array(indices)


@pytest.mark.parametrize(
    ("shard", "num_shards", "expected"),
    [(0, 1, [[6, 7], [8, 9], [10, 11]]), (0, 2, [[12, 13], [16, 17], [20, 21]]), (1, 2, [[14, 15], [18, 19], [22, 23]])],
)
def test_the_towers_of_a_step_read_consecutive_batches_of_the_stream(shard, num_shards, expected):
    with new_session() as session:
        assert session.run(positions_of_steps(tf.constant(3, tf.int64), 3, 2, shard, num_shards)).tolist() == expected


@pytest.mark.parametrize("start_step", [0, 1, STEPS_PER_BLOCK - 1, STEPS_PER_BLOCK + 5])
def test_the_stream_is_the_order_of_images_cut_into_batches_from_any_step(tmp_path, start_step):
    num_steps = STEPS_PER_BLOCK + 6  # the order is computed for a block of steps at once; no batch size divides an epoch
    expected = orders(10, seed=6, num_epochs=4 * (start_step + num_steps) // 10 + 1).ravel()[4 * start_step :][: 4 * num_steps]
    indices = stream(numbered_images(tmp_path, 10), num_steps, batch_size=4, seed=6, start_step=start_step)
    np.testing.assert_array_equal(indices.ravel(), expected)


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
        ({"batch_size": 2, "shard": 1}, r"shard is 1; with 1 shard\(s\) it can be 0 to 0"),
        ({"batch_size": 2, "shard": -1}, "shard is -1"),
    ],
)
def test_an_impossible_batch_is_refused(tmp_path, options, message):
    with tf.Graph().as_default(), pytest.raises(ValueError, match=message):
        get_inputs_dataset(numbered_images(tmp_path, 10), **options)


def test_from_files_to_batches_every_image_keeps_its_index(numbered_files):
    decoded = decode_images(numbered_files, 8)
    with new_session() as session:
        batch = get_inputs_dataset(decoded)
        assert batch["image"].shape == (16, 8, 8, 3) and batch["image"].dtype == tf.float32
        assert batch["index"].shape == (16,) and batch["index"].dtype == tf.int64
        for _ in range(9):
            result = session.run(batch)
            assert indices_in(result["image"]) == result["index"].tolist()


def test_batch_of_step_returns_the_batch_of_the_stream(tmp_path):
    decoded = numbered_images(tmp_path, 20)
    indices = stream(decoded, 4, batch_size=4, seed=3, shard=1, num_shards=2)
    batch = batch_of_step(decoded, 3, 4, seed=3, shard=1, num_shards=2)
    assert batch["index"].tolist() == indices[3].tolist() and batch["image"].shape == (4, 4, 4, 3)


@pytest.mark.parametrize("bytes_missing", [0, 1])
def test_images_that_do_not_fit_into_memory_stay_in_their_file(tmp_path, monkeypatch, bytes_missing):
    """A file that is truncated during training is noticed at the next read, which only a stream from the file makes."""
    decoded = numbered_images(tmp_path, 10)
    expected = stream(decoded, 3, batch_size=10)
    monkeypatch.setattr(inputs, "RESIDENT_BYTES", 10 * 4 * 4 * 3 - bytes_missing)
    np.testing.assert_array_equal(stream(decoded, 3, batch_size=10), expected)
    with new_session() as session:
        batch = get_inputs_dataset(decoded, batch_size=10)
        session.run(batch)
        os.truncate(decoded.path, 0)
        with pytest.raises(tf.errors.OpError, match="become shorter") if bytes_missing else contextlib.nullcontext():
            for _ in range(10):
                session.run(batch)


def test_the_stream_runs_on_the_host_and_the_tower_converts_bytes_to_floats(tmp_path):
    """This also holds on a machine with GPUs, which have no kernel for reading files and should not shuffle indices."""
    with tf.Graph().as_default() as graph:
        with tf.compat.v1.device(lambda op: "/gpu:0"):
            batch = get_inputs_dataset(numbered_images(tmp_path, 10), batch_size=2)
        definition = graph.as_graph_def()
        stream_nodes = [node for node in definition.node if "Dataset" in node.op or "Iterator" in node.op]
        function_nodes = [node for function in definition.library.function for node in function.node_def]
    assert len(stream_nodes) > 5 and len(function_nodes) > 50
    assert {node.device for node in stream_nodes + function_nodes} == {"/device:CPU:0"}
    assert tf.DeviceSpec.from_string(batch["image"].device).device_type == "GPU"
