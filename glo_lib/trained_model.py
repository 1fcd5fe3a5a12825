"""A trained decoder and its codes, from a run folder alone or from one exported file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from glo_lib import checkpoints
from glo_lib.backend import tf
from glo_lib.config import TrainConfig
from glo_lib.decoder import decoder
from glo_lib.projection import get_projection
from glo_lib.run_folder import read_codes, read_config

v1 = tf.compat.v1
AVERAGE_SUFFIX = "/ExponentialMovingAverage"
SCOPE = "decoder"
DECODED_AT_ONCE = 256  # images of 64 pixels; of larger ones fewer, so that the decoder's maps take as much memory
ROWS_AT_ONCE = 65536  # codes that are projected at once


class TrainedModel:
    """A trained decoder and its codes, ready for use; made by `load` or by `glo_lib.export.load_npz`.

    Args:
        config: the settings of the run.
        codes: (N, d); they are projected.
        variables: values of the decoder's variables, by name.
        weights: see below.

    Attributes:
        config: the settings of the run.
        codes: (N, d) float32, projected; row i belongs to image i.
        variables: values of the decoder's variables, by name.
        weights: which weights decode, ``"averaged"`` or ``"raw"``.
    """

    def __init__(self, config: TrainConfig, codes: np.ndarray, variables: Mapping[str, np.ndarray], weights: str = "raw"):
        self.config, self.codes, self.variables, self.weights = config, project_array(codes, config.projection), dict(variables), weights
        with tf.Graph().as_default():
            self._latent_z = v1.placeholder(tf.float32, [None, config.num_dims], name="codes")
            self._projected = tf.identity(get_projection(config.projection)(self._latent_z), name="projected")
            self._images = decoder(self._projected, config.num_filters, config.kernel_size, is_training=False, scope=SCOPE)
            self._session = v1.Session(config=v1.ConfigProto(allow_soft_placement=True))
            for variable in v1.global_variables(SCOPE):
                variable.load(self._value_of(variable), self._session)

    def _value_of(self, variable: tf.Variable) -> np.ndarray:
        value = self.variables.get(variable.op.name)
        if value is None or value.shape != tuple(variable.shape):
            found = "is missing" if value is None else f"has shape {value.shape}"
            raise ValueError(f"{variable.op.name} {found}; the settings ask for {tuple(variable.shape)}: weights and settings differ")
        return value

    def decode(self, codes: np.ndarray, project: bool = True) -> np.ndarray:
        """Images of latent codes, with batch normalization as in use.

        Args:
            codes: (n, d).
            project: project the codes as in training. Without it the decoder can be asked for points that training never showed it.

        Returns:
            (n, size, size, 3) float32 in [-1, 1].

        Raises:
            ValueError: codes of another width.
        """
        if codes.ndim != 2 or codes.shape[1] != self.config.num_dims:
            raise ValueError(f"codes have shape {codes.shape}; this model decodes (n, {self.config.num_dims})")
        size = self.config.image_size
        images = np.empty((len(codes), size, size, 3), np.float32)
        fed = self._latent_z if project else self._projected
        at_once = max(1, DECODED_AT_ONCE * 64**2 // size**2)
        for start in range(0, len(codes), at_once):
            rows = slice(start, start + at_once)
            images[rows] = self._session.run(self._images, {fed: codes[rows]})
        return images

    def project(self, codes: np.ndarray) -> np.ndarray:
        """Codes (n, d) on the sphere or in the ball, as this model was trained."""
        return project_array(codes, self.config.projection)

    def frozen_graph(self) -> v1.GraphDef:
        """The way from codes to images as a graph without variables: their values are constants in it.

        The operations ``codes`` (a placeholder) and ``images`` are its ends; ``projected`` lies between them. Import it with
        ``tf.import_graph_def`` wherever the decoder is needed but must not learn.
        """
        with self._session.graph.as_default() as graph:
            if "images" not in {op.name for op in graph.get_operations()}:
                tf.identity(self._images, name="images")
            return v1.graph_util.convert_variables_to_constants(self._session, graph.as_graph_def(), ["images"])


def load(run_dir: str | Path) -> TrainedModel:
    """The model of a run folder, on whatever devices this machine has.

    Args:
        run_dir: folder that `glo_lib.training.train` has filled.

    Returns:
        `TrainedModel`; of several towers it decodes with the average of the weights. The codes of a VAE are its encoder's means.

    Raises:
        FileNotFoundError: the folder holds no run, no checkpoint, or a VAE whose images have not been encoded (``codes.npy``).
        ValueError: a damaged ``config.json``; no checkpoint that is whole, or one of another model. (When only the newest is damaged,
            a warning names it, and the one before is loaded.)

    Example:
        ``load(result.run_dir).decode(codes)``
    """
    config = read_config(Path(run_dir))
    reader = _newest_checkpoint(run_dir, {"codes": (None, config.num_dims)} if config.model == "glo" else {})
    stored = reader.get_variable_to_shape_map()
    averaged = any(name.startswith(SCOPE) and name.endswith(AVERAGE_SUFFIX) for name in stored)
    suffix = AVERAGE_SUFFIX if averaged else ""
    names = [name for name in stored if name.startswith(f"{SCOPE}/") and name.endswith(suffix) and "Adam" not in name]
    try:
        variables = {name.removesuffix(suffix): reader.get_tensor(name) for name in names}
        codes = reader.get_tensor("codes") if config.model == "glo" else read_codes(run_dir)
    except (tf.errors.OpError, ValueError) as error:
        raise _damaged(run_dir, error) from None
    return TrainedModel(config, codes, variables, "averaged" if averaged else "raw")


def load_stored_codes(run_dir: str | Path) -> np.ndarray:
    """The table of codes (N, d) as the newest checkpoint of a run stores it, before projection.

    Raises:
        FileNotFoundError: the folder holds no run, or no checkpoint.
        ValueError: a damaged checkpoint.
    """
    config = read_config(Path(run_dir))
    try:
        return _newest_checkpoint(run_dir, {"codes": (None, config.num_dims)}).get_tensor("codes")
    except tf.errors.OpError as error:
        raise _damaged(run_dir, error) from None


def _newest_checkpoint(run_dir: str | Path, shapes: Mapping[str, tuple[int | None, ...]]) -> Any:
    checkpoint = checkpoints.newest(Path(run_dir))
    if checkpoint is None:
        raise FileNotFoundError(f"{str(run_dir)!r} holds no checkpoint; train first, or give the folder of another run")
    checkpoints.check_fits(checkpoint, shapes)
    try:
        return tf.train.load_checkpoint(checkpoint)
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise _damaged(run_dir, error) from None


def _damaged(run_dir: str | Path, error: Exception) -> ValueError:
    reason = str(error).splitlines()[0]
    return ValueError(f"the newest checkpoint in {str(run_dir)!r} cannot be read ({reason}); remove it to fall back on the one before")


def check_one_code_per_image(codes: np.ndarray, images: np.ndarray) -> None:
    """Row i of the codes must belong to image i.

    Raises:
        ValueError: their numbers differ.
    """
    if len(codes) != len(images):
        raise ValueError(
            f"there are {len(codes):,} codes and {len(images):,} images; row i of the codes belongs to image i, "
            "so give the images that the model was trained on"
        )


def project_array(codes: np.ndarray, projection: str, block: int = ROWS_AT_ONCE) -> np.ndarray:
    """`glo_lib.projection` for arrays, block by block: (n, d) float32 codes on the sphere or in the ball."""
    projected = np.empty(codes.shape, np.float32)
    with tf.Graph().as_default(), v1.Session() as session:
        rows = v1.placeholder(tf.float32, [None, codes.shape[1]])
        result = get_projection(projection)(rows)
        for start in range(0, len(codes), block):
            projected[start : start + block] = session.run(result, {rows: codes[start : start + block]})
    return projected
