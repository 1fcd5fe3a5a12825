"""Initial values of the table of latent codes, which has one row for each image."""

import re
from collections.abc import Sequence

import numpy as np

from glo_lib.graph.backend import tf


def normal_codes(num_images: int, num_dims: int, seed: int | Sequence[int] = 0) -> np.ndarray:
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


def create_codes(num_images: int, num_dims: int, devices: Sequence[str]) -> list[tf.Variable]:
    """Create the table of codes, split by rows over several devices.

    A checkpoint holds the parts as one variable with the name ``codes``, so it can be continued and used on a single machine, too.

    Args:
        num_images: N.
        num_dims: d.
        devices: devices of the parts; if there are fewer images than devices, the last devices get none.

    Returns:
        The parts, whose first dimensions add up to N.

    Example:
        >>> with tf.Graph().as_default():
        ...     [part.shape[0] for part in create_codes(5, 3, ["/cpu:0", "/cpu:0"])]
        [3, 2]
    """
    parts = min(len(devices), num_images)

    def device_of_part(op: tf.Operation) -> str:
        number = re.search(r"part_(\d+)", op.name)
        return devices[int(number[1])] if number else devices[0]

    with tf.compat.v1.device(device_of_part):  # the initial values of a part are made where it is, too
        table = tf.compat.v1.get_variable(
            "codes",
            [num_images, num_dims],
            initializer=large_zeros,
            partitioner=tf.compat.v1.fixed_size_partitioner(parts),
            use_resource=True,
        )
    return list(table)


def look_up_rows(parts: Sequence[tf.Variable], index: tf.Tensor) -> tf.Tensor:
    """Gather rows (batch, d) of a table that is split by rows. Each part gathers where it is, so only these rows travel."""
    return tf.compat.v1.nn.embedding_lookup(list(parts), index, partition_strategy="div") if len(parts) > 1 else tf.gather(parts[0], index)


def first_row(part: tf.Variable) -> int:
    """Return the number of the first row of a part in the whole table; 0 for a table that is not split."""
    info = part._get_save_slice_info()
    return info.var_offset[0] if info else 0


def describe_slice(table: tf.Variable, part: tf.Variable) -> None:
    """Record which rows a table has that belongs to a part of the codes, so that checkpoints store all its parts under one name.

    TensorFlow does this itself, but assumes that the table has as many columns as the codes.
    """
    info = part._get_save_slice_info()
    if info is not None:
        columns = table.shape[1]
        name = info.full_name + table.op.name.removeprefix(part.op.name)
        table._set_save_slice_info(
            tf.Variable.SaveSliceInfo(name, [info.full_shape[0], columns], [info.var_offset[0], 0], [info.var_shape[0], columns])
        )
