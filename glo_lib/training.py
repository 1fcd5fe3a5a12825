"""Training GLO, or the VAE it is compared with: build the model, build the loss, build the train op, run.

The arrangement follows the training loop of the post and the steps of TF-GAN's ``train.py``: each hands a named tuple to the next.
Towers share the decoder and the table of codes; each gets its own part of the batch on its own device.
"""

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from glo_lib import checkpoints, faces
from glo_lib import codes as latent_codes
from glo_lib.backend import tf
from glo_lib.config import TrainConfig
from glo_lib.decoder import decoder
from glo_lib.devices import Devices, choose_devices
from glo_lib.evaluation import evaluate
from glo_lib.finite import NOT_FINITE, assert_finite, first_not_finite, spelled
from glo_lib.inputs import DecodedImages, Inputs, batch_of_step, decode_images, get_inputs_dataset
from glo_lib.layer_gradients import kernel_gradients_for
from glo_lib.layers import conv2d_transpose
from glo_lib.losses import get_loss
from glo_lib.progress import progress_bar
from glo_lib.projection import get_projection, project
from glo_lib.run_folder import (
    SECONDS_NAME,
    UNREPORTED_NAME,
    HistoryRow,
    Progress,
    append_history,
    data_manifest,
    lock_run_folder,
    note_skipped,
    open_run_folder,
    progress_of,
    read_history,
    run_dir_of,
    write_history,
)
from glo_lib.split import Split, split_images
from glo_lib.vae import Posterior, encoder, negative_elbo, reparameterise

__all__ = ["TrainConfig", "TrainResult", "TrainingDiverged", "batch_norm_decay", "train"]

v1 = tf.compat.v1
EMBEDDED_IMAGES = 4096
GRID = 5  # images a side of the grids in TensorBoard, as in the post
CODES_PER_BLOCK = 4096
BATCH_NORM_DECAY = 0.99


class TrainResult(NamedTuple):
    """What a run made.

    Attributes:
        run_dir: the folder that holds everything; see `glo_lib.run_folder`.
        metrics: the content of ``metrics.json``.
        history: (step, seconds, mean loss) over the run.
    """

    run_dir: Path
    metrics: dict
    history: list[HistoryRow]


class TrainingDiverged(ArithmeticError):
    """The loss or a variable is no longer finite; the message says at which step, and what is left."""


class Setting(NamedTuple):
    """All that is settled before the graph is built."""

    config: TrainConfig
    devices: Devices
    images: DecodedImages
    run_dir: Path
    start: Progress
    checkpoint: str | None


class Tower(NamedTuple):
    """The model on one device: (batch, ...) tensors."""

    inputs: Inputs
    latent_z: tf.Tensor
    reconstructions: tf.Tensor
    batch_norm_updates: list[tf.Operation]
    posterior: Posterior | None = None  # of a VAE


class Model(NamedTuple):
    """The towers and what they share: the decoder, and the table of codes (N, d) or, in a VAE, the encoder."""

    codes: tf.Variable | None
    decoder_variables: list[tf.Variable]
    towers: list[Tower]
    encoder_variables: list[tf.Variable] = []  # noqa: RUF012 - never changed

    @property
    def network(self) -> list[tf.Variable]:
        """Variables whose number does not grow with the data."""
        return [*self.decoder_variables, *self.encoder_variables]

    @property
    def tables(self) -> list[tf.Variable]:
        """Variables with a row for each image."""
        return [] if self.codes is None else [self.codes]


class TrainOps(NamedTuple):
    """What a step runs, what is fed to it, and what is noted in checkpoints beside the model."""

    step: tf.Operation
    gradients: list[tf.Tensor | tf.IndexedSlices]
    global_step: tf.Variable
    rate_scale: tf.Tensor
    seconds: tf.Variable
    unreported: tf.Variable


