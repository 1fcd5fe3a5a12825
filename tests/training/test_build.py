"""The training graph: towers, their gradients, batch-norm averages and the average of the weights."""

import types

import numpy as np
import pytest

from glo_lib.codes import fit_pca, normal_codes, pca_codes
from glo_lib.config import TrainConfig
from glo_lib.graph.backend import tf
from glo_lib.training import build, build_loss, build_model, build_train_ops, initial_codes, prepare, weight_average

v1 = tf.compat.v1


def gradients_of(setting):
    """Compute the gradients for the first batch from fixed weights, with batch norm in inference mode."""
    with tf.Graph().as_default():
        with pytest.MonkeyPatch.context() as patch:
            plain = build.decoder
            patch.setattr(build, "decoder", lambda *args, **kwargs: plain(*args, **{**kwargs, "is_training": False}))
            model = build_model(setting)
        variables = [*(variable for variable in model.decoder_variables if variable.trainable), model.codes]
        gradients = tf.gradients(build_loss(setting, model), variables)
        dense = [tf.convert_to_tensor(gradient) for gradient in gradients]
        with v1.Session(config=setting.devices.session_config) as session:
            session.run(v1.global_variables_initializer())
            numbers = np.random.default_rng(3)
            for variable in variables:
                variable.load(numbers.normal(0, 0.3, variable.shape).astype(np.float32), session)
            return session.run(dense)


def test_two_towers_give_the_gradient_of_one_tower_with_twice_the_batch_size(small_config, small_images, tmp_path):
    two = gradients_of(prepare(small_config(small_images, tmp_path / "two", gpus=2, batch_size=4)))
    one = gradients_of(prepare(small_config(small_images, tmp_path / "one", gpus=1, batch_size=8)))
    for a, b in zip(two, one, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert np.count_nonzero(np.abs(one[-1]).sum(axis=1)) == 8  # the codes of the batch and no others


def code_steps_of_gradient_descent(setting):
    """Take the first step from fixed weights and codes, and return by how much it moved each code."""
    with tf.Graph().as_default():
        model = build_model(setting)
        ops = build_train_ops(setting, model, build_loss(setting, model))
        with v1.Session(config=setting.devices.session_config) as session:
            session.run(v1.global_variables_initializer())
            numbers = np.random.default_rng(3)
            for variable in model.decoder_variables:
                if variable.trainable:
                    variable.load(numbers.normal(0, 0.3, variable.shape).astype(np.float32), session)
            codes = numbers.normal(0, 0.1, model.codes.shape).astype(np.float32)
            model.codes.load(codes, session)
            session.run(ops.step)
            return session.run(model.codes) - codes


def test_a_step_of_gradient_descent_moves_a_code_as_far_with_two_towers_as_with_one(small_config, small_images, tmp_path):
    settings = {"optimizer": "sgd", "projection": "ball", "batch_size": 4, "code_learning_rate": 1e-3}
    one = code_steps_of_gradient_descent(prepare(small_config(small_images, tmp_path / "one", gpus=1, **settings)))
    two = code_steps_of_gradient_descent(prepare(small_config(small_images, tmp_path / "two", gpus=2, **settings)))
    moved = np.abs(one).sum(axis=1) > 0
    assert moved.sum() == 4 and (np.abs(two).sum(axis=1) > 0).sum() == 8
    np.testing.assert_allclose(two[moved], one[moved], rtol=1e-3, atol=1e-9)


def test_towers_share_their_variables_are_placed_on_their_devices_and_update_batch_norm_once(small_config, small_images, tmp_path):
    setting = prepare(small_config(small_images, tmp_path, gpus=2, batch_size=4))
    with tf.Graph().as_default() as graph:
        model = build_model(setting)
        shapes = sorted(tuple(variable.shape) for variable in v1.trainable_variables())
        assert shapes.count((48, 6)) == 1 and len(shapes) == 1 + 3 * 3 + 2  # codes; weights, beta, gamma; last weights and biases
        assert [tower.reconstructions.device for tower in model.towers] == ["/cpu:0", "/cpu:1"]
        assert {variable.device for variable in v1.trainable_variables()} <= {"/cpu:0", "/device:CPU:0"}  # two spellings of one device
        ops = build_train_ops(setting, model, build_loss(setting, model))
        (moving_mean,) = [v for v in model.decoder_variables if v.op.name == "decoder/deconv2/BatchNorm/moving_mean"]
        first_towers_mean = graph.get_tensor_by_name("tower_0/decoder/deconv2/BatchNorm/FusedBatchNormV3:1")
        with v1.Session(config=setting.devices.session_config) as session:
            session.run(v1.global_variables_initializer())
            model.codes.load(np.random.default_rng(0).normal(size=(48, 6)).astype(np.float32), session)
            batch_mean, _ = session.run([first_towers_mean, ops.step])
            # At step 0 the decay is 1/10 and the average is zero, so exactly one update leaves 9/10 of the batch's mean.
            np.testing.assert_allclose(session.run(moving_mean), 0.9 * batch_mean, rtol=1e-4, atol=1e-6)


def test_the_weight_average_starts_with_a_low_decay():
    with tf.Graph().as_default(), v1.Session() as session:
        weight = v1.get_variable("weight", initializer=np.float32(100))
        average = weight_average(TrainConfig(gpus=2), num_updates=tf.constant(0))
        update = average.apply([weight])
        session.run(v1.global_variables_initializer())
        weight.load(np.float32(0), session)
        session.run(update)
        assert session.run(average.average(weight)) == pytest.approx(10)  # decay (1 + 0) / (10 + 0), not 0.9995


@pytest.mark.parametrize("num_images", [2, 7, 40])
def test_copies_of_one_image_start_from_random_codes(num_images):
    copies = np.repeat(np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3)).astype(np.uint8), num_images, axis=0)
    images = types.SimpleNamespace(array=lambda: copies)
    started = []
    for code_init in ("pca", "normal"):
        setting = types.SimpleNamespace(config=TrainConfig(code_init=code_init, num_dims=num_images - 1), images=images)
        started.append(np.concatenate([values for _, values in initial_codes(setting)]))
    np.testing.assert_array_equal(*started)
    assert np.linalg.norm(started[0], axis=1).min() > 0


@pytest.mark.parametrize("code_init", ["pca", "normal"])
def test_initial_codes_come_in_blocks_of_the_rows_to_which_they_belong(monkeypatch, code_init):
    monkeypatch.setattr(build, "CODES_PER_BLOCK", 20)
    photographs = np.random.default_rng(0).integers(0, 256, (48, 8, 8, 3)).astype(np.uint8)
    images = types.SimpleNamespace(array=lambda: photographs)
    config = TrainConfig(code_init=code_init, num_dims=6, seed=3)
    rows, values = zip(*initial_codes(types.SimpleNamespace(config=config, images=images)), strict=True)
    assert [block.tolist() for block in rows] == [[*range(20)], [*range(20, 40)], [*range(40, 48)]]
    if code_init == "pca":
        expected = pca_codes(photographs, fit_pca(photographs, 6, seed=3))
    else:  # each block has random numbers of its own
        expected = np.concatenate([normal_codes(number, 6, seed=[3, first]) for first, number in ((0, 20), (20, 20), (40, 8))])
    np.testing.assert_allclose(np.concatenate(values), expected, rtol=1e-4, atol=1e-5)
