"""Time counted in steps: how many a run takes per second, and a run of as many as fit into a given time.

A run that is limited by the clock is a worse one when other programs need the machine. The benchmarks that compare models measure their
steps per second once, while nothing else runs, and then count steps.
"""

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from glo_lib.config import TrainConfig
from glo_lib.training import train

MEASURED, LEAST_STEPS = 20, 40  # seconds and steps of a measurement


class _Enough(Exception):
    """Ends a training whose steps per second have been measured."""


def steps_per_second(config: TrainConfig) -> list[float]:
    """Measure the steps per second in each phase of a run, a few seconds each."""
    rates = []
    for phase in config.recipe:
        times: list[float] = []

        def note(*_: Any, times: list[float] = times) -> None:
            times.append(time.perf_counter())
            if len(times) > LEAST_STEPS and times[-1] > times[0] + MEASURED:
                raise _Enough

        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(_Enough):
            train(dataclasses.replace(config, phases="", loss=phase.loss, num_epochs=100_000, run_dir=folder), note)
        warm = times[len(times) // 4 :]
        rates.append((len(warm) - 1) / (warm[-1] - warm[0]))
    return rates


def with_steps_for(config: TrainConfig, seconds: float, rates: Sequence[float], num_images: int) -> TrainConfig:
    """Return settings with as many steps in each phase as fit into its share of the seconds.

    Example:
        >>> config = with_steps_for(TrainConfig(phases="0.5 mse, 0.5 lap1", max_seconds=0), 64, [30.0, 10.0], 128)
        >>> config.phases, config.num_epochs
        ('0.7500 mse, 0.2500 lap1', 320)
    """
    steps = [rate * seconds * (phase.end - phase.start) for rate, phase in zip(rates, config.recipe, strict=True)]
    epochs = max(1, round(sum(steps) * config.batch_size / num_images))
    if not config.phases:
        return dataclasses.replace(config, num_epochs=epochs)
    shares = [f"{count / sum(steps):.4f} {phase.loss}" for count, phase in zip(steps, config.recipe, strict=True)]
    return dataclasses.replace(config, num_epochs=epochs, phases=", ".join(shares))
