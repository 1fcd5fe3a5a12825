"""Measure the images per second of our training step and of PyTorch's, and compare both with the speed of a matrix product.

    python -m benchmarks.throughput

Both train the same decoder (512-256-128-64 filters, kernel size 4, 64 pixels) with the same batch size (128) and the Lap1 loss of three
levels. Ours is the graph of `glo_lib.training`, with images from the cache, Adam for the decoder and row-wise Adam for the codes. PyTorch's
is the loop of `benchmarks.pytorch_glo`, with SGD: plain, as its readers would write it first, and with less work beside the decoder and
what makes PyTorch faster on a CPU, one thing after the other. The programs take turns, a few steps at a time. If PyTorch is installed in
an environment of its own, ``TORCH_PYTHON=its/bin/python`` says where.
"""

import argparse
import functools
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.turns import Measurement, Row, answer, has_torch, ratio, take_turns

NUM_FILTERS, KERNEL_SIZE, BATCH_SIZE, IMAGE_SIZE, NUM_DIMS, LEVELS = (512, 256, 128, 64), 4, 128, 64, 100, 3
NUM_IMAGES = 2048
ROUNDS, STEPS, PRODUCTS = 9, 3, 10
MATRIX = 2048
BFLOAT16_PRODUCT = "product, bfloat16"
PASSES = 3  # forward, gradient for the feature maps, gradient for the kernels; each takes the same number of operations


def build(precision: str, loss: str, gpus: int, folder: str):
    """Build the training graph with images of noise; return the operations of a step and the configuration of the session."""
    from glo_lib import training
    from glo_lib.graph.devices import choose_devices
    from glo_lib.images.store import DecodedImages
    from glo_lib.losses import LOSSES, laplacian_pyramid_loss
    from glo_lib.runs.folder import Progress
    from glo_lib.runs.run import Run

    path = Path(folder) / "images.uint8"
    np.random.default_rng(0).integers(0, 256, NUM_IMAGES * IMAGE_SIZE**2 * 3, dtype=np.uint8).tofile(path)
    LOSSES["lap1"] = functools.partial(laplacian_pyramid_loss, levels=LEVELS)
    config = training.TrainConfig(
        num_filters=NUM_FILTERS,
        kernel_size=KERNEL_SIZE,
        num_dims=NUM_DIMS,
        batch_size=BATCH_SIZE // gpus,
        gpus=gpus,
        loss=loss,
        precision=precision,
        average_decay=0,  # because the loop in PyTorch keeps no moving average of the weights
    )
    images = DecodedImages(path, NUM_IMAGES, IMAGE_SIZE, ("",) * NUM_IMAGES)
    run = Run(Path(folder), config, None, Progress(0, 0.0))
    setting = training.Setting(config, choose_devices(gpus, precision), images, run)
    model = training.build_model(setting)
    value = training.build_loss(setting, model)
    return [training.build_train_ops(setting, model, value).step, value], setting.devices.session_config


def serve_ours(precision: str, loss: str, gpus: str) -> None:
    """Serve steps of the training graph."""
    from glo_lib.graph.backend import tf

    with tempfile.TemporaryDirectory() as folder, tf.Graph().as_default():
        step, session_config = build(precision, loss, int(gpus), folder)
        with tf.compat.v1.Session(config=session_config) as session:
            session.run(tf.compat.v1.global_variables_initializer())

            def steps(number: int) -> None:
                for _ in range(number):
                    session.run(step)

            answer(steps)


def serve_product(precision: str) -> None:
    """Serve products of two large matrices, whose speed is an upper bound for dense layers."""
    from glo_lib.graph.backend import tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        matrix = v1.get_variable("matrix", initializer=tf.cast(tf.random.normal([MATRIX, MATRIX]), precision))
        product = tf.matmul(matrix, matrix)
        session.run(v1.global_variables_initializer())

        def products(number: int) -> None:
            for _ in range(number):
                session.run(product.op)

        answer(products)


def gigaflops_per_image() -> float:
    """Return the floating-point operations (in 10^9) of a training step per image, read from the graph of the decoder."""
    from glo_lib.decoder import decoder
    from glo_lib.graph.backend import tf
    from glo_lib.graph.costs import layer_costs

    with tf.Graph().as_default() as graph:
        decoder(tf.zeros([1, NUM_DIMS]), NUM_FILTERS, KERNEL_SIZE)
        return PASSES * sum(layer.flops for layer in layer_costs(graph)) / 1e9


