"""The function that trains: what it writes to the run folder, how it continues a run, and what it refuses."""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from tensorflow.python.framework.config import is_op_determinism_enabled

from glo_lib import inference
from glo_lib.config import QUICK_PRIORS
from glo_lib.graph.backend import tf
from glo_lib.graph.cluster import Cluster, Task
from glo_lib.graph.devices import choose_devices
from glo_lib.graph.half_precision import KEPT_IN_FLOAT32
from glo_lib.graph.server import ClusterError
from glo_lib.graph.session import session_config
from glo_lib.networks import efficientnet
from glo_lib.runs.folder import read_hardware
from glo_lib.runs.run import read_run
from glo_lib.training import loop, prepare, train, training_graph
from glo_lib.training.loop import StepTimeout
from glo_lib.training.train import deterministic_operations

train_module = importlib.import_module("glo_lib.training.train")  # the attribute of the package is the function
ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("no_figures")


def variables_of(run_dir):
    checkpoint = tf.train.latest_checkpoint(str(run_dir))
    return {name: tf.train.load_variable(checkpoint, name) for name, _ in tf.train.list_variables(checkpoint) if name != "training_seconds"}


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    assert not [name for name in one if one[name].tobytes() != other[name].tobytes()]


def test_a_run_folder_holds_settings_metrics_codes_and_figures(trained):
    metrics = json.loads((trained.run_dir / "metrics.json").read_text())
    names = {"final_loss", "psnr_db", "pca_psnr_db", "images_per_second", "seconds", "precision", "versions"}
    assert names <= metrics.keys() and metrics == trained.metrics
    assert (metrics["steps"], metrics["num_images"], metrics["devices"]) == (24, 48, ["/cpu:0", "/cpu:1"])
    assert read_run(trained.run_dir).config.gpus == 2
    codes = np.load(trained.run_dir / "codes.npy", allow_pickle=False)
    assert codes.shape == (48, 6)
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 1, atol=1e-6)
    figures = {path.stem for path in (trained.run_dir / "figures").glob("*.png")}
    assert {"loss", "reconstructions", "samples_gaussian_mixture", "interpolation", "neighbours"} <= figures
    assert len(figures) == 4 + len(QUICK_PRIORS)


def test_a_training_graph_is_the_default_graph_and_has_the_seed_of_the_run(small_config, small_images, tmp_path):
    outside = tf.compat.v1.get_default_graph()
    with training_graph(prepare(small_config(small_images, tmp_path, seed=7))) as graph:
        assert tf.compat.v1.get_default_graph() is graph and graph is not outside and graph.seed == 7
    assert tf.compat.v1.get_default_graph() is outside


DETERMINISTIC_RUN = """
import sys
from tensorflow.python.framework.config import is_op_determinism_enabled
from glo_lib.config import TrainConfig
from glo_lib.evaluation import evaluate
from glo_lib.graph import devices
from glo_lib.inference import encode, load
from glo_lib.training import train

devices.find_gpus = lambda: [devices.Gpu("fake", (8, 0))]
evaluate.run_figures = lambda *_: {}
data, run = sys.argv[1:]
settings = {"image_size": 32, "num_dims": 6, "num_filters": (8, 8, 8), "batch_size": 8, "num_epochs": 1, "max_seconds": 0}
during = []
config = TrainConfig(data_dir=data, run_dir=run, deterministic="true", **settings)
result = train(config, lambda *_: during.append(is_op_determinism_enabled()))
model = load(run)
encode(model, model.decode(model.codes[:2]), steps=1)
print(result.metrics["steps"], set(during), is_op_determinism_enabled())
"""


