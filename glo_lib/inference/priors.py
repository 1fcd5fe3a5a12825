"""Fit priors over latent codes after training, and draw new codes from them.

GLO learns codes, but no distribution of codes. The paper fits a Gaussian with full covariance to the codes. The post draws from a unit
Gaussian, or from a diagonal Gaussian that is fitted to the codes *before* projection. This module provides all of these and a mixture of
Gaussians with one interface: ``fit(codes, projection)`` returns a prior, and ``prior.sample(num_samples, seed)`` returns codes that are
projected as in training.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from glo_lib.inference.model import TrainedModel
from glo_lib.projection import project_array

MAX_MIXTURE_CODES = 20_000  # codes that a mixture is fitted to at most; more codes take longer and hardly change the fit
MAX_MIXTURE_PARTS = 10
MIN_CODES_PER_DIMENSION = 4  # a covariance matrix in d dimensions that is estimated from fewer than 4 d codes is mostly noise


class Prior(ABC):
    """A distribution of latent codes from which new codes are drawn.

    Attributes:
        projection: the projection of the model, ``"sphere"`` or ``"ball"``.
    """

    projection: str

    @abstractmethod
    def draw(self, num_samples: int, seed: int = 0) -> np.ndarray:
        """Draw codes (num_samples, d) float32 from the fitted distribution, without projection. Equal seeds give equal codes."""

    def sample(self, num_samples: int, seed: int = 0) -> np.ndarray:
        """Draw codes (num_samples, d) float32, projected as in training. Equal seeds give equal codes.

        Raises:
            ValueError: ``num_samples`` is less than 1.
        """
        return project_array(self.draw(num_samples, seed), self.projection)


@dataclass(frozen=True)
class GaussianPrior(Prior):
    """A Gaussian over latent codes.

    Attributes:
        mean: (d,).
        factor: standard deviations (d,) if the entries are independent, otherwise a matrix A (d, d) such that the covariance is A A^T.
        projection: see `Prior`.
    """

    mean: np.ndarray
    factor: np.ndarray
    projection: str = "sphere"

    def draw(self, num_samples: int, seed: int = 0) -> np.ndarray:
        _check_num_samples(num_samples)
        normal = np.random.default_rng(seed).standard_normal((num_samples, len(self.mean)), dtype=np.float32)
        return self.mean + _apply_factor(normal, self.factor)

    @property
    def covariance(self) -> np.ndarray:
        """The covariance matrix (d, d)."""
        return np.diag(self.factor**2) if self.factor.ndim == 1 else self.factor @ self.factor.T


@dataclass(frozen=True)
class MixturePrior(Prior):
    """A mixture of Gaussians over latent codes.

    Attributes:
        shares: (k,) mixture weights.
        means: (k, d) means of the components.
        factors: (k, d, d) a matrix A for each component, such that its covariance is A A^T.
        projection: see `Prior`.
    """

    shares: np.ndarray
    means: np.ndarray
    factors: np.ndarray
    projection: str = "sphere"

    def draw(self, num_samples: int, seed: int = 0) -> np.ndarray:
        _check_num_samples(num_samples)
        numbers = np.random.default_rng(seed)
        part = numbers.choice(len(self.shares), num_samples, p=self.shares)
        codes = numbers.standard_normal((num_samples, self.means.shape[1]), dtype=np.float32)
        for number, (mean, factor) in enumerate(zip(self.means, self.factors, strict=True)):
            codes[part == number] = mean + _apply_factor(codes[part == number], factor)
        return codes


def fit_unit_gaussian(codes: np.ndarray, projection: str = "sphere") -> GaussianPrior:
    """Return N(0, I). Only the number of dimensions is taken from the codes (n, d).

    Projected onto the sphere this is the uniform distribution.

    Example:
        >>> fit_unit_gaussian(np.zeros((1, 8))).sample(5, seed=0).shape
        (5, 8)
    """
    dims = _check_codes(codes).shape[1]
    return GaussianPrior(np.zeros(dims, np.float32), np.ones(dims, np.float32), projection)


def fit_diagonal_gaussian(codes: np.ndarray, projection: str = "sphere") -> GaussianPrior:
    """Fit a Gaussian with independent entries to codes: their mean and their variance in each dimension.

    Give projected codes (n, d), as the decoder receives them. The post fits this prior to the codes before projection
    (`glo_lib.inference.model.load_stored_codes`). The norms of those codes, which the decoder never receives, add to the variance, and
    long codes then have more influence than short ones.

    Example:
        >>> fit_diagonal_gaussian(np.array([[1.0, 0.0], [3.0, 4.0]])).factor.tolist()
        [1.0, 2.0]
    """
    codes = _check_codes(codes)
    return GaussianPrior(_mean(codes), codes.std(axis=0, dtype=np.float64).astype(np.float32), projection)


def fit_full_gaussian(codes: np.ndarray, projection: str = "sphere") -> GaussianPrior:
    """Fit a Gaussian with a full covariance matrix to codes, the prior of the paper (Bojanowski et al., 2018, section 3).

    Args:
        codes: (n, d), projected.
        projection: the projection of the model.

    Raises:
        ValueError: the codes are not a matrix of finite numbers.
    """
    codes = _check_codes(codes)
    return GaussianPrior(_mean(codes), _square_root(np.cov(codes.T, bias=True).reshape(codes.shape[1], -1)), projection)


def fit_mixture(codes: np.ndarray, projection: str = "sphere", num_parts: int | None = None, seed: int = 0) -> MixturePrior:
    """Fit a mixture of Gaussians with full covariance matrices by expectation maximisation (scikit-learn).

    Args:
        codes: (n, d), projected. If there are more than 20,000 codes, an evenly spaced subset is used.
        projection: the projection of the model.
        num_parts: number k of components. Default: 10, or fewer if a component would have fewer than 4 d codes.
        seed: seed of the initialisation.

    Raises:
        ValueError: there are more components than codes, or the codes are not a matrix of finite numbers.
    """
    from sklearn.mixture import GaussianMixture  # imported here because the import takes a second
    from threadpoolctl import threadpool_limits

    codes = _check_codes(codes)[:: -(-len(codes) // MAX_MIXTURE_CODES)].astype(np.float64)
    most = max(1, len(codes) // (MIN_CODES_PER_DIMENSION * codes.shape[1]))
    num_parts = min(MAX_MIXTURE_PARTS, most) if num_parts is None else num_parts
    if not 1 <= num_parts <= len(codes):
        raise ValueError(f"num_parts is {num_parts}; {len(codes)} codes can be split into 1 to {len(codes)}")
    if len(codes) == 1:  # scikit-learn refuses a single code
        return MixturePrior(np.ones(1), codes.astype(np.float32), np.zeros((1, codes.shape[1], codes.shape[1]), np.float32), projection)
    smallest = 1e-4 * max(float(codes.var(axis=0).mean()), 1e-12)
    mixture = GaussianMixture(num_parts, random_state=seed, reg_covar=smallest, tol=1e-2)
    with threadpool_limits(1):  # the matrices are so small that several threads mostly wait for each other: 62 s instead of 6
        fitted = mixture.fit(codes)
    factors = np.stack([_square_root(covariance) for covariance in fitted.covariances_])
    return MixturePrior(fitted.weights_ / fitted.weights_.sum(), fitted.means_.astype(np.float32), factors, projection)


PRIORS: dict[str, Callable[..., Prior]] = {
    "unit Gaussian": fit_unit_gaussian,
    "diagonal Gaussian": fit_diagonal_gaussian,
    "full Gaussian": fit_full_gaussian,
    "Gaussian mixture": fit_mixture,
}


def fit_prior(name: str, codes: np.ndarray, projection: str = "sphere") -> Prior:
    """Fit the prior of a given name to codes.

    Args:
        name: a key of `PRIORS`, or its short name: ``"unit"``, ``"diagonal"``, ``"full"`` or ``"mixture"``.
        codes: (n, d), projected.
        projection: the projection of the model.

    Raises:
        ValueError: there is no prior of that name, or the codes are not a matrix of finite numbers.

    Example:
        >>> np.float64(fit_prior("full", np.eye(3)).covariance[0]).round(3).tolist()
        [0.222, -0.111, -0.111]
    """
    for full_name, fit in PRIORS.items():
        if name in (full_name, short_name(full_name)):
            return fit(codes, projection)
    allowed = ", ".join(repr(short_name(known)) for known in PRIORS)
    raise ValueError(f"prior is {name!r}; allowed are {allowed}")


def sample(model: TrainedModel, prior: str, num_samples: int, seed: int = 0) -> np.ndarray:
    """Draw projected codes (num_samples, d) from a prior that is fitted to the codes of a model.

    Args:
        model: the trained model.
        prior: name of the prior, see `fit_prior`.
        num_samples: number of codes.
        seed: seed of the draw.

    Raises:
        ValueError: there is no prior of that name, or ``num_samples`` is less than 1.
    """
    return fit_prior(prior, model.codes, model.config.projection).sample(num_samples, seed)


def short_name(prior: str) -> str:
    """Return the short name of a prior, as used on the command line.

    Example:
        >>> [short_name(name) for name in PRIORS]
        ['unit', 'diagonal', 'full', 'mixture']
    """
    return prior.replace("Gaussian", "").strip()


def _check_num_samples(num_samples: int) -> None:
    if num_samples < 1:
        raise ValueError(f"num_samples is {num_samples}; give at least 1")


def _check_codes(codes: np.ndarray) -> np.ndarray:
    if codes.ndim != 2 or not len(codes) or not np.isfinite(codes).all():
        raise ValueError(f"codes of shape {codes.shape}; a prior is fitted to a matrix (n, d) of finite numbers with n at least 1")
    return codes


def _mean(codes: np.ndarray) -> np.ndarray:
    return codes.mean(axis=0, dtype=np.float64).astype(np.float32)


def _square_root(covariance: np.ndarray) -> np.ndarray:
    """Return a matrix A (d, d) with A A^T = covariance. The covariance may be singular, as for fewer codes than dimensions."""
    variances, axes = np.linalg.eigh(covariance)
    return (axes * np.sqrt(np.maximum(variances, 0))).astype(np.float32)


def _apply_factor(normal: np.ndarray, factor: np.ndarray) -> np.ndarray:
    return normal * factor if factor.ndim == 1 else normal @ factor.T