def train(config: TrainConfig) -> TrainResult:
    """Train GLO, or go on with a run that was stopped, or look again at one that is complete.

    Ctrl-C (in a notebook: the interrupt button) ends the run after the step at hand, with everything saved, and returns what there is;
    SIGTERM does the same and ends the program. The same call goes on from there; after a crash, from the newest whole checkpoint. Codes,
    weights and metrics are then bit for bit those of a run that was never stopped, unless ``max_seconds`` makes the rates follow the clock.
    Metrics and figures are made from the run folder.

    Args:
        config: the settings.

    Returns:
        `TrainResult`.

    Raises:
        ValueError: settings that do not fit the data, the machine or the run folder; images that cannot be read.
        FileNotFoundError: no such data.
        RunFolderInUse: another process trains in the run folder.
        OSError: the disk is full; the message names the checkpoint that is left.
        TrainingDiverged: the loss or a variable became NaN or infinite; the last good checkpoint is kept.

    Example:
        ``train(TrainConfig(num_epochs=10)).metrics["psnr_db"]``
    """
    setting = prepare(config)
    with lock_run_folder(setting.run_dir), checkpoints.disk_full_explained(setting.run_dir):
        setting = _from_newest_checkpoint(setting)  # another process may have trained here a moment ago
        if _share_done(setting, setting.start) < 1:
            with tf.Graph().as_default():
                v1.set_random_seed(config.seed)
                model = build_model(setting)
                loss = build_loss(config, model)
                train_ops = build_train_ops(setting, model, loss)
                run(setting, model, loss, train_ops)
        metrics = evaluate(setting.run_dir, setting.images)
        return TrainResult(setting.run_dir, metrics, read_history(setting.run_dir))


def prepare(config: TrainConfig) -> Setting:
    """Find the images, the devices and the run folder; everything that can be wrong with them is said here."""
    devices = choose_devices(config.gpus, config.precision)
    filenames = find_images(config)
    _check_against_data(config, len(filenames))
    images = decode_images(filenames, config.image_size, config.tight_crop, progress=True, on_bad_image=config.on_bad_image)
    _check_against_data(config, images.num_images)
    manifest = data_manifest(images.filenames)
    with lock_run_folder(run_dir_of(config, manifest)):  # before anything is read that another process may be changing
        run_dir = open_run_folder(config, manifest, images.filenames)
        note_skipped(run_dir, images.skipped)
        return _from_newest_checkpoint(Setting(config, devices, images, run_dir, Progress(0, 0.0), None))


def _from_newest_checkpoint(setting: Setting) -> Setting:
    checkpoint = checkpoints.settle(setting.run_dir)
    return setting._replace(start=progress_of(checkpoint), checkpoint=checkpoint)


def find_images(config: TrainConfig) -> list[str]:
    """The image files that a run is trained on: those of ``data_dir``, or the embedded faces, without what is held out."""
    return find_split(config).training


def find_split(config: TrainConfig) -> Split:
    """Training and held-out files of a run, see `glo_lib.split.split_images`; nothing is held out when ``held_out`` is 0.

    Args:
        config: the settings.

    Returns:
        `glo_lib.split.Split`; `glo_lib.inputs.decode_images` reads either part.

    Raises:
        ValueError: a part that would be empty, or a damaged ``list_eval_partition.txt``.
        FileNotFoundError: no such data.
    """
    if config.data_dir:
        return split_images(config.data_dir, config.held_out, config.num_samples)
    return split_images(faces.load_faces(config.num_samples or EMBEDDED_IMAGES), config.held_out)


def _check_against_data(config: TrainConfig, num_images: int) -> None:
    if config.batch_size * config.gpus > num_images:
        raise ValueError(
            f"batch_size is {config.batch_size} on each of {config.gpus} tower(s), and there are {num_images} images; "
            f"it can be at most {num_images // config.gpus}"
        )
    if config.model == "glo" and config.code_init == "pca" and config.num_dims >= num_images:
        raise ValueError(
            f"num_dims is {config.num_dims}, and {num_images} images have {num_images - 1} principal components to start from; "
            "give fewer dimensions, or code_init 'normal'"
        )


def build_model(setting: Setting) -> Model:
    """Codes (of a VAE: encoder) and decoder on the parameter device, and a tower on each device."""
    config, devices, images = setting.config, setting.devices, setting.images
    with tf.device("/cpu:0"):
        v1.train.create_global_step()
    codes = None
    if config.model == "glo":
        with tf.device(devices.parameters):
            codes = v1.get_variable("codes", [images.num_images, config.num_dims], initializer=latent_codes.large_zeros, use_resource=True)
    towers = [build_tower(setting, codes, number) for number in range(config.gpus)]
    return Model(codes, v1.global_variables("decoder"), towers, v1.global_variables("encoder"))


