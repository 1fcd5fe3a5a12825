"""Gaussian priors, and a mixture of Gaussians.

As far as its readers report, the paper fits a Gaussian with full covariance to the codes. The post draws from a unit Gaussian, or from a
diagonal Gaussian that is fitted to the codes *before* projection.
"""

from dataclasses import dataclass

import numpy as np

from glo_lib.inference.priors.prior import Prior, check_codes, check_num_samples

MAX_MIXTURE_CODES = 20_000  # codes that a mixture is fitted to at most; more codes take longer and hardly change the fit
MAX_MIXTURE_PARTS = 10
MIN_CODES_PER_DIMENSION = 4  # a covariance matrix in d dimensions that is estimated from fewer than 4 d codes is mostly noise


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
        """Multiply Gaussian noise by the factor and add the mean; see `Prior.draw`."""
        check_num_samples(num_samples)
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
        """Choose a component for each code, and draw the code from its Gaussian; see `Prior.draw`."""
        check_num_samples(num_samples)
        numbers = np.random.default_rng(seed)
        part = numbers.choice(len(self.shares), num_samples, p=self.shares)
        codes = numbers.standard_normal((num_samples, self.means.shape[1]), dtype=np.float32)
        for number, (mean, factor) in enumerate(zip(self.means, self.factors, strict=True)):
            codes[part == number] = mean + _apply_factor(codes[part == number], factor)
        return codes

    def log_density(self, codes: np.ndarray) -> np.ndarray:
        """Return the logarithm of the density (n,) at codes (n, d), before projection, in nats.

        Codes that the mixture was not fitted to tell how well it describes the codes in general.
        """
        logarithms = np.empty((len(self.shares), len(codes)))
        for number, (share, mean, factor) in enumerate(zip(self.shares, self.means, self.factors, strict=True)):
            factor = factor.astype(np.float64)
            away = np.linalg.solve(factor, (codes - mean).T)  # (d, n)
            _, log_volume = np.linalg.slogdet(factor)
            logarithms[number] = np.log(share) - log_volume - 0.5 * (np.square(away).sum(axis=0) + len(mean) * np.log(2 * np.pi))
        return np.logaddexp.reduce(logarithms, axis=0)


def fit_unit_gaussian(codes: np.ndarray, projection: str = "sphere") -> GaussianPrior:
    """Return N(0, I). Only the number of dimensions is taken from the codes (n, d).

    Projected onto the sphere this is the uniform distribution.

    Example:
        >>> fit_unit_gaussian(np.zeros((1, 8))).sample(5, seed=0).shape
        (5, 8)
    """
    dims = check_codes(codes).shape[1]
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
    codes = check_codes(codes)
    return GaussianPrior(_mean(codes), codes.std(axis=0, dtype=np.float64).astype(np.float32), projection)


def fit_full_gaussian(codes: np.ndarray, projection: str = "sphere") -> GaussianPrior:
    """Fit a Gaussian with a full covariance matrix to codes, as readers report of the paper (Bojanowski et al., 2018, section 4.3).

    Args:
        codes: (n, d), projected.
        projection: the projection of the model.

    Raises:
        ValueError: the codes are not a matrix of finite numbers.
    """
    codes = check_codes(codes)
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

    codes = check_codes(codes)[:: -(-len(codes) // MAX_MIXTURE_CODES)].astype(np.float64)
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


def _mean(codes: np.ndarray) -> np.ndarray:
    return codes.mean(axis=0, dtype=np.float64).astype(np.float32)


def _square_root(covariance: np.ndarray) -> np.ndarray:
    """Return a matrix A (d, d) with A A^T = covariance. The covariance may be singular, as for fewer codes than dimensions."""
    variances, axes = np.linalg.eigh(covariance)
    return (axes * np.sqrt(np.maximum(variances, 0))).astype(np.float32)


def _apply_factor(normal: np.ndarray, factor: np.ndarray) -> np.ndarray:
    return normal * factor if factor.ndim == 1 else normal @ factor.T
