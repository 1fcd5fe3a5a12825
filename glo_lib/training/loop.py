"""The training loop: a monitored session with checkpoints and summaries, a progress report, and requests that stop the loop."""

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from glo_lib.codes import first_row
from glo_lib.config import TrainConfig
from glo_lib.graph.backend import tf, v1
from glo_lib.graph.finite import NOT_FINITE, all_finite, describe_non_finite, first_not_finite
from glo_lib.graph.server import ClusterError
from glo_lib.inputs import batch_of_step
from glo_lib.runs import checkpoints
from glo_lib.runs.folder import UNREPORTED_NAME, HistoryRow, Progress, append_history, read_history, write_history
from glo_lib.system.progress import progress_bar
from glo_lib.system.stopping import stop_requests
from glo_lib.training.build import Setting, TrainGraph, initial_codes, initial_weights
from glo_lib.training.gpu_errors import DevicesCheck, gpu_errors_explained
from glo_lib.training.schedule import rate_scale, share_done

GRID = 5  # side of the image grids in TensorBoard, as in the blog post
AVERAGED = "/ExponentialMovingAverage"  # ending of the names that tf.train.ExponentialMovingAverage gives
FIRST_STEP_ON_GPUS = 10  # so many times answer_seconds, because GPUs choose kernels, and may compile them, in the first step of a session
HISTORY_ROWS = 1000  # approximate number of rows in history.csv
OnStep = Callable[[Progress, float], None]  # callback after every step, with the progress and the loss


class TrainingDiverged(ArithmeticError):
    """Raised when the loss or a variable is no longer finite. The message names the step and the checkpoint that can still be used."""


class SessionLost(RuntimeError):
    """TensorFlow lost the session and went back to a checkpoint; the same call continues the run from there."""


class StepTimeout(ClusterError):
    """Raised when a step on several machines takes longer than ``answer_seconds``."""


