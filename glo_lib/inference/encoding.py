"""Find latent codes of unseen images. GLO has no encoder, so a code is found by optimisation through the frozen decoder.

The decoder's weights are constants of the graph. The optimisation of each image has several starts: the code that a linear regression
predicts from the image's principal components, the mean code, and random codes. The best result is kept, with a flag that tells whether it
has converged.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from glo_lib.codes import Pca, RowwiseAdam, fit_pca
from glo_lib.config import TrainConfig
from glo_lib.graph.backend import tf, v1
from glo_lib.graph.session import open_session
from glo_lib.images.pixels import ImageRows, to_floats
from glo_lib.images.reading import read_stored, unreadable
from glo_lib.images.sources import find_files
from glo_lib.images.store import decode_as_in
from glo_lib.inference.directions import principal_directions
from glo_lib.inference.model import TrainedModel, check_one_code_per_image
from glo_lib.inference.priors import fit_diagonal_gaussian
from glo_lib.projection import get_projection, project_array

CODES_PER_BATCH = 256  # codes that are optimised at once up to 64 pixels; fewer for larger images, whose feature maps take more memory
TRIAL_STEP = 0.01  # length of the step in the test of convergence, in units of the norm of a typical code
CONVERGED_GAIN = 0.003  # share of the error by which such a step may still reduce the error of a converged code
MIN_SCALE = 1e-3  # standard deviation of the codes in the prior term, at least
MIN_ERROR = 1e-4  # mean squared error (46 dB) below which an improvement is invisible


class CodeRegression(NamedTuple):
    """A linear regression of the code on the principal components of an image.

    Attributes:
        pca: principal components of the training images.
        weights: (components + 1, d). The last row is the intercept.
        projection: the projection of the model, ``"sphere"`` or ``"ball"``.
    """

    pca: Pca
    weights: np.ndarray
    projection: str

    def predict(self, images: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """Predict projected codes of images.

        Args:
            images: (n, height, width, 3), uint8 or float in [-1, 1].
            mask: (height, width) or (n, height, width), 0 where a pixel is hidden. Hidden pixels are replaced by the mean image.

        Returns:
            (n, d) float32.
        """
        mean = self.pca.mean.reshape(images.shape[1:])
        scaled = to_floats(images)
        seen = scaled if mask is None else np.where(_expand_mask(mask, scaled) > 0, scaled, mean)
        return project_array(_append_ones(self.pca.transform(seen.astype(np.float32))) @ self.weights, self.projection)


def fit_code_regression(images: ImageRows, model: TrainedModel, pca: Pca | None = None, codes: np.ndarray | None = None) -> CodeRegression:
    """Fit a linear regression of the learned codes on the principal components of the training images, by least squares.

    Args:
        images: (N, height, width, 3) training images, uint8 or float in [-1, 1].
        model: the trained model, whose codes are the targets.
        pca: principal components of the same images, if they have been computed already. Default: twice as many components as the codes
            have dimensions, but at most a quarter of the number of images.
        codes: (N, d) codes of these images, if they are only some of the images that the model was trained on. Default: all its codes.

    Raises:
        ValueError: the numbers of images and codes differ, or the codes have another width than those of the model.

    Example:
        ``fit_code_regression(images[:1000], model, codes=model.codes[:1000])``
    """
    codes = model.codes if codes is None else codes
    check_one_code_per_image(codes, images)
    if codes.shape[1:] != (model.config.num_dims,):
        raise ValueError(f"codes have shape {codes.shape}; those of this model are ({len(codes)}, {model.config.num_dims})")
    most = min(max(1, len(images) // 4), int(np.prod(images.shape[1:])))
    if pca is None:
        pca = fit_pca(images, min(2 * model.config.num_dims, most)) if len(images) > 1 else _without_components(images)
    weights, *_ = np.linalg.lstsq(_append_ones(pca.transform(images)).astype(np.float64), codes.astype(np.float64), rcond=None)
    return CodeRegression(pca, weights.astype(np.float32), model.config.projection)


def _without_components(images: ImageRows) -> Pca:
    """Return the principal components of a single image, which has none: the regression is then its code."""
    mean = to_floats(images[0]).reshape(-1)
    return Pca(mean, np.zeros((0, len(mean)), np.float32), np.zeros(0, np.float32))


def _append_ones(coefficients: np.ndarray) -> np.ndarray:
    return np.hstack([coefficients, np.ones((len(coefficients), 1), np.float32)])


class Encoding(NamedTuple):
    """The result of `encode` for n images.

    Attributes:
        codes: (n, d) projected codes, the best of all starts and steps.
        errors: (n,) mean squared error of each image over the pixels that the mask shows, plus the weighted prior term.
        converged: (n,) whether a small step down the gradient would reduce the error by less than 0.3 %. The length of the step is a
            hundredth of the norm of a typical code: of 1 on the sphere and in the ball, of sqrt(d) without a projection.
        best_start: (n,) number of the start that led to the code.
        losses: (steps + 1, starts, n) error of each start before the first step and after each step.
        starts: names of the starts.
    """

    codes: np.ndarray
    errors: np.ndarray
    converged: np.ndarray
    best_start: np.ndarray
    losses: np.ndarray
    starts: tuple[str, ...]

    def report(self) -> str:
        """Summarise the result in one line."""
        before, after = self.losses[0].min(axis=0).mean(), self.errors.mean()
        return (
            f"{int(self.converged.sum())} of {len(self.codes)} converged after {len(self.losses) - 1} steps from {len(self.starts)} starts"
            f"; mean squared error {before:.4f} before, {after:.4f} after"
        )


def encode(
    model: TrainedModel,
    images: np.ndarray,
    regression: CodeRegression | None = None,
    mask: np.ndarray | None = None,
    restarts: int = 4,
    steps: int = 200,
    learning_rate: float = 0.1,
    seed: int = 0,
    prior_weight: float = 0.0,
) -> Encoding:
    """Find codes of images by optimisation through the frozen decoder.

    Adam updates the codes. After each step the codes are projected as in training. The learning rate decays along half a cosine.

    Args:
        model: the trained model. Its weights do not change.
        images: (n, size, size, 3), uint8 or float in [-1, 1].
        regression: predicts the first start. Without it the first start is the mean code.
        mask: known pixels, (height, width) or (n, height, width): 1 or true where a pixel counts, 0 where it is hidden. Default: all pixels
            count. `inpaint` fills the hidden pixels from the decoded images.
        restarts: number of starts: the regression (if given), the mean code, and random codes. The random codes come from a diagonal
            Gaussian that is fitted to the learned codes.
        steps: steps of Adam from each start.
        learning_rate: for codes whose entries are of size 1, as on a sphere of radius sqrt(d), like ``TrainConfig.code_learning_rate``. On
            the unit sphere and in the unit ball it is divided by sqrt(d).
        seed: seed of the random starts.
        prior_weight: weight of a prior term that is added to the error: the squared Mahalanobis distance of the code from the mean of the
            learned codes, divided by the number of dimensions. It is about 1 for a learned code. Without it the hidden pixels are not
            constrained, so they may show anything that the decoder can produce.

    Returns:
        `Encoding`.

    Raises:
        ValueError: the images have another size than the decoder's, the mask has a wrong shape or wrong values, or a number is not allowed.

    Example:
        ``encode(model, photographs, fit_code_regression(training_images, model)).codes``
    """
    images = _check_images(model, images)
    mask = np.ones(images.shape[:3], np.float32) if mask is None else _check_mask(mask, images)
    for name, value, least in (("restarts", restarts, 1), ("steps", steps, 1)):
        if value < least:
            raise ValueError(f"{name} is {value}; give at least {least}")
    if not learning_rate > 0:
        raise ValueError(f"learning_rate is {learning_rate}; it must be above 0")
    if not prior_weight >= 0:
        raise ValueError(f"prior_weight is {prior_weight}; it must be at least 0")
    names, starts = _starting_codes(model, images, regression, mask, restarts, seed)
    rate = learning_rate * _typical_norm(model.config) / np.sqrt(model.config.num_dims)
    chunk = min(len(images), _images_at_once(model.config.image_size, restarts))
    parts = []
    with tf.Graph().as_default(), open_session() as session:
        search = build_search(model, chunk * restarts, prior_weight)
        for first in range(0, len(images), chunk):
            # Pad the last chunk with repeated images, because the graph has a fixed number of rows. The results for them are dropped.
            rows = np.resize(np.arange(first, min(first + chunk, len(images))), chunk)
            parts.append(_best_of_starts(session, search, model, images[rows], mask[rows], starts[:, rows], steps, rate))
    joined = (np.concatenate(values, axis=-1 if values[0].ndim == 3 else 0) for values in zip(*parts, strict=True))
    codes, errors, converged, best_start, losses = joined
    count = len(images)
    return Encoding(codes[:count], errors[:count], converged[:count], best_start[:count], losses[..., :count], names)


def _images_at_once(image_size: int, restarts: int) -> int:
    """Return for how many images codes are searched at once, each from several starts."""
    num_codes = min(CODES_PER_BATCH, CODES_PER_BATCH * 64**2 // image_size**2)
    return max(1, num_codes // restarts)


def _typical_norm(config: TrainConfig) -> float:
    """Return the norm of a typical code: 1 on the sphere and in the ball; sqrt(d) without a projection, where entries are of size 1."""
    return float(np.sqrt(config.num_dims)) if config.projection == "none" else 1.0


class SearchGraph(NamedTuple):
    """The graph of a search for codes: the codes are a variable, and the weights of the decoder are constants.

    Attributes:
        images: placeholder for the images, (n, size, size, 3) in [-1, 1], one for each code.
        mask: placeholder, (n, size, size, 1), 1 where a pixel counts.
        rate: placeholder for the learning rate.
        variable: (n, d) codes.
        codes: (n, d) their values before the step.
        errors: (n,) the error of each code before the step.
        gradient: (n, d) of the errors with respect to the codes.
        step: operation that takes one step of Adam and projects the codes.
        start: operation that starts Adam anew.
    """

    images: tf.Tensor
    mask: tf.Tensor
    rate: tf.Tensor
    variable: tf.Variable
    codes: tf.Tensor
    errors: tf.Tensor
    gradient: tf.Tensor
    step: tf.Operation
    start: tf.Operation


def build_search(model: TrainedModel, num_codes: int, prior_weight: float = 0.0) -> SearchGraph:
    """Build the graph in which codes are optimised.

    Args:
        model: the trained model. Its weights become constants.
        num_codes: codes that are optimised at once.
        prior_weight: see `encode`.
    """
    shape = [num_codes, model.config.image_size, model.config.image_size]
    images, mask = v1.placeholder(tf.float32, [*shape, 3]), v1.placeholder(tf.float32, [*shape, 1])
    rate = v1.placeholder(tf.float32, [])
    variable = v1.get_variable("latent_z", [num_codes, model.config.num_dims], use_resource=True)
    codes = tf.identity(variable)  # read once, so that error, gradient and returned codes belong together
    # On the sphere, the gradient is taken through the projection, which keeps its tangential part. In the ball, it is taken with respect to
    # the projected code, because a code on the surface would otherwise have no radial gradient and could never move inside.
    entry = "codes" if model.config.projection == "sphere" else "projected"
    decoded = tf.import_graph_def(model.frozen_graph(), {entry: codes}, ["images:0"], name="frozen")[0]
    errors = _masked_error(decoded, images, mask)
    if prior_weight:
        errors += prior_weight * _squared_deviation(model, codes)
    gradient = tf.gradients(tf.reduce_sum(errors), codes)[0]
    adam = RowwiseAdam(rate, project=get_projection(model.config.projection))
    step = adam.apply_gradients([(gradient, variable)])
    return SearchGraph(images, mask, rate, variable, codes, errors, gradient, step, v1.global_variables_initializer())


def _masked_error(decoded: tf.Tensor, images: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Return the mean squared error (n,) of each image over the pixels that count."""
    counted = 3 * tf.reduce_sum(mask, axis=(1, 2, 3))
    return tf.reduce_sum(mask * tf.square(decoded - images), axis=(1, 2, 3)) / counted


