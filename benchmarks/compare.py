"""Train with several settings, one after the other, and compare quality and speed.

    python -m benchmarks.compare "batch_size=32 num_epochs=5" "batch_size=16 num_epochs=5"
    python -m benchmarks.compare "num_epochs=5" "num_epochs=5 phases='0.2 mse, 0.8 mse+0.5*perceptual'"

Each argument is one run: settings of `glo_lib.config.TrainConfig`, separated by spaces. A value that contains spaces is quoted, as in a
shell. Without `max_seconds` the time is not limited. So runs with the same `num_epochs` compare the quality after the same number of
images, and runs with the same `max_seconds` compare the quality after the same time. The runs are deleted afterwards.
"""

import argparse
import contextlib
import importlib
import io
import shlex
import tempfile
from collections.abc import Sequence
from typing import Any
from unittest import mock

from glo_lib.config import TrainConfig
from glo_lib.evaluation.evaluate import reconstruction_psnr
from glo_lib.inference import load
from glo_lib.runs.folder import read_history
from glo_lib.runs.run import read_run
from glo_lib.training import prepare, train


def parameters_of(settings: str) -> dict[str, Any]:
    """Return the parameters of one run.

    Raises:
        ValueError: a setting has no value, a quotation mark is not closed, or `TrainConfig` does not allow a name or a value.

    Example:
        >>> parameters_of("batch_size=32 phases='0.5 mse, 0.5 lap1'")
        {'max_seconds': 0, 'batch_size': '32', 'phases': '0.5 mse, 0.5 lap1'}
    """
    words = shlex.split(settings)
    wrong = [word for word in words if "=" not in word]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is not NAME=VALUE; a value that contains spaces must be quoted")
    parameters = {"max_seconds": 0, **dict(word.split("=", 1) for word in words)}
    TrainConfig.from_parameters(parameters)
    return parameters


def compare(settings: str) -> str:
    """Train with these settings and return the line of the table."""
    without_evaluation = mock.patch.object(importlib.import_module("glo_lib.training.train"), "evaluate", lambda run: {})
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()), without_evaluation:
        config = TrainConfig.from_parameters({**parameters_of(settings), "run_dir": folder})
        train(config)
        psnr = reconstruction_psnr(load(folder), prepare(config).images.array())
        progress, loss = read_run(folder).progress, read_history(folder)[-1].loss
    speed = progress.step * config.batch_size * config.gpus / progress.seconds
    return f"{settings:60} {psnr:8.2f} {loss:9.5f} {speed:10,.0f} {progress.step:8,} {progress.seconds:8.0f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, and print the table, one line after each run."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks.compare", description=__doc__, formatter_class=layout)
    parser.add_argument("runs", nargs="+", metavar="SETTINGS", help="one run: NAME=VALUE NAME=VALUE ..., as one argument")
    runs = parser.parse_args(arguments).runs
    for settings in runs:  # before the first training, which may take long
        try:
            parameters_of(settings)
        except ValueError as error:
            parser.error(f"{settings!r}: {error}")
    print(f"{'settings':60} {'PSNR, dB':>8} {'loss':>9} {'images/s':>10} {'steps':>8} {'seconds':>8}")
    for settings in runs:
        print(compare(settings), flush=True)


if __name__ == "__main__":
    main()
