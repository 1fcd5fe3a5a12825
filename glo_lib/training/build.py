"""The training graph: the model on its towers, the loss, and the operations of a training step."""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from glo_lib.codes import RowwiseAdam, RowwiseSgd, create_codes, fit_pca, large_zeros, look_up_rows, normal_codes, pca_codes
from glo_lib.config import TrainConfig
from glo_lib.decoder import decoder
from glo_lib.graph.backend import tf, v1
from glo_lib.graph.devices import Devices, choose_devices, codes_device
from glo_lib.graph.finite import Gradient, assert_finite
from glo_lib.graph.half_precision import LossScaling, in_precision
from glo_lib.graph.layers import conv2d_transpose, kernel_gradients_for
from glo_lib.graph.session import open_session
from glo_lib.graph.slim import slim
from glo_lib.images.pixels import slices
from glo_lib.inputs import DecodedImages, Inputs, get_inputs_of_towers, get_inputs_on_devices, to_tower
from glo_lib.losses import get_loss
from glo_lib.projection import get_projection, project, project_ball
from glo_lib.recipe import Phase
from glo_lib.runs.folder import SECONDS_NAME, UNREPORTED_NAME
from glo_lib.runs.run import Run
from glo_lib.system.progress import slow_progress
from glo_lib.training.schedule import phase_of
from glo_lib.vae import Posterior, encoder, negative_elbo, noise_variance, reparameterise

CODES_PER_BLOCK = 4096
BATCH_NORM_DECAY = 0.99
SMALLEST_SCALE = 1e-6  # standard deviation of the first principal component, in units of [-1, 1]
LossFunction = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # of images and reconstructions
LAYERS = {"fast": conv2d_transpose, "slim": slim.conv2d_transpose}


class Setting(NamedTuple):
    """Everything that must be known before the graph is built.

    Attributes:
        config: the settings.
        devices: the devices of the towers and of the parameters.
        images: the training images.
        run: the run folder, its newest checkpoint, and its progress.
    """

    config: TrainConfig
    devices: Devices
    images: DecodedImages
    run: Run

    @property
    def phase(self) -> Phase:
        """The phase of the run at its newest checkpoint."""
        return phase_of(self.config, self.images, self.run.progress)

    @property
    def codes_device(self) -> str:
        """Where the table of codes and its two moments sit; with several machines, the parameter servers."""
        if self.devices.servers:
            return ", ".join(self.devices.servers)
        num_bytes = 12 * self.images.num_images * self.config.num_dims
        return codes_device(self.devices, num_bytes, self.config.gpu_code_megabytes * 2**20)


class Tower(NamedTuple):
    """The model on one device.

    Attributes:
        inputs: the tower's part of the batch, see `glo_lib.inputs.get_inputs_of_towers`.
        latent_z: (batch, d) latent codes, projected.
        reconstructions: (batch, size, size, 3) decoded images in [-1, 1].
        batch_norm_updates: operations that update the moving averages from this tower's batch.
        posterior: Gaussians over codes from the encoder of a VAE; None for GLO.
    """

    inputs: Inputs
    latent_z: tf.Tensor
    reconstructions: tf.Tensor
    batch_norm_updates: list[tf.Operation]
    posterior: Posterior | None = None


class Model(NamedTuple):
    """The towers and the variables that they share.

    Attributes:
        codes: (N, d) table of latent codes; None for a VAE, and where it is split.
        decoder_variables: variables of the decoder.
        towers: one tower per device.
        encoder_variables: variables of the encoder of a VAE; empty for GLO.
        code_parts: with several machines, the parts of the table of codes, by rows.
    """

    codes: tf.Variable | None
    decoder_variables: list[tf.Variable]
    towers: list[Tower]
    encoder_variables: list[tf.Variable] = []  # noqa: RUF012 - never modified
    code_parts: list[tf.Variable] = []  # noqa: RUF012 - never modified

    @property
    def network(self) -> list[tf.Variable]:
        """Variables of the networks, whose size does not depend on the number of images."""
        return [*self.decoder_variables, *self.encoder_variables]

    @property
    def weights(self) -> list[tf.Variable]:
        """Variables of the networks that are trained, without the statistics of batch normalisation."""
        return [variable for variable in self.network if variable.trainable]

    @property
    def tables(self) -> list[tf.Variable]:
        """Variables with one row per image."""
        return self.code_parts if self.codes is None else [self.codes]


