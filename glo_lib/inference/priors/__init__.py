"""Fit priors over latent codes after training, and draw new codes from them.

GLO learns codes, but no distribution of codes. This package provides several with one interface: ``fit(codes, projection)`` returns a
prior, and ``prior.sample(num_samples, seed)`` returns codes that are projected as in training.

- `glo_lib.inference.priors.gaussian`: a unit Gaussian, a diagonal one, one with full covariance, and a mixture;
- `glo_lib.inference.priors.kernel`: a random code, with noise in the place of a quarter of its variance (kernel density);
- `glo_lib.inference.priors.neighbours`: a random code, moved part of the way to one of its neighbours;
- `glo_lib.inference.priors.imle`: a network that maps noise to codes (GLANN);
- `glo_lib.inference.priors.flow`: a network that moves noise to codes (flow matching);
- `glo_lib.inference.priors.network`: the network of the last two;
- `glo_lib.inference.priors.stored`: fits of these two that are kept in the cache, because they take up to a minute;
- `glo_lib.inference.priors.prior`: what all have in common.
"""

from collections.abc import Callable

import numpy as np

from glo_lib.config import short_prior_name
from glo_lib.inference.model import TrainedModel
from glo_lib.inference.priors import flow, imle
from glo_lib.inference.priors.flow import FlowPrior, fit_flow
from glo_lib.inference.priors.gaussian import (
    GaussianPrior,
    MixturePrior,
    fit_diagonal_gaussian,
    fit_full_gaussian,
    fit_mixture,
    fit_unit_gaussian,
)
from glo_lib.inference.priors.imle import ImlePrior, fit_imle
from glo_lib.inference.priors.kernel import KernelPrior, fit_kernel
from glo_lib.inference.priors.neighbours import NeighbourPrior, fit_neighbours
from glo_lib.inference.priors.prior import Prior, check_codes
from glo_lib.inference.priors.stored import fit_or_load

PRIORS: dict[str, Callable[..., Prior]] = {
    "unit Gaussian": fit_unit_gaussian,
    "diagonal Gaussian": fit_diagonal_gaussian,
    "full Gaussian": fit_full_gaussian,
    "Gaussian mixture": fit_mixture,
    "kernel density": fit_kernel,
    "neighbours": fit_neighbours,
    "imle": fit_imle,
    "flow": fit_flow,
}
LEARNED = {"imle": (ImlePrior, imle.SETTINGS), "flow": (FlowPrior, flow.SETTINGS)}  # name -> class, and what its fit depends on


__all__ = [
    "PRIORS",
    "FlowPrior",
    "GaussianPrior",
    "ImlePrior",
    "KernelPrior",
    "MixturePrior",
    "NeighbourPrior",
    "Prior",
    "fit_diagonal_gaussian",
    "fit_flow",
    "fit_full_gaussian",
    "fit_imle",
    "fit_kernel",
    "fit_mixture",
    "fit_neighbours",
    "fit_prior",
    "fit_unit_gaussian",
    "sample",
    "short_prior_name",
]


def fit_prior(name: str, codes: np.ndarray, projection: str = "sphere") -> Prior:
    """Fit the prior of a given name to codes. A prior that is learned is fitted once for the same codes, and then read from the cache.

    Args:
        name: a key of `PRIORS`, or its short name, such as ``"full"`` for the full Gaussian (`glo_lib.config.short_prior_name`).
        codes: (n, d), projected.
        projection: the projection of the model.

    Raises:
        ValueError: there is no prior of that name, or the codes are not a matrix of finite numbers.

    Example:
        >>> np.float64(fit_prior("full", np.eye(3)).covariance[0]).round(3).tolist()
        [0.222, -0.111, -0.111]
    """
    for full_name, fit in PRIORS.items():
        if name in (full_name, short_prior_name(full_name)):
            if full_name in LEARNED:
                kind, settings = LEARNED[full_name]
                return fit_or_load(full_name, kind, fit, check_codes(codes), projection, settings)
            return fit(codes, projection)
    allowed = ", ".join(repr(short_prior_name(known)) for known in PRIORS)
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
