import csv
import json
import os
import signal
import threading

import numpy as np
import pytest

from glo_lib import evaluation, inference, training
from glo_lib.backend import tf
from glo_lib.config import TrainConfig
from glo_lib.run_folder import Progress, read_progress
from glo_lib.training import (
    TrainingDiverged,
    build_loss,
    build_model,
    build_train_ops,
    prepare,
    rate_scale,
    train,
    weight_average,
)

v1 = tf.compat.v1


def small_config(data_dir, run_dir, **changes):
    settings = {
        "data_dir": str(data_dir), "run_dir": str(run_dir), "image_size": 32, "num_dims": 6, "num_filters": (16, 12, 8),
        "batch_size": 8, "num_epochs": 4, "max_seconds": 0, "precision": "float32", "summary_steps": 5,
    }  # fmt: skip
    return TrainConfig(**{**settings, **changes})


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    """Drawing takes longer than training here; the figures are looked for once, in the run of the fixture `trained`."""
    monkeypatch.setattr(evaluation, "write_figures", lambda folder, figures: None)
    monkeypatch.setattr(evaluation, "all_figures", lambda *_: {})


def variables_of(run_dir):
    checkpoint = tf.train.latest_checkpoint(str(run_dir))
    names = [name for name, _ in tf.train.list_variables(checkpoint) if name != "training_seconds"]
    return {name: tf.train.load_variable(checkpoint, name) for name in names}


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    different = [name for name in one if one[name].tobytes() != other[name].tobytes()]
    assert not different


@pytest.fixture(scope="module")
def trained(small_images, tmp_path_factory):
    """A finished run of 24 steps with two towers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLO_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        return train(small_config(small_images, tmp_path_factory.mktemp("trained"), gpus=2, batch_size=4))


@pytest.fixture(scope="module")
def one_tower(small_images, tmp_path_factory):
    """The same run with one tower."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLO_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(evaluation, "all_figures", lambda *_: {})
        return train(small_config(small_images, tmp_path_factory.mktemp("one_tower")))


def test_a_run_folder_holds_everything_that_was_promised(trained):
    metrics = json.loads((trained.run_dir / "metrics.json").read_text())
    promised = {
        "final_loss",
        "psnr_db",
        "pca_psnr_db",
        "images_per_second",
        "steps",
        "seconds",
        "num_images",
        "devices",
        "precision",
        "versions",
    }
    assert promised <= metrics.keys()
    assert metrics == trained.metrics
    assert metrics["steps"] == 24 and metrics["num_images"] == 48 and metrics["devices"] == ["/cpu:0", "/cpu:1"]
    assert json.loads((trained.run_dir / "config.json").read_text())["gpus"] == 2
    codes = np.load(trained.run_dir / "codes.npy", allow_pickle=False)
    assert codes.shape == (48, 6)
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 1, atol=1e-6)
    figures = {path.stem for path in (trained.run_dir / "figures").glob("*.png")}
    assert figures == {
        "loss", "reconstructions", "samples_unit_gaussian", "samples_diagonal_gaussian", "samples_full_gaussian",
        "samples_gaussian_mixture", "interpolation", "neighbours",
    }  # fmt: skip


def test_the_history_covers_every_step_once(trained):
    steps = [row.step for row in trained.history]
    assert steps == list(range(1, 25))
    with open(trained.run_dir / "history.csv") as file:
        assert len(list(csv.reader(file))) == 24
    assert trained.history[-1].loss < trained.history[0].loss


def test_summaries_hold_the_loss_and_two_grids_at_the_steps_asked_for(trained):
    (events,) = trained.run_dir.glob("events.out.tfevents.*")
    steps, tags = set(), set()
    for event in v1.train.summary_iterator(str(events)):
        for value in event.summary.value:
            steps.add(event.step)
            tags.add(value.tag)
    assert tags == {"loss", "originals/image/0", "reconstructions/image/0"}
    assert steps == {1, 6, 11, 16, 21}


