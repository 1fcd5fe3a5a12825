"""A trained decoder and its latent codes, from a run folder alone or from one exported file."""

from pathlib import Path

import numpy as np

from glo_lib.config import TrainConfig
from glo_lib.decoder import decoder
from glo_lib.graph.backend import tf
from glo_lib.graph.layers import conv2d_transpose
from glo_lib.images.pixels import slices
from glo_lib.inference.variables import Fill, damaged, from_checkpoint
from glo_lib.projection import get_projection, project_array
from glo_lib.runs.checkpoints import check_fits
from glo_lib.runs.folder import read_codes
from glo_lib.runs.run import Run, read_run

v1 = tf.compat.v1
SCOPE = "decoder"
DECODED_AT_ONCE = 256  # images of 64 pixels; of larger ones fewer, so that the decoder's maps take as much memory
GRADIENT_ATTRIBUTE = "_gradient_op_type"


class TrainedModel:
    """A trained decoder and its latent codes, ready for use; made by `load` or by `glo_lib.inference.export.load_npz`.

    Args:
        config: the settings of the run.
        codes: (N, d); they are projected.
        fill: gives the decoder's variables their values, see `glo_lib.inference.variables`.

    Attributes:
        config: the settings of the run.
        codes: (N, d) float32, projected; row i belongs to image i.
        weights: which weights decode, ``"averaged"`` or ``"raw"``.
    """

    def __init__(self, config: TrainConfig, codes: np.ndarray, fill: Fill):
        self.config, self.codes = config, project_array(codes, config.projection)
        with tf.Graph().as_default():
            self._latent_z = v1.placeholder(tf.float32, [None, config.num_dims], name="codes")
            self._projected = tf.identity(get_projection(config.projection)(self._latent_z), name="projected")
            filters, kernel_size = config.num_filters, config.kernel_size
            images = decoder(self._projected, filters, kernel_size, is_training=False, scope=SCOPE, layer=conv2d_transpose)
            self._images = tf.identity(images, name="images")  # (n, size, size, 3)
            self._session = v1.Session(config=v1.ConfigProto(allow_soft_placement=True))
            self._variables = v1.global_variables(SCOPE)
            self.weights = fill(self._session, self._variables)

    @property
    def variables(self) -> dict[str, np.ndarray]:
        """Values of the decoder's variables, by name."""
        names = [variable.op.name for variable in self._variables]
        return dict(zip(names, self._session.run(self._variables), strict=True))

    def decode(self, codes: np.ndarray, project: bool = True) -> np.ndarray:
        """Decode latent codes, with batch normalization in inference mode.

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
        for rows in slices(len(codes), max(1, DECODED_AT_ONCE * 64**2 // size**2)):
            images[rows] = self._session.run(self._images, {fed: codes[rows]})
        return images

    def project(self, codes: np.ndarray) -> np.ndarray:
        """Project codes (n, d) as this model was trained: onto the sphere, or into the ball."""
        return project_array(codes, self.config.projection)

    def frozen_graph(self) -> v1.GraphDef:
        """Return the way from codes to images as a graph without variables: their values are constants in it.

        The operations ``codes`` (a placeholder) and ``images`` are its ends; ``projected`` lies between them. Import it with
        ``tf.import_graph_def`` wherever the decoder is needed but must not learn. Its gradients are TensorFlow's own, because a gradient
        of ours would refer to tensors of this model's graph.
        """
        with self._session.graph.as_default() as graph:
            frozen = v1.graph_util.convert_variables_to_constants(self._session, graph.as_graph_def(), ["images"])
        for node in frozen.node:
            node.attr.pop(GRADIENT_ATTRIBUTE, None)
        return frozen


def load(run: str | Path | Run) -> TrainedModel:
    """Load the model of a run, on whatever devices this machine has.

    Args:
        run: folder that `glo_lib.training.train` has filled, or what `glo_lib.runs.run.read_run` made of it.

    Returns:
        `TrainedModel`; after training with several towers it decodes with the average of the weights. The codes of a VAE are its
        encoder's means.

    Raises:
        FileNotFoundError: the folder holds no run, no checkpoint, or a VAE whose images have not been encoded (``codes.npy``).
        ValueError: a damaged ``config.json``; no checkpoint that can be used, or one of another model. (If only the newest checkpoint is
            damaged, a warning names it, and the one before is loaded.)

    Example:
        ``load(result.run_dir).decode(codes)``
    """
    run = run if isinstance(run, Run) else read_run(run)
    codes = load_stored_codes(run) if run.config.model == "glo" else read_codes(run.folder)
    return TrainedModel(run.config, codes, from_checkpoint(run.checkpoint))


def load_stored_codes(run: str | Path | Run) -> np.ndarray:
    """Load the table of codes (N, d) as the newest checkpoint of a run stores it, before projection.

    Raises:
        FileNotFoundError: the folder holds no run, or no checkpoint.
        ValueError: a damaged checkpoint.
    """
    run = run if isinstance(run, Run) else read_run(run)
    check_fits(run.checkpoint, {"codes": (None, run.config.num_dims)})
    try:
        return tf.train.load_checkpoint(run.checkpoint).get_tensor("codes")
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise damaged(run.checkpoint, error) from None


def check_one_code_per_image(codes: np.ndarray, images: np.ndarray) -> None:
    """Check that there are as many images as codes: row i of the codes must belong to image i.

    Raises:
        ValueError: their numbers differ.
    """
    if len(codes) != len(images):
        raise ValueError(
            f"there are {len(codes):,} codes and {len(images):,} images; row i of the codes belongs to image i, "
            "so give the images that the model was trained on"
        )