def test_a_deterministic_run_on_a_gpu_is_evaluated_and_searched_in_the_usual_way(small_images, tmp_path):
    """TensorFlow's deterministic mode would refuse their graphs, which have no seed. It is a mode of the whole process, hence a new one."""
    command = [sys.executable, "-c", DETERMINISTIC_RUN, str(small_images), str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "6 {True} False"
    hardware = read_hardware(tmp_path / "run")
    assert hardware["deterministic"] and hardware["devices"] == ["/gpu:0"] and hardware["codes_on"] == "/cpu:0"


@pytest.mark.parametrize(("tower", "asked", "inside"), [("/gpu:0", True, True), ("/gpu:0", False, False), ("/cpu:0", True, False)])
def test_only_on_gpus_and_only_where_it_is_asked_for_tensorflow_is_deterministic_until_the_graph_is_left(tower, asked, inside):
    devices = choose_devices(1)._replace(towers=(tower,), deterministic=asked)
    with pytest.raises(ZeroDivisionError), deterministic_operations(devices):
        assert is_op_determinism_enabled() == inside
        with deterministic_operations(devices):
            pass
        assert is_op_determinism_enabled() == inside  # whoever switched it on also switches it off
        raise ZeroDivisionError
    assert not is_op_determinism_enabled()


def test_a_finished_run_is_not_trained_again_and_lost_metrics_are_computed_again(trained, monkeypatch):
    monkeypatch.setattr(train_module, "build_model", lambda setting: pytest.fail("trained again"))
    config = read_run(trained.run_dir).config
    again = train(config)
    assert again.metrics == trained.metrics and again.history == trained.history
    (trained.run_dir / "metrics.json").unlink()
    assert train(config).metrics["psnr_db"] == trained.metrics["psnr_db"]


def stop_at(signals):
    """Make a callback that sends this process a signal after the given steps."""

    def on_step(progress, loss):
        if progress.step in signals:
            os.kill(os.getpid(), signals[progress.step])

    return on_step


def test_bfloat16_learns_as_float32_does_and_a_resumed_run_has_the_same_bits(small_config, trained, small_images, tmp_path):
    """This passes through TensorFlow's graph rewriter. On a processor without bfloat16 units, bfloat16 is emulated."""
    settings = {"precision": "bfloat16", "gpus": 2, "batch_size": 4}
    result = train(small_config(small_images, tmp_path / "whole", **settings))
    assert (result.metrics["precision"], trained.metrics["precision"]) == ("bfloat16", "float32")
    losses, float32_losses = ([row.loss for row in run.history] for run in (result, trained))
    np.testing.assert_allclose(losses, float32_losses, rtol=0.05)
    assert losses != float32_losses  # it was not float32
    assert result.metrics["psnr_db"] == pytest.approx(trained.metrics["psnr_db"], abs=0.3)
    config = small_config(small_images, tmp_path / "stopped", **settings)
    assert [train(config, stop_at({10: signal.SIGINT})).metrics["steps"], train(config).metrics["steps"]] == [10, 24]
    assert_same_bits(variables_of(result.run_dir), variables_of(config.run_dir))


def test_a_run_that_was_stopped_twice_continues_to_the_same_bits(small_config, one_tower, small_images, tmp_path, capsys):
    terminated = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: terminated.append(read_run(tmp_path).progress.step))
    on_step = stop_at({10: signal.SIGINT, 17: signal.SIGTERM})
    try:
        config = small_config(small_images, tmp_path)
        assert train(config, on_step).metrics["steps"] == read_run(tmp_path).progress.step == 10 and not terminated
        assert "the same call goes on from here" in capsys.readouterr().out
        train(config, on_step)
        assert terminated == [read_run(tmp_path).progress.step] == [17]  # the run is saved before the signal is passed on
        resumed = train(config)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert resumed.metrics["steps"] == 24
    assert_same_bits(variables_of(one_tower.run_dir), variables_of(tmp_path))
    assert [row.step for row in resumed.history] == [row.step for row in one_tower.history] == list(range(1, 25))


def test_outside_the_main_thread_too_the_callback_receives_progress_and_loss_after_every_step(small_config, small_images, tmp_path):
    assert loop.HISTORY_ROWS >= 12  # so each step has a row of its own
    calls, results = [], []

    def train_twice():
        for num_epochs in (1, 2):
            config = small_config(small_images, tmp_path, num_epochs=num_epochs)
            results.append(train(config, lambda *arguments: calls.append(arguments)))

    thread = threading.Thread(target=train_twice)
    thread.start()
    thread.join()
    (progress, losses), history = zip(*calls, strict=True), results[-1].history
    assert [p.step for p in progress] == list(range(1, 13))
    assert losses == tuple(row.loss for row in history) and all(type(loss) is float for loss in losses)
    np.testing.assert_allclose([p.seconds for p in progress], [row.seconds for row in history], atol=1e-3)
    assert (np.diff([p.seconds for p in progress]) > 0).all()


