"""Measure the quality of reconstructions after five minutes of training on this machine.

    python -m benchmarks.quality
    python -m benchmarks.quality my_photographs      all images of any folder or archive

By default the data are 10,000 embedded faces at 64 pixels. The codes have 100 dimensions, and the other settings are the defaults.
"""

import contextlib
import io
import sys
import tempfile

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


if __name__ == "__main__":
    print(*run(*sys.argv[1:]), sep="\n")