def build_tower(setting: Setting, codes: tf.Variable | None, number: int) -> Tower:
    """Filenames to {"image", "index"}, a code for each image, decode: the data's way through the model, on one device."""
    config, devices = setting.config, setting.devices
    with v1.device(_variables_on(devices.parameters, devices.towers[number])), v1.name_scope(f"tower_{number}"):
        inputs = get_inputs_dataset(
            setting.images, config.batch_size, config.seed, setting.start.step, shard=number, num_shards=config.gpus
        )
        updates_before = set(v1.get_collection(v1.GraphKeys.UPDATE_OPS))
        if codes is None:
            latent_z, posterior = draw_codes(config, inputs["image"], number)
        else:
            latent_z, posterior = look_up_codes(setting, codes, inputs["index"]), None
        with kernel_gradients_for(devices.precision):
            reconstructions = decoder(
                latent_z,
                config.num_filters,
                config.kernel_size,
                batch_norm_decay=batch_norm_decay(),
                reuse=number > 0,
                layer=conv2d_transpose,
            )  # (batch, size, size, 3)
        updates = [op for op in v1.get_collection(v1.GraphKeys.UPDATE_OPS) if op not in updates_before]
    return Tower(inputs, latent_z, reconstructions, updates, posterior)


def look_up_codes(setting: Setting, codes: tf.Variable, index: tf.Tensor) -> tf.Tensor:
    """GLO: gather the rows of the batch and project them, (batch, d)."""
    with tf.device(setting.devices.parameters):
        rows = tf.gather(codes, index)  # (batch, d)
    return get_projection(setting.config.projection)(rows)


def draw_codes(config: TrainConfig, images: tf.Tensor, number: int) -> tuple[tf.Tensor, Posterior]:
    """VAE: encode the batch and draw a code for each image, (batch, d); the noise is a function of seed, step and tower."""
    decay = batch_norm_decay()
    posterior = encoder(images, config.num_dims, config.num_filters, config.kernel_size, batch_norm_decay=decay, reuse=number > 0)
    draw = tf.cast(v1.train.get_global_step(), tf.int64) * config.gpus + number
    return reparameterise(posterior, seed=tf.stack([tf.constant(config.seed, tf.int64), draw])), posterior


def batch_norm_decay() -> tf.Tensor:
    """The post's decay 0.99 of the moving averages, lower at first: (1 + step) / (10 + step).

    The moving variance starts at one, and the first layer's true variance is a thousand times smaller: with a constant decay it
    takes some 1,500 steps until the start is forgotten, and until then a decoder in use draws dark blurs.
    """
    step = tf.cast(v1.train.get_global_step(), tf.float32)
    return tf.minimum(BATCH_NORM_DECAY, (1 + step) / (10 + step))


def _variables_on(parameters: str, device: str) -> Callable[[tf.Operation], str]:
    """Device function: variables live on one device, everything else on the tower's."""
    return lambda op: parameters if op.type == "VarHandleOp" else device


def build_loss(config: TrainConfig, model: Model) -> tf.Tensor:
    """The mean of the towers' losses, a scalar; a VAE's has the KL divergence added."""
    loss_function = get_loss(config.loss)
    losses = []
    for number, tower in enumerate(model.towers):
        with tf.device(tower.reconstructions.device), v1.name_scope(f"loss_{number}"):
            both = tower.inputs["image"], tower.reconstructions
            if tower.posterior is None:
                losses.append(loss_function(*both))
            else:
                losses.append(negative_elbo(*both, tower.posterior, config.kl_weight, loss_function))
    return tf.add_n(losses) / len(losses)


