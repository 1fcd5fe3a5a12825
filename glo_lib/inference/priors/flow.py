"""Learn a flow that carries Gaussian noise to the codes (flow matching; Lipman et al., 2023).

Noise x_0 and a code x_1 are joined by a straight line x_t = (1 - t) x_0 + t x_1. A network learns the mean velocity x_1 - x_0 of all lines
that pass a point at a time, and new noise that follows this velocity from t = 0 to 1 arrives at new codes. If the codes were Gaussian, the
mean velocity would be known: the point times a number for each time and principal component. The network learns only what is added to that,
so the flow begins as the full Gaussian and differs from it only where the codes do.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from glo_lib.inference.priors.network import Network, Weights, check_num_steps, initial_weights
from glo_lib.inference.priors.prior import Prior, check_codes, check_num_samples

WIDTH, NUM_BLOCKS, BATCH_SIZE, LEARNING_RATE = 512, 3, 256, 1e-3
NUM_EPOCHS, MAX_STEPS = 50, 1500  # visits to every code, unless these are more steps
NUM_INTERVALS = 25  # of time, when codes are drawn; each takes two evaluations of the network (Heun's method)
FREQUENCIES = np.geomspace(1, 1000, 16)  # of the sines and cosines by which the network is told the time
LEAST_VARIANCE = 1e-4  # relative to the mean variance; at less the velocity near t = 1 would be too large for float32
LEAST_SCALE = 1e-9
# A fit in the cache is used only if these are the same.
SETTINGS = (WIDTH, NUM_BLOCKS, BATCH_SIZE, LEARNING_RATE, NUM_EPOCHS, MAX_STEPS)


@dataclass(frozen=True)
class FlowPrior(Prior):
    """Noise that has followed a learned velocity.

    Attributes:
        mean: (d,) mean of the codes.
        axes: (d, d) principal components of the codes, orthonormal columns.
        scale: square root of the mean variance of the codes; the flow works in units of it.
        variances: (d,) variances along the components, in these units.
        weights: of the network, see `glo_lib.inference.priors.network`.
        projection: see `Prior`.
    """

    mean: np.ndarray
    axes: np.ndarray
    scale: float
    variances: np.ndarray
    weights: Weights = field(repr=False)
    projection: str = "sphere"

    def draw(self, num_samples: int, seed: int = 0) -> np.ndarray:
        """Draw Gaussian noise and move it along the flow in steps of Heun's method; see `Prior.draw`."""
        check_num_samples(num_samples)
        points = np.random.default_rng(seed).standard_normal((num_samples, len(self.mean)), dtype=np.float32)
        with Network(self.weights) as network:

            def velocity(points: np.ndarray, time: float) -> np.ndarray:
                times = np.full((num_samples, 1), time)
                return network.predict(points, describe_time(times)) + gaussian_velocity(points, times, self.variances)

            times = np.linspace(0, 1, NUM_INTERVALS + 1)
            for time, later in pairwise(times):
                first = velocity(points, time)
                second = velocity(points + (later - time) * first, later)
                points = (points + (later - time) * (first + second) / 2).astype(np.float32)
        return (self.mean + self.scale * points @ self.axes.T).astype(np.float32)


def fit_flow(codes: np.ndarray, projection: str = "sphere", num_steps: int | None = None, seed: int = 0) -> FlowPrior:
    """Fit a flow to codes.

    Args:
        codes: (n, d), projected.
        projection: the projection of the model.
        num_steps: steps of the training, with 256 codes each. Default: as many as visit each code 50 times, and at most 1,500, which take
            half a minute on two cores.
        seed: seed of the weights and of the training.

    Raises:
        ValueError: the codes are not a matrix of finite numbers, or ``num_steps`` is less than 1.

    Example:
        ``fit_flow(model.codes).sample(10)``
    """
    codes = check_codes(codes).astype(np.float64)
    num_steps = check_num_steps(num_steps, len(codes) * NUM_EPOCHS // BATCH_SIZE, MAX_STEPS)
    mean, dims = codes.mean(axis=0), codes.shape[1]
    variances, axes = np.linalg.eigh(np.cov(codes.T, bias=True).reshape(dims, dims))
    scale = max(float(np.sqrt(max(variances.mean(), 0))), LEAST_SCALE)
    variances = np.maximum(variances / scale**2, LEAST_VARIANCE)
    points = ((codes - mean) @ axes / scale).astype(np.float32)
    numbers = np.random.default_rng(seed)
    weights = initial_weights(dims, 2 * len(FREQUENCIES), dims, WIDTH, NUM_BLOCKS, seed)
    with Network(weights, num_steps, LEARNING_RATE) as network:
        for _ in range(num_steps):
            ends = points[numbers.integers(len(points), size=BATCH_SIZE)]
            starts = numbers.standard_normal(ends.shape, dtype=np.float32)
            times = numbers.random((BATCH_SIZE, 1))
            between = (1 - times) * starts + times * ends
            network.train(between, ends - starts - gaussian_velocity(between, times, variances), describe_time(times))
        weights = network.weights
    return FlowPrior(mean.astype(np.float32), axes.astype(np.float32), scale, variances.astype(np.float32), weights, projection)


def gaussian_velocity(points: np.ndarray, times: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Return the mean velocity (n, d) at points (n, d) and times (n, 1), if the codes are N(0, diag(variances)).

    Noise and code are jointly Gaussian, so the mean of x_1 - x_0 given x_t is linear in x_t. The factor is the covariance of the two
    over the variance of x_t.

    Example:
        At the beginning the mean code is still unknown, so the velocity leads away from the noise to the mean, 0.

        >>> gaussian_velocity(np.array([[2.0]]), np.array([[0.0]]), np.array([9.0])).tolist()
        [[-2.0]]
    """
    covariance = times * variances - (1 - times)
    return points * covariance / (times**2 * variances + (1 - times) ** 2)


def describe_time(times: np.ndarray) -> np.ndarray:
    """Return sines and cosines (n, 32) of times (n, 1) in [0, 1], by which a network tells near times apart."""
    return np.concatenate([np.sin(times * FREQUENCIES), np.cos(times * FREQUENCIES)], axis=1)