def rows(results: dict[str, list[Measurement]]) -> list[Row]:
    """Return the rows of the table, computed from the seconds of each round."""
    seconds = {name: [turn.seconds for turn in turns] for name, turns in results.items()}
    per_image, product = gigaflops_per_image(), 2 * MATRIX**3 / 1e9
    ceilings = {name: product / statistics.median(seconds[name]) for name in results if name.startswith("product")}
    of_float32 = max(value for name, value in ceilings.items() if name != BFLOAT16_PRODUCT)
    lines = [Row(f"{name.replace('product', 'matrix product')}", value, "GFLOP/s") for name, value in ceilings.items()]
    for name in (name for name in results if name not in ceilings):
        speed = BATCH_SIZE / statistics.median(seconds[name])
        # The precision "auto" is bfloat16 if the processor has units for it.
        ceiling = ceilings.get(BFLOAT16_PRODUCT, of_float32) if "auto" in name or "bfloat16" in name else of_float32
        lines.append(Row(f"training step, {name}", speed, "images/s"))
        lines.append(Row(f"training step, {name}", speed * per_image, "GFLOP/s"))
        lines.append(Row(f"training step, {name}: share of the matrix product", speed * per_image / ceiling, "", "1"))
    if "PyTorch, Lap1" in results:
        for name, target in (("ours float32, Lap1", "at least 1.3"), ("ours auto, Lap1", "")):
            lines.append(Row(f"{name} / PyTorch", ratio(seconds["PyTorch, Lap1"], seconds[name]), "", target))
        best = min((name for name in seconds if name.startswith("PyTorch")), key=lambda name: statistics.median(seconds[name]))
        lines.append(Row("ours auto, Lap1 / the best PyTorch", ratio(seconds[best], seconds["ours auto, Lap1"]), "", "at least 1.6"))
    towers = ratio(seconds["ours float32, Lap1, two towers"], seconds["ours float32, Lap1"])
    return [*lines, Row("two towers of 64 / one tower of 128, time per step", towers, "", "at most 1.05")]


def run() -> list[Row]:
    """Measure all programs, which take turns."""
    from glo_lib.graph.devices import has_bfloat16_units

    # Programs that are compared run one after the other, because the speed of the machine changes within a round.
    ours, theirs = "benchmarks.throughput", "benchmarks.pytorch_glo"
    commands = {
        "product": [ours, "product", "float32"],
        "ours float32, MSE": [ours, "ours", "float32", "mse", 1],
        "ours float32, Lap1, two towers": [ours, "ours", "float32", "lap1", 2],
        "ours float32, Lap1": [ours, "ours", "float32", "lap1", 1],
        "PyTorch, Lap1": [theirs, "train", NUM_IMAGES],
        "PyTorch channels-last, Lap1": [theirs, "train", NUM_IMAGES, "channels_last"],
        "ours auto, Lap1": [ours, "ours", "auto", "lap1", 1],
        "PyTorch channels-last bfloat16, Lap1": [theirs, "train", NUM_IMAGES, "bfloat16"],
        "PyTorch channels-last bfloat16 compiled, Lap1": [theirs, "train", NUM_IMAGES, "compiled"],
        BFLOAT16_PRODUCT: [ours, "product", "bfloat16"],
        "product, PyTorch": [theirs, "product", MATRIX],
    }
    if not has_bfloat16_units():
        del commands[BFLOAT16_PRODUCT]
    if not has_torch():
        commands = {name: command for name, command in commands.items() if command[0] != theirs}
        print("PyTorch is not installed (pip install -e '.[bench]'): it is left out", file=sys.stderr)
    return rows(take_turns(commands, {name: PRODUCTS if "product" in name else STEPS for name in commands}, ROUNDS))


SERVERS = {"ours": serve_ours, "product": serve_product}  # programs that `run` starts

if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in SERVERS:
        SERVERS[sys.argv[1]](*sys.argv[2:])
    else:
        argparse.ArgumentParser(
            "python -m benchmarks.throughput", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        ).parse_args()
        print(*run(), sep="\n")
