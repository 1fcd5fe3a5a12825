"""What a training step takes, counted from the decoder's graph: operations, bytes that are computed, sent and kept. Nothing is trained.

`glo_lib.training.scaling` turns these counts into seconds.
"""

from typing import NamedTuple

from glo_lib.config import TrainConfig
from glo_lib.decoder import decoder
from glo_lib.graph.backend import tf, v1
from glo_lib.graph.costs import layer_costs

STEP_FACTOR = 3  # forward, gradients for the inputs, gradients for the kernels
FLOAT, INDEX = 4, 8  # bytes
TABLES = 3  # the codes and Adam's two moments


class Work(NamedTuple):
    """What one tower computes and moves in a step.

    Attributes:
        batch_size: images B of the tower.
        flops_per_image: floating-point operations of a step for each image; a multiplication and an addition count as two.
        maps_per_image: bytes of the feature maps, which all layers together put out for an image.
        variable_bytes: for each variable of the decoder, in the order in which they are created, the bytes that a tower fetches in a step;
            zero for the moving averages of batch normalisation, which training does not read.
        row_bytes: the rows of codes of the batch.
        image_bytes: the images of the batch, as bytes.
    """

    batch_size: int
    flops_per_image: int
    maps_per_image: int
    variable_bytes: tuple[int, ...]
    row_bytes: int
    image_bytes: int

    @property
    def flops(self) -> int:
        """Floating-point operations of the tower in a step."""
        return self.batch_size * self.flops_per_image

    @property
    def map_bytes(self) -> int:
        """Bytes of the feature maps of the whole batch."""
        return self.batch_size * self.maps_per_image

    @property
    def decoder_bytes(self) -> int:
        """Bytes of the decoder's weights, which are those of its gradients, too."""
        return sum(self.variable_bytes)

    @property
    def sent_bytes(self) -> int:
        """What crosses the network for this tower in a step: weights and rows to it, gradients of both from it, and the rows' numbers."""
        return 2 * (self.decoder_bytes + self.row_bytes) + 2 * INDEX * self.batch_size

    def busiest_server(self, servers: int) -> float:
        """Return the share of the decoder's bytes on the parameter server that has most of them.

        Whole variables are dealt out to the servers in turn, so more servers do not help beyond the largest variable.

        Example:
            >>> Work(1, 0, 0, (60, 10, 20, 10), 0, 0).busiest_server(2)
            0.8
        """
        return max(sum(self.variable_bytes[first::servers]) for first in range(servers)) / self.decoder_bytes


def work_of(config: TrainConfig) -> Work:
    """Count what one tower of a GLO run takes in a step.

    The operations are those of the layers (`glo_lib.graph.costs.layer_costs`); a training step takes three times as many as decoding,
    because the gradients for the inputs and for the kernels of a layer each take as many as the layer. Batch normalisation, activations,
    losses and the update of the variables are not counted as operations: they are limited by memory, for which the bytes of the feature
    maps stand.

    Args:
        config: the settings.

    Raises:
        ValueError: the settings are those of a VAE.

    Example:
        >>> work = work_of(TrainConfig(image_size=32, num_dims=64, batch_size=32))
        >>> work.flops_per_image, work.decoder_bytes
        (60850176, 2533644)
    """
    if config.model != "glo":
        raise ValueError(f"model is {config.model!r}; only the costs of glo are known")
    with tf.Graph().as_default() as graph:
        decoder(tf.zeros([1, config.num_dims]), config.num_filters, config.kernel_size)
        variables = v1.global_variables("decoder")
        layers = layer_costs(graph)
    return Work(
        batch_size=config.batch_size,
        flops_per_image=STEP_FACTOR * sum(layer.flops for layer in layers),
        maps_per_image=FLOAT * sum(tf.TensorShape(layer.shape).num_elements() for layer in layers),
        variable_bytes=tuple(FLOAT * variable.shape.num_elements() * variable.trainable for variable in variables),
        row_bytes=FLOAT * config.batch_size * config.num_dims,
        image_bytes=config.batch_size * 3 * config.image_size**2,
    )


def table_bytes(num_images: int, num_dims: int) -> int:
    """Return the bytes of the table of codes with Adam's two moments and the number of visits of each row.

    Example:
        >>> table_bytes(20_000_000, 32)
        7760000000
    """
    return FLOAT * num_images * (TABLES * num_dims + 1)
