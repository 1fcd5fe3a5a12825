"""The VAE: its encoder, its Kullback-Leibler divergence against the closed form and a Monte-Carlo estimate, and its training."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glo_lib import inference
from glo_lib.config import TrainConfig
from glo_lib.decoder import decoder
from glo_lib.evaluation import evaluate as evaluation
from glo_lib.graph.backend import tf
from glo_lib.images.split import find_images
from glo_lib.inference.encoder import load_encoder
from glo_lib.inputs import decode_images
from glo_lib.losses import get_glo_loss, laplacian_pyramid_loss
from glo_lib.training import build_loss, build_model, build_train_ops, loop, prepare, train
from glo_lib.vae import Posterior, active_units, encoder, kl_divergence, negative_elbo, reparameterise

v1 = tf.compat.v1
FILTERS = (16, 12, 8)


def evaluated(tensors, feed=None):
    with v1.Session() as session:
        session.run(v1.global_variables_initializer())
        return session.run(tensors, feed)


def posterior_of(mean, log_variance):
    return Posterior(tf.constant(mean, tf.float32), tf.constant(log_variance, tf.float32))


def test_the_encoder_mirrors_the_decoder():
    with tf.Graph().as_default() as graph:
        images = decoder(tf.zeros([4, 10]), (32, 16, 8))
        posterior = encoder(images, 10, (32, 16, 8))
        down = [op.outputs[0].shape.as_list() for op in graph.get_operations() if op.type == "Conv2D" and op.name.startswith("encoder")]
        up = [op.outputs[0].shape.as_list() for op in graph.get_operations() if op.type == "Conv2DBackpropInput"]
    assert down == [[4, 16, 16, 8], [4, 8, 8, 16], [4, 4, 4, 32]]
    assert down == up[-2::-1]  # every map of the decoder but the image, backwards
    assert posterior.mean.shape == posterior.log_variance.shape == (4, 10)


def test_the_encoder_has_the_variables_it_should():
    with tf.Graph().as_default():
        encoder(tf.zeros([2, 32, 32, 3]), 10, FILTERS)
        encoder(tf.zeros([2, 32, 32, 3]), 10, FILTERS, reuse=True)
        shapes = {variable.op.name: tuple(variable.shape) for variable in v1.trainable_variables()}
    assert shapes["encoder/conv1/weights"] == (3, 3, 3, 8) and shapes["encoder/conv3/weights"] == (3, 3, 12, 16)
    assert shapes["encoder/posterior/weights"] == (16 * 16, 20) and shapes["encoder/posterior/biases"] == (20,)
    assert len(shapes) == 3 * 3 + 2  # weights, beta and gamma of each convolution; weights and biases of the last layer


def test_batch_norm_of_the_encoder_uses_the_batch_in_training_and_the_averages_in_use():
    images = np.random.default_rng(0).uniform(-1, 1, (6, 32, 32, 3)).astype(np.float32)
    with tf.Graph().as_default():
        trained = encoder(tf.constant(images), 5, FILTERS).mean
        used = encoder(tf.constant(images), 5, FILTERS, is_training=False, reuse=True).mean
        alone = encoder(tf.constant(images[:1]), 5, FILTERS, is_training=False, reuse=True).mean
        assert len(v1.get_collection(v1.GraphKeys.UPDATE_OPS)) == 6
        trained, used, alone = evaluated([trained, used, alone])
    np.testing.assert_allclose(alone, used[:1], atol=1e-5)
    assert np.abs(trained - used).max() > 0.1


@pytest.mark.parametrize(
    ("shape", "dims", "message"),
    [
        ([2, 64, 64, 3], 5, r"16-12-8 takes \(batch, 32, 32, channels\)"),
        ([2, 32, 3], 5, r"shape \(2, 32, 3\)"),
        ([2, 32, 32, 3], 0, "num_dims is 0"),
    ],
)
def test_what_the_encoder_cannot_take_is_refused(shape, dims, message):
    with tf.Graph().as_default(), pytest.raises(ValueError, match=message):
        encoder(tf.zeros(shape), dims, FILTERS)


@settings(deadline=None, max_examples=20)
@given(st.floats(-3, 3), st.floats(-4, 2))
def test_kl_divergence_is_the_closed_form(mean, log_variance):
    with tf.Graph().as_default():
        found = evaluated(kl_divergence(posterior_of([[mean, 0.0]], [[log_variance, 0.0]])))
    sigma = np.exp(log_variance / 2)
    # Between two Gaussians: log(s2 / s1) + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1/2.
    np.testing.assert_allclose(found, [[-np.log(sigma) + (sigma**2 + mean**2) / 2 - 0.5, 0]], rtol=1e-4, atol=1e-5)


def test_kl_divergence_is_the_mean_of_the_log_ratio_over_many_draws():
    count, mean, log_variance = 40_000, np.array([[0.7, -1.2]]), np.array([[-1.0, 0.6]])
    with tf.Graph().as_default():
        many = posterior_of(np.repeat(mean, count, axis=0), np.repeat(log_variance, count, axis=0))
        z, exact = evaluated([reparameterise(many, seed=(3, 4)), kl_divergence(posterior_of(mean, log_variance))])
    log_ratio = (-log_variance - (z - mean) ** 2 / np.exp(log_variance) + z**2) / 2  # log q(z|x) - log p(z)
    error = log_ratio.std(axis=0) / np.sqrt(count)
    assert (np.abs(log_ratio.mean(axis=0) - exact[0]) < 4 * error).all() and (error < 0.01).all()


def test_codes_are_drawn_with_the_posterior_mean_and_variance():
    with tf.Graph().as_default():
        z = evaluated(reparameterise(posterior_of(np.full((50_000, 2), [1.0, -2.0]), np.full((50_000, 2), [0.0, -2.0])), seed=(0, 0)))
    np.testing.assert_allclose(z.mean(axis=0), [1, -2], atol=0.02)
    np.testing.assert_allclose(z.std(axis=0), [1, np.exp(-1)], rtol=0.02)


def test_noise_is_a_function_of_the_seed():
    with tf.Graph().as_default():
        posterior = posterior_of(np.zeros((3, 2)), np.zeros((3, 2)))
        first, again, other = evaluated([reparameterise(posterior, seed=(0, step)) for step in (1, 1, 2)])
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_the_gradient_reaches_mean_and_variance_through_the_draw():
    with tf.Graph().as_default():
        posterior = posterior_of([[0.5]], [[-1.0]])
        z = reparameterise(posterior, seed=(0, 1))
        to_mean, to_log_variance, z = evaluated([*tf.gradients(z, [posterior.mean, posterior.log_variance]), z])
    assert to_mean == [[1.0]]
    np.testing.assert_allclose(to_log_variance, (z - 0.5) / 2)  # d/dv of exp(v / 2) * noise


def test_gradients_of_the_loss_reach_every_weight_of_the_encoder():
    images = np.random.default_rng(0).uniform(-1, 1, (6, 32, 32, 3)).astype(np.float32)
    with tf.Graph().as_default():
        posterior = encoder(tf.constant(images), 5, FILTERS)
        for kl_weight in (0.0, 1.0):
            reconstructions = decoder(reparameterise(posterior, (0, 1)), FILTERS, reuse=v1.AUTO_REUSE)
            loss = negative_elbo(tf.constant(images), reconstructions, posterior, kl_weight)
            gradients = tf.gradients(loss, v1.trainable_variables("encoder"))
            assert None not in gradients
            assert all(np.abs(gradient).max() > 0 for gradient in evaluated(gradients))


def test_the_loss_is_the_negative_elbo_of_gaussian_noise_of_variance_one():
    draw = np.random.default_rng(0)
    images, reconstructions = draw.uniform(-1, 1, (2, 3, 8, 8, 3)).astype(np.float32)
    mean, log_variance = draw.normal(size=(2, 3, 5)).astype(np.float32)
    with tf.Graph().as_default():
        loss = evaluated(negative_elbo(tf.constant(images), tf.constant(reconstructions), posterior_of(mean, log_variance)))
    entries = 8 * 8 * 3
    log_likelihood = -np.square(images - reconstructions).sum(axis=(1, 2, 3)) / 2 - entries / 2 * np.log(2 * np.pi)
    divergence = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(axis=1)
    elbo = (log_likelihood - divergence).mean()
    assert loss == pytest.approx(2 / entries * (-elbo - entries / 2 * np.log(2 * np.pi)), rel=1e-4)


def test_with_beta_zero_the_loss_is_an_auto_encoders_and_other_losses_fit_in():
    draw = np.random.default_rng(0)
    images, reconstructions = (tf.constant, draw.uniform(-1, 1, (2, 3, 8, 8, 3)).astype(np.float32))[1]
    with tf.Graph().as_default():
        a, b, posterior = tf.constant(images), tf.constant(reconstructions), posterior_of(np.ones((3, 5)), np.ones((3, 5)))
        plain, glo, lap = evaluated(
            [negative_elbo(a, b, posterior, 0.0), get_glo_loss(a, b), negative_elbo(a, b, posterior, 0.0, laplacian_pyramid_loss)]
        )
        assert plain == glo and lap == evaluated(laplacian_pyramid_loss(a, b))


def test_units_are_active_where_the_means_vary():
    means = np.random.default_rng(0).normal(size=(500, 4)) * [1, 0.5, 0.05, 0] + [0, 3, 3, 3]
    assert active_units(means).tolist() == [True, True, False, False]
    assert active_units(means, threshold=0.5).sum() == 1
    with pytest.raises(ValueError, match=r"shape \(1, 4\)"):
        active_units(means[:1])


def small_config(data_dir, run_dir, **changes):
    settings_ = {
        "data_dir": str(data_dir), "run_dir": str(run_dir), "model": "vae", "image_size": 32, "num_dims": 6, "num_filters": FILTERS,
        "batch_size": 8, "num_epochs": 4, "max_seconds": 0, "precision": "float32", "kl_weight": 0.1,
    }  # fmt: skip
    return TrainConfig(**{**settings_, **changes})


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    monkeypatch.setattr(evaluation, "run_figures", lambda *_: {})


@pytest.fixture(scope="module")
def auto_encoder(small_images, tmp_path_factory):
    """A run with beta = 0: an auto-encoder (with noise that it learns to make small)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLO_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(evaluation, "run_figures", lambda *_: {})
        folder = tmp_path_factory.mktemp("auto_encoder")
        return train(small_config(small_images, folder, kl_weight=0, num_epochs=40, learning_rate=0.01))


