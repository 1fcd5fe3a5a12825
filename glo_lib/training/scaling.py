"""A cost model of training steps: on one machine fitted to measured steps, on many GPUs computed from stated speeds.

- All processes on one machine share its cores, so their costs add up. A step takes the `Amounts` of `amounts_of`, each at a price in
  seconds, and `fit_prices` finds the prices from measured steps.
- On many GPUs the towers compute at the same time, and each machine has a network card of its own. `step_time` takes the speeds of such
  `Hardware` and a `Layout`, and says what each part of a step takes.

The counts come from `glo_lib.training.work`. Nothing is trained here.
"""

from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LinearRegression

from glo_lib.training.work import Work


class Amounts(NamedTuple):
    """What a step takes in all, if all processes share one machine; or the price of each part, in seconds per unit.

    Attributes:
        steps: 1, for what every step costs, whatever its size.
        flops: floating-point operations.
        map_bytes: bytes of feature maps.
        workers: worker processes; 0 if the training is one process.
        sent_bytes: bytes that are sent between processes.
    """

    steps: float
    flops: float
    map_bytes: float
    workers: float
    sent_bytes: float


class MeasuredStep(NamedTuple):
    """A measured training step.

    Attributes:
        amounts: what the step takes.
        seconds: how long it took.
    """

    amounts: Amounts
    seconds: float


def amounts_of(work: Work, towers: int = 1, workers: int = 0) -> Amounts:
    """Return what a step of all towers takes on one machine.

    Args:
        work: of one tower.
        towers: number of all towers.
        workers: number of worker processes that have the towers; 0 for a training in one process, which sends nothing.

    Example:
        >>> amounts_of(Work(2, 10, 20, (40,), 8, 24), towers=3)
        Amounts(steps=1, flops=60, map_bytes=120, workers=0, sent_bytes=0)
    """
    return Amounts(1, towers * work.flops, towers * work.map_bytes, workers, towers * work.sent_bytes if workers else 0)


def predict_seconds(amounts: Amounts, prices: Amounts) -> float:
    """Return the seconds of a step: the sum of amounts times prices."""
    return float(np.dot(amounts, prices))


def fit_prices(points: Sequence[MeasuredStep]) -> Amounts:
    """Find the prices that explain measured steps best: least squares of the relative errors, with no price below zero.

    Args:
        points: measured steps, at least as many as there are prices.

    Raises:
        ValueError: there are too few points, or a time is not positive.

    Example:
        ``fit_prices([MeasuredStep(amounts_of(work), 0.016), ...]).flops`` is the time of one floating-point operation.
    """
    if len(points) < len(Amounts._fields):
        raise ValueError(f"there are {len(points)} measured steps for {len(Amounts._fields)} prices; measure at least as many")
    if min(point.seconds for point in points) <= 0:
        raise ValueError("a measured step has no positive time")
    seconds = np.array([point.seconds for point in points])
    shares = np.array([point.amounts for point in points], np.float64) / seconds[:, np.newaxis]
    scales = np.abs(shares).max(axis=0)
    scales[scales == 0] = 1  # an amount that no point has gets the price zero
    model = LinearRegression(fit_intercept=False, positive=True).fit(shares / scales, np.ones(len(points)))
    return Amounts(*map(float, model.coef_ / scales))


class Hardware(NamedTuple):
    """Speeds of the machines of a cluster. Each is what a training reaches, which is less than what a data sheet says.

    Attributes:
        flops: floating-point operations a second of each GPU.
        network: bytes a second of each machine's network card, in each direction.
        bus: bytes a second between the host and the GPUs of one machine, in each direction, for all its GPUs together.
        images: bytes of images a second that each machine reads.
        row_seconds: in which a parameter server looks up and updates the row of a code.
        step_seconds: what every step costs, whatever its size.
        machine_seconds: what each machine with towers costs the chief in each step.
    """

    flops: float
    network: float = np.inf
    bus: float = np.inf
    images: float = np.inf
    row_seconds: float = 0.0
    step_seconds: float = 0.0
    machine_seconds: float = 0.0


