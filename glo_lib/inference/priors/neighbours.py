"""Draw codes between neighbouring codes of training images.

A Gaussian fills the space between all codes. This prior stays near the codes: it takes a random one, and moves it part of the way to one of
its nearest neighbours. Its samples look better for that reason, and they resemble training images more than those of a Gaussian do; how
much is measured by the memorisation ratio (`glo_lib.evaluation.metrics.memorisation_ratio`) and by
`glo_lib.evaluation.code_space.measure_code_distances`.
"""

from dataclasses import dataclass

import numpy as np

from glo_lib.inference.neighbours import nearest_codes
from glo_lib.inference.priors.prior import Prior, check_codes, check_num_samples
from glo_lib.projection import project_array

NUM_NEIGHBOURS = 10
LARGEST_SHARE = 0.5  # of the way; beyond the middle it is the other code that is moved


@dataclass(frozen=True)
class NeighbourPrior(Prior):
    """A random code, moved up to half the way to one of its nearest neighbours.

    Attributes:
        codes: (n, d) codes of training images, projected.
        num_neighbours: k, less than n unless n is 1.
        projection: see `Prior`. On the sphere the way is the great circle, in the ball and without projection the straight line.
    """

    codes: np.ndarray
    num_neighbours: int = NUM_NEIGHBOURS
    projection: str = "sphere"

    def draw(self, num_samples: int, seed: int = 0) -> np.ndarray:
        """Choose a code at random, and move it part of the way to one of its nearest neighbours; see `Prior.draw`."""
        check_num_samples(num_samples)
        numbers = np.random.default_rng(seed)
        chosen = numbers.integers(len(self.codes), size=num_samples)
        which = numbers.integers(max(1, self.num_neighbours), size=num_samples)
        share = numbers.uniform(0, LARGEST_SHARE, (num_samples, 1))
        if len(self.codes) == 1:
            return self.codes[chosen]
        neighbours = _neighbours_of(self.codes, chosen, self.num_neighbours)[np.arange(num_samples), which]
        return move_codes(self.codes[chosen], self.codes[neighbours], share, self.projection)


def fit_neighbours(codes: np.ndarray, projection: str = "sphere", num_neighbours: int = NUM_NEIGHBOURS) -> NeighbourPrior:
    """Return the prior that draws codes between neighbouring codes. Nothing is computed before codes are drawn.

    Args:
        codes: (n, d), projected.
        projection: the projection of the model.
        num_neighbours: number k of neighbours, one of which is chosen at random; all n - 1 others if there are fewer.

    Raises:
        ValueError: the codes are not a matrix of finite numbers, or ``num_neighbours`` is less than 1.

    Example:
        Two codes at a right angle: a sample is at most 45 degrees away from one of them.

        >>> codes = fit_neighbours(np.eye(2, dtype=np.float32)).sample(100)
        >>> bool((codes > 0).all())
        True
    """
    if num_neighbours < 1:
        raise ValueError(f"num_neighbours is {num_neighbours}; give at least 1")
    codes = project_array(check_codes(codes), projection).astype(np.float32)
    return NeighbourPrior(codes, min(num_neighbours, len(codes) - 1), projection)


def move_codes(codes: np.ndarray, targets: np.ndarray, share: np.ndarray, projection: str = "sphere") -> np.ndarray:
    """Move each code part of the way to its target.

    Args:
        codes: (n, d), projected.
        targets: (n, d), projected.
        share: (n, 1), share of the way: 0 is the code, 1 the target.
        projection: on the ``"sphere"`` along the great circle (a half circle between opposite codes has no direction, and they stay where
            they are), otherwise along the straight line.

    Returns:
        (n, d) float32.

    Example:
        A third of the way between two codes at a right angle is 30 degrees.

        >>> move_codes(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), np.array([[1 / 3]])).round(3).tolist()
        [[0.8659999966621399, 0.5]]
    """
    if projection != "sphere":
        return ((1 - share) * codes + share * targets).astype(np.float32)
    codes, targets = codes.astype(np.float64), targets.astype(np.float64)
    across = targets - (codes * targets).sum(axis=1, keepdims=True) * codes  # the part of the target that is perpendicular to the code
    sine, cosine = np.linalg.norm(across, axis=1, keepdims=True), (codes * targets).sum(axis=1, keepdims=True)
    angle = share * np.arctan2(sine, cosine) * (sine > 1e-6)
    return (np.cos(angle) * codes + np.sin(angle) * across / np.maximum(sine, 1e-6)).astype(np.float32)


def _neighbours_of(codes: np.ndarray, chosen: np.ndarray, num_neighbours: int) -> np.ndarray:
    """Return the indices of the nearest other codes of each chosen one, (n, k), nearest first."""
    different, inverse = np.unique(chosen, return_inverse=True)
    index, _ = nearest_codes(codes[different], codes, num_neighbours + 1)
    is_itself = index == different[:, None]
    is_itself[~is_itself.any(axis=1), -1] = True  # it is missing only among as many equal codes, and then any of them is left out
    return index[~is_itself].reshape(len(different), num_neighbours)[inverse]
