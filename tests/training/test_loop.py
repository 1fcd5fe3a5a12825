"""The training loop: history and summaries, rates and the clock, signals, and what is not finite."""

import csv
import threading

import numpy as np
import pytest

from glo_lib.config import TrainConfig
from glo_lib.graph.backend import tf
from glo_lib.runs.run import read_run
from glo_lib.training import TrainGraph, TrainingDiverged, build, build_loss, build_model, build_train_ops, loop, prepare, rate_scale, train

v1 = tf.compat.v1


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


def test_training_works_outside_the_main_thread(small_config, small_images, tmp_path):
    results = []
    thread = threading.Thread(target=lambda: results.append(train(small_config(small_images, tmp_path, num_epochs=1))))
    thread.start()
    thread.join()
    assert results[0].metrics["steps"] == 6


def test_rates_fall_along_half_a_cosine():
    config = TrainConfig()
    assert [round(rate_scale(config, share), 6) for share in (0, 1 / 3, 0.5, 1)] == [1, 0.75, 0.5, 0]
    assert rate_scale(TrainConfig(schedule="constant"), 0.9) == 1


def test_max_seconds_ends_the_run_and_counts_over_sittings(small_config, small_images, tmp_path, monkeypatch):
    monkeypatch.setattr(loop.time, "perf_counter", iter(np.arange(0, 1000, 0.5)).__next__)  # each look at the clock takes half a second
    run_dir = train(small_config(small_images, tmp_path, max_seconds=4)).run_dir
    progress = read_run(run_dir).progress
    assert progress.step < 24 and progress.seconds >= 4
    assert train(small_config(small_images, tmp_path, max_seconds=4)).metrics["steps"] == progress.step  # the time is used up


def test_a_loss_that_is_not_finite_stops_the_run_and_a_longer_run_goes_on_from_the_last_checkpoint(small_config, small_images, tmp_path):
    config = small_config(small_images, tmp_path)
    train(small_config(small_images, tmp_path, num_epochs=2))
    good = read_run(tmp_path).progress
    plain = build.get_loss
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "get_loss", lambda name: lambda *args: plain(name)(*args) * np.float32(np.nan))
        with pytest.raises(
            TrainingDiverged,
            match=rf"at step {good.step + 1} the loss is nan; the first tensor that is not finite is loss_0/mul_1/y:0 "
            rf"\(nan in 1 of 1 entries\); the last good checkpoint, model.ckpt-{good.step}",
        ):
            train(config)
    assert read_run(tmp_path).progress == good
    assert train(config).metrics["steps"] == 24


def test_variables_that_are_not_finite_are_not_saved(small_config, small_images, tmp_path):
    setting = prepare(small_config(small_images, tmp_path))
    with tf.Graph().as_default():
        model = build_model(setting)
        loss = build_loss(setting.config, model)
        graph = TrainGraph(model, loss, build_train_ops(setting, model, loss))
        listener = loop.BeforeSave(setting, graph, loop.Report(setting, graph))
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            listener.before_save(session, 3)
            model.codes.load(np.full((48, 6), np.inf, np.float32), session)
            with pytest.raises(TrainingDiverged, match="at step 3 codes is no longer finite; there was no checkpoint yet"):
                listener.before_save(session, 3)
