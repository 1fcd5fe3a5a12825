"""The training loop: summaries, the time limit, and values that are not finite."""

import time

import numpy as np
import pytest

from glo_lib.graph.backend import tf
from glo_lib.runs.run import read_run
from glo_lib.training import TrainGraph, TrainingDiverged, build, build_loss, build_model, build_train_ops, loop, prepare, train

v1 = tf.compat.v1
pytestmark = pytest.mark.usefixtures("no_figures")


def test_summaries_hold_the_loss_and_two_grids_at_the_requested_steps(trained):
    (events,) = trained.run_dir.glob("events.out.tfevents.*")
    values = [(event.step, value.tag) for event in v1.train.summary_iterator(str(events)) for value in event.summary.value]
    tags = ["loss", "originals/image/0", "reconstructions/image/0"]
    assert values == [(step, tag) for step in (1, 6, 11, 16, 21) for tag in tags]


def test_max_seconds_ends_the_run_and_counts_the_seconds_before_a_resume(small_config, small_images, tmp_path):
    train(small_config(small_images, tmp_path, max_seconds=1), on_step=lambda *_: time.sleep(0.1))
    progress = read_run(tmp_path).progress
    assert progress.step < 24 and progress.seconds >= 1
    again = train(small_config(small_images, tmp_path, max_seconds=1), on_step=lambda *_: pytest.fail("no time is left"))
    assert again.metrics["steps"] == progress.step


def test_a_loss_that_is_not_finite_stops_the_run_which_can_continue_from_the_last_checkpoint(small_config, small_images, tmp_path):
    train(small_config(small_images, tmp_path, num_epochs=2))
    good = read_run(tmp_path).progress
    plain = build.get_loss
    message = (
        rf"at step {good.step + 1} the loss is nan; the first tensor that is not finite is loss_0/mul_1/y:0 \(nan in 1 of 1 entries\); "
        rf"the last good checkpoint, model.ckpt-{good.step}"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "get_loss", lambda name: lambda *args: plain(name)(*args) * np.float32(np.nan))
        with pytest.raises(TrainingDiverged, match=message):
            train(small_config(small_images, tmp_path))
    assert read_run(tmp_path).progress == good
    assert train(small_config(small_images, tmp_path)).metrics["steps"] == 24


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
