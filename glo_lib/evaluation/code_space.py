"""Measure where codes lie: how far samples are from the codes of training images, how long they are, and whether codes form clusters.

These numbers say why samples of a Gaussian look worse than reconstructions. The decoder has been trained at the codes of the training
images alone. In 100 dimensions even the nearest of some thousand codes is far from a new one, and there the decoder has to generalise. The
codes of held-out images, which are found by search, are the control: they are as far away, and belong to real photographs.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from glo_lib.config import PRIORS
from glo_lib.inference.model import TrainedModel
from glo_lib.inference.neighbours import nearest_rows
from glo_lib.inference.priors import fit_mixture, fit_prior

TRAINING, HELD_OUT = "training images", "held-out images"
NUM_SAMPLES = 1000
NUM_PARTS = (1, 2, 5, 10)
LEFT_OUT = 10  # every tenth code is left out of the fit of a mixture and described by it


class CodeSpace(NamedTuple):
    """Measures of the codes of a model and of samples.

    Attributes:
        distances: kind of code -> (n,) Euclidean distances to the nearest code of a training image. The kinds are ``"training images"``,
            whose own code is left out, ``"held-out images"`` if their codes are given, and the names of priors.
        norms: name of a prior -> (n,) norms of its draws before projection. The decoder knows codes on the sphere or in the ball only.
        cluster_gains: number of components k -> how much better a mixture of k Gaussians describes codes that it was not fitted to than a
            single Gaussian does, in nats per code. It is above 0 if the codes form clusters; a mixture with too many components for the
            number of codes has a gain below 0.
    """

    distances: Mapping[str, np.ndarray]
    norms: Mapping[str, np.ndarray]
    cluster_gains: Mapping[int, float]


def measure_code_space(
    model: TrainedModel,
    held_out_codes: np.ndarray | None = None,
    priors: Sequence[str] = PRIORS,
    num_samples: int = NUM_SAMPLES,
    num_parts: Sequence[int] = NUM_PARTS,
    seed: int = 0,
) -> CodeSpace:
    """Measure distances, norms and clusters of the codes of a model and of samples from priors.

    Args:
        model: the trained model, with at least two codes.
        held_out_codes: (m, d), found by `glo_lib.inference.encode` for images that the model was not trained on.
        priors: names of priors, see `glo_lib.inference.fit_prior`.
        num_samples: number of samples of each prior, and at most so many codes of training and of held-out images.
        num_parts: numbers of components of the mixtures; 1 is always among the results.
        seed: seed of the samples and of the choice of codes.

    Raises:
        ValueError: the model has fewer than two codes, or there is no prior of a given name.

    Example:
        ``measure_code_space(model, encode(model, photographs, regression).codes).distances["full Gaussian"].mean()``
    """
    codes, projection = model.codes, model.config.projection
    rows = np.sort(np.random.default_rng(seed).permutation(len(codes))[:num_samples])
    distances = {TRAINING: distances_to_others(codes, rows)}
    if held_out_codes is not None:
        distances[HELD_OUT] = _distances(held_out_codes[:num_samples], codes)
    norms = {}
    for name in priors:
        prior = fit_prior(name, codes, projection)
        distances[name] = _distances(prior.sample(num_samples, seed), codes)
        norms[name] = np.linalg.norm(prior.draw(num_samples, seed), axis=1)
    return CodeSpace(distances, norms, cluster_gains(codes, num_parts))


def distances_to_others(codes: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the distance of some of the codes (n, d) to the nearest other one.

    Args:
        codes: (n, d), at least two.
        rows: (m,) numbers of the codes whose distances are computed.

    Raises:
        ValueError: there are fewer than two codes.

    Example:
        >>> distances_to_others(np.array([[0.0], [1.0], [3.0]]), np.array([0, 2])).tolist()
        [1.0, 2.0]
    """
    _, squared = nearest_rows(codes[rows], codes, 2)
    return np.sqrt(squared[:, 1])  # the first is the code itself, or an equal one


def traced_share(codes: np.ndarray, training_codes: np.ndarray, features: np.ndarray, training_features: np.ndarray) -> float:
    """Return the share of samples in which the nearest training image by code is recognised by features too.

    A sample is traced if the training image with the nearest code is also the one whose reconstruction has the nearest features. The
    reconstructions are compared and not the photographs, so blur does not count. A sample that varies a training image is traced, even if
    noise has moved its features as far away as those of a new image, so that the memorisation ratio is that of new images. Held-out images
    are the control.

    Args:
        codes: (n, d) of the samples, projected.
        training_codes: (N, d), projected.
        features: (n, k) of the decoded samples, from any judge.
        training_features: (N, k) of the reconstructions of the training images.

    Raises:
        ValueError: the widths differ, or there are no samples.

    Example:
        >>> training = np.array([[0.0], [10.0]])
        >>> traced_share(np.array([[1.0], [2.0]]), training, np.array([[0.0], [9.0]]), training)
        0.5
    """
    by_code, by_features = (
        nearest_rows(some, of_training)[0] for some, of_training in ((codes, training_codes), (features, training_features))
    )
    return float((by_code == by_features).mean())


def cluster_gains(codes: np.ndarray, num_parts: Sequence[int] = NUM_PARTS) -> dict[int, float]:
    """Compare mixtures of Gaussians by the codes that they were not fitted to: every tenth.

    Args:
        codes: (n, d).
        num_parts: numbers of components; those that exceed the number of codes are left out.

    Returns:
        Number of components -> mean log density of the codes left out, minus that of a single Gaussian, in nats per code.

    Raises:
        ValueError: there are fewer than two codes.

    Example:
        ``cluster_gains(model.codes)[10]``
    """
    if len(codes) < 2:
        raise ValueError(f"there are {len(codes)} codes; give at least two, because one is left out of the fit")
    is_left_out = np.arange(len(codes)) % LEFT_OUT == 0
    fitted_to, left_out = codes[~is_left_out], codes[is_left_out]
    if len(fitted_to) == 1:
        return {1: 0.0}  # a Gaussian that is fitted to one code has no width, and no mixture can be compared with it
    numbers = sorted({1, *(number for number in num_parts if number <= len(fitted_to))})
    found = {number: float(fit_mixture(fitted_to, "none", number).log_density(left_out).mean()) for number in numbers}
    return {number: density - found[1] for number, density in found.items()}


def _distances(codes: np.ndarray, training: np.ndarray) -> np.ndarray:
    return np.sqrt(nearest_rows(codes, training)[1][:, 0])
