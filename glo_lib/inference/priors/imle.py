"""Learn a network that maps noise to the codes (GLANN; Hoshen et al., 2019), by implicit maximum likelihood (IMLE; Li and Malik, 2018).

Nothing says which noise belongs to which code. So in each epoch new noise is drawn, two rows for each code, and mapped; each code takes the
noise whose image is nearest to it, and the network learns to map this noise onto the code. In this way every code has some noise near it,
so no code is left out.
"""

from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from glo_lib.images.pixels import slices
from glo_lib.inference.priors.network import Network, Weights, check_num_steps, initial_weights
from glo_lib.inference.priors.prior import Prior, check_codes, check_num_samples

NOISE_DIMS = 32
WIDTH, NUM_BLOCKS, BATCH_SIZE, LEARNING_RATE = 512, 3, 256, 1e-3
NOISE_PER_CODE = 2
NUM_EPOCHS, MAX_STEPS = 50, 1500  # visits to every code, unless these are more steps
MAX_CODES = 20_000  # the search for the nearest takes a time that grows with the square of the number of codes
LEAST_SCALE = 1e-9
# A fit in the cache is used only if these are the same.
SETTINGS = (WIDTH, NUM_BLOCKS, BATCH_SIZE, LEARNING_RATE, NUM_EPOCHS, MAX_STEPS, NOISE_DIMS, NOISE_PER_CODE, MAX_CODES)
ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class ImlePrior(Prior):
    """Noise, mapped by a network.

    Attributes:
        mean: (d,) mean of the codes.
        scale: square root of the mean variance of the codes, by which the outputs of the network are multiplied.
        weights: of the network, see `glo_lib.inference.priors.network`.
        projection: see `Prior`.
    """

    mean: np.ndarray
    scale: float
    weights: Weights = field(repr=False)
    projection: str = "sphere"

    def draw(self, num_samples: int, seed: int = 0) -> np.ndarray:
        """Map Gaussian noise to codes by the network; see `Prior.draw`."""
        check_num_samples(num_samples)
        noise = _noise(np.random.default_rng(seed), num_samples, self.weights["input"].shape[0])
        with Network(self.weights) as network:
            return (self.mean + self.scale * _predict(network, noise)).astype(np.float32)


def fit_imle(
    codes: np.ndarray, projection: str = "sphere", num_steps: int | None = None, noise_dims: int = NOISE_DIMS, seed: int = 0
) -> ImlePrior:
    """Fit a network that maps noise to codes.

    Args:
        codes: (n, d), projected. If there are more than 20,000 codes, an evenly spaced subset is used.
        projection: the projection of the model.
        num_steps: steps of the training, with 256 codes each. Default: as many as visit each code 50 times, and at most 1,500.
        noise_dims: entries of the noise, or d if these are fewer.
        seed: seed of the weights and of the training.

    Raises:
        ValueError: the codes are not a matrix of finite numbers, or a number is less than 1.

    Example:
        ``fit_imle(model.codes).sample(10)``
    """
    if noise_dims < 1:
        raise ValueError(f"noise_dims is {noise_dims}; give at least 1")
    codes = check_codes(codes)[:: -(-len(codes) // MAX_CODES)].astype(np.float64)
    num_steps = check_num_steps(num_steps, len(codes) * NUM_EPOCHS // BATCH_SIZE, MAX_STEPS)
    mean, dims = codes.mean(axis=0), codes.shape[1]
    scale = max(float(np.sqrt(codes.var(axis=0).mean())), LEAST_SCALE)
    points = ((codes - mean) / scale).astype(np.float32)
    numbers, noise_dims, step = np.random.default_rng(seed), min(noise_dims, dims), 0
    weights = initial_weights(noise_dims, 0, dims, WIDTH, NUM_BLOCKS, seed)
    with Network(weights, num_steps, LEARNING_RATE) as network:
        while step < num_steps:
            noise = _noise(numbers, NOISE_PER_CODE * len(points), noise_dims)
            noise = noise[nearest_of(points, _predict(network, noise))]  # row i belongs to code i
            order = numbers.permutation(len(points))
            for rows in islice(slices(len(points), BATCH_SIZE), num_steps - step):
                network.train(noise[order[rows]], points[order[rows]])
                step += 1
        weights = network.weights
    return ImlePrior(mean.astype(np.float32), scale, weights, projection)


def nearest_of(points: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Return the index of the candidate (m, d) that is nearest to each point (n, d), up to rounding in float32.

    Example:
        >>> nearest_of(np.array([[0.0], [5.0]]), np.array([[4.0], [1.0]])).tolist()
        [1, 0]
    """
    norms = np.square(candidates).sum(axis=1)
    return np.concatenate([(norms - 2 * points[rows] @ candidates.T).argmin(axis=1) for rows in slices(len(points), ROWS_AT_ONCE)])


def _noise(numbers: np.random.Generator, count: int, dims: int) -> np.ndarray:
    return numbers.standard_normal((count, dims), dtype=np.float32)


def _predict(network: Network, noise: np.ndarray) -> np.ndarray:
    return np.concatenate([network.predict(noise[rows]) for rows in slices(len(noise), ROWS_AT_ONCE)])