class Layout(NamedTuple):
    """Where the towers and the variables of a training are.

    Attributes:
        gpus: number of GPUs, with a tower on each.
        gpus_per_machine: most GPUs of a machine.
        servers: number of parameter servers; 0: everything is on one machine, in one process.
    """

    gpus: int
    gpus_per_machine: int = 8
    servers: int = 0

    @property
    def machines(self) -> int:
        """Number of machines with towers."""
        return -(-self.gpus // self.gpus_per_machine)

    @property
    def gpus_on_machine(self) -> int:
        """Number of GPUs on a full machine."""
        return min(self.gpus, self.gpus_per_machine)


class StepTime(NamedTuple):
    """The seconds of each part of a step.

    Attributes:
        compute: the layers of the decoder and their gradients.
        decoder: fetching the decoder's weights and sending back their gradients.
        rows: looking up, sending and updating the rows of codes.
        images: reading the images.
        overhead: what does not depend on the sizes.
    """

    compute: float
    decoder: float
    rows: float
    images: float
    overhead: float

    @property
    def at_least(self) -> float:
        """Seconds of a step in which all parts run at the same time."""
        return self.overhead + max(self[:-1])

    @property
    def at_most(self) -> float:
        """Seconds of a step in which each part waits for the one before."""
        return sum(self)

    @property
    def bottleneck(self) -> str:
        """The name of the part that takes longest."""
        return max(self._fields, key=lambda name: getattr(self, name))


def step_time(work: Work, hardware: Hardware, layout: Layout) -> StepTime:
    """Compute the seconds of a synchronous step from the speeds of the hardware.

    Args:
        work: of one tower.
        hardware: the speeds.
        layout: where towers and variables are.

    Raises:
        ValueError: there are more GPUs than a machine has, and no parameter servers.

    Example:
        ``step_time(work_of(config), Hardware(flops=5e12, network=1.25e9), Layout(gpus=64, servers=8)).bottleneck``
    """
    if layout.machines > 1 and not layout.servers:
        raise ValueError(f"{layout.gpus} GPUs are on {layout.machines} machines; give the number of parameter servers")
    return StepTime(
        compute=work.flops / hardware.flops,
        decoder=decoder_seconds(work, hardware, layout),
        rows=row_seconds(work, hardware, layout),
        images=layout.gpus_on_machine * work.image_bytes * (1 / hardware.images + 1 / hardware.bus),
        overhead=hardware.step_seconds + (hardware.machine_seconds * layout.machines if layout.servers else 0),
    )


def decoder_seconds(work: Work, hardware: Hardware, layout: Layout) -> float:
    """Return the seconds in which all towers fetch the decoder's weights and send back their gradients.

    Weights go out before gradients come back, so the two directions add up. All towers exchange with the busiest server at the same time.
    """
    if layout.gpus == 1 and not layout.servers:
        return 0.0  # the variables are on the GPU
    over_bus = 2 * layout.gpus_on_machine * work.decoder_bytes / hardware.bus
    if not layout.servers:
        return over_bus
    bytes_of_server = layout.gpus * work.busiest_server(layout.servers) * work.decoder_bytes
    bytes_of_worker = layout.gpus_on_machine * work.decoder_bytes
    return over_bus + 2 * max(bytes_of_server, bytes_of_worker) / hardware.network


def row_seconds(work: Work, hardware: Hardware, layout: Layout) -> float:
    """Return the seconds in which each server looks up, sends and updates its share of the rows of codes."""
    servers = max(layout.servers, 1)
    rows, num_bytes = layout.gpus * work.batch_size / servers, layout.gpus * work.row_bytes / servers
    return rows * hardware.row_seconds + (2 * num_bytes / hardware.network if layout.servers else 0.0)


def all_reduce_seconds(work: Work, hardware: Hardware, layout: Layout) -> float:
    """Return the seconds in which a ring of machines would sum the decoder's gradients; the library does not do so.

    Each machine sends and receives 2 (M - 1) / M times the bytes of the gradients, whatever the number M of machines.
    """
    return 2 * (layout.machines - 1) / layout.machines * work.decoder_bytes / hardware.network


def epoch_seconds(seconds_per_step: float, num_images: int, batch_size: int, gpus: int) -> float:
    """Return the seconds in which every image is visited once.

    Example:
        >>> epoch_seconds(0.1, num_images=640, batch_size=32, gpus=2)
        1.0
    """
    return seconds_per_step * num_images / (batch_size * gpus)


def slowest_of(towers: int, variation: float) -> float:
    """Return the expected time of the slowest of several towers, in units of the mean time of one.

    The times are taken to be normal. The approximation is that of Blom (1958), within two per cent of the standard deviation.

    Args:
        towers: number of towers K.
        variation: standard deviation of a tower's time, divided by its mean.

    Example:
        >>> slowest_of(1, 0.3), round(slowest_of(64, 0.1), 2)
        (1.0, 1.23)
    """
    return 1 + variation * NormalDist().inv_cdf((towers - 0.375) / (towers + 0.25))


def asynchronous_gain(compute: float, service: float, towers: int, variation: float = 0.0) -> float:
    """Return how many times as many batches asynchronous towers take in a second as synchronous ones.

    A synchronous step waits for the slowest tower, and then the busiest server exchanges weights and gradients with all of them. Without
    synchronisation a tower waits for its own exchange alone, and the server works while other towers compute; but it serves one tower at a
    time.

    Args:
        compute: mean seconds in which a tower computes its gradients.
        service: seconds in which the busiest server exchanges weights and gradients with one tower.
        towers: number of towers K.
        variation: standard deviation of ``compute``, divided by its mean.

    Example:
        >>> asynchronous_gain(compute=8.0, service=1.0, towers=8)
        1.7777777777777777
    """
    synchronous = compute * slowest_of(towers, variation) + towers * service
    asynchronous = max(compute + service, towers * service)
    return synchronous / asynchronous
