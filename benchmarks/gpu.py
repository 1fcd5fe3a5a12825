"""What a machine with GPUs makes of the training step: one table, and the same as JSON.

    python -m benchmarks.gpu                       every GPU, 64 and 128 pixels, every precision; some minutes
    python -m benchmarks.gpu --out my_machine.json

For 1, 2, ... n towers: images per second, how much of n times one tower that is, the share of a step that waits for input (a lower bound,
see `benchmarks.waiting`), and the peak of the memory of the first GPU. Both routes of the layers are measured with one tower: slim's own,
the default on GPUs, and the faster layers that were made for CPUs. And two towers are compared with one of the double batch: their
gradients must be the same.

Every configuration is a process of its own. On a machine without a GPU the same program runs on CPU devices.
"""

import argparse
import functools
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.waiting import share_of_waiting

NUM_IMAGES, BATCH_SIZE, NUM_DIMS = 4096, 64, 100
STEPS, WARM_UP, TRACED = 60, 10, 10
OUT = Path("gpu.json")


def setting_of(folder: Path, case: dict[str, Any]):
    """The setting of a run on images of noise."""
    from glo_lib.config import TrainConfig
    from glo_lib.graph.devices import choose_devices
    from glo_lib.images.store import DecodedImages
    from glo_lib.runs.folder import Progress
    from glo_lib.runs.run import Run
    from glo_lib.training import Setting

    size, num_images = case["image_size"], case.get("num_images", NUM_IMAGES)
    path = folder / "images.uint8"
    np.random.default_rng(0).integers(0, 256, num_images * size**2 * 3, dtype=np.uint8).tofile(path)
    config = TrainConfig(
        image_size=size,
        num_filters=case.get("num_filters", ()),
        num_dims=case.get("num_dims", NUM_DIMS),
        batch_size=case.get("batch_size", BATCH_SIZE),
        gpus=case["towers"],
        precision=case["precision"],
        layer_route=case["layer_route"],
        average_decay=0,
    )
    images = DecodedImages(path, num_images, size, ("",) * num_images)
    devices = choose_devices(config.gpus, config.precision, config.layer_route)
    return Setting(config, devices, images, Run(folder, config, None, Progress(0, 0.0)))


def speed(case: dict[str, Any]) -> dict[str, Any]:
    """Images per second, share of waiting, and peak memory of one configuration."""
    from glo_lib.graph.backend import tf
    from glo_lib.training import build_loss, build_model, build_train_ops

    # Only eager mode can say how much memory was used at most, and the library leaves that mode without GPUs.
    tf.config.set_visible_devices(tf.config.list_physical_devices("GPU")[:1], "GPU")
    v1, steps = tf.compat.v1, case.get("steps", STEPS)
    with tempfile.TemporaryDirectory() as name, tf.Graph().as_default():
        setting = setting_of(Path(name), case)
        model = build_model(setting)
        loss = build_loss(setting, model)
        step = build_train_ops(setting, model, loss).step
        with v1.Session(config=setting.devices.session_config) as session:
            session.run(v1.global_variables_initializer())
            for _ in range(WARM_UP):
                session.run(step)
            passed = []
            for _ in range(steps):
                began = time.perf_counter()
                session.run([step, loss])
                passed.append(time.perf_counter() - began)
            waiting = share_of_waiting(session, [step, loss], TRACED)
        images_per_step = setting.config.batch_size * setting.config.gpus
        return {
            **case,
            "devices": setting.devices.towers,
            "precision": setting.devices.precision,
            "layer_route": setting.devices.route,
            "images_per_second": images_per_step / statistics.median(passed),
            "waiting": waiting,
            "peak_megabytes": peak_megabytes(setting.devices.on_gpus),
        }


def peak_megabytes(on_gpus: bool) -> float:
    """Peak of the memory of the first GPU, or of this process (Linux)."""
    from glo_lib.graph.backend import tf

    if on_gpus:
        return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
    except OSError:
        return float("nan")