class ClusterSession(v1.train.SingularMonitoredSession):
    """A session on several machines. It does not open a new one by itself when a machine is lost: `train` first waits for the machine.

    After a `StepTimeout` it is not closed, because TensorFlow would wait for the machine that does not answer.
    """

    def __exit__(
        self, exception_type: type[BaseException] | None, exception_value: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if exception_type is not None and issubclass(exception_type, StepTimeout):
            return False
        return super().__exit__(exception_type, exception_value, traceback)


class LoopEnd(NamedTuple):
    """How a loop ended.

    Attributes:
        checkpoint: prefix of the newest checkpoint.
        stopped: whether the run was asked to stop. The phase may be finished all the same.
    """

    checkpoint: str | None
    stopped: bool


def run_loop(setting: Setting, graph: TrainGraph, on_step: OnStep | None = None) -> LoopEnd:
    """Take the remaining steps of a phase, with checkpoints, summaries and a progress bar, until the phase is finished or the run stopped.

    What stops it is described by `glo_lib.system.stopping.stop_requests`.

    Args:
        setting: from `glo_lib.training.prepare`.
        graph: the training graph; it must belong to the default TensorFlow graph.
        on_step: called after every step with the progress and the loss.

    Returns:
        `LoopEnd`.

    Raises:
        TrainingDiverged: the loss or a variable became NaN or infinite.
        StepTimeout: a step on several machines takes longer than ``answer_seconds``.
        SessionLost: TensorFlow lost the session and went back to a checkpoint by itself.
        OSError: the disk is full; the message names the checkpoint that can still be used.
        MemoryError: a GPU is full; the message says what needs less of its memory.

    Example:
        ``run_loop(setting, TrainGraph(model, loss, train_ops))``
    """
    print(setting.devices.description, flush=True)
    report = Report(setting, graph, on_step)
    saver = checkpoints.VerifiedSaver(restored=setting.run.checkpoint, sharded=setting.devices.saved_by_servers)
    with stop_requests() as stop, gpu_errors_explained(setting.devices, setting.run.folder):
        with open_training_session(setting, graph, saver, report) as session:
            report.clock.start()
            while share_done(setting.config, setting.images, report.progress) < setting.phase.end and not stop.is_set():
                take_step(setting, graph, report.progress, session)
        report.close(stopped=stop.is_set())
    return LoopEnd(saver.newest, stop.is_set())


def take_step(setting: Setting, graph: TrainGraph, done: Progress, session: v1.train.MonitoredSession) -> None:
    """Take the next step. If the loss or a gradient is not finite, update nothing and name the first tensor that is not finite."""
    scale = rate_scale(setting.config, share_done(setting.config, setting.images, done))
    seconds = step_limit(setting, done) if setting.devices.master else None
    try:
        run_in_time(lambda: session.run(graph.train_ops.step, {graph.train_ops.rate_scale: scale}), graph.loss.graph, seconds)
    except tf.errors.InvalidArgumentError as error:
        if NOT_FINITE not in str(error):
            raise
        what = session.run_step_fn(lambda step_context: _first_not_finite(setting, graph, done, step_context.session))
        raise TrainingDiverged(_divergence_message(setting, what, done.step + 1)) from None


def step_limit(setting: Setting, done: Progress) -> float:
    """Return the seconds that a step on several machines may take: ``answer_seconds``, and more for the first step of a session on GPUs."""
    is_first = done.step == setting.run.progress.step
    return setting.config.answer_seconds * (FIRST_STEP_ON_GPUS if is_first and setting.devices.on_gpus else 1)


def run_in_time(call: Callable[[], object], graph: tf.Graph, seconds: float | None) -> None:
    """Call a function; with a limit of time, in a thread, because TensorFlow waits without end for a machine that no longer answers.

    Args:
        call: the function.
        graph: the default graph of the call.
        seconds: the limit; None: none.

    Raises:
        StepTimeout: the call has not returned; its thread is left behind.
    """
    if seconds is None:
        call()
        return
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with graph.as_default():
                call()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise StepTimeout(f"a step has taken more than {seconds:g} seconds; if the machines are that slow, give a larger answer_seconds")
    if errors:
        raise errors[0]


def _first_not_finite(setting: Setting, graph: TrainGraph, done: Progress, session: v1.Session) -> str:
    """Evaluate the same step again, on the same batch, without its updates and tensor by tensor; describe the first non-finite one."""
    config = setting.config
    feed: dict[tf.Tensor, np.ndarray] = {}
    for number, tower in enumerate(graph.model.towers):
        batch = batch_of_step(setting.images, done.step, config.batch_size, config.seed, shard=number, num_shards=config.gpus)
        feed |= {tower.inputs["image"]: batch["image"], tower.inputs["index"]: batch["index"]}
    found = first_not_finite(session, [graph.loss, *graph.train_ops.gradients], feed)
    if found is None:  # the second evaluation was finite
        return "the loss or a gradient is not finite"
    name, value = found
    loss = session.run(graph.loss, feed)
    return f"the loss is {loss}; the first tensor that is not finite is {name} ({describe_non_finite(value)})"


def _divergence_message(setting: Setting, what: str, step: int) -> str:
    kept = checkpoints.newest_checkpoint(setting.run.folder)
    left = f"the last good checkpoint, {Path(kept).name}, is kept" if kept else "there was no checkpoint yet"
    return f"at step {step} {what}; {left} in {setting.run.folder}. A lower learning_rate or code_learning_rate usually helps"


def open_training_session(
    setting: Setting, graph: TrainGraph, saver: checkpoints.VerifiedSaver, report: "Report"
) -> v1.train.MonitoredSession:
    """Open the training session. It restores the newest checkpoint, or initialises the codes if there is none."""
    scaffold = v1.train.Scaffold(saver=saver, init_fn=initialiser(setting, graph))
    hooks = session_hooks(setting, graph, scaffold, report)
    folder, config = str(setting.run.folder), setting.devices.session_config
    if setting.devices.master:
        return ClusterSession(hooks, scaffold, setting.devices.master, config, folder)
    return v1.train.MonitoredTrainingSession(
        checkpoint_dir=folder,
        scaffold=scaffold,
        hooks=hooks,
        save_checkpoint_secs=None,  # a hook does it instead, because its listener checks the variables before saving
        save_summaries_steps=None,
        log_step_count_steps=None,
        config=config,
    )


def session_hooks(setting: Setting, graph: TrainGraph, scaffold: v1.train.Scaffold, report: "Report") -> list[v1.train.SessionRunHook]:
    """Return the hooks that the session calls: the check of its devices, the progress report, the summaries and the checkpoints."""
    config, folder = setting.config, str(setting.run.folder)
    with tf.device("/cpu:0"):
        summaries = build_summaries(graph)
    before_save = BeforeSave(setting, graph, report)
    return [
        DevicesCheck(setting.devices.towers),
        report,  # before the saver's hook, so that the history holds every step that a checkpoint includes
        v1.train.SummarySaverHook(save_steps=config.summary_steps, output_dir=folder, summary_op=summaries),
        v1.train.CheckpointSaverHook(
            folder, save_secs=checkpoint_interval(config), scaffold=scaffold, listeners=[before_save], save_graph_def=False
        ),
    ]


def checkpoint_interval(config: TrainConfig) -> float:
    """Return the seconds between two checkpoints: ``checkpoint_seconds``, but at most a tenth of ``max_seconds``.

    So a process that is killed without warning (``kill -9``, no more memory, no more power) loses a tenth of a short run and not all of it.
    A checkpoint of the default run takes 0.02 seconds; with 202,599 codes of 100 dimensions it takes one second.

    Example:
        >>> checkpoint_interval(TrainConfig()), checkpoint_interval(TrainConfig(max_seconds=0))
        (18.0, 600)
    """
    return min(config.checkpoint_seconds, config.max_seconds / 10) if config.max_seconds else config.checkpoint_seconds


def initialiser(setting: Setting, graph: TrainGraph) -> Callable[[v1.train.Scaffold, v1.Session], None] | None:
    """Return what gives the variables of a new session their first values, beyond their own initialisers.

    Args:
        setting: of the run.
        graph: of the training, not yet finalised.

    Returns:
        The ``init_fn`` of a ``tf.compat.v1.train.Scaffold``: it writes the table of codes, and on several machines the weights. None for a
        model without codes on a single machine, which needs nothing more.
    """
    steps = [_initialise_codes(setting, graph)] if graph.model.tables else []
    steps += [_initialise_weights(setting)] if setting.devices.servers else []

    def init_fn(scaffold: v1.train.Scaffold, session: v1.Session) -> None:
        for step in steps:
            step(session)

    return init_fn if steps else None


def _initialise_codes(setting: Setting, graph: TrainGraph) -> Callable[[v1.Session], None]:
    rows, values = v1.placeholder(tf.int64, [None]), v1.placeholder(tf.float32, [None, setting.config.num_dims])
    assignments = []
    for part in graph.model.tables:
        with tf.device(part.device):
            assignments.append((first_row(part), part.shape[0], v1.scatter_update(part, rows, values)))

    def initialise(session: v1.Session) -> None:
        for block_rows, block_values in initial_codes(setting):
            for first, number, assign in assignments:
                inside = (first <= block_rows) & (block_rows < first + number)
                session.run(assign.op, {rows: block_rows[inside] - first, values: block_values[inside]})

    return initialise


def _initialise_weights(setting: Setting) -> Callable[[v1.Session], None]:
    """Give the networks of several machines, and the averages of their weights, the initial weights of one machine."""

    def initialise(session: v1.Session) -> None:
        weights = initial_weights(setting)
        for variable in v1.global_variables():
            name = variable.op.name.removesuffix(AVERAGED)
            if name in weights:
                variable.load(weights[name], session)

    return initialise


def build_summaries(graph: TrainGraph) -> tf.Tensor:
    """Build the summaries for TensorBoard: the loss, and grids of the first tower's images and their reconstructions."""
    tower = graph.model.towers[0]
    return v1.summary.merge(
        [
            v1.summary.scalar("loss", graph.loss),
            v1.summary.image("originals", _grid(tower.inputs["image"])),
            v1.summary.image("reconstructions", _grid(tower.reconstructions)),
        ]
    )


def _grid(images: tf.Tensor) -> tf.Tensor:
    """Arrange the first images of a batch in a square grid; return it as one image, (1, side * height, side * width, 3) in [0, 1]."""
    batch, height, width, channels = images.shape
    side = min(GRID, int(np.sqrt(batch)))
    rows = tf.reshape(images[: side * side], (side, side, height, width, channels))
    return tf.reshape(tf.transpose(rows, (0, 2, 1, 3, 4)), (1, side * height, side * width, channels)) / 2 + 0.5


class BeforeSave(v1.train.CheckpointSaverListener):
    """Listener that runs before each checkpoint is saved.

    It stores the seconds and the unreported losses in the checkpoint. It raises `TrainingDiverged` if a variable is not finite, so that
    every checkpoint can be used.
    """

    def __init__(self, setting: Setting, graph: TrainGraph, report: "Report"):
        self._setting, self._report, self._train_ops = setting, report, graph.train_ops
        model_variables = [*graph.model.network, *graph.model.tables]
        known = {variable.op.name for variable in model_variables}
        others = [v for v in v1.global_variables() if v.dtype.base_dtype.is_floating and v.op.name not in known]
        variables = [*model_variables, *others]  # the others include Adam's moments and the averages of the weights
        self._names = [variable.op.name for variable in variables]
        self._finite = [all_finite(variable, variable.device) for variable in variables]

    def before_save(self, session: v1.Session, global_step_value: int) -> None:
        """Store what the reports need, and raise `TrainingDiverged` instead of saving variables that are not finite."""
        self._train_ops.seconds.load(self._report.clock.seconds(), session)
        self._train_ops.unreported.load(self._report.unreported, session)
        bad = [name for name, finite in zip(self._names, session.run(self._finite), strict=True) if not finite]
        if bad:
            raise TrainingDiverged(_divergence_message(self._setting, f"{bad[0]} is no longer finite", global_step_value))


class Clock:
    """Count the seconds of training, including those before the run was resumed, and without the time for building the graph."""

    def __init__(self, seconds_before: float):
        self._before = seconds_before
        self._began: float | None = None

    def start(self) -> None:
        """Start counting."""
        self._began = time.perf_counter()

    def seconds(self) -> float:
        """Return the seconds of training so far."""
        return self._before + (0.0 if self._began is None else time.perf_counter() - self._began)


class Report(v1.train.SessionRunHook):
    """Session hook that reports the progress: it updates the progress bar and the loss history, and calls ``on_step`` after every step.

    Attributes:
        progress: steps and seconds, including those before the run was resumed.
        clock: counts the seconds.
        unreported: (2,) sum and number of the losses since the last row of the history.
    """

    def __init__(self, setting: Setting, graph: TrainGraph, on_step: OnStep | None = None):
        config = setting.config
        self._setting, self._on_step = setting, on_step
        self._fetches = {"loss": graph.loss, "step": graph.train_ops.step_after}
        self.progress = self._start = setting.run.progress
        self.clock = Clock(self._start.seconds)
        self._folder = setting.run.folder
        self._images_per_step = config.batch_size * config.gpus
        self._steps_per_row = max(1, config.num_steps(setting.images.num_images) // HISTORY_ROWS)
        self.unreported = checkpoints.read_values(setting.run.checkpoint, UNREPORTED_NAME, default=(0, 0))
        self._recent: deque[float] = deque(maxlen=50)
        write_history(self._folder, read_history(self._folder, up_to_step=self._start.step))
        layout = "{percentage:3.0f}%|{bar:24}| {desc}"
        self._bar = progress_bar(total=1.0, bar_format=layout, mininterval=1, miniters=0)
        self._last_shown = 0.0

    def before_run(self, run_context: v1.train.SessionRunContext) -> v1.train.SessionRunArgs:
        """Ask for the loss and the number of the step, besides what the loop asks for."""
        return v1.train.SessionRunArgs(self._fetches)

    def after_run(self, run_context: v1.train.SessionRunContext, run_values: v1.train.SessionRunValues) -> None:
        """Record and show the loss; raise `SessionLost` if the steps began again at a checkpoint."""
        step = int(run_values.results["step"])
        if step != self.progress.step + 1:
            # TensorFlow opened a new session by itself, from the last checkpoint, and the stream of batches began again.
            raise SessionLost(
                f"a device was lost after step {self.progress.step}, and TensorFlow went back to the checkpoint of step {step - 1}; "
                "the same call goes on from there"
            )
        self.progress = Progress(step, self.clock.seconds())
        loss, share = float(run_values.results["loss"]), share_done(self._setting.config, self._setting.images, self.progress)
        self._record_loss(loss, share)
        # In a log file every update stays as a line, so the updates become rarer the longer the run has lasted.
        if self.progress.seconds - self._last_shown > max(1.0, self.progress.seconds / 100) or share == 1:
            self._update_bar(share)
        if self._on_step is not None:
            self._on_step(self.progress, loss)

    def _record_loss(self, loss: float, share: float) -> None:
        self.unreported = np.add(self.unreported, [loss, 1])
        self._recent.append(loss)
        if self.progress.step % self._steps_per_row == 0 or share == 1:
            mean = float(self.unreported[0] / self.unreported[1])
            append_history(self._folder, HistoryRow(self.progress.step, self.progress.seconds, mean))
            self.unreported = np.zeros(2)

    def _update_bar(self, share: float) -> None:
        progress, start = self.progress, self._start
        self._last_shown = progress.seconds
        speed = (progress.step - start.step) * self._images_per_step / max(progress.seconds - start.seconds, 1e-9)
        left = tqdm.format_interval(progress.seconds * (1 / share - 1))
        self._bar.n = share
        self._bar.set_description_str(f"step {progress.step}, loss {np.mean(self._recent):.4f}, {speed:,.0f} images/s, {left} left")

    def close(self, stopped: bool) -> None:
        """Close the progress bar. If the run was stopped, print how to continue it."""
        self._bar.close()
        if stopped:
            print(f"stopped and saved in {self._folder}; the same call goes on from here", flush=True)
