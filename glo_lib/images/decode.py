"""Decode image files to square images of one size, as bytes.

TensorFlow decodes JPEG files in parallel, and only their central square: small images in batches, large ones singly in several threads and
at a fraction of their size. Pillow reads all other files, also in several threads. The fraction follows one rule in both. Which of the two
reads a file, and how, depends only on its pixels and never on its metadata.
"""

import functools
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from glo_lib.graph.backend import tf, v1
from glo_lib.graph.session import open_session, session_config
from glo_lib.images.crop import JPEG_SCALES, central_square, jpeg_scale_index, resize, resize_fraction, window_around, window_at_scale
from glo_lib.images.formats import JPEG_EXTENSIONS
from glo_lib.images.metadata import UPRIGHT, read_jpeg_header, turn_upright
from glo_lib.images.reading import MAX_MEGAPIXELS, read_stored

FILES_PER_BATCH = 64  # small JPEG files in a batch
CPUS = os.cpu_count() or 1
MAX_THREADS = 8  # that decode single files, each of which may hold a whole image


class Geometry(NamedTuple):
    """How an image is decoded: the size in pixels a side, whether only the centre is kept, the largest size that is read, and whether each
    image has a square of its own."""

    image_size: int
    tight_crop: bool
    max_megapixels: float
    own_squares: bool = False

    def jpeg_scale(self, height: int, width: int) -> int:
        """Return the fraction 1, 1/2, 1/4 or 1/8 at which a JPEG image is decoded, as 1, 2, 4 or 8."""
        return JPEG_SCALES[jpeg_scale_index(height, width, self.image_size, self.tight_crop or self.own_squares)]


def decode_files(
    filenames: Sequence[str],
    image_size: int,
    tight_crop: bool = False,
    max_megapixels: float = MAX_MEGAPIXELS,
    squares: np.ndarray | None = None,
) -> Iterator[tuple[int, np.ndarray | str]]:
    """Decode, crop, resize and turn upright every file, in order; for a file that cannot be read, yield the reason.

    A square that is decoded at a fraction of its size has at least four times as many pixels a side as the result, which then differs from
    the result of full decoding by less than two of 256 levels (`glo_lib.images.crop.jpeg_scale_index` has the PSNR). With an orientation,
    the square is cut from the image as it is stored and then turned.

    Args:
        filenames: image files.
        image_size: pixels a side.
        tight_crop: see `glo_lib.inputs.preprocess_inputs`.
        max_megapixels: largest image to be read, in millions of pixels.
        squares: (N, 3) float32 upper edge, left edge and side of a square of each image as it is stored, in pixels or fractions of them
            (`glo_lib.images.landmarks.stored_squares`). These are cut out at full size, and ``tight_crop`` does not matter.

    Yields:
        The position of a file, and uint8 images (n, image_size, image_size, 3) of the n files from there on. For a file that cannot be
        read: its position, and instead of images the reason.

    Example:
        ``bad = [filenames[position] for position, images in decode_files(filenames, 64) if isinstance(images, str)]``
    """
    geometry = Geometry(image_size, tight_crop, max_megapixels, own_squares=squares is not None)
    squares = np.zeros((len(filenames), 3), np.float32) if squares is None else squares
    is_jpeg = [filename.lower().endswith(JPEG_EXTENSIONS) for filename in filenames]
    with tf.Graph().as_default(), open_session(session_config(gpus=[])) as session:
        single = _SingleFiles(session, filenames, geometry, squares, [position for position, jpeg in enumerate(is_jpeg) if not jpeg])
        try:
            next_position = 0
            for first, images in _decode_small_jpegs(session, filenames, np.flatnonzero(is_jpeg), geometry, squares):
                yield from single.decode(range(next_position, first))
                yield first, images
                next_position = first + len(images)
            yield from single.decode(range(next_position, len(filenames)))
        finally:
            single.close()


