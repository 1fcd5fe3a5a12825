"""Figures of the chapter on the inputs, and the two incorrect readers that it discusses."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from glo_lib.figures.style import BLUE, COLOURS, RED, new_figure, tidy
from glo_lib.graph.backend import tf, v1
from glo_lib.graph.session import open_session
from glo_lib.images.pixels import to_bytes
from glo_lib.inputs import Inputs


def two_queues(
    filenames: Sequence[str],
    preprocess: Callable[[Inputs], Inputs],
    batch_size: int = 16,
    num_threads: int = 1,
    capacity: int = 128,
) -> Inputs:
    """Read as in the post, with indices in one queue and file names in another. Do not use this reader.

    A thread takes an index from one queue and a file from the other, but not in one atomic step. With one thread the pairs stay together.
    With several threads, another thread may take an element between the two. `glo_lib.inputs.get_inputs_queue` avoids this with a single
    queue of pairs.

    Args:
        filenames: JPEG files; the position in this list is the index.
        preprocess: function of the dictionary of one image. It must give ``image`` a static shape.
        batch_size: images per batch.
        num_threads: number of threads that read and decode.
        capacity: maximum number of images in the queue of batches.

    Returns:
        ``image``: (batch_size, height, width, 3) float32; ``index``: (batch_size,) int32, which may belong to other images.

    Example:
        >>> with tf.Graph().as_default():
        ...     two_queues(["a.jpg"], lambda inputs: {**inputs, "image": tf.zeros([8, 8, 3])})["image"].shape
        TensorShape([16, 8, 8, 3])
    """
    inputs = preprocess({"image": next_image(filenames), "index": next_index(filenames)})
    return v1.train.batch(inputs, batch_size, num_threads=num_threads, capacity=capacity)


def overtaking_queues(
    filenames: Sequence[str], preprocess: Callable[[Inputs], Inputs], batch_size: int = 16, num_threads: int = 1, capacity: int = 128
) -> Inputs:
    """Read with indices in one queue and *decoded* images in another. Do not use this reader; it is worse than `two_queues`.

    A small file is decoded sooner and overtakes a large one. From then on the images are in another order than their indices. The arguments
    and the result are those of `two_queues`.
    """
    image = preprocess({"image": next_image(filenames)})["image"]
    return {
        "image": v1.train.batch([image], batch_size, num_threads=num_threads, capacity=capacity),
        "index": v1.train.batch([next_index(filenames)], batch_size, capacity=capacity),
    }


def next_index(filenames: Sequence[str]) -> tf.Tensor:
    """Return the next index, a scalar int32, from a queue of its own."""
    return v1.train.range_input_producer(len(filenames), shuffle=False).dequeue()


def next_image(filenames: Sequence[str]) -> tf.Tensor:
    """Return the image (height, width, 3) uint8 of the next file, from a queue of file names."""
    _, contents = v1.WholeFileReader().read(v1.train.string_input_producer(filenames, shuffle=False))
    return tf.io.decode_jpeg(contents, channels=3)  # (height, width, 3)


@contextmanager
def running(build: Callable[[], Inputs]) -> Iterator[Callable[[], dict[str, np.ndarray]]]:
    """Run an input pipeline in its own graph: start the threads of its queues, and stop them at the end of the block.

    Args:
        build: function that builds the batch, such as a call of `glo_lib.inputs.get_inputs_queue`.

    Yields:
        A function that returns the next batch.
    """
    with tf.Graph().as_default(), open_session() as session:
        batch = build()
        coordinator = v1.train.Coordinator()
        threads = v1.train.start_queue_runners(session, coordinator)
        try:
            yield lambda: session.run(batch)
        finally:
            coordinator.request_stop()
            coordinator.join(threads)


def show_windows(image: np.ndarray, windows: Mapping[str, int]) -> Figure:
    """Show an image with centred squares drawn on it.

    Args:
        image: (height, width, 3) uint8.
        windows: name -> side of the square, in pixels.
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


def show_shrunk(rows: Sequence[Mapping[str, np.ndarray]]) -> Figure:
    """Show images of different sizes at the same size, one row for each mapping, so that single pixels of small images can be seen.

    Args:
        rows: name -> (height, width, 3) image, uint8 or float in [-1, 1]; as many in each row.
    """
    figure, axes = new_figure((7.5, 2.7 * len(rows)), len(rows), len(rows[0]), squeeze=False)
    for row, images in zip(axes, rows, strict=True):
        for axis, (name, image) in zip(row, images.items(), strict=True):
            axis.imshow(to_bytes(image), interpolation="nearest")
            axis.set_title(name, fontsize=9)
            axis.set_axis_off()
    return figure


def show_streams(streams: Mapping[str, np.ndarray], num_images: int) -> Figure:
    """Show the order of images in streams: a point for each image, and dashed lines between the epochs.

    Args:
        streams: name -> (n,) indices in the order in which the images were read.
        num_images: number N of images in an epoch.
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
    """Show over a stream by how many positions the image and the index of each pair differ.

    Args:
        displacements: name -> (n,) index of the image that was read minus the index that was read with it.
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
        axis.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axis.set_xlabel("position in the stream (images)")
    return figure


def show_rates(rates: Mapping[str, float]) -> Figure:
    """Show images per second as labelled bars.

    Args:
        rates: name -> images per second.
    """
    figure, axis = new_figure((6.5, 0.5 * len(rates) + 0.9))
    bars = axis.barh(list(rates), list(rates.values()), color=BLUE)
    axis.bar_label(bars, labels=[f" {rate:,.0f}" for rate in rates.values()], fontsize=8)
    axis.set(xlabel="images per second", xlim=(0, 1.15 * max(rates.values())))
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.invert_yaxis()
    tidy(axis)
    return figure
