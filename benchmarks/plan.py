"""What a run will take, computed from its graph: floating-point operations, bytes, and a range of times for given speeds.

The operations are those of the layers (`glo_lib.graph.costs.layer_costs`); a training step takes three times as many as decoding, because
the gradients for the inputs and for the kernels of a layer each take as many as the layer. Batch normalisation, activations, losses and
the update of the variables are not counted: they are limited by memory, and lower the speed that a machine reaches, which is measured.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from glo_lib.config import TrainConfig
from glo_lib.decoder import decoder
from glo_lib.graph.backend import tf
from glo_lib.graph.costs import layer_costs
from glo_lib.images.release import PART_SIZES

v1 = tf.compat.v1
PRESET = Path(__file__).parents[1] / "book" / "params" / "celeba128.yaml"
STEP_FACTOR = 3  # forward, gradients for the inputs, gradients for the kernels
FLOAT = 4  # bytes


class Plan(NamedTuple):
    """What a run takes.

    Attributes:
        config: the settings.
        num_images: N, the number of training images.
        steps: number of steps.
        flops_per_image: floating-point operations of a training step for each image.
        parameters: number of entries of the decoder's trainable variables.
        code_bytes: table of codes and Adam's two moments.
        decoder_bytes: weights, Adam's two moments and, with several towers, the averages.
        cache_bytes: decoded images on the disk.
        batch_bytes: images that a step sends to the towers, as bytes.
        row_bytes: rows of codes and their gradients that a step reads and writes.
        gradient_bytes: gradients of the decoder that each tower hands over in a step.
    """

    config: TrainConfig
    num_images: int
    steps: int
    flops_per_image: int
    parameters: int
    code_bytes: int
    decoder_bytes: int
    cache_bytes: int
    batch_bytes: int
    row_bytes: int
    gradient_bytes: int

    @property
    def images(self) -> int:
        """Number of images seen in the whole run, repetitions included."""
        return self.steps * self.config.batch_size * self.config.gpus

    @property
    def flops(self) -> int:
        """Floating-point operations of the whole run."""
        return self.images * self.flops_per_image

    @property
    def checkpoint_bytes(self) -> int:
        """Size of a checkpoint."""
        return self.code_bytes + self.decoder_bytes

    def seconds(self, flops_per_second: float) -> float:
        """Return the seconds of the run if each tower computes so many floating-point operations in a second."""
        return self.flops / (flops_per_second * self.config.gpus)


def make_plan(config: TrainConfig, num_images: int) -> Plan:
    """Compute what a run takes; nothing is trained.

    Args:
        config: the settings, of a GLO run.
        num_images: number of training images.

    Raises:
        ValueError: the settings are those of a VAE, or do not fit the images.

    Example:
        ``make_plan(TrainConfig(image_size=128, gpus=4), 162_770).flops``
    """
    if config.model != "glo":
        raise ValueError(f"model is {config.model!r}; the plan knows the costs of glo alone")
    config.check_fits(num_images)
    with tf.Graph().as_default() as graph:
        decoder(tf.zeros([1, config.num_dims]), config.num_filters, config.kernel_size)
        parameters = sum(variable.shape.num_elements() for variable in v1.trainable_variables())
        flops = STEP_FACTOR * sum(layer.flops for layer in layer_costs(graph))
    batch, copies = config.batch_size * config.gpus, 4 if config.gpus > 1 else 3
    pixels = 3 * config.image_size**2
    return Plan(
        config, num_images, config.num_steps(num_images), flops, parameters,
        code_bytes=3 * FLOAT * num_images * config.num_dims, decoder_bytes=copies * FLOAT * parameters, cache_bytes=num_images * pixels,
        batch_bytes=batch * pixels, row_bytes=2 * 3 * FLOAT * batch * config.num_dims, gradient_bytes=FLOAT * parameters,
    )  # fmt: skip


def read_plan(arguments: Sequence[str]) -> tuple[Plan, tuple[float, float] | None]:
    """Read a plan from arguments such as ``gpus=4``; the other settings are those of the preset celeba128.

    Args:
        arguments: settings as NAME=VALUE; ``num_images=N`` (default: CelebA's training images); ``tflops=LOW-HIGH`` or ``tflops=X``, the
            speed of each tower in 10^12 floating-point operations a second.

    Returns:
        The plan, and the two speeds in operations a second; None if no speed is given.

    Raises:
        ValueError: an argument has another form, or a setting is not allowed.

    Example:
        ``read_plan(["gpus=4", "image_size=128", "tflops=2-10"])``
    """
    given = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals:
            raise ValueError(f"{argument!r} is not of the form NAME=VALUE, such as gpus=4")
        given[name] = value
    speeds, num_images = _read_speeds(given.pop("tflops", "")), _read_number("num_images", given.pop("num_images", str(PART_SIZES[0])))
    preset = yaml.safe_load(PRESET.read_text())
    if "image_size" in given and str(preset["image_size"]) != given["image_size"]:
        del preset["num_filters"]  # those of the other size
    return make_plan(TrainConfig.from_parameters({**preset, **given}), num_images), speeds


def _read_number(name: str, text: str) -> int:
    if not text.replace("_", "").isdigit() or not int(text):
        raise ValueError(f"{name} is {text!r}; give a whole number of at least 1")
    return int(text)


def _read_speeds(text: str) -> tuple[float, float] | None:
    if not text:
        return None
    try:
        low, high = (float(part) for part in (text.split("-") if "-" in text else (text, text)))
    except ValueError:
        low = high = 0.0
    if not 0 < low <= high:
        raise ValueError(f"tflops is {text!r}; give a speed or a range in 10^12 operations a second, such as 2-10")
    return low * 1e12, high * 1e12


def describe(plan: Plan, speeds: tuple[float, float], source: str) -> str:
    """Return the plan as text.

    Args:
        plan: from `make_plan`.
        speeds: the lowest and the highest speed of a tower, in operations a second.
        source: where the speeds come from.

    Example:
        ``print(describe(plan, (2e12, 10e12), "given"))``
    """
    config, (low, high) = plan.config, speeds
    longest, shortest = plan.seconds(low), plan.seconds(high)
    return "\n".join(
        [
            f"{plan.num_images:,} images at {config.image_size} pixels, {config.gpus} tower(s) of {config.batch_size}, "
            f"{config.num_dims} dimensions, filters {'-'.join(map(str, config.num_filters))}",
            f"steps       {plan.steps:,} for {config.num_epochs} epochs ({plan.images:,} images with repetitions)",
            f"operations  {plan.flops_per_image / 1e6:,.1f} MFLOP for each image and step; {plan.flops / 1e15:,.1f} PFLOP in all",
            f"memory      {_bytes(plan.code_bytes)} for the codes with their moments, {_bytes(plan.decoder_bytes)} for the decoder "
            f"({plan.parameters:,} parameters)",
            f"disk        {_bytes(plan.cache_bytes)} for decoded images, {_bytes(plan.checkpoint_bytes)} for each checkpoint",
            f"each step   {_bytes(plan.batch_bytes)} of images, {_bytes(plan.row_bytes)} of codes, "
            f"{_bytes(plan.gradient_bytes)} of gradients from each tower",
            f"time        {_duration(shortest)} to {_duration(longest)}, {plan.images / longest:,.0f} to "
            f"{plan.images / shortest:,.0f} images/s, at {high / 1e12:.3g} to {low / 1e12:.3g} TFLOP/s for each tower ({source})",
        ]
    )


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            return f"{number:,.3g} {unit}" if number < 1000 else f"{number:,.0f} {unit}"
        number /= 1000
    raise AssertionError


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"
