"""Measure the quality of reconstructions after five minutes of training on this machine.

    python -m benchmarks.quality
    python -m benchmarks.quality my_photographs      all images of any folder or archive

By default the data are 10,000 embedded faces at 64 pixels. The codes have 100 dimensions, and the other settings are the defaults.
"""

import argparse
import contextlib
import io
import tempfile
from collections.abc import Sequence

from benchmarks.turns import Row

NUM_FACES, SECONDS, NUM_DIMS = 10_000, 300, 100


def train_and_measure(**settings) -> dict[str, float]:
    """Train for `SECONDS` with these settings, and return the metrics."""
    from glo_lib.training import TrainConfig, train

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        return train(TrainConfig(run_dir=folder, num_dims=NUM_DIMS, max_seconds=SECONDS, **settings)).metrics


def rows(metrics: dict[str, float], what: str) -> list[Row]:
    """Return the rows of the table."""
    return [
        Row(f"PSNR after {SECONDS} s, {what}, d = {NUM_DIMS}", metrics["psnr_db"], "dB", "at least 25"),
        Row(f"principal components, {what}, d = {NUM_DIMS}", metrics["pca_psnr_db"], "dB"),
        Row(f"steps in {SECONDS} s, {what}", metrics["steps"], "steps"),
    ]


def run(data_dir: str = "") -> list[Row]:
    """Train on the images of a folder or archive, or on embedded faces if none is given."""
    if data_dir:
        return rows(train_and_measure(data_dir=data_dir), "the images given")
    return rows(train_and_measure(num_samples=NUM_FACES), f"{NUM_FACES:,} embedded faces")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, and measure."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks.quality", description=__doc__, formatter_class=layout)
    parser.add_argument("data_dir", nargs="?", default="", help="folder or archive of images (default: embedded faces)")
    print(*run(parser.parse_args(arguments).data_dir), sep="\n")


if __name__ == "__main__":
    main()
