"""Square images of one size: which part of a photograph is kept, and how it is resized."""

from glo_lib.graph.backend import tf

TIGHT_CROP = 108  # pixels: the face alone in CelebA's 178x218 aligned images


def central_square(shape: tf.Tensor, tight_crop: bool) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The largest central square of an image, or its central 108 pixels.

    Args:
        shape: (2,) or (3,) height, width, channels of the image.
        tight_crop: keep 108 pixels a side, or the short side if that is less.

    Returns:
        Scalars: the first row and column of the square, and its side, in pixels.
    """
    height, width = shape[0], shape[1]
    side = tf.minimum(height, width)
    side = tf.minimum(side, TIGHT_CROP) if tight_crop else side
    return (height - side) // 2, (width - side) // 2, side


def resize(image: tf.Tensor, size: int) -> tf.Tensor:
    """Resize an image (height, width, channels) to (size, size, channels); shrinking averages pixels, so that nothing aliases."""
    resized = tf.image.resize(image, [size, size], antialias=True)
    resized.set_shape([size, size, image.shape[2]])
    return resized
