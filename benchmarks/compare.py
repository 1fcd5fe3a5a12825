"""Train with several settings, one after the other, and compare quality and speed.

    python -m benchmarks.compare "batch_size=32 num_epochs=5" "batch_size=16 num_epochs=5"

Each argument is one run: settings of `glo_lib.config.TrainConfig`, separated by spaces. Without `max_seconds` the time is not limited. So
runs with the same `num_epochs` compare the quality after the same number of images, and runs with the same `max_seconds` compare the
quality after the same time. The runs are deleted afterwards.
"""

import contextlib
import importlib
import io
import sys
import tempfile

from glo_lib.config import TrainConfig
from glo_lib.evaluation.evaluate import reconstruction_psnr
from glo_lib.inference import load
from glo_lib.runs.folder import read_history
from glo_lib.runs.run import read_run
from glo_lib.training import prepare, train


def compare(settings: str) -> str:
    """Train with these settings and return the line of the table."""
    parameters = {"max_seconds": 0, **dict(setting.split("=") for setting in settings.split())}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        config = TrainConfig.from_parameters({**parameters, "run_dir": folder})
        importlib.import_module("glo_lib.training.train").evaluate = lambda run: {}  # skip metrics and figures, which are not needed here
        train(config)
        psnr = reconstruction_psnr(load(folder), prepare(config).images.array())
        progress, loss = read_run(folder).progress, read_history(folder)[-1].loss
    speed = progress.step * config.batch_size * config.gpus / progress.seconds
    return f"{settings:60} {psnr:8.2f} {loss:9.5f} {speed:10,.0f} {progress.step:8,} {progress.seconds:8.0f}"


def main() -> None:
    """Print the table, one line after each run."""
    print(f"{'settings':60} {'PSNR, dB':>8} {'loss':>9} {'images/s':>10} {'steps':>8} {'seconds':>8}")
    for settings in sys.argv[1:]:
        print(compare(settings), flush=True)


if __name__ == "__main__":
    main()
