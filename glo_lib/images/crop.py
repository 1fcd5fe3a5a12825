"""Crop the central square of an image and resize it."""

from glo_lib.graph.backend import tf

TIGHT_CROP = 108  # pixels a side: only the face in CelebA's aligned images of 178x218 pixels


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


def resize(image: tf.Tensor, size: int) -> tf.Tensor:
    """Resize an image (height, width, channels) to (size, size, channels) float32; shrinking averages pixels to avoid aliasing."""
    resized = tf.image.resize(image, [size, size], antialias=True)
    resized.set_shape([size, size, image.shape[2]])
    return resized
