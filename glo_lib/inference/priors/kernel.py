"""Draw codes around the codes of training images: a kernel density, whose samples have the mean and the covariance of the codes.

A random code is moved towards the mean, and noise with the covariance of the codes takes the place of what is lost. With a noise of size 0
the samples are the codes themselves, with 1 they are those of the full Gaussian. With the default the samples of a run on photographs are
as good as reconstructions of held-out photographs. But in many of them one recognises the training image, although the memorisation ratio
does not show it (``benchmarks/README.md``, `glo_lib.evaluation.code_space.traced_share`).
"""

from dataclasses import dataclass

import numpy as np

from glo_lib.inference.priors.gaussian import GaussianPrior, fit_full_gaussian
from glo_lib.inference.priors.prior import Prior, check_codes, check_num_samples

NOISE_SIZE = 0.5


@dataclass(frozen=True)
class KernelPrior(Prior):
    """Codes with noise around them.

    Attributes:
        codes: (n, d) codes of training images, projected.
        gaussian: the full Gaussian that is fitted to the codes.
        noise_size: h, from 0 to 1: a sample is m + sqrt(1 - h^2) (z - m) + h e with the mean m, a random code z, and noise e from N(0, C).
        projection: see `Prior`.
    """

    codes: np.ndarray
    gaussian: GaussianPrior
    noise_size: float = NOISE_SIZE
    projection: str = "sphere"

    def draw(self, num_samples: int, seed: int = 0) -> np.ndarray:
        """Choose a code at random, draw it towards the mean, and add noise of the size ``noise_size``; see `Prior.draw`."""
        check_num_samples(num_samples)
        chosen = self.codes[np.random.default_rng([seed, 1]).integers(len(self.codes), size=num_samples)]
        noise, mean = self.gaussian.draw(num_samples, seed) - self.gaussian.mean, self.gaussian.mean
        return (mean + np.sqrt(1 - self.noise_size**2) * (chosen - mean) + self.noise_size * noise).astype(np.float32)


def fit_kernel(codes: np.ndarray, projection: str = "sphere", noise_size: float = NOISE_SIZE) -> KernelPrior:
    """Fit a kernel density to codes.

    Args:
        codes: (n, d), projected.
        projection: the projection of the model.
        noise_size: h, see `KernelPrior`. With the default a sample keeps three quarters of the variance of its code.

    Raises:
        ValueError: the codes are not a matrix of finite numbers, or ``noise_size`` is not between 0 and 1.

    Example:
        >>> fit_kernel(np.eye(2, dtype=np.float32), noise_size=0.0).sample(1).sum()
        np.float32(1.0)
    """
    if not 0 <= noise_size <= 1:
        raise ValueError(f"noise_size is {noise_size}; give a number from 0 to 1")
    return KernelPrior(check_codes(codes), fit_full_gaussian(codes, projection), noise_size, projection)
