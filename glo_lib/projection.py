"""Projections of latent codes onto the unit sphere or the unit ball.

GLO learns one free latent code for each training image. The only constraint on the codes is the set onto which they are projected before
they are decoded. The paper (Bojanowski et al., 2018), as its readers report, projects onto the unit ball, z / max(||z||, 1). The text of
the post says "unit ball" as well, but its code divides by the norm, which projects onto the unit sphere. This module has both.
"""

from collections.abc import Callable

import numpy as np

from glo_lib.graph.backend import tf
from glo_lib.graph.session import open_session, session_config
from glo_lib.images.pixels import slices

# Below this squared norm the direction of a code is lost in float32, so the code stays (almost) zero instead of becoming NaN.
SMALLEST_SQUARED_NORM = 1e-12
# Rows with an entry above this are scaled down first, because the square of a norm above 1.8e19 overflows float32.
LARGEST_ENTRY = 1e16
ROWS_AT_ONCE = 65536  # size of the blocks of `project_array`


def project(z: tf.Tensor) -> tf.Tensor:
    """Project latent codes onto the unit sphere, z / ||z||, as the code of the post does.

    Args:
        z: (batch, d) float tensor of latent codes.

    Returns:
        (batch, d) tensor whose rows have norm 1. The zero vector, which has no direction, stays zero, and its gradient is finite.

    Example:
        >>> with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        ...     session.run(project(tf.constant([[3.0, 4.0]]))).round(3).tolist()
        [[0.6000000238418579, 0.800000011920929]]
    """
    return tf.math.l2_normalize(_without_overflow(z), axis=1, epsilon=SMALLEST_SQUARED_NORM)


def project_ball(z: tf.Tensor) -> tf.Tensor:
    """Project latent codes onto the unit ball, z / max(||z||, 1), as the paper does according to its readers.

    A code inside the ball does not change. A code outside is moved to the nearest point of the ball, which lies on the sphere.

    Args:
        z: (batch, d) float tensor of latent codes.

    Returns:
        (batch, d) tensor whose rows have norm at most 1. The gradient at the zero vector is the identity.

    Example:
        >>> with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        ...     session.run(project_ball(tf.constant([[0.0, 0.5], [0.0, 2.0]]))).tolist()
        [[0.0, 0.5], [0.0, 1.0]]
    """
    z = _without_overflow(z)
    # The maximum is taken before the square root, because the gradient of the root at zero is infinite.
    squared_norm = tf.maximum(tf.reduce_sum(tf.square(z), axis=1, keepdims=True), 1.0)  # (batch, 1)
    # Rows inside the ball are selected with tf.where, because rsqrt(1) is 0.9999999 instead of 1 on processors with AVX-512.
    return z * tf.where(squared_norm > 1.0, tf.math.rsqrt(squared_norm), tf.ones_like(squared_norm))


def _without_overflow(z: tf.Tensor) -> tf.Tensor:
    """Scale down rows with an entry above `LARGEST_ENTRY`; all other rows stay bit-identical.

    Both projections map such a row and the scaled row to the same point. The factor may be treated as a constant, because the gradient at
    the long row is the gradient at the scaled row divided by the factor.
    """
    largest = tf.reduce_max(tf.abs(z), axis=1, keepdims=True)  # (batch, 1)
    return z / tf.stop_gradient(tf.maximum(largest / LARGEST_ENTRY, 1.0))


PROJECTIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {"sphere": project, "ball": project_ball, "none": tf.identity}


def get_projection(name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return the projection of a name.

    Args:
        name: ``"sphere"``, ``"ball"``, or ``"none"``, which does not change the codes (for the codes of a VAE).

    Raises:
        ValueError: there is no projection with this name.

    Example:
        >>> get_projection("sphere") is project
        True
    """
    if name not in PROJECTIONS:
        raise ValueError(f"projection is {name!r}; allowed are {', '.join(map(repr, PROJECTIONS))}")
    return PROJECTIONS[name]


def project_array(codes: np.ndarray, projection: str, rows_at_once: int = ROWS_AT_ONCE) -> np.ndarray:
    """Project an array of latent codes, block by block.

    Args:
        codes: (n, d).
        projection: see `get_projection`.
        rows_at_once: number of codes in a block.

    Returns:
        (n, d) float32.

    Raises:
        ValueError: there is no projection with this name.

    Example:
        >>> project_array(np.array([[0.0, 5.0]]), "sphere").tolist()
        [[0.0, 1.0]]
    """
    projected = np.empty(codes.shape, np.float32)
    with tf.Graph().as_default(), open_session(session_config(gpus=[])) as session:
        rows = tf.compat.v1.placeholder(tf.float32, [None, codes.shape[1]])
        result = get_projection(projection)(rows)
        for part in slices(len(codes), rows_at_once):
            projected[part] = session.run(result, {rows: codes[part]})
    return projected
