"""Priors over latent codes, chosen after training: where new images come from.

GLO learns codes and no distribution of them. The paper fits a Gaussian with full covariance to the codes; the post draws from a
unit Gaussian, or from a diagonal Gaussian fitted to the codes *before* they are projected. All are here, and a mixture, in one form:
``fit(codes, projection)`` gives a prior, ``prior.sample(num_samples, seed)`` gives codes that are projected as in training.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from glo_lib.inference.model import TrainedModel
from glo_lib.projection import project_array

MIXTURE_CODES = 20_000  # codes that a mixture is fitted to; more cost time and hardly move it
MIXTURE_PARTS = 10
CODES_PER_DIMENSION = 4  # a covariance matrix of d dimensions from fewer than so many times d codes is mostly noise


class Prior(ABC):
    """A distribution that new codes are drawn from.

    Attributes:
        projection: ``"sphere"`` or ``"ball"``, as in training.
    """

    projection: str

    @abstractmethod
    def draw(self, num_samples: int, seed: int = 0) -> np.ndarray:
        """Codes (num_samples, d) float32 of the fitted distribution itself, not projected; the same for the same seed."""

    def sample(self, num_samples: int, seed: int = 0) -> np.ndarray:
        """Codes (num_samples, d) float32, projected as in training; the same for the same seed.

        Raises:
            ValueError: fewer than one sample.
        """
        return project_array(self.draw(num_samples, seed), self.projection)


@dataclass(frozen=True)
class GaussianPrior(Prior):
    """A Gaussian over latent codes.

    Attributes:
        mean: (d,).
        factor: standard deviations (d,) when the entries are independent, else a matrix A (d, d) with covariance A A^T.
        projection: see `Prior`.
    """

    mean: np.ndarray
    factor: np.ndarray
    projection: str = "sphere"

    def draw(self, num_samples: int, seed: int = 0) -> np.ndarray:
        _check_number(num_samples)
        normal = np.random.default_rng(seed).standard_normal((num_samples, len(self.mean)), dtype=np.float32)
        return self.mean + _scaled(normal, self.factor)

    @property
    def covariance(self) -> np.ndarray:
        """(d, d)."""
        return np.diag(self.factor**2) if self.factor.ndim == 1 else self.factor @ self.factor.T


@dataclass(frozen=True)
class MixturePrior(Prior):
    """A mixture of Gaussians over latent codes.

    Attributes:
        shares: (k,) probabilities of the parts.
        means: (k, d).
        factors: (k, d, d) matrices A with covariance A A^T, one for each part.
        projection: see `Prior`.
    """

    shares: np.ndarray
    means: np.ndarray
    factors: np.ndarray
    projection: str = "sphere"

    def draw(self, num_samples: int, seed: int = 0) -> np.ndarray:
        _check_number(num_samples)
        numbers = np.random.default_rng(seed)
        part = numbers.choice(len(self.shares), num_samples, p=self.shares)
        codes = numbers.standard_normal((num_samples, self.means.shape[1]), dtype=np.float32)
        for number, (mean, factor) in enumerate(zip(self.means, self.factors, strict=True)):
            codes[part == number] = mean + _scaled(codes[part == number], factor)
        return codes


def fit_unit_gaussian(codes: np.ndarray, projection: str = "sphere") -> GaussianPrior:
    """N(0, I): the prior that needs no data; only the number of dimensions is taken from the codes (n, d).

    Projected to the sphere it is the uniform distribution.

    Example:
        >>> fit_unit_gaussian(np.zeros((1, 8))).sample(5, seed=0).shape
        (5, 8)
    """
    dims = _checked(codes).shape[1]
    return GaussianPrior(np.zeros(dims, np.float32), np.ones(dims, np.float32), projection)


def fit_diagonal_gaussian(codes: np.ndarray, projection: str = "sphere") -> GaussianPrior:
    """The Gaussian with the codes' mean and variances, entry by entry (the post's, when it is given codes before projection).

    Give codes (n, d) as they are decoded, projected. The post fits to stored codes (`glo_lib.inference.model.load_stored_codes`); there the
    norm, which the decoder never sees, adds to the variance, and long codes count for more than short ones.

    Example:
        >>> fit_diagonal_gaussian(np.array([[1.0, 0.0], [3.0, 4.0]])).factor.tolist()
        [1.0, 2.0]
    """
    codes = _checked(codes)
    return GaussianPrior(_mean(codes), codes.std(axis=0, dtype=np.float64).astype(np.float32), projection)


def fit_full_gaussian(codes: np.ndarray, projection: str = "sphere") -> GaussianPrior:
    """The Gaussian with the codes' mean and covariance matrix, the paper's prior (Bojanowski et al., 2018, section 3).

    Args:
        codes: (n, d), projected.
        projection: that of the training.
    """
    codes = _checked(codes)
    return GaussianPrior(_mean(codes), _root(np.cov(codes.T, bias=True).reshape(codes.shape[1], -1)), projection)


def fit_mixture(codes: np.ndarray, projection: str = "sphere", num_parts: int | None = None, seed: int = 0) -> MixturePrior:
    """A mixture of Gaussians with full covariances, by expectation maximisation (scikit-learn).

    Args:
        codes: (n, d), projected. Of more than 20,000 codes some are left out, evenly.
        projection: that of the training.
        num_parts: k; default: 10, or fewer where there would be fewer than 4 d codes to each.
        seed: of the start.

    Raises:
        ValueError: more parts than codes.
    """
    from sklearn.mixture import GaussianMixture  # a second to import, and nothing else here needs it
    from threadpoolctl import threadpool_limits

    codes = _checked(codes)[:: -(-len(codes) // MIXTURE_CODES)].astype(np.float64)
    most = max(1, len(codes) // (CODES_PER_DIMENSION * codes.shape[1]))
    num_parts = min(MIXTURE_PARTS, most) if num_parts is None else num_parts
    if not 1 <= num_parts <= len(codes):
        raise ValueError(f"num_parts is {num_parts}; {len(codes)} codes can be split into 1 to {len(codes)}")
    smallest = 1e-4 * max(float(codes.var(axis=0).mean()), 1e-12)
    mixture = GaussianMixture(num_parts, random_state=seed, reg_covar=smallest, tol=1e-2)
    with threadpool_limits(1):  # its matrices are so small that threads mostly wait for each other: 6 s instead of 62
        fitted = mixture.fit(codes)
    factors = np.stack([_root(covariance) for covariance in fitted.covariances_])
    return MixturePrior(fitted.weights_ / fitted.weights_.sum(), fitted.means_.astype(np.float32), factors, projection)


PRIORS: dict[str, Callable[..., Prior]] = {
    "unit Gaussian": fit_unit_gaussian,
    "diagonal Gaussian": fit_diagonal_gaussian,
    "full Gaussian": fit_full_gaussian,
    "Gaussian mixture": fit_mixture,
}


def fit_prior(name: str, codes: np.ndarray, projection: str = "sphere") -> Prior:
    """The prior of that name, fitted to codes (n, d).

    Args:
        name: a key of `PRIORS`, or its first word: ``"unit"``, ``"diagonal"``, ``"full"``; ``"mixture"``.
        codes: (n, d), projected.
        projection: that of the training.

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
    """Draw codes (num_samples, d) from a prior fitted to the model's codes; they are projected.

    Raises:
        ValueError: there is no prior of that name, or fewer than one sample is asked for.
    """
    return fit_prior(prior, model.codes, model.config.projection).sample(num_samples, seed)


