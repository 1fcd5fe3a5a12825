"""Measure the speed of the input pipeline: the first epoch, later epochs, the share of a step spent waiting, start-up and listing.

    python -m benchmarks.pipeline

The files are JPEG files of 178x218 pixels, like those of CelebA. All compared programs read the same files, in turns.
"""

import argparse
import contextlib
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.turns import Row, answer, ratio, take_turns
from benchmarks.waiting import share_of_waiting

DRAWN, FILES, IMAGE_SIZE, ROUNDS = 256, 8192, 64, 6
LISTED = 202_599
BATCH_SIZES = (128, 32)  # of the wide decoder in benchmarks/throughput.py, and the default
WARM_UP_STEPS, MEASURED_STEPS = 5, 300


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


def wait_for_input(folder: str, settings: str = "{}") -> None:
    """Print a lower bound for the share of a step of the default training that is spent in the operation that fetches the batch.

    Args:
        folder: of the images.
        settings: further settings, as JSON.
    """
    from glo_lib import training
    from glo_lib.graph.backend import tf

    with tempfile.TemporaryDirectory() as run_dir, tf.Graph().as_default():
        given = {"data_dir": folder, "run_dir": run_dir, "batch_size": BATCH_SIZES[-1], **json.loads(settings)}
        setting = training.prepare(training.TrainConfig.from_parameters(given))
        model = training.build_model(setting)
        loss = training.build_loss(setting, model)
        step = training.build_train_ops(setting, model, loss).step
        with tf.compat.v1.Session(config=setting.devices.session_config) as session:
            session.run(tf.compat.v1.global_variables_initializer())
            for _ in range(WARM_UP_STEPS):
                session.run([step, loss])
            share = share_of_waiting(session, [step, loss], MEASURED_STEPS)
    print(json.dumps(share))


class _FirstStep(Exception):
    """Ends a training after its first step, so that its folder and TensorFlow's temporary files are removed."""


def first_step(began: str, settings: str = "{}") -> None:
    """Print the seconds from ``began``, when this program was started, to the end of the first step of a training, which ends there.

    Args:
        began: seconds since the epoch.
        settings: other settings of the training than the defaults, as JSON.
    """
    from glo_lib.training import TrainConfig, train

    ends: list[float] = []

    def first(*_) -> None:
        ends.append(time.time())
        raise _FirstStep

    with tempfile.TemporaryDirectory() as run_dir, contextlib.suppress(_FirstStep):
        train(TrainConfig.from_parameters({**json.loads(settings), "run_dir": run_dir}), on_step=first)
    print(f"\n{json.dumps(ends[0] - float(began))}")


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
    """Run a program of this module and return the number on the last line of its output.

    Raises:
        subprocess.CalledProcessError: the program failed; the reason is on the standard error, which is that of this process.
    """
    command = [sys.executable, "-m", "benchmarks.pipeline", "--serve", *map(str, arguments)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])


def run() -> list[Row]:
    """Measure everything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder)
        files = folder / "files"
        programs = {which: ["benchmarks.pipeline", "--serve", which, files] for which in ("bare", "first_epoch")}
        programs |= {f"cached {size}": ["benchmarks.pipeline", "--serve", "cached", files, size] for size in BATCH_SIZES}
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


PROGRAMS: dict[str, Callable[..., None]] = {
    "bare": serve_bare,
    "first_epoch": serve_first_epoch,
    "cached": serve_cached,
    "wait": wait_for_input,
    "first_step": first_step,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, and measure or serve."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks.pipeline", description=__doc__, formatter_class=layout)
    parser.add_argument("--serve", nargs="+", metavar="PROGRAM", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if not options.serve:
        print(*run(), sep="\n")
        return
    program, *given = options.serve
    if program not in PROGRAMS:
        parser.error(f"there is no program {program!r} to serve; there are {', '.join(PROGRAMS)}")
    PROGRAMS[program](*given)


if __name__ == "__main__":
    main()
