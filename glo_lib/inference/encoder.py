"""Load the trained encoder of a VAE from a run folder, to encode any images in one forward pass."""

from pathlib import Path

import numpy as np

from glo_lib.config import TrainConfig
from glo_lib.graph.backend import tf, v1
from glo_lib.graph.session import open_session
from glo_lib.images.pixels import ImageRows, slices, to_floats
from glo_lib.inference.variables import Fill, from_checkpoint
from glo_lib.runs.run import Run, read_run
from glo_lib.vae import Posterior, encoder

SCOPE = "encoder"
IMAGES_PER_BATCH = 256  # encoded at once up to 64 pixels; fewer of larger images, whose feature maps take more memory


class TrainedEncoder:
    """The trained encoder of a VAE. Use `load_encoder` to make one.

    Args:
        config: the settings of the run.
        fill: sets the values of the encoder's variables, see `glo_lib.inference.variables`.

    Attributes:
        config: the settings of the run.
        weights: ``"averaged"`` if the variables are moving averages of the weights, ``"raw"`` if they are the weights themselves.
    """

    def __init__(self, config: TrainConfig, fill: Fill):
        self.config = config
        with tf.Graph().as_default():
            size = config.image_size
            self._images = v1.placeholder(tf.float32, [None, size, size, 3])
            self._posterior = encoder(self._images, config.num_dims, config.num_filters, config.kernel_size, is_training=False, scope=SCOPE)
            self._session = open_session()
            self.weights = fill(self._session, v1.global_variables(SCOPE))

    def encode(self, images: ImageRows) -> Posterior:
        """Encode each image into a Gaussian over codes, with batch normalisation in inference mode.

        Args:
            images: (n, size, size, 3), uint8 or float in [-1, 1]. They are read in batches, so they may stay in a file.

        Returns:
            `glo_lib.vae.Posterior` of arrays (n, d) float32. The means are the codes of the images.

        Raises:
            ValueError: the images have another shape.

        Example:
            ``load_encoder(result.run_dir).encode(photographs).mean``
        """
        size = self.config.image_size
        if images.shape[1:] != (size, size, 3):
            raise ValueError(f"images have shape {images.shape}; this encoder takes (n, {size}, {size}, 3)")
        means, log_variances = np.empty((2, len(images), self.config.num_dims), np.float32)
        for rows in slices(len(images), max(1, min(IMAGES_PER_BATCH, IMAGES_PER_BATCH * 64**2 // size**2))):
            means[rows], log_variances[rows] = self._session.run(self._posterior, {self._images: to_floats(np.asarray(images[rows]))})
        return Posterior(means, log_variances)


def load_encoder(run: str | Path | Run) -> TrainedEncoder:
    """Load the encoder of a VAE.

    Args:
        run: folder of a run of `glo_lib.training.train` with ``model="vae"``, or the result of `glo_lib.runs.run.read_run` for it.

    Returns:
        `TrainedEncoder`. After training with several towers it uses the moving averages of the weights.

    Raises:
        FileNotFoundError: the folder contains no run, or no checkpoint.
        ValueError: the run is a GLO run, which has no encoder.
    """
    run = run if isinstance(run, Run) else read_run(run)
    if run.config.model != "vae":
        raise ValueError(f"{str(run.folder)!r} holds a GLO run, which has no encoder; codes of new images are found by optimisation there")
    return TrainedEncoder(run.config, from_checkpoint(run.trained_checkpoint()))