def _decode_small_jpegs(
    session: v1.Session, filenames: Sequence[str], positions: np.ndarray, geometry: Geometry, squares: np.ndarray
) -> Iterator[tuple[int, np.ndarray]]:
    """Decode the JPEG files at some positions; yield the position of the first file of each run of consecutive ones, and their images.

    Large images, files that TensorFlow cannot decode, and files whose header is unusual are left out.
    """
    names = [filenames[position] for position in positions]
    # (n,); without the type, an empty list would become a float tensor
    encoded = tf.constant([os.fsencode(name) for name in names], tf.string)
    dataset = tf.data.Dataset.from_tensor_slices((tf.constant(positions, tf.int64), encoded, tf.constant(squares[positions])))
    images = dataset.map(
        lambda position, name, square: (position, _decode_small_jpeg(name, geometry, square)), num_parallel_calls=2 * CPUS
    ).ignore_errors()
    iterator = v1.data.make_initializable_iterator(without_autotuning(images.batch(FILES_PER_BATCH).prefetch(2)))
    next_batch = iterator.get_next()
    session.run(iterator.initializer)
    while True:
        try:
            found, decoded = session.run(next_batch)  # (n,), (n, image_size, image_size, 3)
        except tf.errors.OutOfRangeError:
            return
        # The headers are read after decoding, because the files are then in the system's cache and other threads decode meanwhile.
        headers = [read_jpeg_header(filenames[position]) for position in found]
        for row, header in enumerate(headers):
            if header is not None and header.orientation != UPRIGHT:
                decoded[row] = turn_upright(decoded[row].copy(), header.orientation)
        usable = [row for row, header in enumerate(headers) if header is not None]
        for run in np.split(usable, np.flatnonzero(np.diff(found[usable]) != 1) + 1):
            if len(run):
                yield int(found[run[0]]), decoded[run]


