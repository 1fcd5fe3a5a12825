"""Figures of the chapter on the inputs, and the two readers that it warns of."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from glo_lib.figures.style import BLUE, COLOURS, RED, new_figure, tidy
from glo_lib.graph.backend import tf
from glo_lib.inputs import Inputs

v1 = tf.compat.v1


def two_queues(
    filenames: Sequence[str], preprocess: Callable[[Inputs], Inputs], batch_size: int = 16, num_threads: int = 1, capacity: int = 128
) -> Inputs:
    """The reader of the post, to be looked at and not to be used: indices in one queue, file names in another.

    A thread takes an index from the one and a file from the other, and nothing makes it take both at once. With one thread they stay
    together; with several, another thread may come in between. `glo_lib.inputs.get_inputs_queue` keeps the pairs in one queue.

    Args:
        filenames: JPEG files; the position in this list is the index.
        preprocess: function of the dictionary of one image; it must give ``image`` a known shape.
        batch_size: images per batch.
        num_threads: threads that read and decode.
        capacity: most images that wait in the queue of batches.

    Returns:
        ``image``: (batch_size, height, width, 3) float32; ``index``: (batch_size,) int32, which may belong to another image.

    Example:
        >>> with tf.Graph().as_default():
        ...     two_queues(["a.jpg"], lambda inputs: {**inputs, "image": tf.zeros([8, 8, 3])})["image"].shape
        TensorShape([16, 8, 8, 3])
    """
    inputs = preprocess({"image": _next_image(filenames), "index": _next_index(filenames)})
    return v1.train.batch(inputs, batch_size, num_threads=num_threads, capacity=capacity)


def overtaking_queues(
    filenames: Sequence[str], preprocess: Callable[[Inputs], Inputs], batch_size: int = 16, num_threads: int = 1, capacity: int = 128
) -> Inputs:
    """Worse, and as easily written: indices in one queue, *decoded* images in another; see `two_queues` for arguments and result.

    A small file that is decoded sooner overtakes a large one, and from then on the images are in another order than their indices.
    """
    image = preprocess({"image": _next_image(filenames)})["image"]
    return {
        "image": v1.train.batch([image], batch_size, num_threads=num_threads, capacity=capacity),
        "index": v1.train.batch([_next_index(filenames)], batch_size, capacity=capacity),
    }


def _next_index(filenames: Sequence[str]) -> tf.Tensor:
    return v1.train.range_input_producer(len(filenames), shuffle=False).dequeue()


def _next_image(filenames: Sequence[str]) -> tf.Tensor:
    _, contents = v1.WholeFileReader().read(v1.train.string_input_producer(filenames, shuffle=False))
    return tf.io.decode_jpeg(contents, channels=3)  # (height, width, 3)


@contextmanager
def running(build: Callable[[], Inputs]) -> Iterator[Callable[[], dict[str, np.ndarray]]]:
    """Build a pipeline in a graph of its own, start the threads of its queues, and end them when the block is left.

    Args:
        build: makes the batch, such as `glo_lib.inputs.get_inputs_queue`.

    Yields:
        A function that gives the next batch.
    """
    with tf.Graph().as_default(), v1.Session() as session:
        batch = build()
        coordinator = v1.train.Coordinator()
        threads = v1.train.start_queue_runners(session, coordinator)
        try:
            yield lambda: session.run(batch)
        finally:
            coordinator.request_stop()
            coordinator.join(threads)


def show_windows(image: np.ndarray, windows: Mapping[str, int]) -> Figure:
    """An image with centred squares drawn on it.

    Args:
        image: (height, width, 3) uint8.
        windows: name -> side of the square in pixels.
    """
    height, width = image.shape[:2]
    figure, axis = new_figure((3.6, 4))
    axis.imshow(image)
    for (name, side), colour in zip(windows.items(), COLOURS, strict=False):
        corner = ((width - side) // 2 - 0.5, (height - side) // 2 - 0.5)
        axis.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=colour, linewidth=2.5, label=name))
    axis.set(xlabel="column (pixels)", ylabel="row (pixels)", xlim=(-3, width + 2), ylim=(height + 2, -3))
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False, fontsize=8)
    return figure


def show_streams(streams: Mapping[str, np.ndarray], num_images: int) -> Figure:
    """Which image comes when: a point for each image of a stream; dashed lines part the epochs.

    Args:
        streams: name -> (n,) indices in the order in which they came.
        num_images: N.
    """
    figure, axes = new_figure((4 * len(streams), 3.2), 1, len(streams), sharey=True)
    for axis, (name, index) in zip(np.atleast_1d(axes), streams.items(), strict=True):
        axis.scatter(np.arange(len(index)), index, s=3, color=BLUE)
        for epoch in range(num_images, len(index), num_images):
            axis.axvline(epoch, color="black", linestyle="--", linewidth=1)
        axis.set(xlabel="position in the stream (images)", ylabel="index of the image")
        axis.set_title(name, fontsize=9)
        axis.label_outer()
    return figure


def show_drift(displacements: Mapping[str, np.ndarray]) -> Figure:
    """How far the image that came is from the image whose index came with it, over the stream.

    Args:
        displacements: name -> (n,) index of the image that came minus the index that came with it.
    """
    figure, axes = new_figure((6.5, 1.6 * len(displacements)), len(displacements), sharex=True)
    for axis, (name, displacement) in zip(np.atleast_1d(axes), displacements.items(), strict=True):
        wrong = displacement != 0
        places = np.arange(len(displacement))
        axis.scatter(places[~wrong], displacement[~wrong], s=3, color=BLUE)
        axis.scatter(places[wrong], displacement[wrong], s=6, color=RED)
        axis.set_title(f"{name}: {wrong.mean():.1%} wrong", fontsize=9, loc="left")
        axis.set_ylabel("off by (images)", fontsize=8)
        reach = max(1, np.abs(displacement).max()) * 1.2
        axis.set_ylim(-reach, reach)
    axis.set_xlabel("position in the stream (images)")
    return figure


def show_rates(rates: Mapping[str, float]) -> Figure:
    """Images per second as bars on a logarithmic scale, each with its number."""
    figure, axis = new_figure((6.5, 0.5 * len(rates) + 0.9))
    bars = axis.barh(list(rates), list(rates.values()), color=BLUE)
    axis.bar_label(bars, labels=[f" {rate:,.0f}" for rate in rates.values()], fontsize=8)
    axis.set(xlabel="images per second (logarithmic)", xscale="log", xlim=(min(rates.values()) / 3, max(rates.values()) * 4))
    axis.invert_yaxis()
    tidy(axis)
    return figure
