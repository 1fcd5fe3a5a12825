"""From image files to batches: ``{"image": (batch, height, width, channels) in [-1, 1], "index": (batch,)}``.

The index is the image's position in the sorted list of files, and the row of its latent code. Two pipelines give the same dictionary:
`get_inputs_queue`, the graph queues of the post, and `get_inputs_dataset`, which training uses: it reads images that
`decode_images` has decoded once, in an order that is a pure function of (seed, step).
"""

import os
from collections.abc import Callable, Sequence

import numpy as np

from glo_lib.graph.backend import tf
from glo_lib.images.crop import central_square, resize
from glo_lib.images.decode import without_autotuning
from glo_lib.images.files import list_images
from glo_lib.images.pixels import HALF_RANGE
from glo_lib.images.store import DecodedImages, decode_images

__all__ = [
    "DecodedImages",
    "batch_of_step",
    "decode_images",
    "get_inputs_dataset",
    "get_inputs_queue",
    "inputs_dataset",
    "list_images",
    "order_of_images",
    "preprocess_inputs",
]

Inputs = dict[str, tf.Tensor]
STEPS_AT_ONCE = 64  # the order of so many steps costs little more than that of one
RESIDENT_BYTES = 2**28  # images that need no more than that are held in memory, 21,845 of 64 pixels; more stay in their file
LAST_STEP = 2**48  # more than a run can take; times the batch it is still a number of 64 bits


def preprocess_inputs(inputs: Inputs, tight_crop: bool = False, size: int = 128) -> Inputs:
    """Crop the central square, resize it, and map it to [-1, 1].

    Args:
        inputs: ``image`` is (height, width, channels), uint8 in [0, 255] or float in [0, 1]; other entries pass unchanged.
        tight_crop: crop 108 pixels (or the short side, if that is less) instead of the short side.
        size: pixels a side of the result. Shrinking averages over the pixels that fall together, so that nothing aliases.

    Returns:
        A new dictionary; ``image`` is (size, size, channels) float32 in [-1, 1].

    Example:
        >>> with tf.Graph().as_default():
        ...     preprocess_inputs({"image": tf.zeros([218, 178, 3], tf.uint8)}, size=64)["image"].shape
        TensorShape([64, 64, 3])
    """
    image = inputs["image"]
    top, left, side = central_square(tf.shape(image), tight_crop)
    image = tf.image.convert_image_dtype(image[top : top + side, left : left + side], tf.float32)  # (side, side, channels)
    return {**inputs, "image": resize(image, size) * 2 - 1}


