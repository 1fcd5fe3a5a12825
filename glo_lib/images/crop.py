"""Crop the central square of an image and resize it."""

from typing import Any

from glo_lib.graph.backend import tf

TIGHT_CROP = 108  # pixels a side: only the face in CelebA's aligned images of 178x218 pixels
# JPEG files can be decoded at these fractions of their size, which takes a fraction of the time: 1, 1/2, 1/4, 1/8.
JPEG_SCALES = (1, 2, 4, 8)
ROUNDING = 1e-3  # of a pixel, by which the edge of a square may lie outside its image after rounding
MIN_OVERSAMPLING = 4  # the square of an image decoded at a fraction has at least this many times the pixels a side that are wanted


def central_square(shape: tf.Tensor, tight_crop: bool) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the position of the largest central square of an image, or of its central square of 108 pixels a side.

    Args:
        shape: (2,) or (3,) height, width and, optionally, channels of the image.
        tight_crop: keep 108 pixels a side, or the short side if that is less.

    Returns:
        Three scalars: first row, first column and side of the square, in pixels.

    Example:
        For an image of 218x178 pixels ``central_square(tf.constant([218, 178]), False)`` is (20, 0, 178).
    """
    height, width = shape[0], shape[1]
    side = tf.minimum(height, width)
    side = tf.minimum(side, TIGHT_CROP) if tight_crop else side
    return (height - side) // 2, (width - side) // 2, side


def jpeg_scale_index(height: Any, width: Any, image_size: int, tight_crop: bool) -> Any:
    """Return which of `JPEG_SCALES` a JPEG image is decoded at.

    It is the smallest fraction whose central square still has at least four times as many pixels a side as the resized image. The images
    of CelebA (178x218 pixels) are always decoded at full size, photographs of 12 megapixels at 1/8 for 64 pixels a side.

    Against full decoding, the resized images of six photographs of 2.5 to 3 megapixels had a PSNR of 45.2 to 46.9 dB (32, 64 and 128
    pixels, fractions from 1/2 to 1/8): less than two of 256 levels apart. With twice instead of four times as many pixels it was 43.3 dB
    at least, and with once 38.2 dB.

    Args:
        height: in pixels: a number or a scalar tensor.
        width: likewise.
        image_size: pixels a side of the resized image.
        tight_crop: see `central_square`; such a square is always decoded at full size.

    Returns:
        A number, or a scalar int32 tensor, from 0 to 3.

    Example:
        >>> JPEG_SCALES[jpeg_scale_index(3000, 4000, 64, False)], JPEG_SCALES[jpeg_scale_index(218, 178, 32, False)]
        (8, 1)
    """
    if tight_crop:
        return 0 if isinstance(height, int) else tf.constant(0)
    sides = [scale * MIN_OVERSAMPLING * image_size for scale in JPEG_SCALES[1:]]  # from which on an image is decoded at 1/2, 1/4, 1/8
    if isinstance(height, int):
        return sum(min(height, width) >= side for side in sides)
    return tf.reduce_sum(tf.cast(tf.minimum(height, width) >= sides, tf.int32))


def resize(image: tf.Tensor, size: int) -> tf.Tensor:
    """Resize an image (height, width, channels) to (size, size, channels) float32; shrinking averages pixels to avoid aliasing."""
    resized = tf.image.resize(image, [size, size], antialias=True)
    resized.set_shape([size, size, image.shape[2]])
    return resized


def window_at_scale(square: tf.Tensor, scale: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Return where a square of an image lies in the same image at a fraction of its size.

    Args:
        square: (3,) int32 first row, first column and side of the square at full size.
        scale: 2, 4 or 8, for the fractions 1/2, 1/4 and 1/8; or 1.

    Returns:
        (4,) int32 first row, first column, height and width of the pixels that the square touches, and (3,) float32 first row, first column
        and side of the square in them, which may be fractions of pixels.
    """
    corner = square[:2] // scale
    window = tf.concat([corner, (square[:2] + square[2] + scale - 1) // scale - corner], axis=0)
    return window, tf.cast((square - tf.concat([corner * scale, [0]], axis=0)) / scale, tf.float32)


def window_around(square: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the whole pixels that a square touches whose position and side are fractions of pixels.

    Args:
        square: (3,) float32 upper edge, left edge and side; it lies in the image.

    Returns:
        (4,) int32 first row, first column, height and width of the pixels, and (3,) float32 the square in them. Without a side, the window
        has no pixels.
    """
    corner = tf.floor(square[:2])
    end = tf.math.ceil(square[:2] + square[2] - ROUNDING)
    return tf.cast(tf.concat([corner, end - corner], axis=0), tf.int32), square - tf.concat([corner, [0]], axis=0)


def resize_fraction(image: tf.Tensor, square: tf.Tensor, size: int) -> tf.Tensor:
    """Resize a square whose position and side are fractions of pixels, as they are in an image decoded at a fraction of its size.

    Args:
        image: (height, width, channels).
        square: (3,) float32 first row, first column and side of the square; pixel i covers the rows from i to i + 1.
        size: pixels a side of the result.

    Returns:
        (size, size, channels) float32; shrinking averages pixels to avoid aliasing.
    """
    scale = size / square[2]
    resized = tf.raw_ops.ScaleAndTranslate(
        images=image[tf.newaxis],
        size=[size, size],
        scale=tf.stack([scale, scale]),
        translation=-square[:2] * scale,
        kernel_type="triangle",
        antialias=True,
    )[0]
    resized.set_shape([size, size, image.shape[2]])
    return resized