class TrainOps(NamedTuple):
    """The operations of a training step, their placeholder, and the variables that checkpoints store in addition to the model.

    Attributes:
        step: operation that takes one training step.
        gradients: gradients of the loss with respect to the network's weights, followed by those with respect to the codes.
        global_step: variable that counts the steps taken.
        step_after: the number of steps after this one.
        rate_scale: placeholder for the factor of both learning rates.
        seconds: variable that stores the seconds of training.
        unreported: (2,) variable that stores the sum and the number of the losses since the last row of the history.
    """

    step: tf.Operation
    gradients: list[tf.Tensor | tf.IndexedSlices]
    global_step: tf.Variable
    step_after: tf.Tensor
    rate_scale: tf.Tensor
    seconds: tf.Variable
    unreported: tf.Variable


class TrainGraph(NamedTuple):
    """The results of `build_model`, `build_loss` and `build_train_ops`."""

    model: Model
    loss: tf.Tensor
    train_ops: TrainOps


def build_model(setting: Setting) -> Model:
    """Build the towers. They share the codes, the decoder and (for a VAE) the encoder; the codes have a device of their own."""
    with tf.device("/cpu:0"):
        v1.train.create_global_step()
    codes, code_parts = create_table(setting)
    with v1.name_scope("inputs"):
        batches = build_inputs(setting)
    places = itertools.cycle(setting.devices.servers or [setting.devices.parameters])
    tables = code_parts if codes is None else codes
    towers = [build_tower(setting, tables, number, batch, places) for number, batch in enumerate(batches)]
    return Model(codes, v1.global_variables("decoder"), towers, v1.global_variables("encoder"), code_parts)


def create_table(setting: Setting) -> tuple[tf.Variable | None, list[tf.Variable]]:
    """Create the table of codes (N, d), and return it and its parts; with several machines there are only parts, for a VAE neither."""
    shape = setting.images.num_images, setting.config.num_dims
    if setting.config.model == "vae":
        return None, []
    if setting.devices.servers:
        return None, create_codes(*shape, setting.devices.servers)
    with tf.device(setting.codes_device):
        return v1.get_variable("codes", shape, initializer=large_zeros, use_resource=True), []


def build_inputs(setting: Setting) -> list[Inputs]:
    """Build the batch of each tower: images and their indices. On several machines each worker reads its own."""
    config, devices = setting.config, setting.devices
    if not devices.servers:
        return get_inputs_of_towers(setting.images, config.batch_size, config.gpus, config.seed, setting.run.progress.step)
    hosts = [f"{tower.rpartition('/')[0]}/cpu:0" for tower in devices.towers]
    with tf.device("/cpu:0"):
        return get_inputs_on_devices(setting.images, config.batch_size, hosts, v1.train.get_global_step(), config.seed)


def build_tower(
    setting: Setting, codes: tf.Variable | Sequence[tf.Variable] | None, number: int, batch: Inputs, places: Iterator[str]
) -> Tower:
    """Build one tower: take its part of the batch, look up its codes (for a VAE: encode it), and decode them.

    Args:
        setting: everything that is known before.
        codes: the table of codes, or its parts on several machines; None, or no parts, for a VAE.
        number: of the tower.
        batch: its part of the batch.
        places: endless; the devices of the variables that this tower creates, one after the other.
    """
    with v1.device(_place_variables_on(places, setting.devices.towers[number])), v1.name_scope(f"tower_{number}"):
        inputs = to_tower(batch)
        updates_before = set(v1.get_collection(v1.GraphKeys.UPDATE_OPS))
        if setting.config.model == "vae":
            latent_z, posterior = draw_codes(setting, inputs["image"], number)
        else:
            latent_z, posterior = look_up_codes(setting, codes, inputs["index"]), None
        reconstructions = decode_codes(setting, latent_z, reuse=number > 0)
        updates = [op for op in v1.get_collection(v1.GraphKeys.UPDATE_OPS) if op not in updates_before]
    return Tower(inputs, latent_z, reconstructions, updates, posterior)


def look_up_codes(setting: Setting, codes: tf.Variable | Sequence[tf.Variable], index: tf.Tensor) -> tf.Tensor:
    """GLO: gather the batch's rows of the table and project them; return (batch, d) latent codes."""
    if setting.devices.servers:
        rows = look_up_rows(codes, index)  # (batch, d)
    else:
        with tf.device(setting.codes_device):
            rows = tf.gather(codes, index)  # (batch, d)
    return get_projection(setting.config.projection)(rows)


