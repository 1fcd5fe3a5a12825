"""After training: decode codes, sample new ones from a prior, interpolate, find neighbours. All from a run folder alone."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glo_lib.backend import tf
from glo_lib.codes import blocks
from glo_lib.config import TrainConfig
from glo_lib.decoder import decoder
from glo_lib.projection import get_projection
from glo_lib.run_folder import read_config

v1 = tf.compat.v1
AVERAGE_SUFFIX = "/ExponentialMovingAverage"
DECODED_AT_ONCE = 256


class TrainedModel:
    """A trained decoder and its codes, ready for use; made by `load`.

    Attributes:
        config: the settings of the run.
        codes: (N, d) float32, projected; row i belongs to image i.
        weights: which weights decode, ``"averaged"`` or ``"raw"``.
    """

    def __init__(self, config: TrainConfig, codes: np.ndarray, checkpoint: str):
        self.config, self.codes = config, codes
        graph = tf.Graph()
        with graph.as_default():
            self._latent_z = v1.placeholder(tf.float32, [None, config.num_dims])
            projected = get_projection(config.projection)(self._latent_z)
            self._images = decoder(projected, config.num_filters, config.kernel_size, is_training=False)
            in_checkpoint, self.weights = _names_in_checkpoint(checkpoint, v1.global_variables("decoder"))
            self._session = v1.Session(config=v1.ConfigProto(allow_soft_placement=True))
            v1.train.Saver(in_checkpoint).restore(self._session, checkpoint)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Images of latent codes, with batch normalization as in use.

        Args:
            codes: (n, d); they are projected as in training.

        Returns:
            (n, size, size, 3) float32 in [-1, 1].

        Raises:
            ValueError: codes of another width.
        """
        if codes.ndim != 2 or codes.shape[1] != self.config.num_dims:
            raise ValueError(f"codes have shape {codes.shape}; this model decodes (n, {self.config.num_dims})")
        size = self.config.image_size
        images = np.empty((len(codes), size, size, 3), np.float32)
        for start in range(0, len(codes), DECODED_AT_ONCE):
            rows = slice(start, start + DECODED_AT_ONCE)
            images[rows] = self._session.run(self._images, {self._latent_z: codes[rows]})
        return images

    def project(self, codes: np.ndarray) -> np.ndarray:
        """Codes (n, d) on the sphere or in the ball, as this model was trained."""
        return project_array(codes, self.config.projection)


def load(run_dir: str | Path) -> TrainedModel:
    """The model of a run folder, on whatever devices this machine has.

    Args:
        run_dir: folder that `glo_lib.training.train` has filled.

    Returns:
        `TrainedModel`; of several towers it decodes with the average of the weights.

    Raises:
        FileNotFoundError: the folder holds no run, or no checkpoint.
        ValueError: a damaged ``config.json``.
    """
    folder = Path(run_dir)
    config = read_config(folder)
    checkpoint = tf.train.latest_checkpoint(str(folder))
    if checkpoint is None:
        raise FileNotFoundError(f"{str(folder)!r} holds no checkpoint; train first, or give the folder of another run")
    codes = tf.train.load_variable(checkpoint, "codes")
    return TrainedModel(config, project_array(codes, config.projection), checkpoint)


def _names_in_checkpoint(checkpoint: str, variables: list[tf.Variable]) -> tuple[dict[str, tf.Variable], str]:
    stored = dict(tf.train.list_variables(checkpoint))
    averaged = f"{variables[0].op.name}{AVERAGE_SUFFIX}" in stored
    suffix = AVERAGE_SUFFIX if averaged else ""
    return {f"{variable.op.name}{suffix}": variable for variable in variables}, "averaged" if averaged else "raw"


def project_array(codes: np.ndarray, projection: str, block: int = 65536) -> np.ndarray:
    """`glo_lib.projection` for arrays, block by block: (n, d) float32 codes on the sphere or in the ball."""
    projected = np.empty(codes.shape, np.float32)
    with tf.Graph().as_default(), v1.Session() as session:
        rows = v1.placeholder(tf.float32, [None, codes.shape[1]])
        result = get_projection(projection)(rows)
        for start in range(0, len(codes), block):
            projected[start : start + block] = session.run(result, {rows: codes[start : start + block]})
    return projected


class GaussianPrior(NamedTuple):
    """A Gaussian over latent codes with independent entries; draw from it with `sample`.

    Attributes:
        mean: (d,).
        scales: (d,) standard deviations.
    """

    mean: np.ndarray
    scales: np.ndarray

    def sample(self, num_samples: int, seed: int = 0) -> np.ndarray:
        """Codes (num_samples, d), not yet projected; the same for the same seed."""
        if num_samples < 1:
            raise ValueError(f"num_samples is {num_samples}; give at least 1")
        normal = np.random.default_rng(seed).standard_normal((num_samples, len(self.mean)), dtype=np.float32)
        return self.mean + self.scales * normal


