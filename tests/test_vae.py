"""The VAE: its encoder, its KL divergence against a Monte-Carlo estimate, its loss against the ELBO, and its training."""

import os
import signal

import numpy as np
import pytest

from glo_lib import inference
from glo_lib.decoder import decoder
from glo_lib.graph.backend import tf
from glo_lib.inference.encoder import load_encoder
from glo_lib.losses import get_glo_loss, laplacian_pyramid_loss
from glo_lib.training import build_loss, build_model, build_train_ops, prepare, train
from glo_lib.vae import Posterior, active_units, encoder, kl_divergence, negative_elbo, noise_variance, reparameterise

v1 = tf.compat.v1
FILTERS = (16, 12, 8)
VAE = {"model": "vae", "kl_weight": 0.1}
TWO_TOWERS = {**VAE, "gpus": 2, "batch_size": 4, "schedule": "constant"}
pytestmark = pytest.mark.usefixtures("no_figures")


def evaluate(tensors):
    with v1.Session() as session:
        session.run(v1.global_variables_initializer())
        return session.run(tensors)


def posterior_of(mean, log_variance):
    return Posterior(tf.constant(mean, tf.float32), tf.constant(log_variance, tf.float32))


def test_the_encoder_mirrors_the_decoder_and_shares_its_variables_when_reused():
    with tf.Graph().as_default() as graph:
        images = decoder(tf.zeros([4, 10]), FILTERS)
        posterior = encoder(images, 10, FILTERS)
        down = [op.outputs[0].shape.as_list() for op in graph.get_operations() if op.type == "Conv2D" and op.name.startswith("encoder")]
        up = [op.outputs[0].shape.as_list() for op in graph.get_operations() if op.type == "Conv2DBackpropInput"]
        encoder(images, 10, FILTERS, reuse=True)
        shapes = {variable.op.name: tuple(variable.shape) for variable in v1.trainable_variables("encoder")}
    assert down == up[-2::-1] == [[4, 16, 16, 8], [4, 8, 8, 12], [4, 4, 4, 16]]  # every feature map of the decoder in reverse order
    assert posterior.mean.shape == posterior.log_variance.shape == (4, 10)
    assert shapes["encoder/conv1/weights"] == (3, 3, 3, 8) and shapes["encoder/conv3/weights"] == (3, 3, 12, 16)
    assert shapes["encoder/posterior/weights"] == (16 * 16, 20) and shapes["encoder/posterior/biases"] == (20,)
    assert len(shapes) == 3 * 3 + 2  # weights, beta and gamma of each convolution; weights and biases of the last layer


def test_images_of_another_size_and_codes_without_dimensions_are_refused():
    takes = r"16-12-8 takes \(batch, 32, 32, channels\)"
    for shape, num_dims, message in [([2, 64, 64, 3], 5, takes), ([2, 32, 3], 5, takes), ([2, 32, 32, 3], 0, "num_dims is 0")]:
        with tf.Graph().as_default(), pytest.raises(ValueError, match=message):
            encoder(tf.zeros(shape), num_dims, FILTERS)


def test_codes_are_drawn_from_the_posterior_and_the_kl_divergence_is_the_mean_log_ratio():
    count, mean, log_variance = 40_000, np.array([[0.7, -1.2]]), np.array([[-1.0, 0.6]])
    with tf.Graph().as_default():
        many = posterior_of(np.repeat(mean, count, axis=0), np.repeat(log_variance, count, axis=0))
        z, exact = evaluate([reparameterise(many, seed=(3, 4)), kl_divergence(posterior_of(mean, log_variance))])
    np.testing.assert_allclose(z.mean(axis=0), mean[0], atol=0.02)
    np.testing.assert_allclose(z.std(axis=0), np.exp(log_variance[0] / 2), rtol=0.02)
    log_ratio = (-log_variance - (z - mean) ** 2 / np.exp(log_variance) + z**2) / 2  # log q(z|x) - log p(z)
    error = log_ratio.std(axis=0) / np.sqrt(count)
    assert (np.abs(log_ratio.mean(axis=0) - exact[0]) < 4 * error).all() and (error < 0.01).all()