def decode_codes(setting: Setting, latent_z: tf.Tensor, reuse: bool) -> tf.Tensor:
    """Build the decoder in training mode, in the precision of the devices.

    Args:
        setting: everything that is known before.
        latent_z: (batch, d) projected codes.
        reuse: use the variables of the first tower instead of creating them.

    Returns:
        (batch, size, size, 3) reconstructions.
    """
    config, devices = setting.config, setting.devices
    decode = functools.partial(
        decoder,
        num_filters=config.num_filters,
        kernel_size=config.kernel_size,
        batch_norm_decay=batch_norm_decay(),
        reuse=reuse,
        layer=LAYERS[devices.route],
    )
    with kernel_gradients_for(devices.rewrite_precision):
        return in_precision(decode, latent_z, devices.cast_precision)


def draw_codes(setting: Setting, images: tf.Tensor, number: int) -> tuple[tf.Tensor, Posterior]:
    """VAE: encode the batch and draw a latent code per image; return (batch, d) codes and the posterior.

    The noise is a function of seed, step and tower number, so a resumed run draws the same codes as an uninterrupted one.
    """
    config = setting.config
    encode = functools.partial(
        encoder,
        num_dims=config.num_dims,
        num_filters=config.num_filters,
        kernel_size=config.kernel_size,
        batch_norm_decay=batch_norm_decay(),
        reuse=number > 0,
    )
    posterior = in_precision(encode, images, setting.devices.cast_precision)
    draw = tf.cast(v1.train.get_global_step(), tf.int64) * config.gpus + number
    return reparameterise(posterior, seed=tf.stack([tf.constant(config.seed, tf.int64), draw])), posterior


def batch_norm_decay() -> tf.Tensor:
    """Return the decay of the batch-norm moving averages: (1 + step) / (10 + step), and at most the blog post's 0.99.

    The moving variance is initialised to one, but the variance in the first layer is a thousand times smaller. With a constant decay, the
    initial value would dominate for about 1,500 steps, and during that time the decoder in inference mode would generate dark, blurred
    images.
    """
    step = tf.cast(v1.train.get_global_step(), tf.float32)
    return tf.minimum(BATCH_NORM_DECAY, (1 + step) / (10 + step))


def _place_variables_on(places: Iterator[str], device: str) -> Callable[[tf.Operation], str]:
    """Return a device function that gives each new variable the next place, and everything else the tower's device.

    TensorFlow runs an operation on a variable where the variable is, so that is the device that such an operation gets.
    """

    def place(op: tf.Operation) -> str:
        if op.type == "VarHandleOp":
            return next(places)
        if op.inputs and op.inputs[0].dtype == tf.resource:
            return op.inputs[0].device
        return device

    return place


def build_loss(setting: Setting, model: Model) -> tf.Tensor:
    """Build the mean of the towers' losses in the present phase, a scalar. The loss of a VAE includes the KL divergence."""
    loss_function = _loss_function(setting)
    losses = []
    for number, tower in enumerate(model.towers):
        with tf.device(tower.reconstructions.device), v1.name_scope(f"loss_{number}"):
            losses.append(_tower_loss(setting.config, tower, loss_function))
        v1.add_to_collection(v1.GraphKeys.LOSSES, losses[-1])
    return tf.add_n(losses) / len(losses)


def _loss_function(setting: Setting) -> LossFunction:
    config = setting.config
    with tf.device("/cpu:0"):
        seed = tf.stack([tf.constant(config.seed, tf.int64), tf.cast(v1.train.get_global_step(), tf.int64)])
    return get_loss(setting.phase.loss, perceptual={"num_blocks": config.perceptual_blocks, "seed": seed})


def _tower_loss(config: TrainConfig, tower: Tower, loss_function: LossFunction) -> tf.Tensor:
    images, reconstructions = tower.inputs["image"], tower.reconstructions
    if tower.posterior is None:
        return loss_function(images, reconstructions)
    kl_weight = noise_variance(images, reconstructions) if config.learned_noise else config.kl_weight
    return negative_elbo(images, reconstructions, tower.posterior, kl_weight, loss_function)


def build_train_ops(setting: Setting, model: Model, loss: tf.Tensor) -> TrainOps:
    """Build the training step: an optimizer for the networks and one for the codes, batch-norm updates, and the average of the weights.

    All updates depend on a check that the loss and the gradients are finite, so a step that fails the check changes nothing.
    """
    with tf.device("/cpu:0"):
        global_step = v1.train.get_global_step()
        seconds, unreported = create_records()
        rate_scale = v1.placeholder_with_default(np.float32(1), [], name="rate_scale")
    optimizers = build_optimizers(setting.config, rate_scale)
    scaling = LossScaling() if setting.devices.precision == "float16" else None
    gradients = build_gradients(setting, model, loss, optimizers[0], scaling)
    all_finite = assert_finite(loss, gradients, scaling.may_overflow() if scaling else None)
    with tf.control_dependencies([all_finite]):
        updates = build_updates(model, gradients, optimizers, scaling)
        # A step without updates, because float16 overflowed, counts too:
        # the batch of a step is a function of its number.
        with tf.control_dependencies(updates), tf.device("/cpu:0"):
            step_after = tf.identity(v1.assign_add(global_step, 1))
    updates = [*updates, step_after.op]
    with tf.control_dependencies(updates):
        updates += update_averages(setting, model, global_step)
    return TrainOps(tf.group(*updates), gradients, global_step, step_after, rate_scale, seconds, unreported)