def test_a_finished_run_is_looked_at_again_without_training(trained, small_images, monkeypatch):
    monkeypatch.setattr(training, "build_model", lambda setting: pytest.fail("trained again"))
    config = TrainConfig.from_parameters(json.loads((trained.run_dir / "config.json").read_text()))
    again = train(config)
    assert again.metrics == trained.metrics and again.history == trained.history


def test_a_lost_metrics_file_is_made_again_from_the_folder(trained):
    (trained.run_dir / "metrics.json").unlink()
    config = TrainConfig.from_parameters(json.loads((trained.run_dir / "config.json").read_text()))
    again = train(config)
    assert again.metrics["psnr_db"] == trained.metrics["psnr_db"]


def test_two_equal_runs_have_the_same_bits(trained, small_images, tmp_path):
    again = train(small_config(small_images, tmp_path, gpus=2, batch_size=4))
    assert_same_bits(variables_of(trained.run_dir), variables_of(again.run_dir))


def test_bfloat16_learns_as_float32_does(one_tower, small_images, tmp_path):
    """The whole way through TensorFlow's rewriter; on a processor without units for bfloat16 it is emulated."""
    result = train(small_config(small_images, tmp_path, precision="bfloat16"))
    assert result.metrics["precision"] == "bfloat16" and one_tower.metrics["precision"] == "float32"
    losses, plain = ([row.loss for row in run.history] for run in (result, one_tower))
    np.testing.assert_allclose(losses, plain, rtol=0.05)
    assert losses != plain  # it was bfloat16
    assert result.metrics["psnr_db"] == pytest.approx(one_tower.metrics["psnr_db"], abs=0.3)


def test_in_bfloat16_too_a_run_that_was_stopped_goes_on_to_the_same_bits(small_images, tmp_path, monkeypatch):
    settings = {"precision": "bfloat16", "gpus": 2, "batch_size": 4}
    whole = train(small_config(small_images, tmp_path / "whole", **settings))
    add = training._Report.add

    def stop_at_ten(self, progress, loss, share_done):
        add(self, progress, loss, share_done)
        if progress.step == 10:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(training._Report, "add", stop_at_ten)
    stopped = train(small_config(small_images, tmp_path / "stopped", **settings))
    assert 10 <= stopped.metrics["steps"] < 24
    resumed = train(small_config(small_images, tmp_path / "stopped", **settings))
    assert resumed.metrics["steps"] == 24
    assert_same_bits(variables_of(whole.run_dir), variables_of(resumed.run_dir))


def test_a_run_that_was_stopped_twice_goes_on_to_the_same_bits(one_tower, small_images, tmp_path, monkeypatch, capsys):
    terminated = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: terminated.append(read_progress(tmp_path).step))
    add = training._Report.add

    def stop_at_ten_and_seventeen(self, progress, loss, share_done):
        add(self, progress, loss, share_done)
        if progress.step in (10, 17):
            os.kill(os.getpid(), signal.SIGINT if progress.step == 10 else signal.SIGTERM)

    try:
        monkeypatch.setattr(training._Report, "add", stop_at_ten_and_seventeen)
        config = small_config(small_images, tmp_path)
        interrupted = train(config)
        assert 10 <= interrupted.metrics["steps"] == read_progress(tmp_path).step < 17 and not terminated
        assert "the same call goes on from here" in capsys.readouterr().out
        train(config)
        assert terminated == [read_progress(tmp_path).step] and 17 <= terminated[0] < 24  # saved first, then the signal is passed on
        resumed = train(config)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert resumed.metrics["steps"] == 24
    assert_same_bits(variables_of(one_tower.run_dir), variables_of(resumed.run_dir))
    assert [row.step for row in resumed.history] == [row.step for row in one_tower.history]


def test_training_works_outside_the_main_thread(small_images, tmp_path):
    results = []
    thread = threading.Thread(target=lambda: results.append(train(small_config(small_images, tmp_path, num_epochs=1))))
    thread.start()
    thread.join()
    assert results[0].metrics["steps"] == 6


