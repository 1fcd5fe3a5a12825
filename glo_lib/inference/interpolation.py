"""Interpolate between latent codes, and measure how long and how even a path of decoded images is."""

from typing import NamedTuple

import numpy as np

PATHS = ("linear", "great_circle", "ball")


def interpolate(start: np.ndarray, end: np.ndarray, num_steps: int, path: str = "great_circle") -> np.ndarray:
    """Interpolate between two codes, both ends included.

    Args:
        start: (d,) code.
        end: (d,) code.
        num_steps: number of points, at least 2.
        path: one of

            - ``"linear"``: the straight line. Its points are projected when they are decoded, as in the post.
            - ``"great_circle"``: the shortest path on the sphere, with equal steps (spherical linear interpolation; Shoemake, 1985). If
              the norms of the ends differ, the norm is interpolated linearly. Between opposite ends every great circle is a shortest
              path; the one towards the axis to which the start is most nearly perpendicular is taken. In one dimension the sphere has two
              points, so the path jumps in the middle.
            - ``"ball"``: the straight line in the unit ball. Ends outside of the ball are projected first. The ball is convex, so no
              other point has to be projected.

    Returns:
        (num_steps, d).

    Raises:
        ValueError: fewer than two points, or an unknown path.

    Example:
        >>> interpolate(np.array([1.0, 0.0]), np.array([0.0, 1.0]), num_steps=3).round(3).tolist()
        [[1.0, 0.0], [0.707, 0.707], [0.0, 1.0]]
    """
    if num_steps < 2:
        raise ValueError(f"num_steps is {num_steps}; give at least 2")
    if path not in PATHS:
        raise ValueError(f"path is {path!r}; allowed are {', '.join(map(repr, PATHS))}")
    share = np.linspace(0, 1, num_steps)[:, None]  # (num_steps, 1)
    if path == "great_circle":
        return _great_circle(start, end, share)
    if path == "ball":
        start, end = (code / max(float(np.linalg.norm(code)), 1.0) for code in (start, end))
    return (1 - share) * start + share * end


def _great_circle(start: np.ndarray, end: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Interpolate along a great circle at the given shares of the way, (num_steps, 1)."""
    start, end = start.astype(np.float64), end.astype(np.float64)  # in float32 the angle of opposite codes is off by 0.0005
    norms = np.linalg.norm(start), np.linalg.norm(end)
    cosine = float(np.clip(start @ end / max(norms[0] * norms[1], 1e-12), -1, 1))
    angle = np.arccos(cosine)
    if angle < 1e-4 or not all(norms):  # so close that the line and the circle are equal in float32, or a code without a direction
        return (1 - share) * start + share * end
    if np.pi - angle < 1e-4:
        return _half_circle(start, end, share)
    directions = (np.sin((1 - share) * angle) * start / norms[0] + np.sin(share * angle) * end / norms[1]) / np.sin(angle)
    return directions * ((1 - share) * norms[0] + share * norms[1])


def _half_circle(start: np.ndarray, end: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Interpolate between opposite ends, through a point that is perpendicular to both."""
    is_first_half = share < 0.5
    if len(start) == 1:
        return np.where(is_first_half, start, end)
    direction = start / np.linalg.norm(start)
    axis = np.eye(len(start))[np.abs(start).argmin()]
    middle = axis - (axis @ direction) * direction
    middle *= (np.linalg.norm(start) + np.linalg.norm(end)) / 2 / np.linalg.norm(middle)
    return np.where(is_first_half, _great_circle(start, middle, 2 * share), _great_circle(middle, end, 2 * share - 1))


class PathMeasure(NamedTuple):
    """Measures of a path of images. The distance of two images is the root mean squared difference of their pixels, in units of [-1, 1].

    Attributes:
        length: sum of the distances between consecutive images.
        detour: length divided by the distance of the two ends; 1 for a linear cross-fade.
        unevenness: standard deviation of the steps divided by their mean; 0 for equal steps.
    """

    length: float
    detour: float
    unevenness: float


def measure_path(images: np.ndarray) -> PathMeasure:
    """Measure the length, detour and unevenness of a path in image space.

    Args:
        images: (num_steps, ...) float in [-1, 1], at least two images.

    Raises:
        ValueError: fewer than two images.

    Example:
        >>> measure_path(np.array([[0.0], [0.1], [0.4]]))._asdict()
        {'length': 0.4, 'detour': 1.0, 'unevenness': 0.5}
    """
    if len(images) < 2:
        raise ValueError(f"a path of {len(images)} images has no steps; give at least 2")
    flat = images.reshape(len(images), -1).astype(np.float64)
    steps = np.sqrt(np.square(np.diff(flat, axis=0)).mean(axis=1))
    length, direct = float(steps.sum()), float(np.sqrt(np.square(flat[-1] - flat[0]).mean()))
    unevenness = float(steps.std() / steps.mean()) if length else 0.0
    return PathMeasure(round(length, 12), round(length / direct, 12) if direct else float("inf"), round(unevenness, 12))
