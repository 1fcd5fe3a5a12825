"""How many batches synchronous and asynchronous towers need: a simulation of GLO with a linear decoder, in NumPy.

Asynchronous towers compute their gradients from weights that the others have changed meanwhile. Such gradients are called stale. The
simulation has one process; a gradient that is applied some updates after it was computed takes the place of a slow tower.
"""

from collections import deque
from typing import NamedTuple

import numpy as np

BATCHES_PER_LOOK = 64  # how often the loss of all images is computed
DIVERGED = 10  # times the variance of the images: with such a loss the search is given up
ADAM = (0.9, 0.999, 1e-8)  # beta1, beta2, epsilon


class Problem(NamedTuple):
    """Images and what is sought.

    Attributes:
        images: (N, pixels).
        num_dims: dimensions of a code.
        target: mean squared error at which the search ends.
    """

    images: np.ndarray
    num_dims: int
    target: float


class Adam:
    """Adam for an array; with ``rows``, each row has its own count of updates, as in `glo_lib.codes.RowwiseAdam`."""

    def __init__(self, values: np.ndarray, rate: float):
        self.values, self._rate = values, rate
        self._first, self._second, self._count = np.zeros_like(values), np.zeros_like(values), np.zeros((len(values), 1))

    def apply(self, gradient: np.ndarray, rows: np.ndarray | slice = slice(None)) -> None:
        """Update some rows, which must differ from each other."""
        beta1, beta2, epsilon = ADAM
        self._count[rows] += 1
        self._first[rows] += (1 - beta1) * (gradient - self._first[rows])
        self._second[rows] += (1 - beta2) * (gradient**2 - self._second[rows])
        count = self._count[rows]
        rate = self._rate * np.sqrt(1 - beta2**count) / (1 - beta1**count)
        self.values[rows] -= rate * self._first[rows] / (np.sqrt(self._second[rows]) + epsilon)


def linear_problem(num_images: int = 2048, pixels: int = 48, num_dims: int = 8, noise: float = 0.1, seed: int = 0) -> Problem:
    """Draw images that are linear in their codes, with noise; the target is the variance of the noise."""
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((num_images, num_dims)) @ rng.standard_normal((num_dims, pixels)) / np.sqrt(num_dims)
    return Problem(images + noise * rng.standard_normal(images.shape), num_dims, noise**2)


def batches_to_target(
    problem: Problem, towers: int, asynchronous: bool, rate: float, batch_size: int = 4, most_batches: int = 12_000, seed: int = 0
) -> float:
    """Return how many batches all towers together need until the loss of all images is at the target.

    Synchronous towers average their gradients, and update the decoder once for the batches of all towers. Asynchronous towers update it
    once for each batch, with a gradient that was computed ``towers - 1`` updates before.

    Args:
        problem: images and target.
        towers: number of towers K.
        asynchronous: which of the two.
        rate: learning rate of the decoder; that of the codes is three times as large.
        batch_size: images of a batch.
        most_batches: at which the search is given up.
        seed: of the first codes and weights, and of the order of the images.

    Returns:
        A multiple of 64, or infinity.

    Raises:
        ValueError: a round of all towers has more images than there are, so that a code would be updated twice in it.

    Example:
        ``batches_to_target(linear_problem(), towers=8, asynchronous=True, rate=0.01)``
    """
    num_images, pixels = problem.images.shape
    if towers * batch_size > num_images:
        raise ValueError(f"{towers} towers with {batch_size} images each need {towers * batch_size} images; there are {num_images}")
    rng = np.random.default_rng(seed)
    codes = Adam(rng.standard_normal((num_images, problem.num_dims)), 3 * rate)
    weights = Adam(0.1 * rng.standard_normal((problem.num_dims, pixels)), rate)
    waiting: deque[tuple[np.ndarray, np.ndarray, np.ndarray]] = deque()  # rows, their gradients, the gradient of the weights
    for number in range(most_batches):
        place = number * batch_size % (num_images - num_images % batch_size)
        if place == 0:
            order = rng.permutation(num_images)
        rows = order[place : place + batch_size]
        error = (codes.values[rows] @ weights.values - problem.images[rows]) * (2 / batch_size / pixels)
        waiting.append((rows, error @ weights.values.T, codes.values[rows].T @ error))
        if len(waiting) == towers:
            _apply([waiting.popleft() for _ in range(1 if asynchronous else towers)], codes, weights)
        if number % BATCHES_PER_LOOK == BATCHES_PER_LOOK - 1:
            loss = np.mean((codes.values @ weights.values - problem.images) ** 2)
            if loss <= problem.target:
                return number + 1
            if not loss < DIVERGED * problem.images.var():
                break
    return np.inf


def _apply(gradients: list[tuple[np.ndarray, np.ndarray, np.ndarray]], codes: Adam, weights: Adam) -> None:
    for rows, of_codes, _ in gradients:
        codes.apply(of_codes, rows)
    weights.apply(np.mean([of_weights for _, _, of_weights in gradients], axis=0))