def gradients_of(small_images, tmp_path, **changes):
    """Gradients at the start, on the first batch, with batch norm off: moving averages in place of the batch's statistics."""
    setting = prepare(small_config(small_images, tmp_path, **changes))
    with tf.Graph().as_default():
        v1.set_random_seed(1)
        with pytest.MonkeyPatch.context() as patch:
            plain = training.decoder
            patch.setattr(training, "decoder", lambda *args, **kwargs: plain(*args, **{**kwargs, "is_training": False}))
            model = build_model(setting)
        loss = build_loss(setting.config, model)
        weights = [variable for variable in model.decoder_variables if variable.trainable]
        gradients = tf.gradients(loss, [*weights, model.codes])
        dense = [tf.convert_to_tensor(gradient) for gradient in gradients]
        with v1.Session(config=setting.devices.session_config) as session:
            session.run(v1.global_variables_initializer())
            numbers = np.random.default_rng(3)
            for variable in [*weights, model.codes]:
                variable.load(numbers.normal(0, 0.3, variable.shape).astype(np.float32), session)
            return session.run(dense)


def test_two_towers_give_the_gradient_of_one_with_the_double_batch(small_images, tmp_path):
    two = gradients_of(small_images, tmp_path / "two", gpus=2, batch_size=4)
    one = gradients_of(small_images, tmp_path / "one", gpus=1, batch_size=8)
    for a, b in zip(two, one, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert np.count_nonzero(np.abs(one[-1]).sum(axis=1)) == 8  # the codes of the batch and no others


def test_towers_share_their_variables_and_sit_on_their_devices(small_images, tmp_path):
    setting = prepare(small_config(small_images, tmp_path, gpus=2, batch_size=4))
    with tf.Graph().as_default():
        model = build_model(setting)
        shapes = sorted(tuple(variable.shape) for variable in v1.trainable_variables())
        assert shapes.count((48, 6)) == 1 and len(shapes) == 1 + 3 * 3 + 2  # codes; weights, beta, gamma; last weights and biases
        assert [tower.reconstructions.device for tower in model.towers] == ["/cpu:0", "/cpu:1"]
        assert {variable.device for variable in v1.trainable_variables()} <= {"/cpu:0", "/device:CPU:0"}  # two spellings of one device


def test_batch_norm_averages_are_updated_once_per_step(small_images, tmp_path):
    setting = prepare(small_config(small_images, tmp_path, gpus=2, batch_size=4))
    with tf.Graph().as_default():
        model = build_model(setting)
        ops = build_train_ops(setting, model, build_loss(setting.config, model))
        (moving_mean,) = [v for v in model.decoder_variables if v.op.name == "decoder/deconv2/BatchNorm/moving_mean"]
        graph = tf.compat.v1.get_default_graph()
        towers_mean = graph.get_tensor_by_name("tower_0/decoder/deconv2/BatchNorm/FusedBatchNormV3:1")
        with v1.Session(config=setting.devices.session_config) as session:
            session.run(v1.global_variables_initializer())
            model.codes.load(np.random.default_rng(0).normal(size=(48, 6)).astype(np.float32), session)
            batch_mean, _ = session.run([towers_mean, ops.step])
            # At step 0 the decay is 1/10 and the average was zero: exactly one update leaves 9/10 of the batch's mean.
            np.testing.assert_allclose(session.run(moving_mean), 0.9 * batch_mean, rtol=1e-4, atol=1e-6)


def test_the_average_of_the_weights_covers_the_decoder_and_not_the_codes(trained):
    names = [name for name in variables_of(trained.run_dir) if name.endswith("/ExponentialMovingAverage")]
    assert len(names) == 3 * 5 + 2 and all(name.startswith("decoder/") for name in names)
    assert inference.load(trained.run_dir).weights == "averaged"


def test_one_tower_keeps_no_average(one_tower):
    assert not [name for name in variables_of(one_tower.run_dir) if "ExponentialMovingAverage" in name]


def test_weight_average_forgets_the_start():
    with tf.Graph().as_default(), v1.Session() as session:
        weight = v1.get_variable("weight", initializer=np.float32(100))
        average = weight_average(TrainConfig(gpus=2), num_updates=tf.constant(0))
        update = average.apply([weight])
        session.run(v1.global_variables_initializer())
        weight.load(np.float32(0), session)
        session.run(update)
        assert session.run(average.average(weight)) == pytest.approx(10)  # decay (1 + 0) / (10 + 0), not 0.9995


def test_codes_stay_on_the_sphere_where_they_started(one_tower):
    np.testing.assert_allclose(np.linalg.norm(variables_of(one_tower.run_dir)["codes"], axis=1), np.sqrt(6), rtol=1e-5)


@pytest.mark.parametrize(
    "changes", [{"loss": "lap1", "projection": "ball"}, {"loss": "mpse", "code_init": "normal", "schedule": "constant"}]
)
def test_every_choice_lowers_the_loss(small_images, tmp_path, changes):
    history = train(small_config(small_images, tmp_path, num_epochs=6, **changes)).history
    assert history[-1].loss < 0.8 * history[0].loss


def test_rates_fall_along_half_a_cosine():
    config = TrainConfig()
    assert [round(rate_scale(config, share), 6) for share in (0, 1 / 3, 0.5, 1)] == [1, 0.75, 0.5, 0]
    assert rate_scale(TrainConfig(schedule="constant"), 0.9) == 1


def test_max_seconds_ends_the_run_and_counts_over_sittings(small_images, tmp_path, monkeypatch):
    monkeypatch.setattr(
        training.time, "perf_counter", iter(np.arange(0, 1000, 0.5)).__next__
    )  # every look at the clock takes half a second
    run_dir = train(small_config(small_images, tmp_path, max_seconds=4)).run_dir
    progress = read_progress(run_dir)
    assert progress.step < 24 and progress.seconds >= 4
    assert train(small_config(small_images, tmp_path, max_seconds=4)).metrics["steps"] == progress.step  # the time is used up


def test_a_loss_that_is_not_finite_stops_the_run_and_a_longer_run_goes_on_from_the_last_checkpoint(small_images, tmp_path):
    config = small_config(small_images, tmp_path)
    train(small_config(small_images, tmp_path, num_epochs=2))
    good = read_progress(tmp_path)
    plain = training.get_loss
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "get_loss", lambda name: lambda *args: plain(name)(*args) * np.float32(np.nan))
        with pytest.raises(
            TrainingDiverged,
            match=rf"at step {good.step + 1} the loss is nan; the first tensor that is not finite is loss_0/mul_1/y:0 "
            rf"\(nan in 1 of 1 entries\); the last good checkpoint, model.ckpt-{good.step}",
        ):
            train(config)
    assert read_progress(tmp_path) == good
    assert train(config).metrics["steps"] == 24


