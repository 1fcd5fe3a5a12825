"""Initial values of the table of latent codes, which has one row for each image."""

from collections.abc import Sequence

import numpy as np

from glo_lib.graph.backend import tf


def normal_codes(num_images: int, num_dims: int, seed: int = 0) -> np.ndarray:
    """Draw codes (num_images, num_dims) float32 from a unit Gaussian, as the post does."""
    return np.random.default_rng(seed).standard_normal((num_images, num_dims), dtype=np.float32)


def large_zeros(shape: Sequence[int], dtype: tf.DType = tf.float32, partition_info: object = None) -> tf.Tensor:
    """Return zeros as the initial value of a large table, as a new tensor at each call.

    TensorFlow folds the zeros of its own initializer into one constant. The session keeps this constant, which is one more table in
    memory, and all tables share it until they are first written to, so the first step has to copy each of them.

    Args:
        shape: shape of the table.
        dtype: type of its entries.
        partition_info: ignored; TensorFlow passes it to initializers.

    Example:
        >>> with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        ...     session.run(large_zeros([1, 3])).tolist()
        [[0.0, 0.0, 0.0]]
    """
    return tf.raw_ops.Empty(shape=tf.TensorShape(shape).as_list(), dtype=dtype, init=True)