def test_several_towers_average_the_decoder_and_codes_stay_on_their_initial_sphere(trained, one_tower):
    averages = [name for name in variables_of(trained.run_dir) if name.endswith("/ExponentialMovingAverage")]
    assert len(averages) == 3 * 5 + 2 and all(name.startswith("decoder/") for name in averages)
    assert inference.load(trained.run_dir).weights == "averaged"
    variables = variables_of(one_tower.run_dir)
    assert not [name for name in variables if "ExponentialMovingAverage" in name]
    np.testing.assert_allclose(np.linalg.norm(variables["codes"], axis=1), np.sqrt(6), rtol=1e-5)


@pytest.mark.parametrize(
    "changes", [{"loss": "lap1", "projection": "ball"}, {"loss": "mpse", "code_init": "normal", "schedule": "constant"}]
)
def test_other_choices_lower_the_loss_too(small_config, small_images, tmp_path, changes):
    history = train(small_config(small_images, tmp_path, num_epochs=6, **changes)).history
    assert history[-1].loss < 0.8 * history[0].loss


def test_two_phases_with_the_same_loss_and_rate_are_one(small_config, small_images, tmp_path):
    """With constant rates the border changes nothing, so the second phase continues exactly where the first ended."""
    whole = train(small_config(small_images, tmp_path / "whole", schedule="constant"))
    halves = train(small_config(small_images, tmp_path / "halves", schedule="constant", phases="0.5 mse, 0.5 mse"))
    assert_same_bits(variables_of(halves.run_dir), variables_of(whole.run_dir))
    assert halves.history == [row._replace(seconds=other.seconds) for row, other in zip(whole.history, halves.history, strict=True)]


def test_a_run_that_was_stopped_within_a_phase_continues_there_and_ends_with_the_same_bits(small_config, small_images, tmp_path):
    settings = {"phases": "0.25 mse, 0.75 mse+0.5*lap1 rate 0.5"}  # the second phase begins after the sixth of 24 steps
    straight = train(small_config(small_images, tmp_path / "straight", **settings))
    stopped = small_config(small_images, tmp_path / "stopped", **settings)
    for step in (4, 6, 15):
        assert train(stopped, on_step=stop_at({step: signal.SIGINT})).history[-1].step == step
    assert_same_bits(variables_of(train(stopped).run_dir), variables_of(straight.run_dir))


def test_the_losses_change_where_the_phases_do(small_config, small_images, tmp_path):
    losses = {}
    config = small_config(small_images, tmp_path / "run", phases="0.5 mse, 0.5 100*mse", learning_rate=1e-6, code_learning_rate=1e-6)
    train(config, on_step=lambda progress, loss: losses.update({progress.step: loss}))
    assert min(losses[step] for step in range(13, 25)) > 10 * max(losses[step] for step in range(1, 13))


@pytest.mark.skipif(not efficientnet.is_installed(), reason=efficientnet.MISSING)
def test_a_run_that_was_stopped_in_a_phase_with_the_perceptual_loss_ends_with_the_same_bits(small_config, small_images, tmp_path):
    """How the images of a step are moved depends only on its number, so a resumed run moves them as an uninterrupted one does."""
    settings = {"phases": "0.5 mse, 0.5 mse+10*perceptual", "perceptual_blocks": 1, "num_epochs": 2}
    steps = []
    straight = train(
        small_config(small_images, tmp_path / "straight", **settings),
        on_step=lambda progress, loss: steps.append((loss, KEPT_IN_FLOAT32 in os.environ)),
    )
    losses, kept_in_float32 = zip(*steps, strict=True)
    assert min(losses[6:]) > 3 * max(losses[:6]) and kept_in_float32 == (False,) * 6 + (True,) * 6
    stopped = small_config(small_images, tmp_path / "stopped", **settings)
    assert train(stopped, on_step=stop_at({9: signal.SIGINT})).history[-1].step == 9
    assert_same_bits(variables_of(train(stopped).run_dir), variables_of(straight.run_dir))
    assert KEPT_IN_FLOAT32 not in os.environ


