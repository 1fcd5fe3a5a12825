"""Measure the speed of the input pipeline: the first epoch, later epochs, the share of a step spent waiting, start-up and listing.

    python -m benchmarks.pipeline

The files are JPEG files of 178x218 pixels, like those of CelebA. All compared programs read the same files, in turns.
"""

import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.turns import Row, answer, ratio, take_turns

DRAWN, FILES, IMAGE_SIZE, ROUNDS = 256, 8192, 64, 6
LISTED = 202_599
BATCH_SIZES = (128, 32)  # of the wide decoder in benchmarks/throughput.py, and the default
TRACED_STEPS = 300


def write_files(folder: Path) -> None:
    """Write faces, each in several copies; copies take as long to decode as different images."""
    from glo_lib.faces import write_faces

    write_faces(folder / "drawn", DRAWN)
    drawn = sorted((folder / "drawn").rglob("*.jpg"))
    (folder / "files").mkdir()
    for number, source in zip(range(FILES), itertools.cycle(drawn), strict=False):
        shutil.copy(source, folder / "files" / f"{number:06}.jpg")


def serve_bare(folder: str) -> None:
    """Read, decode, crop and resize files with TensorFlow's operations alone, on all cores.

    Each turn has a dataset of its own, because an endless one would fill its buffers during the turn of the next program.
    """
    from glo_lib.graph.backend import tf
    from glo_lib.images.decode import without_autotuning  # with autotuning the end of a dataset can take seconds

    v1 = tf.compat.v1
    names = sorted(map(str, Path(folder).iterdir()))

    def image(name):
        contents = tf.io.read_file(name)
        height, width = tf.unstack(tf.io.extract_jpeg_shape(contents)[:2])
        side = tf.minimum(height, width)
        window = tf.stack([(height - side) // 2, (width - side) // 2, side, side])
        return tf.image.resize(tf.io.decode_and_crop_jpeg(contents, window, channels=3), [IMAGE_SIZE, IMAGE_SIZE], antialias=True)

    with tf.Graph().as_default():
        wanted = v1.placeholder(tf.int64, [])
        images = tf.data.Dataset.from_tensor_slices(names).take(wanted).map(image, num_parallel_calls=os.cpu_count())
        iterator = v1.data.make_initializable_iterator(without_autotuning(images.batch(64).prefetch(2)))
        batch = iterator.get_next()
        with v1.Session() as session:

            def decode(number: int) -> None:
                session.run(iterator.initializer, {wanted: number})
                for _ in range(-(-number // 64)):
                    session.run(batch.op)

            answer(decode)


def serve_first_epoch(folder: str) -> None:
    """Call `decode_images` without a cache, which includes everything from the list of files to the file of images with its checksums."""
    from glo_lib.inputs import decode_images

    names = sorted(map(str, Path(folder).iterdir()))

    def decode(number: int) -> None:
        with tempfile.TemporaryDirectory() as cache:
            os.environ["GLO_CACHE_DIR"] = cache
            decode_images(names[:number], IMAGE_SIZE)

    answer(decode)


def serve_cached(folder: str, batch_size: str) -> None:
    """Read batches from the cache, as training does."""
    from glo_lib.graph.backend import tf
    from glo_lib.inputs import decode_images, get_inputs_dataset

    with tempfile.TemporaryDirectory() as cache, tf.Graph().as_default():
        os.environ["GLO_CACHE_DIR"] = cache
        inputs = get_inputs_dataset(decode_images(sorted(map(str, Path(folder).iterdir())), IMAGE_SIZE), int(batch_size))
        with tf.compat.v1.Session() as session:

            def read(number: int) -> None:
                for _ in range(-(-number // int(batch_size))):
                    session.run([inputs["image"].op, inputs["index"].op])

            answer(read)


def wait_for_input(folder: str) -> None:
    """Trace steps of the default training and print the share of a step that is spent in the operation that fetches the batch."""
    from glo_lib import training
    from glo_lib.graph.backend import tf

    v1 = tf.compat.v1
    with tempfile.TemporaryDirectory() as run_dir, tf.Graph().as_default():
        setting = training.prepare(training.TrainConfig(data_dir=folder, run_dir=run_dir, batch_size=BATCH_SIZES[-1]))
        model = training.build_model(setting)
        loss = training.build_loss(setting, model)
        step = training.build_train_ops(setting, model, loss).step
        options = v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE)
        waited, passed = [], []
        with v1.Session(config=setting.devices.session_config) as session:
            session.run(v1.global_variables_initializer())
            for _ in range(TRACED_STEPS + 5):
                trace = v1.RunMetadata()
                began = time.perf_counter()
                session.run([step, loss], options=options, run_metadata=trace)
                passed.append(time.perf_counter() - began)
                nodes = [node for device in trace.step_stats.dev_stats for node in device.node_stats]
                waits = [node.op_end_rel_micros - node.op_start_rel_micros for node in nodes if "IteratorGetNext" in node.node_name]
                waited.append(sum(waits) / 1e6)
    print(json.dumps(sum(waited[5:]) / sum(passed[5:])))


def first_step(began: str) -> None:
    """Print the seconds from ``began``, when this program was started, to the end of the first step of the default training."""
    from glo_lib.training import TrainConfig, train

    def first(*_) -> None:
        print(f"\n{json.dumps(time.time() - float(began))}", flush=True)
        os._exit(0)

    with tempfile.TemporaryDirectory() as run_dir:
        train(TrainConfig(run_dir=run_dir), on_step=first)


def seconds_to_list(folder: Path) -> float:
    """Return the seconds that `list_images` takes for as many files as CelebA has."""
    from glo_lib.inputs import list_images

    folder.mkdir()
    for number in range(LISTED):
        os.close(os.open(folder / f"{number:06}.jpg", os.O_CREAT | os.O_WRONLY))
    began = time.perf_counter()
    assert len(list_images(folder)) == LISTED
    return time.perf_counter() - began


def printed(*arguments: object) -> float:
    """Run this module with some arguments and return the number on the last line of its output."""
    command = [sys.executable, "-m", "benchmarks.pipeline", *map(str, arguments)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def run() -> list[Row]:
    """Measure everything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder)
        files = folder / "files"
        programs = {which: ["benchmarks.pipeline", which, files] for which in ("bare", "first_epoch")}
        programs |= {f"cached {size}": ["benchmarks.pipeline", "cached", files, size] for size in BATCH_SIZES}
        turns = take_turns(programs, {name: FILES for name in programs}, ROUNDS)
        seconds = {name: [turn.seconds for turn in turns[name]] for name in turns}
        times = {size: ratio(seconds["first_epoch"], seconds[f"cached {size}"]) for size in BATCH_SIZES}
        speeds = {name: 1 / statistics.median(seconds[name]) for name in seconds}
        printed("first_step", time.time())  # draws and decodes the embedded faces if this has not been done before
        return [
            Row("bare decode_and_crop_jpeg and resize", speeds["bare"], "images/s"),
            Row("first epoch", speeds["first_epoch"], "images/s"),
            Row("first epoch / bare decoding", ratio(seconds["bare"], seconds["first_epoch"]), "", "at least 0.8"),
            *(Row(f"later epochs, from the cache, batches of {size}", speeds[f"cached {size}"], "images/s") for size in BATCH_SIZES),
            *(Row(f"later epochs / first epoch, batches of {size}", times[size], "", "at least 20") for size in BATCH_SIZES),
            Row("waiting for input, share of a step", printed("wait", files), "", "below 0.02"),
            Row("from the start of Python to the end of the first step", printed("first_step", time.time()), "s", "below 12"),
            Row(f"listing {LISTED:,} files", seconds_to_list(folder / "many"), "s", "below 3"),
        ]


if __name__ == "__main__":
    serving = {
        "bare": serve_bare,
        "first_epoch": serve_first_epoch,
        "cached": serve_cached,
        "wait": wait_for_input,
        "first_step": first_step,
    }
    if len(sys.argv) > 1:
        serving[sys.argv[1]](*sys.argv[2:])
    else:
        print(*run(), sep="\n")
