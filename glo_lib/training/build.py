"""The training graph: the model on its towers, the loss, and the operations of a training step."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from glo_lib.codes import RowwiseAdam, fit_pca, large_zeros, normal_codes, pca_codes
from glo_lib.config import TrainConfig
from glo_lib.decoder import decoder
from glo_lib.graph.backend import tf
from glo_lib.graph.devices import Devices
from glo_lib.graph.finite import assert_finite
from glo_lib.graph.layers import conv2d_transpose, kernel_gradients_for
from glo_lib.images.pixels import slices
from glo_lib.inputs import DecodedImages, Inputs, get_inputs_dataset
from glo_lib.losses import get_loss
from glo_lib.projection import get_projection, project
from glo_lib.runs.folder import SECONDS_NAME, UNREPORTED_NAME
from glo_lib.runs.run import Run
from glo_lib.vae import Posterior, encoder, negative_elbo, reparameterise

v1 = tf.compat.v1
CODES_PER_BLOCK = 4096
BATCH_NORM_DECAY = 0.99


class Setting(NamedTuple):
    """All that is decided before the graph is built.

    Attributes:
        config: the settings.
        devices: where the towers run.
        images: the training images.
        run: the run folder, its newest checkpoint, and how far the run has come.
    """

    config: TrainConfig
    devices: Devices
    images: DecodedImages
    run: Run


class Tower(NamedTuple):
    """The model on one device.

    Attributes:
        inputs: the tower's part of the batch, see `glo_lib.inputs.get_inputs_dataset`.
        latent_z: (batch, d) latent codes, projected.
        reconstructions: (batch, size, size, 3).
        batch_norm_updates: updates of the moving averages from this tower's batch.
        posterior: of a VAE.
    """

    inputs: Inputs
    latent_z: tf.Tensor
    reconstructions: tf.Tensor
    batch_norm_updates: list[tf.Operation]
    posterior: Posterior | None = None


class Model(NamedTuple):
    """The towers and what they share.

    Attributes:
        codes: (N, d) the table of latent codes; None in a VAE.
        decoder_variables: variables of the decoder.
        towers: one for each device.
        encoder_variables: variables of a VAE's encoder.
    """

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
    """The operations of a training step, what is fed to them, and what checkpoints store beside the model.

    Attributes:
        step: one training step.
        gradients: of the loss, for the network's weights and then the codes.
        global_step: number of steps taken.
        rate_scale: placeholder for the factor of both learning rates.
        seconds: variable for the seconds of training.
        unreported: (2,) variable for the sum and number of losses since the last row of the history.
    """

    step: tf.Operation
    gradients: list[tf.Tensor | tf.IndexedSlices]
    global_step: tf.Variable
    rate_scale: tf.Tensor
    seconds: tf.Variable
    unreported: tf.Variable


class TrainGraph(NamedTuple):
    """What the three building steps made: `build_model`, `build_loss`, `build_train_ops`."""

    model: Model
    loss: tf.Tensor
    train_ops: TrainOps


def build_model(setting: Setting) -> Model:
    """Build the codes (of a VAE: the encoder) and the decoder on the parameter device, and a tower on each device."""
    config, devices, images = setting.config, setting.devices, setting.images
    with tf.device("/cpu:0"):
        v1.train.create_global_step()
    codes = None
    if config.model == "glo":
        with tf.device(devices.parameters):
            codes = v1.get_variable("codes", [images.num_images, config.num_dims], initializer=large_zeros, use_resource=True)
    towers = [build_tower(setting, codes, number) for number in range(config.gpus)]
    return Model(codes, v1.global_variables("decoder"), towers, v1.global_variables("encoder"))


def build_tower(setting: Setting, codes: tf.Variable | None, number: int) -> Tower:
    """Build one tower, the way of the data through the model: read a batch, look up its codes, decode them."""
    config, devices = setting.config, setting.devices
    with v1.device(_variables_on(devices.parameters, devices.towers[number])), v1.name_scope(f"tower_{number}"):
        inputs = get_inputs_dataset(
            setting.images, config.batch_size, config.seed, setting.run.progress.step, shard=number, num_shards=config.gpus
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
    """Decay of the moving averages: the post's 0.99, and less at first, (1 + step) / (10 + step).

    The moving variance starts at one, and the first layer's true variance is a thousand times smaller. With a constant decay it takes some
    1,500 steps until the start is forgotten, and until then a decoder in inference mode draws dark, blurred images.
    """
    step = tf.cast(v1.train.get_global_step(), tf.float32)
    return tf.minimum(BATCH_NORM_DECAY, (1 + step) / (10 + step))


def _variables_on(parameters: str, device: str) -> Callable[[tf.Operation], str]:
    """Device function: variables live on one device, everything else on the tower's."""
    return lambda op: parameters if op.type == "VarHandleOp" else device


def build_loss(config: TrainConfig, model: Model) -> tf.Tensor:
    """Build the mean of the towers' losses, a scalar; a VAE's loss includes the KL divergence."""
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
    """Build a step: Adam for the decoder, row-wise Adam for the codes, batch-norm updates, and the average of the weights."""
    config = setting.config
    with tf.device("/cpu:0"):
        global_step = v1.train.get_global_step()
        seconds = v1.get_variable(SECONDS_NAME, initializer=np.float64(0), trainable=False, use_resource=True)
        unreported = v1.get_variable(UNREPORTED_NAME, initializer=np.zeros(2), trainable=False, use_resource=True)
        rate_scale = v1.placeholder_with_default(np.float32(1), [], name="rate_scale")
    weights = [variable for variable in model.network if variable.trainable]
    decoder_optimizer = v1.train.AdamOptimizer(rate_scale * config.learning_rate, name="DecoderAdam")
    # Re-projected rows keep their norm: otherwise it would only grow, and slow the codes down (chapter on projection).
    re_project = _onto_sphere_of_start(config) if config.projection == "sphere" else None
    code_optimizer = RowwiseAdam(rate_scale * config.code_learning_rate, project=re_project, name="CodeAdam")
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
    """Average of the network's weights and batch-norm statistics; the codes are left out, because their average would cost O(N d) per step.

    Early in a run the decay is lower, (1 + step) / (10 + step), so that the average forgets the start.
    """
    return v1.train.ExponentialMovingAverage(config.average_decay, num_updates=num_updates)


def _onto_sphere_of_start(config: TrainConfig) -> Callable[[tf.Tensor], tf.Tensor]:
    """Onto the sphere of radius sqrt(d), where unit-Gaussian codes start: the code rate then means the same for every d."""
    radius = float(np.sqrt(config.num_dims))
    return lambda rows: project(rows) * radius


def initial_codes(setting: Setting) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield blocks (rows, values) of the first table of codes, so that no second table of that size is ever made."""
    config, images = setting.config, setting.images.array()
    pca = fit_pca(images, config.num_dims, config.seed) if config.code_init == "pca" else None
    for part in slices(len(images), CODES_PER_BLOCK):
        rows = np.arange(part.start, part.stop)
        if pca is not None:
            yield rows, pca_codes(images[part], pca)
        else:
            yield rows, normal_codes(len(rows), config.num_dims, seed=[config.seed, part.start])
