"""Measure whether the cost of a training step depends on the number of codes, with row-wise Adam and with TensorFlow's dense Adam.

    python -m benchmarks.flat

For each number N of codes a separate process trains the default decoder on random images, with a table of N codes from which each batch
draws rows at random. The processes take turns, so a change in the speed of the machine affects them all alike.
"""

import argparse
import json
import statistics
from collections.abc import Sequence

import numpy as np

from benchmarks.turns import Row, answer, ratio, take_turns

SIZES = (2_000, 202_599, 2_000_000)
MAX_DENSE = 202_599  # a dense step with two million codes would take a second
NUM_DIMS, BATCH_SIZE, IMAGE_SIZE = 100, 64, 64
CODES_PER_BLOCK = 4096
ROUNDS, STEPS = 7, 8


def build_step(num_codes: int, optimizer_name: str, with_decoder: bool):
    """Build a training step with a table of ``num_codes`` codes, like `glo_lib.training`, but with random images made in the graph."""
    from glo_lib.codes import RowwiseAdam, large_zeros
    from glo_lib.decoder import decoder, num_filters_for
    from glo_lib.graph.backend import tf
    from glo_lib.projection import project

    v1 = tf.compat.v1
    codes = v1.get_variable("codes", [num_codes, NUM_DIMS], initializer=large_zeros, use_resource=True)
    rows = tf.gather(codes, tf.random.uniform([BATCH_SIZE], maxval=num_codes, dtype=tf.int64))
    if with_decoder:
        images = decoder(project(rows), num_filters_for(IMAGE_SIZE))
        loss = tf.reduce_mean(tf.square(images - tf.random.uniform(tf.shape(images), -1, 1)))
    else:
        loss = tf.reduce_mean(tf.square(project(rows) - 1))
    code_optimizer = RowwiseAdam(0.1, project=project) if optimizer_name == "rowwise" else v1.train.AdamOptimizer(1e-3)
    steps = [code_optimizer.minimize(loss, var_list=[codes])]
    if with_decoder:
        steps.append(v1.train.AdamOptimizer(3e-3).minimize(loss, var_list=v1.trainable_variables("decoder")))
    return tf.group(*steps)


def serve(num_codes: int, optimizer_name: str, with_decoder: bool) -> None:
    """Serve training steps with a table of ``num_codes`` codes; this runs in a separate process."""
    from glo_lib.graph.backend import tf

    v1 = tf.compat.v1
    with tf.Graph().as_default():
        step = build_step(num_codes, optimizer_name, with_decoder)
        rows, values = v1.placeholder(tf.int64, [None]), v1.placeholder(tf.float32, [None, NUM_DIMS])
        assign = v1.scatter_update(v1.global_variables("codes")[0], rows, values)
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            for start in range(0, num_codes, CODES_PER_BLOCK):  # as in training, so there is never a second table of this size
                block = np.arange(start, min(start + CODES_PER_BLOCK, num_codes))
                session.run(assign.op, {rows: block, values: np.random.default_rng(start).standard_normal((len(block), NUM_DIMS))})

            def steps(number: int) -> None:
                for _ in range(number):
                    session.run(step)

            answer(steps)


def run() -> list[Row]:
    """Print a table by number of codes, and return the rows of the common table."""
    columns = {"whole step, ms": ("rowwise", True), "codes alone, ms": ("rowwise", False), "dense Adam, ms": ("dense", False)}
    cases = [(size, *column) for column in columns.values() for size in SIZES if column[0] == "rowwise" or size <= MAX_DENSE]
    turns = take_turns({case: ["benchmarks.flat", "--serve", json.dumps(case)] for case in cases}, dict.fromkeys(cases, STEPS), ROUNDS)
    seconds = {case: [turn.seconds for turn in turns[case]] for case in cases}
    milliseconds = {case: f"{1000 * statistics.median(seconds[case]):.2f}" for case in cases}
    megabytes = {size: turns[size, "rowwise", True][-1].resident_mb for size in SIZES}
    print(f"{'codes N':>12}", *(f"{title:>16}" for title in columns), f"{'resident, MB':>13}")
    for size in SIZES:
        print(
            f"{size:>12,}",
            *(f"{milliseconds.get((size, *column), 'not run'):>16}" for column in columns.values()),
            f"{megabytes[size]:>13,.0f}",
        )
    few, many = SIZES[0], SIZES[-1]
    needed = 12 * (many - few) * NUM_DIMS / 2**20
    slower = ratio(seconds[many, "rowwise", True], seconds[few, "rowwise", True])
    return [
        Row(f"step at N = {many:,} / step at N = {few:,}", slower, "", "at most 1.1"),
        Row("growth of memory / codes and their two moments", (megabytes[many] - megabytes[few]) / needed, "", "at most 1.1"),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, and measure or serve."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks.flat", description=__doc__, formatter_class=layout)
    parser.add_argument("--serve", type=json.loads, metavar="CASE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve(*options.serve)
    else:
        print(*run(), sep="\n")


if __name__ == "__main__":
    main()
