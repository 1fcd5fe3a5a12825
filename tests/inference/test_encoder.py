"""The encoder of a VAE with given variables. (tests/test_vae.py tests a trained encoder.)"""

import numpy as np
import pytest

from glo_lib.config import TrainConfig
from glo_lib.graph.backend import tf
from glo_lib.inference import encoder as encoder_module
from glo_lib.inference.encoder import TrainedEncoder, load_encoder
from glo_lib.inference.variables import from_arrays
from glo_lib.runs.run import read_run
from glo_lib.vae import encoder

v1 = tf.compat.v1
CONFIG = TrainConfig(model="vae", image_size=32, num_dims=5, num_filters=(8, 6, 4))
IMAGES = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3)).astype(np.uint8)


def posterior_and_variables():
    """The posterior of the images by the network itself in inference mode, and its random variables."""
    draw = np.random.default_rng(1)
    with tf.Graph().as_default(), v1.Session() as session:
        scaled = tf.constant(IMAGES / np.float32(127.5) - 1)
        posterior = encoder(scaled, CONFIG.num_dims, CONFIG.num_filters, CONFIG.kernel_size, is_training=False)
        values = {}
        for variable in v1.global_variables():
            centre = 1 if "variance" in variable.op.name or "gamma" in variable.op.name else 0
            values[variable.op.name] = draw.uniform(centre - 0.5, centre + 0.5, variable.shape).astype(np.float32)
            variable.load(values[variable.op.name], session)
        return session.run(posterior), values


def test_images_are_encoded_in_inference_mode_whatever_their_type_and_batch(monkeypatch):
    expected, values = posterior_and_variables()
    trained = TrainedEncoder(CONFIG, from_arrays(values, "averaged"))
    assert trained.weights == "averaged"
    for batch, images in ((256, IMAGES), (3, IMAGES), (3, IMAGES / 127.5 - 1)):
        monkeypatch.setattr(encoder_module, "IMAGES_PER_BATCH", batch)
        for found, theirs in zip(trained.encode(images), expected, strict=True):
            assert found.shape == (7, 5) and found.dtype == np.float32
            np.testing.assert_allclose(found, theirs, rtol=1e-4, atol=1e-5)
    assert trained.encode(IMAGES[:0]).mean.shape == (0, 5)
    with pytest.raises(ValueError, match=r"images have shape \(32, 32, 3\); this encoder takes \(n, 32, 32, 3\)"):
        trained.encode(IMAGES[0])


def test_a_glo_run_and_a_folder_without_a_run_have_no_encoder(trained_run, tmp_path):
    for run in (trained_run, read_run(trained_run)):
        with pytest.raises(ValueError, match="holds a GLO run, which has no encoder"):
            load_encoder(run)
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json"):
        load_encoder(tmp_path)
