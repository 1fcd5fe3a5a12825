"""The training loop: summaries, the time limit, values that are not finite, and the end of the papermill process."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from glo_lib.config import TrainConfig
from glo_lib.graph.backend import tf
from glo_lib.graph.devices import choose_devices
from glo_lib.runs.folder import Progress, RunFolderInUse, lock_run_folder, read_history
from glo_lib.runs.run import Run, open_run, read_run
from glo_lib.training import (
    Setting,
    TrainGraph,
    TrainingDiverged,
    build,
    build_loss,
    build_model,
    build_train_ops,
    initial_codes,
    loop,
    prepare,
    train,
)
from glo_lib.training.loop import ClusterSession, StepTimeout, run_in_time

v1 = tf.compat.v1
NOTEBOOK = Path(__file__).parents[2] / "book" / "train.ipynb"
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


@pytest.mark.parametrize(("max_seconds", "checkpoint_seconds", "expected"), [(180, 600, 18), (180, 5, 5), (0, 600, 600), (10**5, 600, 600)])
def test_checkpoints_are_at_most_a_tenth_of_the_run_apart(max_seconds, checkpoint_seconds, expected):
    assert loop.checkpoint_interval(TrainConfig(max_seconds=max_seconds, checkpoint_seconds=checkpoint_seconds)) == expected


def test_a_loss_that_is_not_finite_stops_the_run_which_can_continue_from_the_last_checkpoint(small_config, small_images, tmp_path):
    train(small_config(small_images, tmp_path, num_epochs=2))
    good = read_run(tmp_path).progress
    plain = build.get_loss
    message = (
        rf"at step {good.step + 1} the loss is nan; the first tensor that is not finite is loss_0/mul_1/y:0 \(nan in 1 of 1 entries\); "
        rf"the last good checkpoint, model.ckpt-{good.step}"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "get_loss", lambda *given, **settings: lambda *args: plain(*given, **settings)(*args) * np.float32(np.nan))
        with pytest.raises(TrainingDiverged, match=message):
            train(small_config(small_images, tmp_path))
    assert read_run(tmp_path).progress == good
    assert train(small_config(small_images, tmp_path)).metrics["steps"] == 24


@pytest.mark.parametrize("num_servers", [0, 3])  # the parts of three servers have 16 rows each
def test_the_table_holds_the_initial_codes_of_every_block(small_config, small_images, tmp_path, monkeypatch, num_servers):
    monkeypatch.setattr(build, "CODES_PER_BLOCK", 20)
    setting = prepare(small_config(small_images, tmp_path))
    setting = setting._replace(devices=setting.devices._replace(servers=("/cpu:0",) * num_servers))
    with tf.Graph().as_default():
        codes, parts = build.create_table(setting)
        graph = TrainGraph(build.Model(codes, [], [], code_parts=parts), None, None)
        initialise = loop.initialiser(setting, graph)
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            initialise(None, session)
            table = np.concatenate(session.run(graph.model.tables))
    np.testing.assert_array_equal(table, np.concatenate([values for _, values in initial_codes(setting)]))


def test_variables_that_are_not_finite_are_not_saved(small_config, small_images, tmp_path):
    setting = prepare(small_config(small_images, tmp_path))
    with tf.Graph().as_default():
        model = build_model(setting)
        loss = build_loss(setting, model)
        graph = TrainGraph(model, loss, build_train_ops(setting, model, loss))
        listener = loop.BeforeSave(setting, graph, loop.Report(setting, graph))
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            listener.before_save(session, 3)
            model.codes.load(np.full((48, 6), np.inf, np.float32), session)
            with pytest.raises(TrainingDiverged, match="at step 3 codes is no longer finite; there was no checkpoint yet"):
                listener.before_save(session, 3)


def lock_is_free(folder: Path) -> bool:
    try:
        lock_run_folder(folder).release()
    except RunFolderInUse:
        return False
    return True


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.05)


def test_the_notebook_saves_every_step_and_ends_when_its_papermill_process_is_ended(small_config, small_images, tmp_path):
    config = small_config(small_images, tmp_path / "run", num_epochs=10_000)
    names = ("data_dir", "run_dir", "image_size", "num_dims", "batch_size", "num_epochs", "max_seconds", "precision")
    values = {**{name: str(getattr(config, name)) for name in names}, "num_filters": "16-12-8"}
    command = [sys.executable, "-m", "papermill", str(NOTEBOOK), "out.ipynb"]
    command += [word for name, value in values.items() for word in ("-r", name, value)]
    environment = {**os.environ, "PYTHONPATH": str(NOTEBOOK.parents[1])}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as papermill:
        try:
            wait_until(lambda: read_history(tmp_path / "run"))
            papermill.terminate()
            assert papermill.wait() == -signal.SIGTERM
            wait_until(lambda: lock_is_free(tmp_path / "run"))
        finally:
            papermill.kill()
    with open_run(config) as run:  # with the same settings the run goes on from its last step
        assert run.progress.step >= read_history(tmp_path / "run")[-1].step > 0
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_a_call_that_takes_too_long_is_left_behind_and_errors_are_passed_on():
    graph, released = tf.Graph(), threading.Event()
    with pytest.raises(StepTimeout, match=r"more than 0\.05 seconds"):
        run_in_time(released.wait, graph, 0.05)
    released.set()
    with pytest.raises(ZeroDivisionError):
        run_in_time(lambda: 1 / 0, graph, 5)
    found = []
    run_in_time(lambda: found.append(tf.compat.v1.get_default_graph()), graph, 5)
    assert found == [graph]


@pytest.mark.parametrize(("step", "tower", "expected"), [(40, "/gpu:0", 600), (41, "/gpu:0", 60), (40, "/cpu:0", 60)])
def test_the_first_step_of_a_session_may_take_longer_on_gpus(small_config, tmp_path, monkeypatch, step, tower, expected):
    config = small_config(tmp_path, tmp_path, answer_seconds=60)
    devices = choose_devices(1)._replace(towers=(tower,), master="grpc://a:1")
    setting = Setting(config, devices, SimpleNamespace(num_images=48), Run(tmp_path, config, None, Progress(40, 0.0)))
    limits = []
    monkeypatch.setattr(loop, "run_in_time", lambda call, graph, seconds: limits.append(seconds))
    loop.take_step(setting, SimpleNamespace(loss=SimpleNamespace(graph=None)), Progress(step, 1.0), None)
    assert limits == [expected]


@pytest.mark.parametrize(("error", "is_closed"), [(ZeroDivisionError, True), (StepTimeout, False)])
def test_a_session_is_closed_after_an_error_but_not_after_a_step_that_took_too_long(error, is_closed):
    with tf.Graph().as_default():
        v1.train.create_global_step()
        session = ClusterSession()
        with pytest.raises(error), session:
            raise error
        assert (session.raw_session() is None) == is_closed
        if not is_closed:
            session.close()
