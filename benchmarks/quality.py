"""How good are reconstructions after five minutes on this machine? 10,000 faces at 64 pixels, 100 dimensions, all else by default.

python -m benchmarks.quality
python -m benchmarks.quality my_photographs      any folder or archive of images, all of them
"""

import contextlib
import io
import sys
import tempfile

from benchmarks.turns import Row

NUM_FACES, SECONDS, NUM_DIMS = 10_000, 300, 100


def trained(**settings) -> dict[str, float]:
    """The metrics of a run that trains for so many seconds."""
    from glo_lib.training import TrainConfig, train

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        return train(TrainConfig(run_dir=folder, num_dims=NUM_DIMS, max_seconds=SECONDS, **settings)).metrics


def rows(metrics: dict[str, float], what: str) -> list[Row]:
    """The lines of the table."""
    return [
        Row(f"PSNR after {SECONDS} s, {what}, d = {NUM_DIMS}", metrics["psnr_db"], "dB", "at least 25"),
        Row(f"principal components, {what}, d = {NUM_DIMS}", metrics["pca_psnr_db"], "dB"),
        Row(f"steps in {SECONDS} s, {what}", metrics["steps"], "steps"),
    ]


def run(data_dir: str = "") -> list[Row]:
    """Draw the faces, if no folder is given, and train."""
    if data_dir:
        return rows(trained(data_dir=data_dir), "the images given")
    return rows(trained(num_samples=NUM_FACES), f"{NUM_FACES:,} embedded faces")


if __name__ == "__main__":
    print(*run(*sys.argv[1:]), sep="\n")