def run_search(
    session: v1.Session, search: SearchGraph, feed: dict[tf.Tensor, np.ndarray], starts: np.ndarray, steps: int, rate: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Take steps of Adam from given codes, and keep the best code that each passes through.

    Args:
        session: of the graph of the search.
        search: from `build_search`.
        feed: images and mask, one for each code.
        starts: (n, d) codes.
        steps: number of steps.
        rate: learning rate of the first step; it falls along half a cosine.

    Returns:
        The best codes (n, d), their errors (n,), and all errors (steps + 1, n).
    """
    session.run(search.start)
    search.variable.load(starts, session)
    best, lowest = starts.copy(), np.full(len(starts), np.inf)
    errors = np.empty((steps + 1, len(starts)), np.float32)
    for step in range(steps + 1):
        now = {**feed, search.rate: rate * 0.5 * (1 + np.cos(np.pi * step / steps))}
        errors[step], codes, _ = session.run([search.errors, search.codes, search.step], now)
        better = errors[step] < lowest
        best[better], lowest[better] = codes[better], errors[step][better]
    return best, lowest, errors


def _best_of_starts(
    session: v1.Session,
    search: SearchGraph,
    model: TrainedModel,
    images: np.ndarray,
    mask: np.ndarray,
    starts: np.ndarray,
    steps: int,
    rate: float,
) -> tuple[np.ndarray, ...]:
    """Return the best codes (n, d), errors (n,), convergence (n,), best starts (n,), and losses (steps + 1, starts, n)."""
    num_starts, number, _ = starts.shape
    feed = {search.images: np.concatenate([images] * num_starts), search.mask: np.concatenate([mask] * num_starts)[..., None]}
    best, lowest, losses = run_search(session, search, feed, starts.reshape(num_starts * number, -1), steps, rate)
    converged = _has_converged(session, search, feed, model, best, lowest).reshape(num_starts, number)
    lowest = lowest.reshape(num_starts, number)
    winner = lowest.argmin(axis=0)
    chosen = winner, np.arange(number)
    return best.reshape(starts.shape)[chosen], lowest[chosen], converged[chosen], winner, losses.reshape(steps + 1, num_starts, number)


def _has_converged(
    session: v1.Session, search: SearchGraph, feed: dict[tf.Tensor, np.ndarray], model: TrainedModel, codes: np.ndarray, errors: np.ndarray
) -> np.ndarray:
    """Return whether a small projected step down the gradient would, to first order, hardly reduce the error."""
    gradient = session.run(search.gradient, {**feed, search.codes: codes})
    length = np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1e-12)
    moved = model.project(codes - TRIAL_STEP * _typical_norm(model.config) * gradient / length)
    return -np.sum(gradient * (moved - codes), axis=1) <= CONVERGED_GAIN * np.maximum(errors, MIN_ERROR)


def _squared_deviation(model: TrainedModel, codes: tf.Tensor) -> tf.Tensor:
    """Return the squared Mahalanobis distance (n,) of codes (n, d) from the learned codes, divided by d."""
    found = principal_directions(model.codes, model.config.num_dims)
    # Limit the scales from below, because directions in which the learned codes hardly vary would otherwise dominate the distance. A
    # single code does not vary at all.
    scales = np.maximum(found.scales, max(0.1 * float(found.scales.mean()), MIN_SCALE))
    deviations = tf.matmul(codes - found.mean, (found.directions / scales[:, None]).T)
    return tf.reduce_mean(tf.square(deviations), axis=1)


def _starting_codes(
    model: TrainedModel, images: np.ndarray, regression: CodeRegression | None, mask: np.ndarray, restarts: int, seed: int
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names of the starts and the projected codes (starts, n, d)."""
    shape = len(images), model.config.num_dims
    fixed = {} if regression is None else {"regression": regression.predict(images, mask)}
    fixed["mean"] = np.broadcast_to(model.project(model.codes.mean(axis=0, keepdims=True)), shape)
    fixed = dict(list(fixed.items())[:restarts])
    num_random = restarts - len(fixed)
    names = (*fixed, *(f"random {number + 1}" for number in range(num_random)))
    if not num_random:
        return names, np.stack(list(fixed.values()))
    drawn = fit_diagonal_gaussian(model.codes, model.config.projection).sample(num_random * len(images), seed)
    # The codes are drawn image by image, so the starts of an image do not depend on the number of images.
    return names, np.concatenate([np.stack(list(fixed.values())), drawn.reshape(len(images), num_random, -1).swapaxes(0, 1)])


def _check_images(model: TrainedModel, images: np.ndarray) -> np.ndarray:
    size = model.config.image_size
    if images.ndim != 4 or images.shape[1:] != (size, size, 3):
        raise ValueError(f"images have shape {images.shape}; this model draws (n, {size}, {size}, 3); read_images crops and resizes files")
    if not len(images):
        raise ValueError("there are no images; give at least one")
    return to_floats(images)


def _expand_mask(mask: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Broadcast a mask to the images: (n, height, width, 1) float32."""
    return np.broadcast_to(mask, images.shape[:3]).astype(np.float32)[..., None]


def _check_mask(mask: np.ndarray, images: np.ndarray) -> np.ndarray:
    height, width = images.shape[1:3]
    if mask.shape not in ((height, width), images.shape[:3]):
        raise ValueError(f"mask has shape {mask.shape}; it must be ({height}, {width}) or {images.shape[:3]}")
    mask = _expand_mask(mask, images)[..., 0]
    if not np.isin(mask, (0, 1)).all() or not mask.any(axis=(1, 2)).all():
        raise ValueError("mask must be 1 where a pixel counts and 0 elsewhere, and show at least one pixel of each image")
    return mask


HALVES = ("left", "right", "top", "bottom")


def half_mask(size: int, hidden: str) -> np.ndarray:
    """Return a mask that hides half of an image.

    Args:
        size: pixels a side.
        hidden: the hidden half, ``"left"``, ``"right"``, ``"top"`` or ``"bottom"``.

    Returns:
        (size, size) float32, 0 where a pixel is hidden and 1 elsewhere.

    Raises:
        ValueError: ``hidden`` is none of these.

    Example:
        >>> half_mask(4, "left")[0].tolist()
        [0.0, 0.0, 1.0, 1.0]
    """
    if hidden not in HALVES:
        raise ValueError(f"hidden is {hidden!r}; allowed are {', '.join(map(repr, HALVES))}")
    mask = np.ones((size, size), np.float32)
    half = slice(None, size // 2) if hidden in ("left", "top") else slice(size // 2, None)
    mask[(slice(None), half) if hidden in ("left", "right") else half] = 0
    return mask


def inpaint(model: TrainedModel, images: np.ndarray, encoding: Encoding, mask: np.ndarray) -> np.ndarray:
    """Fill the hidden pixels of images from the decoded images.

    Args:
        model: the trained model.
        images: (n, size, size, 3), uint8 or float in [-1, 1].
        encoding: the result of `encode` for these images and this mask.
        mask: (size, size) or (n, size, size), 1 where a pixel is known and 0 where it is hidden.

    Returns:
        (n, size, size, 3) float32 in [-1, 1], unchanged where the mask is 1.

    Raises:
        ValueError: the images or the mask have a wrong shape.
    """
    images = _check_images(model, images)
    return np.where(_expand_mask(_check_mask(mask, images), images) > 0, images, model.decode(encoding.codes))


class UnseenImages(NamedTuple):
    """Image files, read, cropped and resized for a model.

    Attributes:
        images: (n, size, size, 3) uint8, the images of the files that could be read.
        filenames: names of these n files.
        problems: a message for each file that could not be read.
        resized: a message for each file that was cropped or resized.
    """

    images: np.ndarray
    filenames: tuple[str, ...]
    problems: tuple[str, ...]
    resized: tuple[str, ...]


def read_images(filenames: str | Path | Sequence[str | Path], config: TrainConfig) -> UnseenImages:
    """Read image files of any format and size, and crop and resize them as in training. Report and skip files that cannot be read.

    Args:
        filenames: one or several files, folders, zip archives or patterns such as ``"photos/*.jpg"``, mixed as you like; see
            `glo_lib.images.sources.find_files`.
        config: the settings of the run.

    Returns:
        `UnseenImages`, in the order given; the images of a folder, an archive or a pattern are sorted.

    Raises:
        ValueError: no file is given, or no file can be read; or the run's crop follows landmarks, and there is no list of them in the
            folder of a file.
        FileNotFoundError: a folder or an archive holds no image, or nothing matches a pattern.

    Example:
        ``read_images(["portrait.png", "photos"], model.config).images``
    """
    names = find_files(filenames)
    if not names:
        raise ValueError("no image is given; give at least one file")
    problems = {name: line for name in names if not os.path.isfile(name) for line in unreadable([name])}
    there = [name for name in names if name not in problems]
    if not there:
        raise ValueError("no image can be read:\n  " + "\n  ".join(problems.values()))
    decoded = decode_as_in(config, there, on_bad_image="skip")
    problems |= {name: f"{name!r}: {reason}" for name, reason in decoded.skipped.items()}
    in_order = tuple(problems[name] for name in names if name in problems)
    return UnseenImages(np.array(decoded.array()), decoded.filenames, in_order, _resized(decoded.filenames, config))


def _resized(filenames: Sequence[str], config: TrainConfig) -> tuple[str, ...]:
    side, lines = config.image_size, []
    for filename in filenames:
        width, height = _size_of(filename, config.max_megapixels)
        if (width, height) != (side, side):
            lines.append(f"{filename!r}: {width}x{height} pixels, cropped and resized to {side}x{side} as in training")
    return tuple(lines)


def _size_of(filename: str, max_megapixels: float) -> tuple[int, int]:
    """Return width and height of an image as it is stored."""
    try:
        with Image.open(filename) as image:
            return image.size
    except Exception:  # Pillow alone does not open a photograph whose metadata are damaged
        return read_stored(filename, max_megapixels).size[::-1]