def test_variables_that_are_not_finite_are_not_saved(small_images, tmp_path):
    setting = prepare(small_config(small_images, tmp_path))
    with tf.Graph().as_default():
        model = build_model(setting)
        ops = build_train_ops(setting, model, build_loss(setting.config, model))
        listener = training._BeforeSave(setting, model, ops, training._Report(setting, tf.constant(0.0)))
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            listener.before_save(session, 3)
            model.codes.load(np.full((48, 6), np.inf, np.float32), session)
            with pytest.raises(TrainingDiverged, match="at step 3 codes is no longer finite; there was no checkpoint yet"):
                listener.before_save(session, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 49}, "batch_size is 49 on each of 1 tower.*48 images.*at most 48"),
        ({"gpus": 7}, "batch_size is 8 on each of 7.*at most 6"),
        ({"num_dims": 48}, "num_dims is 48, and 48 images have 47 principal components"),
        ({"num_samples": 100}, "num_samples is 100.*holds 48 images"),
    ],
)
def test_settings_that_do_not_fit_the_data_are_refused_before_the_run_folder_is_made(small_images, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        train(small_config(small_images, tmp_path / "run", **changes))
    assert not (tmp_path / "run").exists()


def test_a_run_folder_of_another_configuration_is_refused(trained, small_images):
    with pytest.raises(ValueError, match=r"belongs to another run(.|\n)*num_dims: 5, not 6"):
        train(small_config(small_images, trained.run_dir, gpus=2, batch_size=4, num_dims=5))


def test_progress_of_a_new_run_is_zero(tmp_path):
    assert read_progress(tmp_path) == Progress(0, 0.0)