def without_autotuning(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return the same dataset without tf.data's search for better numbers of threads, because its thread can take seconds to end."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


class _SingleFiles:
    """Decode single files of any kind in several threads, or say what is wrong with them.

    Args:
        session: of the graph to which the operations are added.
        filenames: all files.
        geometry: how they are decoded.
        squares: (N, 3) upper edge, left edge and side of the square of each image as stored, if each has its own.
        known: positions of the files that will certainly be asked for; some of them are decoded in advance.
    """

    def __init__(self, session: v1.Session, filenames: Sequence[str], geometry: Geometry, squares: np.ndarray, known: Sequence[int]):
        self._session, self._filenames, self._geometry, self._squares = session, filenames, geometry, squares
        self._known = deque(known)
        self._started: dict[int, Future[np.ndarray | str]] = {}
        self._threads = min(MAX_THREADS, CPUS)

    @functools.cached_property
    def _pool(self) -> ThreadPoolExecutor:
        self._jpeg, self._pixels  # noqa: B018  # the threads must not change the graph
        return ThreadPoolExecutor(self._threads)

    @functools.cached_property
    def _jpeg(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Placeholders of the name of a JPEG file and of its square, and its image as stored."""
        name, square = v1.placeholder(tf.string, []), v1.placeholder(tf.float32, [3])
        return name, square, _decode_jpeg(name, self._geometry, square)

    @functools.cached_property
    def _pixels(self) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """Placeholders of the fields of `StoredImage` and of the image's own square, and the resized square of the image as stored."""
        fields = {
            "pixels": v1.placeholder(tf.uint8, [None, None, 3]),
            "size": v1.placeholder(tf.int32, [2]),
            "scale": v1.placeholder(tf.int32, []),
            "own_square": v1.placeholder(tf.float32, [3]),
        }
        pixels, size, scale, own_square = fields.values()
        if self._geometry.own_squares:
            window, square = window_around(own_square)
            return fields, _as_bytes(resize_fraction(_cut(pixels, window), square, self._geometry.image_size))
        window, square = window_at_scale(tf.stack(central_square(size, self._geometry.tight_crop)), scale)
        cropped = _cut(pixels, window)
        image_size = self._geometry.image_size
        resized = tf.cond(tf.equal(scale, 1), lambda: resize(cropped, image_size), lambda: resize_fraction(cropped, square, image_size))
        return fields, _as_bytes(resized)

    def decode(self, positions: range) -> Iterator[tuple[int, np.ndarray | str]]:
        """Yield the position of each file and its image (1, image_size, image_size, 3), or the reason why it cannot be read."""
        for position in positions:
            self._start(range(position, min(position + 2 * self._threads, positions.stop)))
            yield position, self._started.pop(position).result()
            while self._known and self._known[0] <= position:
                self._known.popleft()
            self._start([self._known[number] for number in range(min(2 * self._threads, len(self._known)))])

    def _start(self, positions: Sequence[int]) -> None:
        for position in positions:
            if position not in self._started:
                self._started[position] = self._pool.submit(self._decode, self._filenames[position], self._squares[position])

    def _decode(self, filename: str, own_square: np.ndarray) -> np.ndarray | str:
        header = read_jpeg_header(filename)
        if header is not None:
            name, square, image = self._jpeg
            try:
                values = {name: os.fsencode(filename), square: own_square}
                return turn_upright(self._session.run(image, values), header.orientation)[np.newaxis]
            except tf.errors.OpError:
                pass  # Pillow decodes more kinds of JPEG files, and knows better what is wrong with the others
        try:
            stored = read_stored(filename, self._geometry.max_megapixels, self._geometry.jpeg_scale)
        except ValueError as error:
            return str(error).removeprefix(f"{filename!r}: ")
        fields, image = self._pixels
        values = {placeholder: own_square if name == "own_square" else getattr(stored, name) for name, placeholder in fields.items()}
        return turn_upright(self._session.run(image, values), stored.orientation)[np.newaxis]

    def close(self) -> None:
        """End the threads; files that were asked for in advance are not decoded any more."""
        if "_pool" in self.__dict__:
            self._pool.shutdown(cancel_futures=True)


def _decode_small_jpeg(filename: tf.Tensor, geometry: Geometry, own_square: tf.Tensor) -> tf.Tensor:
    """Decode the central square of a JPEG file as it is stored. Images that are decoded at a fraction of their size fail: to choose among
    the fractions here would take a seventh more time for each small image."""
    if geometry.own_squares:
        return _decode_jpeg(filename, geometry, own_square)
    contents, shape, is_allowed = _read_jpeg(filename, geometry)
    index = jpeg_scale_index(shape[0], shape[1], geometry.image_size, geometry.tight_crop)
    top, left, side = central_square(shape, geometry.tight_crop)
    side = tf.where(is_allowed & tf.equal(index, 0), side, 0)
    square = tf.io.decode_and_crop_jpeg(contents, tf.stack([top, left, side, side]), channels=3)
    return _as_bytes(resize(square, geometry.image_size))


def _decode_jpeg(filename: tf.Tensor, geometry: Geometry, own_square: tf.Tensor) -> tf.Tensor:
    """Decode a square of a JPEG file as it is stored: its own at full size, or the central one, at a fraction if it is large."""
    contents, shape, is_allowed = _read_jpeg(filename, geometry)
    if geometry.own_squares:
        window, fraction = window_around(own_square)
        pixels = tf.io.decode_and_crop_jpeg(contents, tf.where(is_allowed, window, 0), channels=3)
        return _as_bytes(resize_fraction(pixels, fraction, geometry.image_size))
    square = tf.stack(central_square(shape, geometry.tight_crop))

    def decode(scale: int) -> tf.Tensor:
        window, fraction = window_at_scale(square, scale)
        pixels = tf.io.decode_and_crop_jpeg(contents, tf.where(is_allowed, window, 0), channels=3, ratio=scale)
        return resize(pixels, geometry.image_size) if scale == 1 else resize_fraction(pixels, fraction, geometry.image_size)

    index = jpeg_scale_index(shape[0], shape[1], geometry.image_size, geometry.tight_crop)
    return _as_bytes(tf.switch_case(index, [functools.partial(decode, scale) for scale in JPEG_SCALES]))


def _cut(pixels: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Cut a window, (4,) first row, first column, height and width, out of an image (height, width, 3)."""
    return tf.slice(pixels, tf.concat([window[:2], [0]], axis=0), tf.concat([window[2:], [3]], axis=0))


def _read_jpeg(filename: tf.Tensor, geometry: Geometry) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the contents of a JPEG file, its shape (3,), and whether it is not too large.

    A larger image would take too much memory. TensorFlow refuses a window without pixels before it decodes anything.
    """
    contents = tf.io.read_file(filename)
    shape = tf.io.extract_jpeg_shape(contents)
    return contents, shape, tf.cast(shape[0], tf.int64) * tf.cast(shape[1], tf.int64) <= int(geometry.max_megapixels * 1e6)


def _as_bytes(resized: tf.Tensor) -> tf.Tensor:
    """Round to bytes; without the conversion to [-1, 1] of `preprocess_inputs`, which would take an eighth of the time."""
    return tf.cast(tf.round(resized), tf.uint8)  # (image_size, image_size, 3)
