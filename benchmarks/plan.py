"""What a run will take, computed from its graph: floating-point operations, bytes, and a range of times for given speeds.

What a step takes is counted by `glo_lib.training.work`, and its time computed by `glo_lib.training.scaling`, as in the book's chapter on
several machines. Here the step is that of one machine, of which only the speed of the layers is known: what is not counted as an operation,
such as batch normalisation, lowers the speed that a machine reaches, which is measured.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from glo_lib.config import TrainConfig
from glo_lib.images.release import PART_SIZES
from glo_lib.training.scaling import Hardware, Layout, step_time
from glo_lib.training.work import FLOAT, TABLES, Work, table_bytes, work_of

PRESET = Path(__file__).parents[1] / "book" / "params" / "celeba128.yaml"


class Plan(NamedTuple):
    """What a run takes.

    Attributes:
        config: the settings.
        num_images: N, the number of training images.
        work: what one tower takes in a step.
    """

    config: TrainConfig
    num_images: int
    work: Work

    @property
    def steps(self) -> int:
        """Number of steps."""
        return self.config.num_steps(self.num_images)

    @property
    def images(self) -> int:
        """Number of images seen in the whole run, repetitions included."""
        return self.steps * self.config.batch_size * self.config.gpus

    @property
    def flops(self) -> int:
        """Floating-point operations of the whole run."""
        return self.steps * self.config.gpus * self.work.flops

    @property
    def parameters(self) -> int:
        """Number of entries of the decoder's trainable variables."""
        return self.work.decoder_bytes // FLOAT

    @property
    def code_bytes(self) -> int:
        """Size of the table of codes with Adam's two moments and the visits of each row."""
        return table_bytes(self.num_images, self.config.num_dims)

    @property
    def decoder_bytes(self) -> int:
        """Size of the decoder's weights, of Adam's two moments and, with several towers, of the averages."""
        return (TABLES + (self.config.gpus > 1)) * self.work.decoder_bytes

    @property
    def checkpoint_bytes(self) -> int:
        """Size of a checkpoint."""
        return self.code_bytes + self.decoder_bytes

    @property
    def cache_bytes(self) -> int:
        """Size of the decoded images on the disk."""
        return self.num_images * 3 * self.config.image_size**2

    @property
    def batch_bytes(self) -> int:
        """Images that a step sends to the towers, as bytes."""
        return self.config.gpus * self.work.image_bytes

    @property
    def row_bytes(self) -> int:
        """Rows of the three tables that a step reads and writes."""
        return 2 * TABLES * self.config.gpus * self.work.row_bytes

    def seconds(self, flops_per_second: float) -> float:
        """Return the seconds of the run if each tower computes so many floating-point operations in a second."""
        layout = Layout(self.config.gpus, gpus_per_machine=self.config.gpus)
        return self.steps * step_time(self.work, Hardware(flops_per_second), layout).at_most


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
    config.check_fits(num_images)
    return Plan(config, num_images, work_of(config))


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
            f"operations  {plan.work.flops_per_image / 1e6:,.1f} MFLOP for each image and step; {plan.flops / 1e15:,.1f} PFLOP in all",
            f"memory      {_bytes(plan.code_bytes)} for the codes with their moments, {_bytes(plan.decoder_bytes)} for the decoder "
            f"({plan.parameters:,} parameters)",
            f"disk        {_bytes(plan.cache_bytes)} for decoded images, {_bytes(plan.checkpoint_bytes)} for each checkpoint",
            f"each step   {_bytes(plan.batch_bytes)} of images, {_bytes(plan.row_bytes)} of codes, "
            f"{_bytes(plan.work.decoder_bytes)} of gradients from each tower",
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