def variables_of(run_dir):
    checkpoint = tf.train.latest_checkpoint(str(run_dir))
    return {name: tf.train.load_variable(checkpoint, name) for name, _ in tf.train.list_variables(checkpoint) if name != "training_seconds"}


def test_the_auto_encoder_reconstructs_and_its_posterior_has_left_the_prior(auto_encoder, small_images):
    images = decode_images(find_images(small_config(small_images, "")), 32).array()
    posterior = load_encoder(auto_encoder.run_dir).encode(images)
    assert auto_encoder.history[-1].loss < 0.6 * auto_encoder.history[0].loss
    left = (posterior.mean**2 + np.exp(posterior.log_variance) - 1 - posterior.log_variance).mean(axis=0) / 2  # (d,) nats
    assert active_units(posterior.mean).all() and (left > 1).all() and posterior.log_variance.mean() < -1


def test_a_large_beta_collapses_the_posterior(small_images, tmp_path):
    result = train(small_config(small_images, tmp_path, kl_weight=1000, num_epochs=30, learning_rate=0.01))
    posterior = load_encoder(result.run_dir).encode(decode_images(find_images(small_config(small_images, "")), 32).array())
    assert not active_units(posterior.mean).any()
    np.testing.assert_allclose(posterior.log_variance, 0, atol=0.5)


