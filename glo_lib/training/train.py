"""The call that trains: open the run, build the model, the loss and the train op, run, evaluate."""

from pathlib import Path
from typing import NamedTuple

from glo_lib.config import TrainConfig
from glo_lib.evaluation.evaluate import evaluate
from glo_lib.graph.backend import tf
from glo_lib.graph.devices import choose_devices
from glo_lib.runs.folder import HistoryRow, read_history
from glo_lib.runs.run import open_run
from glo_lib.training.build import Setting, TrainGraph, build_loss, build_model, build_train_ops
from glo_lib.training.loop import OnStep, run_loop, share_done

v1 = tf.compat.v1


class TrainResult(NamedTuple):
    """What a run made.

    Attributes:
        run_dir: the folder that holds everything; see `glo_lib.runs.folder`.
        metrics: the content of ``metrics.json``.
        history: (step, seconds, mean loss) over the run.
    """

    run_dir: Path
    metrics: dict
    history: list[HistoryRow]


def train(config: TrainConfig, on_step: OnStep | None = None) -> TrainResult:
    """Train GLO, continue a run that was stopped, or look again at one that is complete.

    Ctrl-C (in a notebook: the interrupt button) ends the run after the current step, with everything saved, and returns what there is;
    SIGTERM does the same and ends the program. The same call continues the run; after a crash, from the newest complete checkpoint. Codes,
    weights and metrics are then bit for bit those of a run that was never stopped, unless ``max_seconds`` makes the rates follow the clock.
    Metrics and figures are made from the run folder.

    Args:
        config: the settings.
        on_step: called after every step with the progress (step and seconds, `glo_lib.runs.folder.Progress`) and the loss.

    Returns:
        `TrainResult`.

    Raises:
        ValueError: settings that do not fit the data, the machine or the run folder; images that cannot be read.
        FileNotFoundError: no such data.
        RunFolderInUse: another process is training in the run folder.
        OSError: the disk is full; the message names the checkpoint that is left.
        TrainingDiverged: the loss or a variable became NaN or infinite; the last good checkpoint is kept.

    Example:
        ``train(TrainConfig(num_epochs=10), on_step=lambda progress, loss: print(progress.step, loss))``
    """
    devices = choose_devices(config.gpus, config.precision)
    with open_run(config) as run:
        setting = Setting(config, devices, run.images, run)
        if share_done(setting, run.progress) < 1:
            with tf.Graph().as_default():
                v1.set_random_seed(config.seed)
                model = build_model(setting)
                loss = build_loss(config, model)
                train_ops = build_train_ops(setting, model, loss)
                run = run.at(run_loop(setting, TrainGraph(model, loss, train_ops), on_step))
        return TrainResult(run.folder, evaluate(run), read_history(run.folder))


def prepare(config: TrainConfig) -> Setting:
    """Find the devices, the images and the run folder, for those who build the graph themselves.

    Everything that can be wrong with the settings is said here. The folder is not locked afterwards.

    Args:
        config: the settings.

    Returns:
        `glo_lib.training.build.Setting`.

    Raises:
        ValueError, FileNotFoundError, RunFolderInUse: see `train`.
    """
    devices = choose_devices(config.gpus, config.precision)
    with open_run(config) as run:
        return Setting(config, devices, run.images, run)