def build_train_ops(setting: Setting, model: Model, loss: tf.Tensor) -> TrainOps:
    """Adam for the decoder, row-wise Adam for the codes, one update of the batch-norm averages, and the average of the weights."""
    config = setting.config
    with tf.device("/cpu:0"):
        global_step = v1.train.get_global_step()
        seconds = v1.get_variable(SECONDS_NAME, initializer=np.float64(0), trainable=False, use_resource=True)
        unreported = v1.get_variable(UNREPORTED_NAME, initializer=np.zeros(2), trainable=False, use_resource=True)
        rate_scale = v1.placeholder_with_default(np.float32(1), [], name="rate_scale")
    weights = [variable for variable in model.network if variable.trainable]
    decoder_optimizer = v1.train.AdamOptimizer(rate_scale * config.learning_rate, name="DecoderAdam")
    # Rows that are put back on the sphere keep their norm: else it would only grow, and slow the codes down (chapter on projection).
    put_back = _onto_sphere_of_start(config) if config.projection == "sphere" else None
    code_optimizer = latent_codes.RowwiseAdam(rate_scale * config.code_learning_rate, project=put_back, name="CodeAdam")
    gradients = decoder_optimizer.compute_gradients(loss, [*weights, *model.tables], colocate_gradients_with_ops=True)
    with tf.control_dependencies([assert_finite(loss, [gradient for gradient, _ in gradients])]):
        updates = [
            decoder_optimizer.apply_gradients(gradients[: len(weights)], global_step=global_step),
            *([code_optimizer.apply_gradients(gradients[len(weights) :])] if model.tables else []),
            # Every tower sees the same moving averages: updating them from the first alone keeps them at one update per step.
            *model.towers[0].batch_norm_updates,
        ]
    if config.gpus > 1 and config.average_decay:
        with tf.control_dependencies(updates):
            updates.append(weight_average(config, global_step).apply(model.network))
    return TrainOps(tf.group(*updates), [gradient for gradient, _ in gradients], global_step, rate_scale, seconds, unreported)


def weight_average(config: TrainConfig, num_updates: tf.Tensor | None = None) -> v1.train.ExponentialMovingAverage:
    """Average of the network's weights and batch-norm statistics; the codes are left out, their average would cost O(N d) per step.

    Early in a run the decay is lower, (1 + step) / (10 + step), so that the average does not remember the start.
    """
    return v1.train.ExponentialMovingAverage(config.average_decay, num_updates=num_updates)


def _onto_sphere_of_start(config: TrainConfig) -> Callable[[tf.Tensor], tf.Tensor]:
    """Onto the sphere of radius sqrt(d), where unit-Gaussian codes start: the code rate then means the same for every d."""
    radius = float(np.sqrt(config.num_dims))
    return lambda rows: project(rows) * radius


