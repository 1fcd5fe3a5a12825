"""Decode image files to square images of one size, as bytes: ordinary JPEG files in one parallel stream, all others one by one."""

import functools
import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from glo_lib.graph.backend import tf
from glo_lib.images.crop import central_square, resize
from glo_lib.images.reading import MAX_PIXELS, is_plain_jpeg, read_image, unreadable

v1 = tf.compat.v1
FILES_PER_BATCH = 64  # images decoded before they are handed on


def decode_files(filenames: Sequence[str], image_size: int, tight_crop: bool = False) -> Iterator[tuple[int, np.ndarray | str]]:
    """Decode, crop and resize every file, in order; say why not of those that cannot be read.

    Ordinary JPEG files pass in one stream through TensorFlow, on all cores, and only their central square is decoded. What the stream
    leaves out is looked at alone: another kind of image is read by Pillow, and what is damaged gets its reason.

    Args:
        filenames: image files.
        image_size: pixels a side.
        tight_crop: see `preprocess_inputs`.

    Yields:
        The position of a file, and uint8 images (n, image_size, image_size, 3) of the files from there on; or, instead of the images, the
        reason why that one file cannot be read, in Pillow's words or else in TensorFlow's.
    """
    with tf.Graph().as_default(), v1.Session() as session:
        alone = _DecoderOfOne(session, image_size, tight_crop)
        following = 0
        for first, images in _stream(session, filenames, image_size, tight_crop):
            yield from alone.decode(filenames, range(following, first))
            yield first, images
            following = first + len(images)
        yield from alone.decode(filenames, range(following, len(filenames)))


def _stream(session: v1.Session, filenames: Sequence[str], image_size: int, tight_crop: bool) -> Iterator[tuple[int, np.ndarray]]:
    """Runs of neighbouring ordinary files: position of the first, and the images."""
    encoded = tf.constant([os.fsencode(filename) for filename in filenames], tf.string)  # (n,); without the type, no files would be floats
    names = tf.data.Dataset.from_tensor_slices(encoded).enumerate()
    images = names.map(
        lambda position, name: (position, _decode_plain(name, image_size, tight_crop)), num_parallel_calls=2 * os.cpu_count()
    ).ignore_errors()
    iterator = v1.data.make_initializable_iterator(without_autotuning(images.batch(FILES_PER_BATCH).prefetch(2)))
    next_batch = iterator.get_next()
    session.run(iterator.initializer)
    while True:
        try:
            positions, decoded = session.run(next_batch)  # (n,), (n, image_size, image_size, 3)
        except tf.errors.OutOfRangeError:
            return
        # Headers are looked at after the decoding: the file has just been read, and meanwhile the other threads decode on.
        plain = [row for row, position in enumerate(positions) if is_plain_jpeg(filenames[position])]
        for run in np.split(plain, np.flatnonzero(np.diff(positions[plain]) != 1) + 1):
            if len(run):
                yield int(positions[run[0]]), decoded[run]


def without_autotuning(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same data without the search for better numbers of threads: its thread takes time, and ending it can take seconds."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


class _DecoderOfOne:
    """Reads single files of any kind, or says what is wrong with them."""

    def __init__(self, session: v1.Session, image_size: int, tight_crop: bool):
        self._session, self._geometry = session, (image_size, tight_crop)

    @functools.cached_property
    def _plain(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Name of an ordinary file, and its image; part of the graph only where such a file is asked for, as is `_odd`."""
        name = v1.placeholder(tf.string, [])
        return name, _decode_plain(name, *self._geometry)

    @functools.cached_property
    def _odd(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Pixels of a whole image, and what is left of them."""
        image_size, tight_crop = self._geometry
        pixels = v1.placeholder(tf.uint8, [None, None, 3])
        top, left, side = central_square(tf.shape(pixels), tight_crop)
        return pixels, _shrink(pixels[top : top + side, left : left + side], image_size)

    def decode(self, filenames: Sequence[str], positions: Iterable[int]) -> Iterator[tuple[int, np.ndarray | str]]:
        for position in positions:
            try:
                yield position, self._decode_one(filenames[position])[np.newaxis]
            except (tf.errors.InvalidArgumentError, ValueError) as error:
                yield position, _reason(filenames[position], error)

    def _decode_one(self, filename: str) -> np.ndarray:
        if is_plain_jpeg(filename):
            name, image = self._plain
            return self._session.run(image, {name: os.fsencode(filename)})
        pixels, image = self._odd
        return self._session.run(image, {pixels: read_image(filename)})


def _reason(filename: str, error: Exception) -> str:
    """Why a file cannot be read, without its name: in Pillow's words, or else in TensorFlow's."""
    in_tensorflows_words = " ".join(str(error).removeprefix("Graph execution error:").partition(" [[")[0].split())
    line = (unreadable([filename]) or [in_tensorflows_words or type(error).__name__])[0]
    return line.removeprefix(f"{filename!r}: ")


def _decode_plain(filename: tf.Tensor, image_size: int, tight_crop: bool) -> tf.Tensor:
    """An ordinary JPEG file, of which only the central square is decoded."""
    contents = tf.io.read_file(filename)
    shape = tf.io.extract_jpeg_shape(contents)  # (3,)
    top, left, side = central_square(shape, tight_crop)
    # Above that number memory overflows: a window without pixels is refused before anything is decoded.
    few = tf.cast(shape[0], tf.int64) * tf.cast(shape[1], tf.int64) <= MAX_PIXELS
    side = tf.where(few, side, 0)
    return _shrink(tf.io.decode_and_crop_jpeg(contents, tf.stack([top, left, side, side]), channels=3), image_size)


def _shrink(square: tf.Tensor, image_size: int) -> tf.Tensor:
    """Bytes to bytes what `preprocess_inputs` does to floats: the way to [-1, 1] and back would be an eighth of the work."""
    return tf.cast(tf.round(resize(square, image_size)), tf.uint8)  # (image_size, image_size, 3)