def create_records() -> tuple[tf.Variable, tf.Variable]:
    """Create the variables that a checkpoint stores for the reports: the seconds of training, and (2,) the losses not yet reported."""
    settings = {"trainable": False, "use_resource": True}
    seconds = v1.get_variable(SECONDS_NAME, initializer=np.float64(0), **settings)
    return seconds, v1.get_variable(UNREPORTED_NAME, initializer=np.zeros(2), **settings)


def build_gradients(
    setting: Setting, model: Model, loss: tf.Tensor, optimizer: v1.train.Optimizer, scaling: LossScaling | None = None
) -> list[Gradient]:
    """Build the gradients of the loss with respect to the network's weights, followed by those with respect to the codes.

    Args:
        setting: everything that is known before.
        model: the towers and the variables that they share.
        loss: the mean of the towers' losses.
        optimizer: of the network; it puts each gradient on the device of the operation to which it belongs.
        scaling: of the loss, for float16.
    """
    variables = [*model.weights, *model.tables]
    if setting.devices.servers:
        gradients = gradients_on_servers(variables, (lambda mean: mean) if scaling is None else scaling.scaled)
    else:
        target = loss if scaling is None else scaling.scaled(loss)
        found = optimizer.compute_gradients(target, variables, colocate_gradients_with_ops=True)
        gradients = [gradient for gradient, _ in found]
    return gradients if scaling is None else scaling.unscaled(gradients)


def build_updates(
    model: Model,
    gradients: Sequence[Gradient],
    optimizers: tuple[v1.train.Optimizer, v1.train.Optimizer],
    scaling: LossScaling | None = None,
) -> list[tf.Operation]:
    """Build the updates of one step: of the network's weights, of the batch's rows of the codes, and of the batch-norm averages.

    Args:
        model: the towers and the variables that they share.
        gradients: from `build_gradients`.
        optimizers: of the network and of the codes, from `build_optimizers`.
        scaling: of the loss, for float16; a gradient that has overflowed then changes nothing.
    """
    network_optimizer, code_optimizer = optimizers
    num_weights = len(model.weights)

    def update() -> list[tf.Operation]:
        of_weights = zip(gradients[:num_weights], model.weights, strict=True)
        of_codes = zip(gradients[num_weights:], model.tables, strict=True)
        updates = [network_optimizer.apply_gradients(of_weights)]
        if model.tables:
            updates.append(code_optimizer.apply_gradients(of_codes))
        # All towers share the moving averages. Only the first tower updates them, once per step.
        return updates + [_repeat_update(each) for each in model.towers[0].batch_norm_updates]

    return update() if scaling is None else [scaling.apply_if_finite(gradients, lambda: tf.group(*update()))]


def update_averages(setting: Setting, model: Model, global_step: tf.Variable) -> list[tf.Operation]:
    """Build the updates of the averages of the network's weights; none with a single tower."""
    config = setting.config
    if config.gpus == 1 or not config.average_decay:
        return []
    return _apply_in_place(weight_average(config, global_step), model.network)


def gradients_on_servers(variables: Sequence[tf.Variable], scaled: Callable[[tf.Tensor], tf.Tensor]) -> list[Gradient]:
    """Build the gradients of the mean loss, each summed over the towers where its variable is.

    TensorFlow would sum them in the process that trains, so that every gradient would travel twice.

    Args:
        variables: of the network, and the parts of the table of codes.
        scaled: applied to each tower's share of the loss.
    """
    losses = v1.get_collection(v1.GraphKeys.LOSSES)
    of_towers = []
    for loss in losses:
        with tf.device(loss.device):
            share = scaled(loss / len(losses))
        of_towers.append(v1.gradients(share, variables, colocate_gradients_with_ops=True))
    gradients = []
    for variable, parts in zip(variables, zip(*of_towers, strict=True), strict=True):
        with tf.device(variable.device):
            gradients.append(_sum_of(parts))
    return gradients


