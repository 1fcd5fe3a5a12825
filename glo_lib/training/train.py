"""The function that trains: open the run, build the model, the loss and the train op, run the loop, and evaluate the run."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from tensorflow.python.framework.config import disable_op_determinism, is_op_determinism_enabled  # TensorFlow does not export them

from glo_lib.config import TrainConfig
from glo_lib.evaluation.evaluate import evaluate
from glo_lib.graph.backend import tf, v1
from glo_lib.graph.cluster import Cluster, chief_cluster
from glo_lib.graph.devices import Devices, choose_devices, find_gpus
from glo_lib.graph.half_precision import depthwise_in_float32
from glo_lib.graph.server import find_cluster
from glo_lib.networks import efficientnet
from glo_lib.runs.folder import HistoryRow, read_history, record_hardware
from glo_lib.runs.run import OpenRun, open_run
from glo_lib.training.build import Setting, TrainGraph, build_loss, build_model, build_train_ops
from glo_lib.training.loop import LoopEnd, OnStep, StepTimeout, run_loop
from glo_lib.training.machines import LOST, LostMachines, connect, with_all_towers
from glo_lib.training.schedule import share_done


class TrainResult(NamedTuple):
    """The results of a run.

    Attributes:
        run_dir: the run folder, which holds all results; see `glo_lib.runs.folder`.
        metrics: the content of ``metrics.json``.
        history: rows (step, seconds, mean loss) over the run.
    """

    run_dir: Path
    metrics: dict
    history: list[HistoryRow]


def train(config: TrainConfig, on_step: OnStep | None = None) -> TrainResult:
    """Train GLO or a VAE, continue a run that was stopped, or return the results of a finished run.

    Ctrl-C (in a notebook: the interrupt button) stops the run after the current step, saves everything, and returns the results so far.
    SIGTERM does the same and then ends the program; so do the closing of the terminal and, in a notebook, the end of the program that
    started its kernel, such as papermill (`glo_lib.system.stopping`). Call the function again with the same settings to continue the run.
    After a crash, it continues from the newest complete checkpoint. The final codes, weights and metrics are bit for bit equal to those of
    an uninterrupted run on the same machine, unless ``max_seconds`` is set, because the learning rates then depend on the clock. On GPUs
    this is not so, because some of their operations add numbers in an order that changes from run to run. ``deterministic="true"`` makes
    TensorFlow use others where it has them. It does not promise equal bits for graphs that a session runs, and it was not tried on a GPU.

    Metrics and figures are computed from the run folder.

    If the environment variable ``TF_CONFIG`` names other machines (`glo_lib.graph.cluster`), the towers are on the workers, ``gpus`` on
    each, and the table of codes and the networks' variables are on the parameter servers. When a machine is lost, training waits for it and
    goes on from the newest checkpoint. A run on several machines can be continued on one, with as many towers as all of them had, and the
    other way round.

    Args:
        config: the settings.
        on_step: called after every step with the progress (step and seconds, `glo_lib.runs.folder.Progress`) and the loss.

    Returns:
        `TrainResult`.

    Raises:
        ValueError: the settings do not fit the data, the machine or the run folder, or images cannot be read.
        FileNotFoundError: the data do not exist.
        RunFolderInUse: another process is training in the run folder.
        OSError: the disk is full; the message names the checkpoint that can still be used.
        MemoryError: a GPU is full; the message says what needs less of its memory.
        ModuleNotFoundError: the perceptual loss is asked for, and its network is not installed; the message says how to install it.
        TrainingDiverged: the loss or a variable became NaN or infinite; the last good checkpoint is kept.
        ClusterError: with several machines, one does not answer within ``answer_seconds``, or does not fit the others.

    Example:
        ``train(TrainConfig(num_epochs=10), on_step=lambda progress, loss: print(progress.step, loss))``
    """
    check_networks(config)
    cluster = chief_cluster()
    config = with_all_towers(config, cluster)
    with open_run(config) as run:
        lost = LostMachines(run.folder, len(cluster.tasks) if cluster else 0)
        while share_done(config, run.images, run.progress) < 1:
            setting = _setting(config, run, cluster)
            record_hardware(run.folder, hardware_of(setting), config.change_precision)
            end = train_phase(setting, on_step) if cluster is None else train_phase_on(cluster, lost, setting, on_step)
            run = run.at(end.checkpoint)
            if end.stopped:
                break
        return TrainResult(run.folder, evaluate(run), read_history(run.folder))


def check_networks(config: TrainConfig) -> None:
    """Raise a `ModuleNotFoundError` if a loss needs a network that is not installed."""
    if any("perceptual" in phase.losses for phase in config.recipe) and not efficientnet.is_installed():
        name = "phases" if config.phases else "loss"
        raise ModuleNotFoundError(f"{name} is {getattr(config, name)!r}; {efficientnet.MISSING}")


def train_phase(setting: Setting, on_step: OnStep | None = None) -> LoopEnd:
    """Build the graph of the present phase and take its steps, see `glo_lib.training.loop.run_loop`.

    Each phase has a graph of its own, because it has a loss of its own. It continues from the last checkpoint of the phase before.
    """
    with training_graph(setting):
        model = build_model(setting)
        loss = build_loss(setting, model)
        train_ops = build_train_ops(setting, model, loss)
        return run_loop(setting, TrainGraph(model, loss, train_ops), on_step)


@contextmanager
def training_graph(setting: Setting) -> Iterator[tf.Graph]:
    """Make a new graph the default graph, with the seed of the settings and, with several machines, their job as the device.

    On GPUs operations are deterministic inside the block if the settings ask for it, see `deterministic_operations`.

    Example:
        ``with training_graph(setting): model = build_model(setting)``
    """
    job, uses_network = setting.devices.job, "perceptual" in setting.phase.losses
    with (
        tf.Graph().as_default() as graph,
        tf.device(job) if job else nullcontext(),  # of the new graph, so this cannot be made before
        depthwise_in_float32(uses_network),
        deterministic_operations(setting.devices),
    ):
        v1.set_random_seed(setting.config.seed)
        yield graph


@contextmanager
def deterministic_operations(devices: Devices) -> Iterator[None]:
    """On GPUs, if the devices ask for it, let TensorFlow use the operations that give the same bits each time, inside the block only.

    TensorFlow has such a mode for the whole process. In this mode it accepts no graph without a seed, and it cannot differentiate batch
    normalisation in inference mode on a GPU. Evaluation and search need both.
    """
    if not (devices.on_gpus and devices.deterministic) or is_op_determinism_enabled():
        yield
        return
    tf.config.experimental.enable_op_determinism()
    try:
        yield
    finally:
        disable_op_determinism()


def train_phase_on(cluster: Cluster, lost: LostMachines, setting: Setting, on_step: OnStep | None = None) -> LoopEnd:
    """Do what `train_phase` does on several machines. When one is lost, end the loop; training continues from the newest checkpoint.

    Raises:
        ClusterError: a machine does not answer, or was lost several times without a new checkpoint.
    """
    try:
        return train_phase(setting, on_step)
    except StepTimeout:
        find_cluster(cluster, setting.config.answer_seconds)  # names the machine that does not answer
        raise
    except LOST as error:
        return LoopEnd(lost.newest_checkpoint(error), stopped=False)


def prepare(config: TrainConfig) -> Setting:
    """Find the devices, the images and the run folder, for code that builds the graph itself.

    All settings are checked here. The folder is created if necessary, and is no longer locked when the function returns. Build the graph
    in `training_graph`.

    Args:
        config: the settings.

    Returns:
        `glo_lib.training.build.Setting`.

    Raises:
        ValueError, FileNotFoundError, RunFolderInUse, OSError: see `train`.

    Example:
        ``with training_graph(setting := prepare(TrainConfig())): model = build_model(setting)``
    """
    check_networks(config)
    cluster = chief_cluster()
    config = with_all_towers(config, cluster)
    with open_run(config) as run:
        return _setting(config, run, cluster)


def _setting(config: TrainConfig, run: OpenRun, cluster: Cluster | None = None) -> Setting:
    if cluster is not None:
        return Setting(config, connect(config, cluster, run.images, run.folder), run.images, run)
    devices = choose_devices(config.gpus, config.precision, config.layer_route, config.deterministic)
    return Setting(config, devices, run.images, run)


def hardware_of(setting: Setting) -> dict[str, Any]:
    """What ``hardware.json`` says of the devices that a run computes on."""
    devices = setting.devices
    return {
        "precision": devices.precision,
        "devices": list(devices.towers),
        "gpus": [gpu.name for gpu in find_gpus()],
        "codes_on": setting.codes_device,
        "layer_route": devices.route,
        "deterministic": devices.deterministic,
    }
