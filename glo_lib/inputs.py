"""From image files to batches: ``{"image": (batch, height, width, channels) in [-1, 1], "index": (batch,)}``.

The index is the position of the image in the sorted list of files, and the row of its latent code. Two pipelines return the same
dictionary. `get_inputs_queue` uses TensorFlow's graph queues, as the post does. Training uses `get_inputs_dataset`, which reads images that
`decode_images` has decoded once, in an order that depends only on the seed and the step.
"""

import os
from collections.abc import Callable, Sequence

import numpy as np

from glo_lib.graph.backend import tf, v1
from glo_lib.graph.session import open_session, session_config
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
    "permute",
    "positions_of_steps",
    "preprocess_inputs",
]

Inputs = dict[str, tf.Tensor]
DECODERS = {"jpg": tf.io.decode_jpeg, "jpeg": tf.io.decode_jpeg, "png": tf.io.decode_png}
STEPS_PER_BLOCK = 64  # the order is computed for a block of steps, which takes hardly longer than for one step
RESIDENT_BYTES = 2**28  # images of up to this size are held in memory (21,845 images of 64 pixels a side); more images stay in their file
MAX_STEP = 2**48  # larger than any step of a run, and its product with the batch size fits into 64 bits


def preprocess_inputs(inputs: Inputs, tight_crop: bool = False, size: int = 128) -> Inputs:
    """Crop the central square, resize it, and map it to [-1, 1].

    Args:
        inputs: ``image`` is (height, width, channels), uint8 in [0, 255] or float in [0, 1]; other entries pass unchanged.
        tight_crop: crop a square of 108 pixels a side (or the short side, if that is less) instead of the largest square.
        size: pixels a side of the result. Pixels are averaged when the image shrinks, to avoid aliasing.

    Returns:
        A new dictionary; ``image`` is (size, size, channels) float32 in [-1, 1].

    Example:
        >>> with tf.Graph().as_default():
        ...     preprocess_inputs({"image": tf.zeros([218, 178, 3], tf.uint8)}, size=64)["image"].shape
        TensorShape([64, 64, 3])
    """
    image = inputs["image"]
    top, left, side = central_square(tf.shape(image), tight_crop)
    square = image[top : top + side, left : left + side]  # (side, side, channels)
    square = tf.image.convert_image_dtype(square, tf.float32)  # in [0, 1]
    return {**inputs, "image": resize(square, size) * 2 - 1}


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
    """Return batches of images and their indices from TensorFlow's graph queues, the pipeline of the post.

    The post reads file names and indices from two queues. If several threads read from them, the queues can drift apart, and the latent
    codes then belong to the wrong images. Here a single queue holds pairs (file name, index), so a thread always takes both together.

    The queues are filled by threads that have to be started in the session, by ``tf.compat.v1.train.start_queue_runners`` or by a
    ``MonitoredTrainingSession``, which starts them itself.

    Args:
        filenames: image files; the position in this list is the index.
        preprocess_inputs: function that maps the dictionary of one image; its result must give ``image`` a static shape.
            Default: `preprocess_inputs`, to 128 pixels.
        batch_size: images per batch.
        num_threads: number of threads that read and decode.
        extension: "jpg", "jpeg" or "png".
        channels: 3 for RGB, 1 for grey.
        capacity: maximum number of images in the shuffling queue.
        min_after_dequeue: minimum number of images that remain in it, so that batches are random; at most ``capacity - batch_size``.

    Returns:
        ``image``: (batch_size, height, width, channels) float32 in [-1, 1]; ``index``: (batch_size,) int32.

    Raises:
        ValueError: there are no files, the extension is unknown, or the queue is too small.

    Example:
        >>> with tf.Graph().as_default():
        ...     get_inputs_queue(["a.jpg", "b.jpg"], batch_size=4)["image"].shape
        TensorShape([4, 128, 128, 3])
    """
    _check_queue(filenames, extension, batch_size, capacity, min_after_dequeue)
    preprocess = preprocess_inputs or _default_preprocess_inputs
    with v1.name_scope("inputs_queue"):
        pairs = [tf.constant([os.fsencode(filename) for filename in filenames]), tf.range(len(filenames))]
        filename, index = v1.train.slice_input_producer(pairs, shuffle=False, capacity=capacity)
        decode = DECODERS[extension.lower()]
        image = decode(tf.io.read_file(filename), channels=channels)  # (height, width, channels)
        inputs = preprocess({"image": image, "index": index})
        return v1.train.shuffle_batch(inputs, batch_size, capacity, min_after_dequeue, num_threads)


