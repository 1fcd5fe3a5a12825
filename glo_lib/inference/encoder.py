"""The trained encoder of a VAE, from a run folder alone: codes of any images, in one pass."""

from pathlib import Path

import numpy as np

from glo_lib.config import TrainConfig
from glo_lib.graph.backend import tf
from glo_lib.images.pixels import slices, to_floats
from glo_lib.inference.variables import Fill, from_checkpoint
from glo_lib.runs.run import Run, read_run
from glo_lib.vae import Posterior, encoder

v1 = tf.compat.v1
SCOPE = "encoder"
ENCODED_AT_ONCE = 256


class TrainedEncoder:
    """The encoder of a VAE, ready for use; made by `load_encoder`.

    Args:
        config: the settings of the run.
        fill: gives the encoder's variables their values, see `glo_lib.inference.variables`.

    Attributes:
        config: the settings of the run.
        weights: which weights encode, ``"averaged"`` or ``"raw"``.
    """

    def __init__(self, config: TrainConfig, fill: Fill):
        self.config = config
        with tf.Graph().as_default():
            size = config.image_size
            self._images = v1.placeholder(tf.float32, [None, size, size, 3])
            self._posterior = encoder(self._images, config.num_dims, config.num_filters, config.kernel_size, is_training=False, scope=SCOPE)
            self._session = v1.Session(config=v1.ConfigProto(allow_soft_placement=True))
            self.weights = fill(self._session, v1.global_variables(SCOPE))

    def encode(self, images: np.ndarray) -> Posterior:
        """Encode each image into a Gaussian over codes, with batch normalization in inference mode.

        Args:
            images: (n, size, size, 3), uint8 or float in [-1, 1]; read block by block.

        Returns:
            `glo_lib.vae.Posterior` of arrays (n, d) float32. The means are the images' codes.

        Raises:
            ValueError: images of another size.
        """
        size = self.config.image_size
        if images.shape[1:] != (size, size, 3):
            raise ValueError(f"images have shape {images.shape}; this encoder takes (n, {size}, {size}, 3)")
        means, log_variances = np.empty((2, len(images), self.config.num_dims), np.float32)
        for rows in slices(len(images), ENCODED_AT_ONCE):
            means[rows], log_variances[rows] = self._session.run(self._posterior, {self._images: to_floats(np.asarray(images[rows]))})
        return Posterior(means, log_variances)


def load_encoder(run: str | Path | Run) -> TrainedEncoder:
    """Load the encoder of a VAE.

    Args:
        run: folder that `glo_lib.training.train` has filled with ``model="vae"``, or what `glo_lib.runs.run.read_run` made of it.

    Returns:
        `TrainedEncoder`; after training with several towers it encodes with the average of the weights.

    Raises:
        FileNotFoundError: the folder holds no run, or no checkpoint.
        ValueError: the run is GLO's, which has no encoder.
    """
    run = run if isinstance(run, Run) else read_run(run)
    if run.config.model != "vae":
        raise ValueError(f"{str(run.folder)!r} holds a GLO run, which has no encoder; codes of new images are found by optimisation there")
    return TrainedEncoder(run.config, from_checkpoint(run.checkpoint))