def get_inputs_queue(
    filenames: Sequence[str],
    preprocess_inputs: Callable[[Inputs], Inputs] | None = None,
    batch_size: int = 16,
    num_threads: int = 1,
    extension: str = "jpg",
    channels: int = 3,
    capacity: int = 800,
    min_after_dequeue: int = 100,
) -> Inputs:
    """Batches of images and their indices from TensorFlow's graph queues, the pipeline of the post.

    The post reads file names and indices from two queues, which can drift apart when several threads read: every code then belongs to
    the wrong image. Here one queue holds pairs (file name, index), and a thread takes both at once.

    The queues are filled by threads that have to be started in the session: ``tf.compat.v1.train.start_queue_runners``,
    or a ``MonitoredTrainingSession``, which does it by itself.

    Args:
        filenames: image files; the position in this list is the index.
        preprocess_inputs: function of the dictionary of one image; it must give ``image`` a known shape.
            Default: `preprocess_inputs`, to 128 pixels.
        batch_size: images per batch.
        num_threads: threads that read and decode.
        extension: "jpg", "jpeg" or "png".
        channels: 3 for RGB, 1 for grey.
        capacity: most images that wait in the shuffling queue.
        min_after_dequeue: images that stay in it, so that batches are mixed; at most ``capacity - batch_size``.

    Returns:
        ``image``: (batch_size, height, width, channels) float32 in [-1, 1]; ``index``: (batch_size,) int32.

    Raises:
        ValueError: no files, an unknown extension, or a queue that could never fill.

    Example:
        >>> with tf.Graph().as_default():
        ...     get_inputs_queue(["a.jpg", "b.jpg"], batch_size=4)["image"].shape
        TensorShape([4, 128, 128, 3])
    """
    decoders = {"jpg": tf.io.decode_jpeg, "jpeg": tf.io.decode_jpeg, "png": tf.io.decode_png}
    if not len(filenames):
        raise ValueError("filenames is empty; give at least one image file")
    if extension.lower() not in decoders:
        raise ValueError(f"extension is {extension!r}; allowed are {', '.join(map(repr, decoders))}")
    if min_after_dequeue + batch_size > capacity:
        raise ValueError(f"capacity is {capacity}; min_after_dequeue + batch_size = {min_after_dequeue + batch_size} must fit into it")
    preprocess = preprocess_inputs or _preprocess_by_default
    with tf.compat.v1.name_scope("inputs_queue"):
        filename, index = tf.compat.v1.train.slice_input_producer(
            [tf.constant([os.fsencode(filename) for filename in filenames]), tf.range(len(filenames))], shuffle=False, capacity=capacity
        )
        image = decoders[extension.lower()](tf.io.read_file(filename), channels=channels)  # (height, width, channels)
        inputs = preprocess({"image": image, "index": index})
        return tf.compat.v1.train.shuffle_batch(
            inputs, batch_size, capacity=capacity, min_after_dequeue=min_after_dequeue, num_threads=num_threads
        )


_preprocess_by_default = preprocess_inputs  # the argument of `get_inputs_queue` hides the function's name


