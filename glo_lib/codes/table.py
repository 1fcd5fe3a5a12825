"""The first table of latent codes, one row for each image."""

from collections.abc import Sequence

import numpy as np

from glo_lib.graph.backend import tf


def normal_codes(num_images: int, num_dims: int, seed: int = 0) -> np.ndarray:
    """Codes drawn from a unit Gaussian, the start of the post: (num_images, num_dims) float32."""
    return np.random.default_rng(seed).standard_normal((num_images, num_dims), dtype=np.float32)


def large_zeros(shape: Sequence[int], dtype: tf.DType = tf.float32, partition_info: object = None) -> tf.Tensor:
    """Initial value of a large table, each time a tensor of its own.

    TensorFlow folds the zeros of its own initialiser into one constant, which the session keeps, and which every table shares until it
    is first written to: one more table in memory, and a step that copies all of them.

    Args:
        shape: of the table.
        dtype: of its entries.
        partition_info: of no use here; TensorFlow passes it to initialisers.

    Example:
        >>> with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        ...     session.run(large_zeros([1, 3])).tolist()
        [[0.0, 0.0, 0.0]]
    """
    return tf.raw_ops.Empty(shape=tf.TensorShape(shape).as_list(), dtype=dtype, init=True)
