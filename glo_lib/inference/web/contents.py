"""What a web page needs besides the decoder, because it would be slow to compute there: directions, priors, and the start of a search."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from glo_lib.config import PRIORS, QUICK_PRIORS
from glo_lib.faces import sample_factors
from glo_lib.images.pixels import slices
from glo_lib.inference.directions import Attributes, principal_directions
from glo_lib.inference.model import TrainedModel
from glo_lib.inference.priors import GaussianPrior, MixturePrior, fit_prior
from glo_lib.inference.priors.kernel import KernelPrior
from glo_lib.inference.priors.neighbours import NeighbourPrior
from glo_lib.inference.priors.prior import Prior

NUM_PRINCIPAL = 10
LONGEST_STEP = 4.0
NUM_STORED_SAMPLES = 500  # of each prior that is a network
NUM_REGRESSION_CODES, REGRESSION_SIDE, REGRESSION_RIDGE = 4096, 16, 1.0  # the regression sees images of 16 x 16 pixels
ROWS_AT_ONCE = 256
HAIR_LIGHTNESS = {"black": 0.0, "brown": 0.35, "red": 0.55, "grey": 0.8, "blond": 1.0}

Arrays = dict[str, np.ndarray]


def describe_directions(codes: np.ndarray, attributes: Attributes | None, rows: np.ndarray) -> tuple[dict[str, Any], Arrays]:
    """Return the directions that the page has sliders for, and the attributes by which it colours its map.

    Args:
        codes: (N, d), projected.
        attributes: of the N images, or None.
        rows: numbers of the codes that the page receives.

    Returns:
        A description: ``num_principal``, and for each of the ``attributes`` its name, the values that the bytes 0 and 255 stand for, and
        whether it has two values only (``is_binary``), which decides what a step of its slider is, see `attribute_effects`. And the arrays:
        ``principal/directions`` (k, d), ``principal/scales`` (k,), ``codes/mean`` (d,), ``attributes/effects`` (m, d), and the
        values of each attribute in bytes, ``attributes/0`` and so on.
    """
    found = principal_directions(codes, min(NUM_PRINCIPAL, codes.shape[1]))
    arrays = {"principal/directions": found.directions, "principal/scales": found.scales, "codes/mean": found.mean}
    described: list[dict[str, Any]] = []
    if attributes is not None:
        arrays["attributes/effects"] = attribute_effects(codes, attributes)
        for number, (name, values) in enumerate(zip(attributes.names, attributes.values.T, strict=True)):
            low, high = np.percentile(values, [1, 99])
            low, high = (low, high) if high > low else (values.min(), values.max())
            share = np.clip((values[rows] - low) / max(high - low, 1e-12), 0, 1)
            arrays[f"attributes/{number}"] = (255 * share + 0.5).astype(np.uint8)
            described.append({"name": name, "low": float(low), "high": float(high), "is_binary": _has_two_values(values)})
    return {"num_principal": len(found.scales), "attributes": described}, arrays


def attribute_effects(codes: np.ndarray, attributes: Attributes) -> np.ndarray:
    """Return what one step of each attribute adds to a code while the others stay the same.

    A step is from absent to present for attributes with two values, and two standard deviations otherwise. The direction comes from a
    linear regression of the codes on all attributes at once: the difference of two means
    (`glo_lib.inference.directions.attribute_direction`) would also add what an attribute comes with, and beards come with men. The length
    comes from the regression in the other direction: a step is so long that the attribute, as it is predicted from the code, changes by a
    step; but at most `LONGEST_STEP` times as long as the first regression says.

    Args:
        codes: (n, d).
        attributes: m attributes of the n images.

    Returns:
        (m, d).

    Example:
        >>> both = Attributes(("left", "right"), np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0]]))
        >>> attribute_effects(np.array([[0.0, 0.0], [3.0, 5.0], [3.0, 0.0]]), both).round(3).tolist()
        [[3.0, 0.0], [0.0, 5.0]]
    """
    values = attributes.values
    two = np.array([_has_two_values(column) for column in values.T])
    step = np.where(two, values.max(axis=0) - values.min(axis=0), 2 * values.std(axis=0))
    steps = (values - values.mean(axis=0)) / np.maximum(step, 1e-12)  # (n, m)
    centred = codes - codes.mean(axis=0, dtype=np.float64)  # (n, d)
    effects, *_ = np.linalg.lstsq(steps, centred, rcond=None)  # (m, d)
    probes, *_ = np.linalg.lstsq(centred, steps, rcond=None)  # (d, m)
    predicted = np.einsum("md,dm->m", effects, probes)  # by how much a step changes its own prediction
    return (effects / np.clip(predicted, 1 / LONGEST_STEP, 1)[:, None]).astype(np.float32)


def _has_two_values(values: np.ndarray) -> bool:
    """Tell whether an attribute is either absent or present, with nothing between."""
    return len(np.unique(values)) <= 2


def drawn_attributes(numbers: Iterable[int], seed: int = 0) -> Attributes:
    """Return the attributes of the drawn faces that a page shows, from the factors that each face was drawn from.

    Args:
        numbers: which n faces of the set, counted from 0; file 000001.jpg is face 0.
        seed: seed of the set.

    Returns:
        Eleven attributes of the n faces. The names are those of the page. "hair" is dark at 0 and blond at 1, "skin" light at 0 and dark
        at 1, "background" is its brightness; "light" and "turn" are angles in degrees, positive to the right of the picture.

    Example:
        >>> drawn_attributes(range(3)).names
        ('glasses', 'smile', 'hat', 'beard', 'hair', 'light', 'turn', 'age', 'masculine', 'skin', 'background')
    """
    faces = [sample_factors(number, seed) for number in numbers]
    columns = {
        "glasses": [face.glasses != "none" for face in faces],
        "smile": [face.smile for face in faces],
        "hat": [face.hat != "none" for face in faces],
        "beard": [face.beard != "none" for face in faces],
        "hair": [HAIR_LIGHTNESS[face.hair_colour] for face in faces],
        "light": [face.light_angle for face in faces],
        "turn": [face.yaw for face in faces],
        "age": [face.age for face in faces],
        "masculine": [face.masculine for face in faces],
        "skin": [face.skin_tone for face in faces],
        "background": [face.background_value for face in faces],
    }
    return Attributes(tuple(columns), np.array(list(columns.values()), np.float64).T)


def describe_priors(model: TrainedModel, stored: Mapping[str, np.ndarray] | None) -> tuple[list[dict[str, Any]], Arrays]:
    """Return the priors that the page offers: what it draws from, or samples of those that are networks, which are too large to send.

    Args:
        model: from `glo_lib.inference.load`.
        stored: name of a prior -> (n, d) codes that were drawn from it. None: every prior that is a network is fitted, and 500 are drawn.

    Returns:
        For each prior its name, its kind and its numbers; and the arrays of prior i as ``priors/i/...``.
    """
    if stored is None:
        learned = [name for name in PRIORS if name not in QUICK_PRIORS]
        stored = {name: fit_prior(name, model.codes, model.config.projection).sample(NUM_STORED_SAMPLES) for name in learned}
    forms = [(name, *_describe_prior(fit_prior(name, model.codes, model.config.projection))) for name in QUICK_PRIORS]
    forms += [(name, {"kind": "stored", "num_samples": len(codes)}, {"samples": codes}) for name, codes in stored.items()]
    arrays = {f"priors/{number}/{part}": value for number, (_, _, parts) in enumerate(forms) for part, value in parts.items()}
    return [{"name": name, **described} for name, described, _ in forms], arrays


def _describe_prior(prior: Prior) -> tuple[dict[str, Any], Arrays]:
    if isinstance(prior, GaussianPrior):
        return {"kind": "gaussian"}, {"mean": prior.mean, "factor": prior.factor}
    if isinstance(prior, MixturePrior):
        return {"kind": "mixture"}, {"shares": prior.shares, "means": prior.means, "factors": prior.factors}
    if isinstance(prior, KernelPrior):
        return {"kind": "kernel", "noise_size": prior.noise_size}, {"mean": prior.gaussian.mean, "factor": prior.gaussian.factor}
    if isinstance(prior, NeighbourPrior):
        return {"kind": "neighbours", "num_neighbours": prior.num_neighbours}, {}
    raise TypeError(f"{type(prior).__name__} has no form for a web page; add it to glo_lib.inference.web.contents and to the page's worker")


def search_arrays(model: TrainedModel) -> Arrays:
    """Return what the search for a code begins with: a ridge regression of the code on a small image, and the spread of the codes.

    The regression is fitted to the decoded images of the model, because the page's model comes without its training images.

    Returns:
        ``search/weights`` (pixels, d) and ``search/intercept`` (d,) of the regression on images of 16 x 16 pixels in [-1, 1], and
        ``search/deviation`` (d,), standard deviations of the codes.
    """
    rows = np.linspace(0, len(model.codes) - 1, min(NUM_REGRESSION_CODES, len(model.codes))).astype(int)
    small = np.concatenate([shrink(model.decode(model.codes[rows[part]])) for part in slices(len(rows), ROWS_AT_ONCE)])
    pixels, targets = np.float64(small.reshape(len(rows), -1)), model.codes[rows].astype(np.float64)
    mean, middle = pixels.mean(axis=0), targets.mean(axis=0)
    covariance = (pixels - mean).T @ (pixels - mean) + REGRESSION_RIDGE * np.eye(len(mean))
    weights = np.linalg.solve(covariance, (pixels - mean).T @ (targets - middle))
    return {
        "search/weights": weights,
        "search/intercept": middle - mean @ weights,
        "search/deviation": model.codes.std(axis=0),
    }


def shrink(images: np.ndarray, side: int = REGRESSION_SIDE) -> np.ndarray:
    """Average blocks of pixels, so that images of (n, size, size, 3) become (n, side, side, 3). Smaller images stay as they are.

    Example:
        >>> shrink(np.arange(4.0).reshape(1, 2, 2, 1), side=1).tolist()
        [[[[1.5]]]]
    """
    number, size, _, channels = images.shape
    if size <= side:
        return images
    block = size // side
    return images.reshape(number, side, block, side, block, channels).mean(axis=(2, 4))