def initial_codes(setting: Setting) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks (rows, values) of the first table of codes: no second table of that size is ever made."""
    config, images = setting.config, setting.images.array()
    pca = latent_codes.fit_pca(images, config.num_dims, config.seed) if config.code_init == "pca" else None
    for start in range(0, len(images), CODES_PER_BLOCK):
        rows = np.arange(start, min(start + CODES_PER_BLOCK, len(images)))
        if pca is not None:
            yield rows, latent_codes.pca_codes(images[start : start + CODES_PER_BLOCK], pca)
        else:
            yield rows, latent_codes.normal_codes(len(rows), config.num_dims, seed=[config.seed, start])


def run(setting: Setting, model: Model, loss: tf.Tensor, train_ops: TrainOps) -> None:
    """Take the steps that are left, with checkpoints, summaries and a progress bar, until the run is done or stopped."""
    print(setting.devices.description, flush=True)
    report = _Report(setting, loss)
    with _signals_noted() as stop:
        with _session(setting, model, loss, train_ops, report) as session:
            report.clock.start()
            while _share_done(setting, report.progress) < 1 and not stop.is_set():
                _take_step(setting, model, loss, train_ops, report.progress, session)
        report.close(stopped=stop.is_set())


def _take_step(
    setting: Setting, model: Model, loss: tf.Tensor, train_ops: TrainOps, done: Progress, session: v1.train.MonitoredSession
) -> None:
    """The step after ``done``; where it would make anything infinite or NaN, nothing is updated, and the first such tensor is named."""
    try:
        session.run(train_ops.step, {train_ops.rate_scale: rate_scale(setting.config, _share_done(setting, done))})
    except tf.errors.InvalidArgumentError as error:
        if NOT_FINITE not in str(error):
            raise
        what = session.run_step_fn(lambda step_context: _first_not_finite(setting, model, loss, train_ops, done, step_context.session))
        raise TrainingDiverged(_diverged(setting, what, done.step + 1)) from None


def _first_not_finite(setting: Setting, model: Model, loss: tf.Tensor, train_ops: TrainOps, done: Progress, session: v1.Session) -> str:
    """The step after ``done`` once more, on its own batch and without its updates, tensor by tensor."""
    config, feed = setting.config, {}
    for number, tower in enumerate(model.towers):
        batch = batch_of_step(setting.images, done.step, config.batch_size, config.seed, shard=number, num_shards=config.gpus)
        feed |= {tower.inputs["image"]: batch["image"], tower.inputs["index"]: batch["index"]}
    found = first_not_finite(session, [loss, *train_ops.gradients], feed)
    if found is None:  # it happened in the step and not in its repetition
        return "the loss or a gradient is not finite"
    name, value = found
    return f"the loss is {session.run(loss, feed)}; the first tensor that is not finite is {name} ({spelled(value)})"


def rate_scale(config: TrainConfig, share_done: float) -> float:
    """Factor of both learning rates when a share of the run is done: half a cosine from 1 to 0, or constantly 1.

    Example:
        >>> rate_scale(TrainConfig(), 0.5).__round__(3)
        0.5
    """
    return 0.5 * (1 + float(np.cos(np.pi * share_done))) if config.schedule == "cosine" else 1.0


def _share_done(setting: Setting, progress: Progress) -> float:
    """Of the steps or of the seconds allowed, whichever is further; 1 is the end."""
    config = setting.config
    share = progress.step / config.num_steps(setting.images.num_images)
    return min(1.0, max(share, progress.seconds / config.max_seconds) if config.max_seconds else share)


class _Clock:
    """Seconds of training alone, those of earlier sittings included."""

    def __init__(self, seconds_before: float):
        self._before, self._began = seconds_before, None

    def start(self) -> None:
        self._began = time.perf_counter()

    def seconds(self) -> float:
        return self._before + (0.0 if self._began is None else time.perf_counter() - self._began)


def _session(setting: Setting, model: Model, loss: tf.Tensor, train_ops: TrainOps, report: "_Report") -> v1.train.MonitoredSession:
    config, folder = setting.config, str(setting.run_dir)
    saver = checkpoints.CarefulSaver(restored=setting.checkpoint)
    scaffold = v1.train.Scaffold(saver=saver, init_fn=_assign_codes(setting, model.codes) if model.tables else None)
    with tf.device("/cpu:0"):
        summaries = build_summaries(model, loss)
    before_save = _BeforeSave(setting, model, train_ops, report)
    hooks = [
        report,  # first: what a checkpoint counts as done is in the history
        v1.train.SummarySaverHook(save_steps=config.summary_steps, output_dir=folder, summary_op=summaries),
        v1.train.CheckpointSaverHook(
            folder, save_secs=config.checkpoint_seconds, scaffold=scaffold, listeners=[before_save], save_graph_def=False
        ),
    ]
    return v1.train.MonitoredTrainingSession(
        checkpoint_dir=folder,
        scaffold=scaffold,
        hooks=hooks,
        save_checkpoint_secs=None,  # our own hook, whose listener looks at the variables first
        save_summaries_steps=None,
        log_step_count_steps=None,
        config=setting.devices.session_config,
    )


def _assign_codes(setting: Setting, codes: tf.Variable) -> Callable[[v1.train.Scaffold, v1.Session], None]:
    rows, values = v1.placeholder(tf.int64, [None]), v1.placeholder(tf.float32, [None, setting.config.num_dims])
    assign = v1.scatter_update(codes, rows, values)

    def init_fn(scaffold, session):
        for block_rows, block_values in initial_codes(setting):
            session.run(assign.op, {rows: block_rows, values: block_values})

    return init_fn


def build_summaries(model: Model, loss: tf.Tensor) -> tf.Tensor:
    """What TensorBoard shows: the loss, and grids of originals and reconstructions of the first tower's batch."""
    tower = model.towers[0]
    return v1.summary.merge(
        [
            v1.summary.scalar("loss", loss),
            v1.summary.image("originals", _grid(tower.inputs["image"])),
            v1.summary.image("reconstructions", _grid(tower.reconstructions)),
        ]
    )


def _grid(images: tf.Tensor) -> tf.Tensor:
    """The first images of a batch as one picture, (1, side * height, side * width, 3) in [0, 1]."""
    batch, height, width, channels = images.shape
    side = min(GRID, int(np.sqrt(batch)))
    rows = tf.reshape(images[: side * side], (side, side, height, width, channels))
    return tf.reshape(tf.transpose(rows, (0, 2, 1, 3, 4)), (1, side * height, side * width, channels)) / 2 + 0.5