def test_noise_depends_on_the_seed_alone_and_gradients_reach_mean_and_variance():
    with tf.Graph().as_default():
        posterior = posterior_of([[0.5]], [[-1.0]])
        draws = [reparameterise(posterior, seed=(0, step)) for step in (1, 1, 2)]
        first, again, other, to_mean, to_log_variance = evaluate([*draws, *tf.gradients(draws[0], [*posterior])])
    assert first == again != other and to_mean == [[1.0]]
    np.testing.assert_allclose(to_log_variance, (first - 0.5) / 2)  # d/dv of exp(v / 2) * noise


def test_the_loss_is_the_negative_elbo_and_without_kl_weight_the_given_loss():
    draw = np.random.default_rng(0)
    images, reconstructions = draw.uniform(-1, 1, (2, 3, 8, 8, 3)).astype(np.float32)
    mean, log_variance = draw.normal(size=(2, 3, 5)).astype(np.float32)
    with tf.Graph().as_default():
        a, b, posterior = tf.constant(images), tf.constant(reconstructions), posterior_of(mean, log_variance)
        others = [negative_elbo(a, b, posterior, 0.0), negative_elbo(a, b, posterior, 0.0, laplacian_pyramid_loss)]
        loss, *others, plain, laplacian = evaluate(
            [negative_elbo(a, b, posterior), *others, get_glo_loss(a, b), laplacian_pyramid_loss(a, b)]
        )
    entries = 8 * 8 * 3
    log_likelihood = -np.square(images - reconstructions).sum(axis=(1, 2, 3)) / 2 - entries / 2 * np.log(2 * np.pi)
    divergence = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(axis=1)
    elbo = (log_likelihood - divergence).mean()
    assert loss == pytest.approx(2 / entries * (-elbo - entries / 2 * np.log(2 * np.pi)), rel=1e-4)
    assert others == [plain, laplacian]


def test_learned_noise_weights_the_kl_divergence_by_the_squared_error_and_has_the_gradient_of_the_elbo():
    """-ELBO with noise of variance v: |x - g|^2 / (2 v) + D / 2 log v + KL, whose minimum over v is at v = MSE."""
    draw = np.random.default_rng(0)
    images, reconstructions = draw.uniform(-1, 1, (2, 1, 8, 8, 3)).astype(np.float32)
    mean, log_variance = draw.normal(size=(2, 1, 5)).astype(np.float32)
    with tf.Graph().as_default():
        x, g, m, v = (tf.constant(array) for array in (images, reconstructions, mean, log_variance))
        posterior, variance = Posterior(m, v), noise_variance(x, g)
        loss = negative_elbo(x, g, posterior, variance)
        error = tf.reduce_sum(tf.square(x - g))
        elbo = error / (2 * variance) + 96 * tf.math.log(variance) + tf.reduce_sum(kl_divergence(posterior))
        ours, theirs = (tf.gradients(value, [g, m, v]) for value in (loss, elbo))
        found, *gradients = evaluate([variance, *ours, *theirs])
    mse = np.square(images - reconstructions).mean()
    assert found == pytest.approx(mse)
    at = {factor: 96 / factor + 96 * np.log(factor * mse) for factor in (0.9, 1, 1.1)}  # of v = factor * MSE, without the KL divergence
    assert min(at, key=at.get) == 1
    for one, other in zip(gradients[:3], gradients[3:], strict=True):
        np.testing.assert_allclose(one, other * 2 * mse / 192, rtol=1e-4, atol=1e-7)