def _sum_of(gradients: Sequence[Gradient]) -> Gradient:
    if not isinstance(gradients[0], tf.IndexedSlices):
        return tf.add_n(gradients)
    values, indices = (tf.concat([getattr(gradient, name) for gradient in gradients], axis=0) for name in ("values", "indices"))
    return tf.IndexedSlices(values, indices, gradients[0].dense_shape)


def _apply_in_place(average: v1.train.ExponentialMovingAverage, variables: Sequence[tf.Variable]) -> list[tf.Operation]:
    """Build the updates of the averages where the variables are.

    Otherwise weights and averages would travel at every step, to the first GPU or, with several machines, to the chief, and back.
    """
    updates = []
    with v1.name_scope(average.name):
        for variable in variables:
            with tf.device(variable.device):
                updates.append(average.apply([variable]))
    return updates


def build_optimizers(config: TrainConfig, rate_scale: tf.Tensor) -> tuple[v1.train.Optimizer, v1.train.Optimizer]:
    """Build the optimizer of the decoder and that of the codes, which re-projects the rows that it has moved."""
    decoder_rate, code_rate = rate_scale * config.learning_rate, rate_scale * config.code_learning_rate
    re_project = {"sphere": _project_to_initial_sphere(config), "ball": project_ball, "none": None}[config.projection]
    if config.optimizer == "sgd":
        code_rate *= config.gpus  # the loss is the mean over the towers, and an image is in the batch of one of them
        return v1.train.GradientDescentOptimizer(decoder_rate, name="DecoderSgd"), RowwiseSgd(code_rate, re_project, name="CodeSgd")
    if config.projection == "ball":
        # Adam's steps do not depend on the size of the gradient. In the unit ball they have to be as much smaller as the codes are.
        code_rate /= float(np.sqrt(config.num_dims))
    return v1.train.AdamOptimizer(decoder_rate, name="DecoderAdam"), RowwiseAdam(code_rate, project=re_project, name="CodeAdam")


def _repeat_update(update: tf.Operation) -> tf.Operation:
    """Build the update of a moving average again, with the control dependencies of the current block.

    The layer built its own update without them, so a step that is refused because a gradient is not finite would still change the average.
    """
    variable, difference = update.inputs
    with tf.device(variable.device):
        return tf.raw_ops.AssignSubVariableOp(resource=variable, value=tf.identity(difference))


def weight_average(config: TrainConfig, num_updates: tf.Tensor | None = None) -> v1.train.ExponentialMovingAverage:
    """Return the moving average of the networks' weights and batch-norm statistics.

    The codes are not averaged, because this would cost O(N d) per step. Early in a run the decay is (1 + step) / (10 + step), which is
    lower than ``average_decay``, so that the initial weights lose their influence.
    """
    return v1.train.ExponentialMovingAverage(config.average_decay, num_updates=num_updates)


def _project_to_initial_sphere(config: TrainConfig) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return a projection onto the sphere of radius sqrt(d), because the norm of codes from N(0, I) is close to sqrt(d).

    Codes on the sphere are re-projected after each update. Otherwise their norms would grow, and the same learning rate would turn them
    less and less (chapter on projection).

    With this radius an entry of a code has the same magnitude for every d, so the same code learning rate suits every d.
    """
    radius = float(np.sqrt(config.num_dims))
    return lambda rows: project(rows) * radius


def initial_codes(setting: Setting) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the initial table of codes as blocks (rows, values), so that no second table of this size has to fit in memory."""
    config, images = setting.config, setting.images.array()
    with slow_progress("principal components"):
        pca = fit_pca(images, config.num_dims, config.seed) if config.code_init == "pca" else None
    if pca is not None and pca.scales[0] < SMALLEST_SCALE:
        pca = None  # copies of one image: all codes would be zero, and the zero vector has no direction in which it could be moved
    for part in slices(len(images), CODES_PER_BLOCK):
        rows = np.arange(part.start, part.stop)
        if pca is not None:
            yield rows, pca_codes(images[part], pca)
        else:
            yield rows, normal_codes(len(rows), config.num_dims, seed=[config.seed, part.start])


def initial_weights(setting: Setting) -> dict[str, np.ndarray]:
    """Draw the initial weights of the networks, by name: those of a run with as many towers on one machine.

    TensorFlow's random numbers depend on the operations that the graph has before them, and the graph of several machines has others.
    """
    config = setting.config
    alone = setting._replace(devices=choose_devices(config.gpus, "float32", setting.devices.route))
    with tf.Graph().as_default():
        v1.set_random_seed(config.seed)
        network = build_model(alone).network
        with open_session(alone.devices.session_config) as session:
            session.run([variable.initializer for variable in network])
            return dict(zip([variable.op.name for variable in network], session.run(network), strict=True))