def order_of_images(positions: tf.Tensor, num_images: int, seed: int) -> tf.Tensor:
    """The images at given positions of an endless stream that visits every image once an epoch, in a new order each time.

    Position p is number p mod N of epoch p div N, and each epoch has a random permutation of its own (a keyed cipher on
    0 ... N - 1). Nothing is stored and nothing is drawn: any position can be asked for, in any order, by any process.

    Args:
        positions: (n,) int64.
        num_images: N.
        seed: of the permutations.

    Returns:
        (n,) int64 indices in [0, N).
    """
    keys = _keys_of_epochs(positions // num_images, seed)
    # TensorFlow's cipher misses one number where N - 1 is a power of two (2^16, for one). There it permutes N + 1 numbers, and
    # the one that lands on the number too many goes where that number lands.
    last = num_images if num_images & (num_images - 1) and not (num_images - 1) & (num_images - 2) else num_images - 1
    index = _permute(positions % num_images, keys, last)
    return index if last == num_images - 1 else tf.where(tf.equal(index, last), _permute(index, keys, last), index)


def _permute(index: tf.Tensor, keys: tf.Tensor, last: int) -> tf.Tensor:
    # The public tf.random.experimental.index_shuffle is this operation for one key; here each position has its epoch's key.
    return tf.raw_ops.RandomIndexShuffle(index=index, seed=keys, max_index=tf.constant(last, tf.int64), rounds=4)


def _keys_of_epochs(epochs: tf.Tensor, seed: int) -> tf.Tensor:
    """(n, 3) random keys, one for each epoch: the cipher sees the lowest bits of a key only, to which epochs 0 and 256 are alike."""
    first = tf.reduce_min(epochs)
    different = first + tf.range(tf.reduce_max(epochs) - first + 1)
    keys = tf.map_fn(lambda epoch: tf.random.stateless_uniform([3], [seed, epoch], 0, 2**62, tf.int64), different)
    return tf.gather(keys, epochs - first)


def inputs_dataset(
    decoded: DecodedImages, batch_size: int, seed: int = 0, start_step: int = 0, shard: int = 0, num_shards: int = 1
) -> tf.data.Dataset:
    """The stream of batches as a ``tf.data.Dataset`` of ``{"image": uint8, "index": int64}``; see `get_inputs_dataset`."""
    if not 1 <= batch_size * num_shards <= decoded.num_images:
        raise ValueError(
            f"batch_size is {batch_size} for each of {num_shards} tower(s); with {decoded.num_images} images "
            f"it can be 1 to {decoded.num_images // num_shards}"
        )
    if not 0 <= shard < num_shards:
        raise ValueError(f"shard is {shard}; with {num_shards} shard(s) it can be 0 to {num_shards - 1}")

    rows_of = _reader(decoded)

    def indices_of_steps(first: tf.Tensor) -> tf.Tensor:
        rows = (first + tf.range(STEPS_AT_ONCE, dtype=tf.int64)) * num_shards + shard
        positions = rows[:, tf.newaxis] * batch_size + tf.range(batch_size, dtype=tf.int64)  # (STEPS_AT_ONCE, batch_size)
        return tf.reshape(order_of_images(tf.reshape(positions, [-1]), decoded.num_images, seed), [STEPS_AT_ONCE, batch_size])

    def batch(index: tf.Tensor) -> Inputs:
        images = rows_of(index)  # (batch_size, image_size, image_size, 3)
        images.set_shape([batch_size, *decoded.shape[1:]])
        return {"image": images, "index": index}

    blocks = tf.data.Dataset.range(start_step, LAST_STEP, STEPS_AT_ONCE).map(indices_of_steps, num_parallel_calls=1, deterministic=True)
    return without_autotuning(blocks.unbatch().map(batch, num_parallel_calls=1, deterministic=True).prefetch(2))


def _reader(decoded: DecodedImages) -> Callable[[tf.Tensor], tf.Tensor]:
    """What takes images by their indices, (n,) to (n, image_size, image_size, 3): from memory where all of them fit, else from the file."""
    stored = decoded.array()
    if decoded.num_bytes > RESIDENT_BYTES:
        return lambda index: tf.numpy_function(stored.__getitem__, [index], tf.uint8, stateful=False)
    # The dataset's function refers to this tensor: the file is read when the iterator is made, and no batch passes through Python.
    images = tf.numpy_function(lambda: stored[:], [], tf.uint8, stateful=False)
    return lambda index: tf.gather(images, index)


def get_inputs_dataset(
    decoded: DecodedImages, batch_size: int = 16, seed: int = 0, start_step: int = 0, shard: int = 0, num_shards: int = 1
) -> Inputs:
    """Batches of images and their indices from ``tf.data``: the same dictionary as `get_inputs_queue`, and what training uses.

    The batch of a step is a pure function of (seed, step): a run that resumes at step s starts the stream at s, and towers take
    disjoint parts of what one tower with the larger batch would take. An epoch is the N positions of one permutation: batches
    run across its end, no image is left out.

    Args:
        decoded: images, from `decode_images`.
        batch_size: images per batch.
        seed: of the order.
        start_step: the step whose batch comes first.
        shard: number of this tower, from 0.
        num_shards: number of towers.

    Returns:
        ``image``: (batch_size, image_size, image_size, 3) float32 in [-1, 1]; ``index``: (batch_size,) int64.

    Raises:
        ValueError: a batch larger than the data, or a shard that does not exist.
    """
    # The stream runs on the host, whatever the caller's device; bytes travel there, and floats are made of them: a quarter of the traffic.
    with tf.device(None), tf.device("/cpu:0"):
        dataset = inputs_dataset(decoded, batch_size, seed, start_step, shard, num_shards)
        inputs = tf.compat.v1.data.make_one_shot_iterator(dataset).get_next()
    return {"image": tf.cast(inputs["image"], tf.float32) / HALF_RANGE - 1, "index": inputs["index"]}


def batch_of_step(
    decoded: DecodedImages, step: int, batch_size: int, seed: int = 0, shard: int = 0, num_shards: int = 1
) -> dict[str, np.ndarray]:
    """The batch that `get_inputs_dataset` gives at one step, as arrays: to look at a step again."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        return session.run(get_inputs_dataset(decoded, batch_size, seed, step, shard, num_shards))