def fit_unit_gaussian(codes: np.ndarray) -> GaussianPrior:
    """N(0, I): the prior that needs no data; only the number of dimensions is taken from the codes (n, d)."""
    return GaussianPrior(np.zeros(codes.shape[1], np.float32), np.ones(codes.shape[1], np.float32))


def fit_diagonal_gaussian(codes: np.ndarray) -> GaussianPrior:
    """The Gaussian with the codes' mean and variances, entry by entry; codes (n, d) as they are decoded, projected.

    The post fits to codes before projection; there the norm, which the decoder never sees, adds to the variance.
    """
    return GaussianPrior(codes.mean(axis=0, dtype=np.float64).astype(np.float32), codes.std(axis=0, dtype=np.float64).astype(np.float32))


PRIORS: dict[str, Callable[[np.ndarray], GaussianPrior]] = {"unit Gaussian": fit_unit_gaussian, "diagonal Gaussian": fit_diagonal_gaussian}


def interpolate(start: np.ndarray, end: np.ndarray, num_steps: int, path: str = "great_circle") -> np.ndarray:
    """Codes from one to another, both ends included.

    Args:
        start: (d,) code.
        end: (d,) code.
        num_steps: points, at least 2.
        path: ``"linear"``, the straight line (projected when decoded, as in the post), or ``"great_circle"``, the shortest way on the
            sphere at even speed (Shoemake, 1985); ends of different norm are joined with a norm that changes evenly.

    Returns:
        (num_steps, d).

    Raises:
        ValueError: fewer than two points, an unknown path, or opposite ends, between which there is no shortest way.

    Example:
        >>> interpolate(np.array([1.0, 0.0]), np.array([0.0, 1.0]), num_steps=3).round(3).tolist()
        [[1.0, 0.0], [0.707, 0.707], [0.0, 1.0]]
    """
    if num_steps < 2:
        raise ValueError(f"num_steps is {num_steps}; give at least 2")
    share = np.linspace(0, 1, num_steps)[:, None]  # (num_steps, 1)
    if path == "linear":
        return (1 - share) * start + share * end
    if path != "great_circle":
        raise ValueError(f"path is {path!r}; allowed are 'linear', 'great_circle'")
    norms = np.linalg.norm(start), np.linalg.norm(end)
    cosine = float(np.clip(start @ end / max(norms[0] * norms[1], 1e-12), -1, 1))
    angle = np.arccos(cosine)
    if angle < 1e-4:  # so close that the line and the circle are the same to float32
        return (1 - share) * start + share * end
    if np.pi - angle < 1e-4:
        raise ValueError("start and end are opposite: every great circle through them is a shortest way; give another end")
    directions = (np.sin((1 - share) * angle) * start / norms[0] + np.sin(share * angle) * end / norms[1]) / np.sin(angle)
    return directions * ((1 - share) * norms[0] + share * norms[1])


def nearest_neighbours(queries: np.ndarray, images: np.ndarray, num_neighbours: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The training images nearest to each query, by mean squared difference of pixels, among all images.

    Exact; the images are read block by block, so that they may be memory-mapped and larger than the memory.

    Args:
        queries: (n, height, width, channels) float in [-1, 1].
        images: (N, height, width, channels), uint8 or float in [-1, 1].
        num_neighbours: k.

    Returns:
        Indices (n, k), nearest first, and mean squared differences (n, k).

    Raises:
        ValueError: sizes that differ, or more neighbours than images.
    """
    if queries.shape[1:] != images.shape[1:]:
        raise ValueError(f"queries are {queries.shape[1:]} and images {images.shape[1:]}; they must be alike")
    if not 1 <= num_neighbours <= len(images):
        raise ValueError(f"num_neighbours is {num_neighbours}; with {len(images)} images it can be 1 to {len(images)}")
    flat = queries.reshape(len(queries), -1).astype(np.float32)
    best_index = np.zeros((len(flat), 0), np.int64)
    best_distance = np.zeros((len(flat), 0), np.float32)
    first = 0
    for block in blocks(images):
        # |q - x|^2 = |q|^2 - 2 q.x + |x|^2: one matrix product for a whole block.
        distance = np.square(flat).sum(1)[:, None] - 2 * flat @ block.T + np.square(block).sum(1)  # (n, rows)
        index = np.broadcast_to(np.arange(first, first + len(block)), distance.shape)
        best_index, best_distance = np.hstack([best_index, index]), np.hstack([best_distance, distance])
        order = np.argsort(best_distance, axis=1, kind="stable")[:, :num_neighbours]
        best_index, best_distance = np.take_along_axis(best_index, order, 1), np.take_along_axis(best_distance, order, 1)
        first += len(block)
    return best_index, np.maximum(best_distance, 0) / flat.shape[1]