def test_with_learned_noise_training_weights_the_kl_divergence_by_the_squared_error_of_the_batch(small_config, small_images, tmp_path):
    weights = {"error": {"kl_weight": 0}, "sum": {"kl_weight": 1}, "learned": {"learned_noise": True}}
    first = {
        name: train(small_config(small_images, tmp_path / name, **VAE | given, num_epochs=1)).history[0].loss
        for name, given in weights.items()
    }
    assert first["learned"] == pytest.approx(first["error"] * (1 + first["sum"] - first["error"]), rel=1e-5)
    with pytest.raises(ValueError, match=r"learned_noise is True, and the loss is 'lap1'; .*loss mse"):
        small_config(small_images, tmp_path, **VAE, loss="lap1", learned_noise=True)


def test_units_are_active_where_the_means_vary():
    means = np.random.default_rng(0).normal(size=(500, 4)) * [1, 0.5, 0.05, 0] + [0, 3, 3, 3]
    assert active_units(means).tolist() == [True, True, False, False]
    assert active_units(means, threshold=0.5).sum() == 1
    with pytest.raises(ValueError, match=r"shape \(1, 4\)"):
        active_units(means[:1])


def variables_of(run_dir):
    checkpoint = tf.train.latest_checkpoint(str(run_dir))
    return {name: tf.train.load_variable(checkpoint, name) for name, _ in tf.train.list_variables(checkpoint) if name != "training_seconds"}


def test_without_kl_weight_the_posterior_leaves_the_prior_and_the_codes_are_its_means(small_config, small_images, trained_images, tmp_path):
    run = train(small_config(small_images, tmp_path, **{**VAE, "kl_weight": 0}, num_epochs=40, learning_rate=0.01))
    assert run.history[-1].loss < 0.6 * run.history[0].loss and len(run.history) == run.metrics["steps"] == 240
    posterior, codes = load_encoder(tmp_path).encode(trained_images), inference.load(tmp_path).codes
    left = (posterior.mean**2 + np.exp(posterior.log_variance) - 1 - posterior.log_variance).mean(axis=0) / 2  # (d,) nats
    assert active_units(posterior.mean).all() and (left > 1).all() and posterior.log_variance.mean() < -1
    np.testing.assert_array_equal(codes, np.load(tmp_path / "codes.npy", allow_pickle=False))
    np.testing.assert_allclose(codes, posterior.mean, atol=1e-5)
    assert np.linalg.norm(codes, axis=1).std() > 0.1  # they are not projected
    assert not [name for name in variables_of(tmp_path) if name.startswith("codes")] and run.metrics["pca_psnr_db"] > 0
    (tmp_path / "codes.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no codes\.npy; train first"):
        inference.load(tmp_path)


def test_a_stopped_vae_continues_to_the_same_bits_and_uses_the_averaged_weights(small_config, small_images, train_once, tmp_path):
    whole = train_once(small_config(small_images, tmp_path / "whole", **TWO_TOWERS)).run_dir
    config = small_config(small_images, tmp_path / "stopped", **TWO_TOWERS)
    stop = lambda progress, loss: os.kill(os.getpid(), signal.SIGINT) if progress.step == 9 else None  # noqa: E731
    assert [train(config, stop).metrics["steps"], train(config).metrics["steps"]] == [9, 24]
    one, other = variables_of(whole), variables_of(config.run_dir)
    assert one.keys() == other.keys() and len([name for name in one if name.startswith("encoder/")]) > 20
    assert not [name for name in one if one[name].tobytes() != other[name].tobytes()]
    average = one["encoder/posterior/weights/ExponentialMovingAverage"]
    assert not np.array_equal(one["encoder/posterior/weights"], average)
    assert inference.load(whole).weights == load_encoder(whole).weights == "averaged"


def test_towers_share_the_encoder_and_draw_different_noise(small_config, small_images, tmp_path):
    setting = prepare(small_config(small_images, tmp_path, **TWO_TOWERS))
    with tf.Graph().as_default():
        model = build_model(setting)
        ops = build_train_ops(setting, model, build_loss(setting, model))
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
