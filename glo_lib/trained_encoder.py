"""A trained VAE's encoder, from a run folder alone: codes of any images, at once."""

from pathlib import Path

import numpy as np

from glo_lib import checkpoints
from glo_lib.backend import tf
from glo_lib.config import TrainConfig
from glo_lib.run_folder import read_config
from glo_lib.trained_model import AVERAGE_SUFFIX
from glo_lib.vae import Posterior, encoder

v1 = tf.compat.v1
ENCODED_AT_ONCE = 256


class TrainedEncoder:
    """The encoder of a VAE, ready for use; made by `load_encoder`.

    Attributes:
        config: the settings of the run.
    """

    def __init__(self, config: TrainConfig, checkpoint: str):
        self.config = config
        with tf.Graph().as_default():
            size = config.image_size
            self._images = v1.placeholder(tf.float32, [None, size, size, 3])
            self._posterior = encoder(self._images, config.num_dims, config.num_filters, config.kernel_size, is_training=False)
            self._session = v1.Session(config=v1.ConfigProto(allow_soft_placement=True))
            stored = {name for name, _ in tf.train.list_variables(checkpoint)}
            names = {variable.op.name: variable for variable in v1.global_variables("encoder")}
            averages = {f"{name}{AVERAGE_SUFFIX}": variable for name, variable in names.items()}
            v1.train.Saver(averages if averages.keys() <= stored else names).restore(self._session, checkpoint)

    def encode(self, images: np.ndarray) -> Posterior:
        """The Gaussian over codes of each image, with batch normalization as in use.

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
        for start in range(0, len(images), ENCODED_AT_ONCE):
            block = np.asarray(images[start : start + ENCODED_AT_ONCE])
            block = block.astype(np.float32) / 127.5 - 1 if block.dtype == np.uint8 else block
            rows = slice(start, start + len(block))
            means[rows], log_variances[rows] = self._session.run(self._posterior, {self._images: block})
        return Posterior(means, log_variances)


def load_encoder(run_dir: str | Path) -> TrainedEncoder:
    """The encoder of a VAE's run folder.

    Args:
        run_dir: folder that `glo_lib.training.train` has filled with ``model="vae"``.

    Returns:
        `TrainedEncoder`; of several towers it encodes with the average of the weights.

    Raises:
        FileNotFoundError: the folder holds no run, or no checkpoint.
        ValueError: the run is GLO's, which has no encoder.
    """
    config = read_config(Path(run_dir))
    if config.model != "vae":
        raise ValueError(f"{str(run_dir)!r} holds a GLO run, which has no encoder; codes of new images are found by optimisation there")
    checkpoint = checkpoints.newest(run_dir)
    if checkpoint is None:
        raise FileNotFoundError(f"{str(run_dir)!r} holds no checkpoint; train first, or give the folder of another run")
    return TrainedEncoder(config, checkpoint)
