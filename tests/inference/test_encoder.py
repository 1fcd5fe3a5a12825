"""The encoder of a VAE, filled with given variables. (A trained one is tested in tests/test_vae.py, where it is trained.)"""

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


def some_images(count=7, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)


def posterior_and_variables(images):
    """The posterior by the network itself, in inference mode, and its variables, all from a known range and variances positive."""
    draw = np.random.default_rng(1)
    with tf.Graph().as_default(), v1.Session() as session:
        posterior = encoder(tf.constant(images), CONFIG.num_dims, CONFIG.num_filters, CONFIG.kernel_size, is_training=False)
        values = {}
        for variable in v1.global_variables():
            positive = "variance" in variable.op.name or "gamma" in variable.op.name
            values[variable.op.name] = draw.uniform(0.5 if positive else -0.5, 1.5 if positive else 0.5, variable.shape).astype(np.float32)
            variable.load(values[variable.op.name], session)
        return session.run(posterior), values


def test_images_are_encoded_by_the_network_in_inference_mode():
    images = some_images()
    expected, values = posterior_and_variables(images / np.float32(127.5) - 1)
    found = TrainedEncoder(CONFIG, from_arrays(values)).encode(images)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == (7, 5) and ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert found.mean.std(axis=0).min() > 1e-3  # the images differ, and so do their codes


def test_an_image_has_one_code_whatever_it_is_encoded_with_and_in_which_numbers(monkeypatch):
    images = some_images()
    trained = TrainedEncoder(CONFIG, from_arrays(posterior_and_variables(images / np.float32(127.5) - 1)[1]))
    together = trained.encode(images)
    monkeypatch.setattr(encoder_module, "ENCODED_AT_ONCE", 3)
    for same in (images, images / np.float32(127.5) - 1, images / 127.5 - 1):
        for whole, in_blocks in zip(together, trained.encode(same), strict=True):
            np.testing.assert_allclose(in_blocks, whole, rtol=1e-4, atol=1e-5)
    assert trained.encode(images[:0]).mean.shape == (0, 5)


@pytest.mark.parametrize("weights", ["raw", "averaged"])
def test_it_says_which_weights_it_has(weights):
    _, values = posterior_and_variables(some_images(1) / np.float32(127.5) - 1)
    assert TrainedEncoder(CONFIG, from_arrays(values, weights)).weights == weights


@pytest.mark.parametrize("shape", [(2, 16, 16, 3), (2, 32, 32, 1), (32, 32, 3)])
def test_images_of_another_size_are_refused(shape):
    _, values = posterior_and_variables(some_images(1) / np.float32(127.5) - 1)
    with pytest.raises(ValueError, match=r"this encoder takes \(n, 32, 32, 3\)"):
        TrainedEncoder(CONFIG, from_arrays(values)).encode(np.zeros(shape, np.float32))


def test_weights_that_do_not_fit_the_settings_are_refused():
    _, values = posterior_and_variables(some_images(1) / np.float32(127.5) - 1)
    values["encoder/conv1/weights"] = np.zeros((3, 3, 3, 9), np.float32)
    with pytest.raises(ValueError, match=r"encoder/conv1/weights has shape \(3, 3, 3, 9\); the settings ask for \(3, 3, 3, 4\)"):
        TrainedEncoder(CONFIG, from_arrays(values))


def test_a_folder_of_glo_and_one_without_a_run_have_no_encoder(trained_run, tmp_path):
    for run in (trained_run, read_run(trained_run)):
        with pytest.raises(ValueError, match="holds a GLO run, which has no encoder"):
            load_encoder(run)
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json"):
        load_encoder(tmp_path)