class _BeforeSave(v1.train.CheckpointSaverListener):
    """Notes time and losses in the checkpoint, and refuses to save variables that are not finite: every checkpoint is a good one."""

    def __init__(self, setting: Setting, model: Model, train_ops: TrainOps, report: "_Report"):
        self._setting, self._report, self._train_ops = setting, report, train_ops
        first = [*model.network, *model.tables]
        known = {variable.op.name for variable in first}
        others = [v for v in v1.global_variables() if v.dtype.base_dtype.is_floating and v.op.name not in known]
        variables = [*first, *others]  # moments and averages too
        self._names = [variable.op.name for variable in variables]
        self._finite = [tf.reduce_all(tf.math.is_finite(variable)) for variable in variables]

    def before_save(self, session, global_step_value):
        self._train_ops.seconds.load(self._report.clock.seconds(), session)
        self._train_ops.unreported.load(self._report.unreported, session)
        bad = [name for name, finite in zip(self._names, session.run(self._finite), strict=True) if not finite]
        if bad:
            raise TrainingDiverged(_diverged(self._setting, f"{bad[0]} is no longer finite", global_step_value))


def _diverged(setting: Setting, what: str, step: int) -> str:
    kept = checkpoints.newest(setting.run_dir)
    left = f"the last good checkpoint, {Path(kept).name}, is kept" if kept else "there was no checkpoint yet"
    return f"at step {step} {what}; {left} in {setting.run_dir}. A lower learning_rate or code_learning_rate usually helps"


@contextmanager
def _signals_noted() -> Iterator[threading.Event]:
    """An event that is set by Ctrl-C or SIGTERM; outside the main thread, where Python takes no signals, by nothing.

    SIGTERM asks the program to end, not only the training: it is sent again to whoever handled it before.
    """
    stop, received = threading.Event(), []
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def note(number, frame):
        received.append(number)
        stop.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if signal.SIGTERM in received:
            signal.raise_signal(signal.SIGTERM)


class _Report(v1.train.SessionRunHook):
    """How far the run has come; progress bar and history of the loss."""

    ROWS = 1000  # about that many lines in history.csv

    def __init__(self, setting: Setting, loss: tf.Tensor):
        config = setting.config
        self._setting, self._loss, self.progress, self.clock = setting, loss, setting.start, _Clock(setting.start.seconds)
        self._folder, self._start = setting.run_dir, setting.start
        self._images_per_step = config.batch_size * config.gpus
        self._steps_per_row = max(1, config.num_steps(setting.images.num_images) // self.ROWS)
        self.unreported = checkpoints.read_values(setting.checkpoint, UNREPORTED_NAME, default=(0, 0))  # sum and number of losses
        self._recent: deque[float] = deque(maxlen=50)
        write_history(self._folder, read_history(self._folder, up_to_step=self._start.step))
        layout = "{percentage:3.0f}%|{bar:24}| {desc}"
        self._bar = progress_bar(total=1.0, bar_format=layout, mininterval=1, miniters=0)
        self._told = 0.0

    def before_run(self, run_context):
        return v1.train.SessionRunArgs(self._loss)

    def after_run(self, run_context, run_values):
        self.progress = Progress(self.progress.step + 1, self.clock.seconds())
        self.add(self.progress, float(run_values.results), _share_done(self._setting, self.progress))

    def add(self, progress: Progress, loss: float, share_done: float) -> None:
        self.unreported = np.add(self.unreported, [loss, 1])
        self._recent.append(loss)
        if progress.step % self._steps_per_row == 0 or share_done == 1:
            append_history(self._folder, HistoryRow(progress.step, progress.seconds, float(self.unreported[0] / self.unreported[1])))
            self.unreported = np.zeros(2)
        # A log file keeps every line: the longer a run has lasted, the rarer they become.
        if progress.seconds - self._told > max(1.0, progress.seconds / 100) or share_done == 1:
            self._tell(progress, share_done)

    def _tell(self, progress: Progress, share_done: float) -> None:
        self._told = progress.seconds
        speed = (progress.step - self._start.step) * self._images_per_step / max(progress.seconds - self._start.seconds, 1e-9)
        left = tqdm.format_interval(progress.seconds * (1 / share_done - 1))
        self._bar.n = share_done
        self._bar.set_description_str(f"step {progress.step}, loss {np.mean(self._recent):.4f}, {speed:,.0f} images/s, {left} left")

    def close(self, stopped: bool) -> None:
        self._bar.close()
        if stopped:
            print(f"stopped and saved in {self._folder}; the same call goes on from here", flush=True)
