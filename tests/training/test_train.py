"""The call that trains: what it leaves in the run folder, how it continues a run, and what it refuses."""

import importlib
import json
import os
import signal

import numpy as np
import pytest

from glo_lib import inference
from glo_lib.config import TrainConfig
from glo_lib.graph.backend import tf
from glo_lib.runs.folder import Progress
from glo_lib.runs.run import read_run
from glo_lib.training import loop, prepare, train

train_module = importlib.import_module("glo_lib.training.train")  # the attribute of the package is the function


def variables_of(run_dir):
    checkpoint = tf.train.latest_checkpoint(str(run_dir))
    names = [name for name, _ in tf.train.list_variables(checkpoint) if name != "training_seconds"]
    return {name: tf.train.load_variable(checkpoint, name) for name in names}


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    different = [name for name in one if one[name].tobytes() != other[name].tobytes()]
    assert not different


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


def test_a_finished_run_is_looked_at_again_without_training(trained, small_images, monkeypatch):
    monkeypatch.setattr(train_module, "build_model", lambda setting: pytest.fail("trained again"))
    config = TrainConfig.from_parameters(json.loads((trained.run_dir / "config.json").read_text()))
    again = train(config)
    assert again.metrics == trained.metrics and again.history == trained.history


def test_a_lost_metrics_file_is_made_again_from_the_folder(trained):
    (trained.run_dir / "metrics.json").unlink()
    config = TrainConfig.from_parameters(json.loads((trained.run_dir / "config.json").read_text()))
    again = train(config)
    assert again.metrics["psnr_db"] == trained.metrics["psnr_db"]


def test_two_equal_runs_have_the_same_bits(small_config, trained, small_images, tmp_path):
    again = train(small_config(small_images, tmp_path, gpus=2, batch_size=4))
    assert_same_bits(variables_of(trained.run_dir), variables_of(again.run_dir))


def test_bfloat16_learns_as_float32_does(small_config, one_tower, small_images, tmp_path):
    """The whole way through TensorFlow's rewriter; on a processor without units for bfloat16 it is emulated."""
    result = train(small_config(small_images, tmp_path, precision="bfloat16"))
    assert result.metrics["precision"] == "bfloat16" and one_tower.metrics["precision"] == "float32"
    losses, plain = ([row.loss for row in run.history] for run in (result, one_tower))
    np.testing.assert_allclose(losses, plain, rtol=0.05)
    assert losses != plain  # it was bfloat16
    assert result.metrics["psnr_db"] == pytest.approx(one_tower.metrics["psnr_db"], abs=0.3)


def stopping_at(signals):
    """Make a callback that sends this process a signal after given steps."""

    def on_step(progress, loss):
        if progress.step in signals:
            os.kill(os.getpid(), signals[progress.step])

    return on_step


def test_in_bfloat16_too_a_run_that_was_stopped_goes_on_to_the_same_bits(small_config, small_images, tmp_path):
    settings = {"precision": "bfloat16", "gpus": 2, "batch_size": 4}
    whole = train(small_config(small_images, tmp_path / "whole", **settings))
    stopped = train(small_config(small_images, tmp_path / "stopped", **settings), stopping_at({10: signal.SIGINT}))
    assert 10 <= stopped.metrics["steps"] < 24
    resumed = train(small_config(small_images, tmp_path / "stopped", **settings))
    assert resumed.metrics["steps"] == 24
    assert_same_bits(variables_of(whole.run_dir), variables_of(resumed.run_dir))


def test_a_run_that_was_stopped_twice_goes_on_to_the_same_bits(small_config, one_tower, small_images, tmp_path, capsys):
    terminated = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: terminated.append(read_run(tmp_path).progress.step))
    on_step = stopping_at({10: signal.SIGINT, 17: signal.SIGTERM})
    try:
        config = small_config(small_images, tmp_path)
        interrupted = train(config, on_step)
        assert 10 <= interrupted.metrics["steps"] == read_run(tmp_path).progress.step < 17 and not terminated
        assert "the same call goes on from here" in capsys.readouterr().out
        train(config, on_step)
        assert terminated == [read_run(tmp_path).progress.step] and 17 <= terminated[0] < 24  # saved first, then the signal is passed on
        resumed = train(config)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert resumed.metrics["steps"] == 24
    assert_same_bits(variables_of(one_tower.run_dir), variables_of(resumed.run_dir))
    assert [row.step for row in resumed.history] == [row.step for row in one_tower.history]


def test_after_every_step_the_callback_is_told_progress_and_loss(small_config, small_images, tmp_path):
    assert loop.HISTORY_ROWS >= 24  # so each step has a row of its own
    told = []
    for num_epochs, steps in ((2, range(1, 13)), (4, range(13, 25))):
        told.append([])
        result = train(small_config(small_images, tmp_path, num_epochs=num_epochs), lambda *step: told[-1].append(step))
        assert [progress.step for progress, _ in told[-1]] == list(steps)
    progress, losses = zip(*told[0], *told[1], strict=True)
    assert losses == tuple(row.loss for row in result.history) and all(type(loss) is float for loss in losses)
    np.testing.assert_allclose([p.seconds for p in progress], [row.seconds for row in result.history], atol=1e-3)
    assert (np.diff([p.seconds for p in progress]) > 0).all()
    train(small_config(small_images, tmp_path), lambda *_: pytest.fail("no step is left"))


def test_the_average_of_the_weights_covers_the_decoder_and_not_the_codes(trained):
    names = [name for name in variables_of(trained.run_dir) if name.endswith("/ExponentialMovingAverage")]
    assert len(names) == 3 * 5 + 2 and all(name.startswith("decoder/") for name in names)
    assert inference.load(trained.run_dir).weights == "averaged"


def test_one_tower_keeps_no_average(one_tower):
    assert not [name for name in variables_of(one_tower.run_dir) if "ExponentialMovingAverage" in name]


def test_codes_stay_on_the_sphere_where_they_started(one_tower):
    np.testing.assert_allclose(np.linalg.norm(variables_of(one_tower.run_dir)["codes"], axis=1), np.sqrt(6), rtol=1e-5)


@pytest.mark.parametrize(
    "changes", [{"loss": "lap1", "projection": "ball"}, {"loss": "mpse", "code_init": "normal", "schedule": "constant"}]
)
def test_every_choice_lowers_the_loss(small_config, small_images, tmp_path, changes):
    history = train(small_config(small_images, tmp_path, num_epochs=6, **changes)).history
    assert history[-1].loss < 0.8 * history[0].loss


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 49}, "batch_size is 49 on each of 1 tower.*48 images.*at most 48"),
        ({"gpus": 7}, "batch_size is 8 on each of 7.*at most 6"),
        ({"num_dims": 48}, "num_dims is 48, and 48 images have 47 principal components"),
        ({"num_samples": 100}, "num_samples is 100.*holds 48 images"),
    ],
)
def test_settings_that_do_not_fit_the_data_are_refused_before_there_is_a_folder(small_config, small_images, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        train(small_config(small_images, tmp_path / "run", **changes))
    assert not (tmp_path / "run").exists()


def test_a_run_folder_of_another_configuration_is_refused(small_config, trained, small_images):
    with pytest.raises(ValueError, match=r"belongs to another run(.|\n)*num_dims: 5, not 6"):
        train(small_config(small_images, trained.run_dir, gpus=2, batch_size=4, num_dims=5))


def test_progress_of_a_new_run_is_zero(small_config, small_images, tmp_path):
    assert prepare(small_config(small_images, tmp_path)).run.progress == Progress(0, 0.0)
