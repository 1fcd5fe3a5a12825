"""Measure the memory of a run with as many images as CelebA, at 128 pixels.

    python -m benchmarks.memory

A file of 10 GB takes the place of the decoded images (a few faces, repeated with noise). Everything else is as in any run: principal
components, latent codes, training steps, metrics and figures. ``--images``, ``--size`` and ``--seconds`` try the same with less.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.turns import Row

NUM_IMAGES, IMAGE_SIZE, NUM_DIMS = 202_599, 128, 100
DRAWN, IMAGES_PER_BLOCK = 64, 512
TRAINING_SECONDS = 20


def write_substitute_images(folder: Path, num_images: int, image_size: int) -> None:
    """Write that many empty image files, and the file that takes the place of the cache of their decoded images."""
    import numpy as np

    from glo_lib.faces import draw_face, sample_factors
    from glo_lib.graph.backend import tf
    from glo_lib.inputs import preprocess_inputs

    (folder / "files").mkdir()
    for number in range(num_images):
        os.close(os.open(folder / "files" / f"{number:06}.jpg", os.O_CREAT | os.O_WRONLY))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        pixels = tf.compat.v1.placeholder(tf.uint8, [None, None, 3])
        image = (preprocess_inputs({"image": pixels}, size=image_size)["image"] + 1) * 127.5
        drawn = [session.run(image, {pixels: draw_face(sample_factors(number))}).astype(np.uint8) for number in range(DRAWN)]
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 8, IMAGES_PER_BLOCK * image_size**2 * 3, dtype=np.uint8)
    with open(folder / "images.uint8", "wb") as file:
        for start in range(0, num_images, IMAGES_PER_BLOCK):
            faces = np.stack(drawn)[rng.integers(0, DRAWN, min(IMAGES_PER_BLOCK, num_images - start))]
            # Noise makes all images different, so that there are enough principal components.
            (faces ^ np.roll(noise, start)[: faces.size].reshape(faces.shape)).tofile(file)


def train(folder: Path, image_size: int, seconds: float) -> None:
    """Train on these images; print the peak of this process's resident memory, in megabytes, and the number of steps."""
    from glo_lib import training
    from glo_lib.images.store import DecodedImages
    from glo_lib.runs import run

    def take_substitute(config, files, *_, **__):
        return DecodedImages(folder / "images.uint8", len(files.filenames), config.image_size, files.filenames)

    run.decode_as_in = take_substitute
    config = training.TrainConfig(
        data_dir=f"{folder}/files", run_dir=f"{folder}/run", image_size=image_size, num_dims=NUM_DIMS, max_seconds=seconds
    )
    result = training.train(config)
    with open("/proc/self/status") as file:
        peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    print(f"\n{json.dumps([peak / 1024, result.metrics['steps']])}")


def run(num_images: int = NUM_IMAGES, image_size: int = IMAGE_SIZE, seconds: float = TRAINING_SECONDS) -> list[Row]:
    """Measure the peak memory of a run with that many images of that size."""
    with tempfile.TemporaryDirectory() as name:
        write_substitute_images(Path(name), num_images, image_size)
        command = [sys.executable, "-m", "benchmarks.memory", "--train", name, "--size", str(image_size), "--seconds", str(seconds)]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    peak, steps = json.loads(output.splitlines()[-1])
    return [Row(f"peak memory, N = {num_images:,} at {image_size} pixels, {steps:.0f} steps and metrics", peak, "MB", "below 3,000")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, and measure or train."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks.memory", description=__doc__, formatter_class=layout)
    parser.add_argument("--images", type=int, default=NUM_IMAGES, help=f"number of images, more than {NUM_DIMS} (default: %(default)s)")
    parser.add_argument("--size", type=int, default=IMAGE_SIZE, help="pixels a side (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=TRAINING_SECONDS, help="of training (default: %(default)s)")
    parser.add_argument("--train", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.train:
        train(options.train, options.size, options.seconds)
    else:
        print(*run(options.images, options.size, options.seconds), sep="\n")


if __name__ == "__main__":
    main()
