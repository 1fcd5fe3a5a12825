"""Measure the memory of a run with as many images as CelebA, at 128 pixels.

    python -m benchmarks.memory

A file of 10 GB takes the place of the decoded images (a few faces, repeated with noise). Everything else is as in any run: principal
components, latent codes, training steps, metrics and figures.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.turns import Row

NUM_IMAGES, IMAGE_SIZE, NUM_DIMS = 202_599, 128, 100
DRAWN = 64
TRAINING_SECONDS = 20


def write_substitute_images(folder: Path) -> None:
    """Write as many empty files as CelebA has images, and the file that takes the place of the cache of their decoded images."""
    import numpy as np

    from glo_lib.faces import draw_face, sample_factors
    from glo_lib.graph.backend import tf
    from glo_lib.inputs import preprocess_inputs

    (folder / "files").mkdir()
    for number in range(NUM_IMAGES):
        os.close(os.open(folder / "files" / f"{number:06}.jpg", os.O_CREAT | os.O_WRONLY))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        pixels = tf.compat.v1.placeholder(tf.uint8, [None, None, 3])
        image = (preprocess_inputs({"image": pixels}, size=IMAGE_SIZE)["image"] + 1) * 127.5
        drawn = [session.run(image, {pixels: draw_face(sample_factors(number))}).astype(np.uint8) for number in range(DRAWN)]
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 8, 512 * IMAGE_SIZE**2 * 3, dtype=np.uint8)
    with open(folder / "images.uint8", "wb") as file:
        for start in range(0, NUM_IMAGES, 512):
            faces = np.stack(drawn)[rng.integers(0, DRAWN, min(512, NUM_IMAGES - start))]
            (faces ^ np.roll(noise, start)[: faces.size].reshape(faces.shape)).tofile(
                file
            )  # noise makes all images different, so that the PCA does not have too few components


def train(folder: str) -> None:
    """Train on these images; print the peak of this process's resident memory, in megabytes, and the number of steps."""
    from glo_lib import training
    from glo_lib.images.store import DecodedImages
    from glo_lib.runs import run

    def decode_images(files, image_size, *_, **__):
        return DecodedImages(Path(folder) / "images.uint8", len(files.filenames), image_size, files.filenames)

    run.decode_images = decode_images
    config = training.TrainConfig(
        data_dir=f"{folder}/files", run_dir=f"{folder}/run", image_size=IMAGE_SIZE, num_dims=NUM_DIMS, max_seconds=TRAINING_SECONDS
    )
    result = training.train(config)
    with open("/proc/self/status") as file:
        peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    print(f"\n{json.dumps([peak / 1024, result.metrics['steps']])}")


def run() -> list[Row]:
    """Measure the peak memory."""
    with tempfile.TemporaryDirectory() as name:
        write_substitute_images(Path(name))
        output = subprocess.run([sys.executable, "-m", "benchmarks.memory", name], stdout=subprocess.PIPE, text=True, check=True).stdout
        peak, steps = json.loads(output.splitlines()[-1])
        return [Row(f"peak memory, N = {NUM_IMAGES:,} at {IMAGE_SIZE} pixels, {steps:.0f} steps and metrics", peak, "MB", "below 3,000")]


if __name__ == "__main__":
    train(sys.argv[1]) if len(sys.argv) > 1 else print(*run(), sep="\n")