def _check_queue(filenames: Sequence[str], extension: str, batch_size: int, capacity: int, min_after_dequeue: int) -> None:
    if not len(filenames):
        raise ValueError("filenames is empty; give at least one image file")
    if extension.lower() not in DECODERS:
        raise ValueError(f"extension is {extension!r}; allowed are {', '.join(map(repr, DECODERS))}")
    if min_after_dequeue + batch_size > capacity:
        raise ValueError(f"capacity is {capacity}; min_after_dequeue + batch_size = {min_after_dequeue + batch_size} must fit into it")


_default_preprocess_inputs = preprocess_inputs  # because the argument of `get_inputs_queue` has the same name


def order_of_images(positions: tf.Tensor, num_images: int, seed: int) -> tf.Tensor:
    """Return the images at given positions of an endless stream that visits every image once per epoch.

    Each epoch uses a new random permutation of the N images. Position p of the stream is element p mod N of the permutation of epoch
    p div N. The permutation is a cipher on 0 ... N - 1 with a key that depends on the seed and the epoch, so no state is needed: any
    process can compute any position, in any order.

    Args:
        positions: (n,) int64.
        num_images: N.
        seed: seed of the permutations.

    Returns:
        (n,) int64 indices in [0, N).

    Example:
        ``order_of_images(tf.range(num_images, dtype=tf.int64), num_images, seed=0)`` is the order of the first epoch.
    """
    keys = _epoch_keys(positions // num_images, seed)
    last = _last_number(num_images)
    index = permute(positions % num_images, keys, last)
    if last == num_images - 1:
        return index
    return tf.where(tf.equal(index, last), permute(index, keys, last), index)


def permute(index: tf.Tensor, keys: tf.Tensor, last: int) -> tf.Tensor:
    """Permute numbers (n,) int64 from 0 to last by TensorFlow's cipher, each with a key (n, 3) int64 of its own.

    The public function ``tf.random.experimental.index_shuffle`` is the same operation with one key for all numbers.
    """
    return tf.raw_ops.RandomIndexShuffle(index=index, seed=keys, max_index=tf.constant(last, tf.int64), rounds=4)


def _last_number(num_images: int) -> int:
    """Return the largest number that is permuted: N - 1, or N if N - 1 is a power of two, for instance 2^16.

    In the second case TensorFlow's cipher would never return one of the numbers below N. We then permute N + 1 numbers, and the index
    that is mapped to N takes the number to which N is mapped.
    """
    return num_images if num_images & (num_images - 1) and not (num_images - 1) & (num_images - 2) else num_images - 1


def _epoch_keys(epochs: tf.Tensor, seed: int) -> tf.Tensor:
    """Return random keys (n, 3) of epochs (n,). They are random because the cipher only uses the lowest bits of a key, and these repeat."""
    first = tf.reduce_min(epochs)
    epochs_in_range = first + tf.range(tf.reduce_max(epochs) - first + 1)
    keys = tf.map_fn(lambda epoch: tf.random.stateless_uniform([3], [seed, epoch], 0, 2**62, tf.int64), epochs_in_range)
    return tf.gather(keys, epochs - first)


def inputs_dataset(
    decoded: DecodedImages,
    batch_size: int,
    seed: int = 0,
    start_step: int = 0,
    shard: int = 0,
    num_shards: int = 1,
    num_parts: int = 1,
) -> tf.data.Dataset:
    """Return the stream of batches as a ``tf.data.Dataset`` of ``{"image": uint8, "index": int64}``; see `get_inputs_dataset`.

    With ``num_parts`` above 1, an element is a tuple of that many equal parts of the batch.
    """
    _check_batches(decoded, batch_size, shard, num_shards)
    read_rows = _row_reader(decoded)

    def indices_of_steps(first_step: tf.Tensor) -> tf.Tensor:
        positions = positions_of_steps(first_step, STEPS_PER_BLOCK, batch_size, shard, num_shards)
        indices = order_of_images(tf.reshape(positions, [-1]), decoded.num_images, seed)
        return tf.reshape(indices, positions.shape)

    def batch(index: tf.Tensor) -> Inputs | tuple[Inputs, ...]:
        images = read_rows(index)  # (batch_size, image_size, image_size, 3)
        images.set_shape([batch_size, *decoded.shape[1:]])
        return _in_parts({"image": images, "index": index}, num_parts)

    steps = tf.data.Dataset.range(start_step, MAX_STEP, STEPS_PER_BLOCK)
    indices = steps.map(indices_of_steps, num_parallel_calls=1, deterministic=True).unbatch()
    return without_autotuning(indices.map(batch, num_parallel_calls=1, deterministic=True).prefetch(2))


def positions_of_steps(
    first_step: tf.Tensor,
    num_steps: int,
    batch_size: int,
    shard: int = 0,
    num_shards: int = 1,
) -> tf.Tensor:
    """Return the positions in the stream of images that one tower reads at consecutive steps.

    The stream is cut into batches, and each step takes one batch for every tower, in the order of their numbers.

    Args:
        first_step: scalar int64, the first of the steps.
        num_steps: number of steps.
        batch_size: images per batch, for each tower.
        shard: number of the tower, from 0.
        num_shards: number of towers.

    Returns:
        (num_steps, batch_size) int64.

    Example:
        >>> with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        ...     session.run(positions_of_steps(tf.constant(10, tf.int64), 2, batch_size=3, shard=1, num_shards=2)).tolist()
        [[63, 64, 65], [69, 70, 71]]
    """
    batches = (first_step + tf.range(num_steps, dtype=tf.int64)) * num_shards + shard  # (num_steps,)
    return batches[:, tf.newaxis] * batch_size + tf.range(batch_size, dtype=tf.int64)


def _check_batches(decoded: DecodedImages, batch_size: int, shard: int, num_shards: int) -> None:
    if not 1 <= batch_size * num_shards <= decoded.num_images:
        raise ValueError(
            f"batch_size is {batch_size} for each of {num_shards} tower(s); with {decoded.num_images} images "
            f"it can be 1 to {decoded.num_images // num_shards}"
        )
    if not 0 <= shard < num_shards:
        raise ValueError(f"shard is {shard}; with {num_shards} shard(s) it can be 0 to {num_shards - 1}")


def _in_parts(inputs: Inputs, num_parts: int) -> Inputs | tuple[Inputs, ...]:
    if num_parts == 1:
        return inputs
    parts = zip(tf.split(inputs["image"], num_parts), tf.split(inputs["index"], num_parts), strict=True)
    return tuple({"image": image, "index": index} for image, index in parts)


def _row_reader(decoded: DecodedImages) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return a function from indices (n,) to images (n, image_size, image_size, 3), which are in memory if all fit, else in the file."""
    stored = decoded.array()
    if decoded.num_bytes > RESIDENT_BYTES:
        return lambda index: tf.numpy_function(stored.__getitem__, [index], tf.uint8, stateful=False)
    # The dataset's function captures this tensor, so the file is read when the iterator is created and no batch passes through Python.
    images = tf.numpy_function(lambda: stored[:], [], tf.uint8, stateful=False)
    return lambda index: tf.gather(images, index)


def get_inputs_dataset(
    decoded: DecodedImages,
    batch_size: int = 16,
    seed: int = 0,
    start_step: int = 0,
    shard: int = 0,
    num_shards: int = 1,
) -> Inputs:
    """Return batches of images and their indices from ``tf.data``: the same dictionary as `get_inputs_queue`. Training uses this function.

    The batch of a step depends only on the seed and the step. A run that resumes at step s therefore starts the stream at s, and several
    towers together take the same images as one tower with the larger batch. An epoch has exactly N images, so the last batch of an epoch
    may continue with the first images of the next one, and no image is left out.

    Args:
        decoded: images, from `decode_images`.
        batch_size: images per batch, for each tower.
        seed: seed of the order of the images.
        start_step: the step of the first batch.
        shard: number of this tower, from 0.
        num_shards: number of towers.

    Returns:
        ``image``: (batch_size, image_size, image_size, 3) float32 in [-1, 1]; ``index``: (batch_size,) int64.

    Raises:
        ValueError: the batches of all towers are larger than the data, or the shard does not exist.

    Example:
        ``get_inputs_dataset(decode_images(filenames, image_size=64), batch_size=32, start_step=1000)["index"]``
    """
    # The stream runs on the host, whatever the caller's device. Bytes are sent to the device and converted to floats there,
    # because floats would be four times as much data to send.
    with tf.device(None), tf.device("/cpu:0"):
        dataset = inputs_dataset(decoded, batch_size, seed, start_step, shard, num_shards)
        inputs = v1.data.make_one_shot_iterator(dataset).get_next()
    return to_tower(inputs)


def get_inputs_of_towers(decoded: DecodedImages, batch_size: int, num_towers: int, seed: int = 0, start_step: int = 0) -> list[Inputs]:
    """Return each tower's part of every batch, as bytes on the host, from one stream for all towers.

    The parts are those that `get_inputs_dataset` returns for as many shards, but the images are in memory only once. Call `to_tower` on the
    device that needs a part: bytes are sent there and converted to floats, which is a quarter of the traffic that floats would cause.

    Args:
        decoded: images, from `decode_images`.
        batch_size: images of each tower.
        num_towers: number of towers.
        seed: seed of the order of the images.
        start_step: the step of the first batch.

    Returns:
        For each tower, ``image``: (batch_size, image_size, image_size, 3) uint8; ``index``: (batch_size,) int64.

    Raises:
        ValueError: the batches of all towers are larger than the data.
    """
    with tf.device(None), tf.device("/cpu:0"):
        dataset = inputs_dataset(decoded, batch_size * num_towers, seed, start_step, num_parts=num_towers)
        parts = v1.data.make_one_shot_iterator(dataset).get_next()
    return list(parts) if num_towers > 1 else [parts]


def get_inputs_on_devices(decoded: DecodedImages, batch_size: int, devices: Sequence[str], step: tf.Tensor, seed: int = 0) -> list[Inputs]:
    """Return the same parts as `get_inputs_of_towers`, read by TensorFlow's own operations on the machines of the towers.

    It is for towers on several machines, where Python functions cannot run. Each machine maps its own copy of the file of images into
    memory, at the path that `decoded` gives, and only the indices of a batch are sent. The batch is computed from the step, so a session
    that returns to an earlier step takes the same batches again.

    Args:
        decoded: images, from `decode_images`; the file is at the same path on every machine.
        batch_size: images of each tower.
        devices: for each tower, the CPU of its machine, such as ``/job:worker/task:0/cpu:0``.
        step: scalar, the number of steps taken.
        seed: seed of the order of the images.

    Returns:
        For each tower, ``image``: (batch_size, image_size, image_size, 3) uint8; ``index``: (batch_size,) int64.
    """
    size = batch_size * len(devices)
    positions = tf.cast(step, tf.int64) * size + tf.range(size, dtype=tf.int64)
    parts = tf.split(order_of_images(positions, decoded.num_images, seed), len(devices))
    files: dict[str, tf.Tensor] = {}
    inputs = []
    for device, index in zip(devices, parts, strict=True):
        with tf.device(device):
            if device not in files:
                files[device] = images_in_file(decoded)
            inputs.append({"image": tf.gather(files[device], index), "index": tf.identity(index)})
    return inputs


def images_in_file(decoded: DecodedImages) -> tf.Tensor:
    """Return all images (N, image_size, image_size, 3) uint8 as one tensor that is mapped to their file; pages are read when needed."""
    return tf.raw_ops.ImmutableConst(dtype=tf.uint8, shape=decoded.shape, memory_region_name=str(decoded.path))


def to_tower(inputs: Inputs) -> Inputs:
    """Convert the bytes of `get_inputs_of_towers` to floats in [-1, 1], on the current device."""
    return {"image": tf.cast(inputs["image"], tf.float32) / HALF_RANGE - 1, "index": inputs["index"]}


def batch_of_step(
    decoded: DecodedImages, step: int, batch_size: int, seed: int = 0, shard: int = 0, num_shards: int = 1
) -> dict[str, np.ndarray]:
    """Return the batch of one step as arrays; the arguments are those of `get_inputs_dataset`.

    Example:
        ``batch_of_step(decoded, step=1000, batch_size=32)["index"]``
    """
    with tf.Graph().as_default(), open_session(session_config(gpus=[])) as session:
        return session.run(get_inputs_dataset(decoded, batch_size, seed, step, shard, num_shards))