def test_the_run_folder_of_a_vae_is_like_that_of_glo(auto_encoder):
    metrics = auto_encoder.metrics
    assert metrics["steps"] == 240 and metrics["num_images"] == 48 and metrics["pca_psnr_db"] > 0
    assert [row.step for row in auto_encoder.history] == list(range(1, 241))
    names = variables_of(auto_encoder.run_dir)
    assert not [name for name in names if name.startswith("codes")]
    model, codes = inference.load(auto_encoder.run_dir), np.load(auto_encoder.run_dir / "codes.npy", allow_pickle=False)
    assert codes.shape == (48, 6)
    np.testing.assert_array_equal(model.codes, codes)
    assert np.linalg.norm(codes, axis=1).std() > 0.1  # they are not projected


def test_the_codes_of_a_loaded_vae_are_its_encoders_means(auto_encoder, small_images):
    images = decode_images(find_images(small_config(small_images, "")), 32).array()
    loaded = load_encoder(auto_encoder.run_dir)
    means = loaded.encode(images).mean
    np.testing.assert_allclose(inference.load(auto_encoder.run_dir).codes, means, atol=1e-5)
    np.testing.assert_allclose(loaded.encode(images[40:] / np.float32(127.5) - 1).mean, means[40:], atol=1e-5)
    with pytest.raises(ValueError, match="images have shape"):
        loaded.encode(np.zeros((2, 16, 16, 3)))