@pytest.mark.parametrize("projection", ["ball", "sphere"])
def test_gradient_descent_learns_and_the_stored_codes_stay_in_the_ball(small_config, small_images, tmp_path, projection):
    config = small_config(
        small_images, tmp_path / "run", projection=projection, optimizer="sgd", learning_rate=1.0, code_learning_rate=10.0, num_epochs=40
    )
    result = train(config)
    assert result.history[-1].loss < 0.5 * result.history[0].loss
    norms = np.linalg.norm(variables_of(result.run_dir)["codes"], axis=1)
    if projection == "ball":
        assert norms.max() < 1 + 1e-6
    else:
        np.testing.assert_allclose(norms, np.sqrt(6), rtol=1e-5)


def test_a_missing_network_is_named_before_anything_is_decoded(small_config, small_images, tmp_path, monkeypatch):
    monkeypatch.setattr(efficientnet, "is_installed", lambda: False)
    monkeypatch.setattr(train_module, "open_run", lambda config: pytest.fail("the data were opened"))
    with pytest.raises(ModuleNotFoundError, match=r"phases is '0\.5 mse, 0\.5 perceptual'; .* make judges"):
        train(small_config(small_images, tmp_path / "run", phases="0.5 mse, 0.5 perceptual"))


@pytest.fixture
def cluster(monkeypatch):
    """A cluster of which a server in this process has all variables and the only tower, so that its sessions are those of a cluster."""
    server = tf.distribute.Server.create_local_server()
    worker = Task("worker", 0, server.target.removeprefix("grpc://"))
    devices = choose_devices(1, "float32")._replace(master=server.target, session_config=session_config())
    cluster = Cluster((worker,), worker)
    monkeypatch.setattr(train_module, "chief_cluster", lambda: cluster)
    monkeypatch.setattr(train_module, "connect", lambda *_: devices)
    return cluster


@pytest.mark.usefixtures("cluster")
def test_after_a_machine_was_lost_the_run_goes_on_from_the_newest_checkpoint(
    small_config, one_tower, small_images, tmp_path, monkeypatch, capsys
):
    hook = tf.compat.v1.train.CheckpointSaverHook
    monkeypatch.setattr(loop.v1.train, "CheckpointSaverHook", lambda folder, save_secs, **rest: hook(folder, save_steps=5, **rest))
    steps, lost = [], []

    def lose_a_machine_once(progress, loss):
        steps.append(progress.step)
        if progress.step == 13 and not lost:
            lost.append(progress.step)
            raise tf.errors.UnavailableError(None, None, "worker 0 is gone")

    train(small_config(small_images, tmp_path), lose_a_machine_once)
    assert steps == [*range(1, 14), *range(11, 25)]
    assert "a machine was lost (UnavailableError); looking for it, to go on from step 10\n" in capsys.readouterr().out
    resumed, uninterrupted = variables_of(tmp_path), variables_of(one_tower.run_dir)
    for name, value in uninterrupted.items():  # the server has other threads, so it may round otherwise
        np.testing.assert_allclose(resumed[name], value, rtol=1e-3, atol=1e-3, err_msg=name)


@pytest.mark.parametrize(("answer", "message"), [(ClusterError("worker 0 is gone"), "worker 0 is gone"), (None, "a step was slow")])
def test_after_a_step_that_takes_too_long_the_machine_that_does_not_answer_is_named(
    small_config, small_images, tmp_path, monkeypatch, cluster, answer, message
):
    asked = []

    def time_out(*_):
        raise StepTimeout("a step was slow")

    def find(*arguments):
        asked.append(arguments)
        if answer is not None:
            raise answer

    monkeypatch.setattr(train_module, "train_phase", time_out)
    monkeypatch.setattr(train_module, "find_cluster", find)
    with pytest.raises(ClusterError, match=message):
        train(small_config(small_images, tmp_path, answer_seconds=7))
    assert asked == [(cluster, 7)]