def gradient(case: dict[str, Any]) -> np.ndarray:
    """The gradient of the first step as one vector, with batch normalization in inference mode, from weights drawn in numpy."""
    from glo_lib.graph.backend import tf
    from glo_lib.training import build, build_loss, build_model

    v1 = tf.compat.v1
    build.decoder = functools.partial(build.decoder, is_training=False)
    with tempfile.TemporaryDirectory() as name, tf.Graph().as_default():
        setting = setting_of(Path(name), case)
        model = build_model(setting)
        variables = [*(variable for variable in model.decoder_variables if variable.trainable), model.codes]
        found = [tf.convert_to_tensor(part) for part in tf.gradients(build_loss(setting, model), variables)]
        with v1.Session(config=setting.devices.session_config) as session:
            session.run(v1.global_variables_initializer())
            numbers = np.random.default_rng(3)
            for variable in variables:
                variable.load(numbers.normal(0, 0.3, variable.shape).astype(np.float32), session)
            return np.concatenate([part.ravel() for part in session.run(found)])


def difference(case: dict[str, Any]) -> float:
    """Relative difference between the gradients of two towers and of one with the double batch, in float32."""
    size = case.get("batch_size", BATCH_SIZE)
    two = in_a_process("gradient", {**case, "towers": 2, "batch_size": size // 2})
    one = in_a_process("gradient", {**case, "towers": 1, "batch_size": size})
    return float(np.linalg.norm(np.subtract(two, one)) / np.linalg.norm(one))


def in_a_process(what: str, case: dict[str, Any]) -> Any:
    """What ``speed`` or ``gradient`` says of a case, computed in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--only", what, json.dumps(case)]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(process.stdout.splitlines()[-1])


def cases(num_devices: int, sizes: list[int], precisions: list[str], **changes: Any) -> list[dict[str, Any]]:
    """What is measured: each size and precision with 1 ... n towers, and the faster layers with one."""
    made = []
    for size in sizes:
        for precision in precisions:
            made.append({"image_size": size, "precision": precision, "towers": 1, "layer_route": "fast", **changes})
            for towers in range(1, num_devices + 1):
                made.append({"image_size": size, "precision": precision, "towers": towers, "layer_route": "slim", **changes})
    return made


def table(results: list[dict[str, Any]], gradients_differ: float) -> str:
    """The table as text."""
    lines = [
        f"{'pixels':>6} {'precision':>9} {'layers':>6} {'towers':>6} {'images/s':>10} {'efficiency':>10} {'waiting':>8} {'peak, MB':>9}"
    ]
    alone = {
        (row["image_size"], row["precision"]): row["images_per_second"]
        for row in results
        if row["towers"] == 1 and row["layer_route"] == "slim"
    }
    for row in results:
        efficiency = row["images_per_second"] / row["towers"] / alone[row["image_size"], row["precision"]]
        lines.append(
            f"{row['image_size']:6} {row['precision']:>9} {row['layer_route']:>6} {row['towers']:6} {row['images_per_second']:10,.0f} "
            f"{efficiency:10.2f} {row['waiting']:8.1%} {row['peak_megabytes']:9,.0f}"
        )
    return "\n".join(
        [*lines, f"two towers against one with the double batch, relative difference of the gradients: {gradients_differ:.1e}"]
    )


def run(out: Path, sizes: list[int], precisions: list[str], num_devices: int, **changes: Any) -> dict[str, Any]:
    """Measure everything, print the table, and write it."""
    from glo_lib.evaluation.evaluate import versions
    from glo_lib.graph.devices import find_gpus

    made = cases(num_devices, sizes, precisions, **changes)
    results = [in_a_process("speed", case) for case in made]
    differ = difference({**made[0], "precision": "float32", "layer_route": "slim"})
    print(table(results, differ))
    found = {
        "gpus": [gpu._asdict() for gpu in find_gpus()],
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": versions(),
        "gradients_differ": differ,
        "rows": results,
    }
    out.write_text(json.dumps(found, indent=1) + "\n")
    return found


def main() -> None:
    """Read the arguments."""
    from glo_lib.graph.devices import find_gpus, why_no_gpu

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT, help="default: %(default)s")
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        result = {"speed": speed, "gradient": lambda case: gradient(case).tolist()}[options.only[0]](json.loads(options.only[1]))
        print(f"\n{json.dumps(result)}")
        return
    gpus = find_gpus()
    if not gpus:
        print(why_no_gpu() or "there is no GPU: this measures CPU devices", file=sys.stderr)
    run(options.out, [64, 128], ["float32", "bfloat16", *(["float16"] if gpus else [])], len(gpus) or 2)


if __name__ == "__main__":
    main()