def short_name(prior: str) -> str:
    """The one word for a prior that a command line takes.

    Example:
        >>> [short_name(name) for name in PRIORS]
        ['unit', 'diagonal', 'full', 'mixture']
    """
    return prior.replace("Gaussian", "").strip()


def _check_number(num_samples: int) -> None:
    if num_samples < 1:
        raise ValueError(f"num_samples is {num_samples}; give at least 1")


def _checked(codes: np.ndarray) -> np.ndarray:
    if codes.ndim != 2 or not len(codes) or not np.isfinite(codes).all():
        raise ValueError(f"codes of shape {codes.shape}; a prior is fitted to a matrix (n, d) of finite numbers with n at least 1")
    return codes


def _mean(codes: np.ndarray) -> np.ndarray:
    return codes.mean(axis=0, dtype=np.float64).astype(np.float32)


def _root(covariance: np.ndarray) -> np.ndarray:
    """A (d, d) with A A^T = covariance, also where it is singular: fewer codes than dimensions, or codes of one length."""
    variances, axes = np.linalg.eigh(covariance)
    return (axes * np.sqrt(np.maximum(variances, 0))).astype(np.float32)


def _scaled(normal: np.ndarray, factor: np.ndarray) -> np.ndarray:
    return normal * factor if factor.ndim == 1 else normal @ factor.T
