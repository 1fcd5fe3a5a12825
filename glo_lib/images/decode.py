"""Decode image files to square images of one size, as bytes.

Plain JPEG files, which TensorFlow decodes correctly, are decoded in parallel; all other files are decoded one by one.
"""

import functools
import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from glo_lib.graph.backend import tf
from glo_lib.graph.session import open_session
from glo_lib.images.crop import central_square, resize
from glo_lib.images.reading import MAX_PIXELS, is_plain_jpeg, read_image, unreadable

v1 = tf.compat.v1
FILES_PER_BATCH = 64  # plain JPEG files in a batch


def decode_files(filenames: Sequence[str], image_size: int, tight_crop: bool = False) -> Iterator[tuple[int, np.ndarray | str]]:
    """Decode, crop and resize every file, in order; for a file that cannot be read, yield the reason.

    TensorFlow decodes plain JPEG files in parallel on all cores, and only their central square. The files that this leaves out are decoded
    one by one: Pillow reads images of other kinds, and a damaged file yields its reason.

    Args:
        filenames: image files.
        image_size: pixels a side.
        tight_crop: see `glo_lib.inputs.preprocess_inputs`.

    Yields:
        The position of a file, and uint8 images (n, image_size, image_size, 3) of the n files from there on. For a file that cannot be
        read: its position, and instead of images the reason, which is Pillow's message or else TensorFlow's.

    Example:
        ``bad = [filenames[position] for position, images in decode_files(filenames, 64) if isinstance(images, str)]``
    """
    with tf.Graph().as_default(), open_session() as session:
        single = _SingleFileDecoder(session, image_size, tight_crop)
        next_position = 0
        for first, images in _decode_plain_files(session, filenames, image_size, tight_crop):
            yield from single.decode(filenames, range(next_position, first))
            yield first, images
            next_position = first + len(images)
        yield from single.decode(filenames, range(next_position, len(filenames)))


def _decode_plain_files(
    session: v1.Session, filenames: Sequence[str], image_size: int, tight_crop: bool
) -> Iterator[tuple[int, np.ndarray]]:
    """Decode plain JPEG files; yield the position of the first file of each run of consecutive ones, and their images."""
    # (n,); without the type, an empty list would become a float tensor
    encoded = tf.constant([os.fsencode(filename) for filename in filenames], tf.string)
    names = tf.data.Dataset.from_tensor_slices(encoded).enumerate()
    images = names.map(
        lambda position, name: (position, _decode_plain_jpeg(name, image_size, tight_crop)), num_parallel_calls=2 * os.cpu_count()
    ).ignore_errors()
    iterator = v1.data.make_initializable_iterator(without_autotuning(images.batch(FILES_PER_BATCH).prefetch(2)))
    next_batch = iterator.get_next()
    session.run(iterator.initializer)
    while True:
        try:
            positions, decoded = session.run(next_batch)  # (n,), (n, image_size, image_size, 3)
        except tf.errors.OutOfRangeError:
            return
        # The headers are checked after decoding, because the files are then in the system's cache and other threads decode meanwhile.
        plain = [row for row, position in enumerate(positions) if is_plain_jpeg(filenames[position])]
        for run in np.split(plain, np.flatnonzero(np.diff(positions[plain]) != 1) + 1):
            if len(run):
                yield int(positions[run[0]]), decoded[run]


def without_autotuning(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return the same dataset without tf.data's search for better numbers of threads, because its thread can take seconds to end."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


class _SingleFileDecoder:
    """Decode single files of any kind, or return what is wrong with them."""

    def __init__(self, session: v1.Session, image_size: int, tight_crop: bool):
        self._session, self._geometry = session, (image_size, tight_crop)

    @functools.cached_property
    def _plain_jpeg(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Placeholder of the name of a plain JPEG file, and its image; added to the graph when it is first needed, like `_any_image`."""
        name = v1.placeholder(tf.string, [])
        return name, _decode_plain_jpeg(name, *self._geometry)

    @functools.cached_property
    def _any_image(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Placeholder of the pixels of a whole image (height, width, 3), and the cropped and resized image."""
        image_size, tight_crop = self._geometry
        pixels = v1.placeholder(tf.uint8, [None, None, 3])
        top, left, side = central_square(tf.shape(pixels), tight_crop)
        return pixels, _resize_to_bytes(pixels[top : top + side, left : left + side], image_size)

    def decode(self, filenames: Sequence[str], positions: Iterable[int]) -> Iterator[tuple[int, np.ndarray | str]]:
        """Yield the position of each file and its image (1, image_size, image_size, 3), or the reason why it cannot be read."""
        for position in positions:
            try:
                yield position, self._decode_one(filenames[position])[np.newaxis]
            except (tf.errors.InvalidArgumentError, ValueError) as error:
                yield position, _reason(filenames[position], error)

    def _decode_one(self, filename: str) -> np.ndarray:
        if is_plain_jpeg(filename):
            name, image = self._plain_jpeg
            return self._session.run(image, {name: os.fsencode(filename)})
        pixels, image = self._any_image
        return self._session.run(image, {pixels: read_image(filename)})


def _reason(filename: str, error: Exception) -> str:
    """Return why a file cannot be read, without its name: Pillow's message, or else TensorFlow's."""
    tensorflow_message = " ".join(str(error).removeprefix("Graph execution error:").partition(" [[")[0].split())
    line = (unreadable([filename]) or [tensorflow_message or type(error).__name__])[0]
    return line.removeprefix(f"{filename!r}: ")


def _decode_plain_jpeg(filename: tf.Tensor, image_size: int, tight_crop: bool) -> tf.Tensor:
    """Decode only the central square of a plain JPEG file."""
    contents = tf.io.read_file(filename)
    shape = tf.io.extract_jpeg_shape(contents)  # (3,)
    top, left, side = central_square(shape, tight_crop)
    # A larger image would take too much memory. TensorFlow refuses a window without pixels before it decodes anything.
    is_allowed = tf.cast(shape[0], tf.int64) * tf.cast(shape[1], tf.int64) <= MAX_PIXELS
    side = tf.where(is_allowed, side, 0)
    return _resize_to_bytes(tf.io.decode_and_crop_jpeg(contents, tf.stack([top, left, side, side]), channels=3), image_size)


def _resize_to_bytes(square: tf.Tensor, image_size: int) -> tf.Tensor:
    """Resize bytes to bytes, like `preprocess_inputs` but without the conversion to [-1, 1], which would take an eighth of the time."""
    return tf.cast(tf.round(resize(square, image_size)), tf.uint8)  # (image_size, image_size, 3)