@pytest.fixture(scope="module")
def two_towers(small_images, tmp_path_factory):
    """24 steps with two towers, at a constant rate."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLO_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(evaluation, "run_figures", lambda *_: {})
        config = small_config(small_images, tmp_path_factory.mktemp("two"), gpus=2, batch_size=4, schedule="constant")
        return train(config).run_dir


def test_a_vae_that_was_stopped_goes_on_to_the_same_bits(two_towers, small_images, tmp_path, monkeypatch):
    config = small_config(small_images, tmp_path, gpus=2, batch_size=4, schedule="constant")
    with monkeypatch.context() as patch:  # the first sitting ends after 9 of 24 steps
        share = loop.share_done
        patch.setattr(loop, "share_done", lambda setting, progress: share(setting, progress) if progress.step < 9 else 1.0)
        assert train(config).metrics["steps"] == 9
    assert train(config).metrics["steps"] == 24
    one, other = variables_of(two_towers), variables_of(tmp_path)
    assert one.keys() == other.keys() and len([name for name in one if name.startswith("encoder/")]) > 20
    assert not [name for name in one if one[name].tobytes() != other[name].tobytes()]


def test_several_towers_are_used_with_the_averaged_weights_of_both_networks(two_towers):
    used, stored = load_encoder(two_towers), variables_of(two_towers)
    with used._session.graph.as_default():
        (weights,) = [variable for variable in v1.global_variables() if variable.op.name == "encoder/posterior/weights"]
    average = stored["encoder/posterior/weights/ExponentialMovingAverage"]
    np.testing.assert_array_equal(used._session.run(weights), average)
    assert not np.array_equal(stored["encoder/posterior/weights"], average)
    assert inference.load(two_towers).weights == "averaged"


def test_towers_share_the_encoder_and_draw_noise_of_their_own(small_images, tmp_path):
    setting = prepare(small_config(small_images, tmp_path, gpus=2, batch_size=4))
    with tf.Graph().as_default():
        model = build_model(setting)
        ops = build_train_ops(setting, model, build_loss(setting.config, model))
        assert model.codes is None and len(v1.trainable_variables("encoder")) == 11
        noise = [(tower.latent_z - tower.posterior.mean) / tf.exp(tower.posterior.log_variance / 2) for tower in model.towers]
        with v1.Session(config=setting.devices.session_config) as session:
            session.run(v1.global_variables_initializer())
            first, second = session.run(noise)
            weights = {variable.op.name: session.run(variable) for variable in v1.trainable_variables()}
            session.run(ops.step)
            later = session.run(noise[0])
            moved = {name for name, value in weights.items() if not np.array_equal(session.run(f"{name}/Read/ReadVariableOp:0"), value)}
    assert np.abs(first - second).max() > 0.1 and np.abs(first - later).max() > 0.1
    assert moved == weights.keys()


def test_a_vae_without_its_codes_says_how_to_get_them(auto_encoder):
    (auto_encoder.run_dir / "codes.npy").rename(auto_encoder.run_dir / "elsewhere.npy")
    try:
        with pytest.raises(FileNotFoundError, match=r"holds no codes\.npy; train first"):
            inference.load(auto_encoder.run_dir)
    finally:
        (auto_encoder.run_dir / "elsewhere.npy").rename(auto_encoder.run_dir / "codes.npy")


def test_a_glo_run_has_no_encoder_to_load(trained_run):
    with pytest.raises(ValueError, match="has no encoder"):
        load_encoder(trained_run)


def test_a_vae_may_have_more_dimensions_than_images(small_images, tmp_path):
    assert prepare(small_config(small_images, tmp_path, num_dims=60)).images.num_images == 48
