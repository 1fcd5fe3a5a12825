"""Is a step's cost independent of the number of codes? Row-wise Adam against TensorFlow's dense one.

    python -m benchmarks.flat

For each number N of codes a process of its own trains the default decoder on made-up images, with a table of N codes of which each
batch uses some at random. The sizes of row-wise Adam run in turn, so that a change in the machine's speed falls on both.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import numpy as np

SIZES = (2_000, 202_599, 2_000_000)
NUM_DIMS, BATCH_SIZE, IMAGE_SIZE = 100, 64, 64


def build_step(num_codes: int, optimizer_name: str, with_decoder: bool):
    """A training step on a table of so many codes: what `glo_lib.training` builds, with images made in the graph."""
    from glo_lib.backend import tf
    from glo_lib.codes import RowwiseAdam
    from glo_lib.decoder import decoder, num_filters_for
    from glo_lib.projection import project

    v1 = tf.compat.v1
    codes = v1.get_variable("codes", initializer=tf.random.normal([num_codes, NUM_DIMS]), use_resource=True)
    rows = tf.gather(codes, tf.random.uniform([BATCH_SIZE], maxval=num_codes, dtype=tf.int64))
    if with_decoder:
        images = decoder(project(rows), num_filters_for(IMAGE_SIZE))
        loss = tf.reduce_mean(tf.square(images - tf.random.uniform(tf.shape(images), -1, 1)))
    else:
        loss = tf.reduce_mean(tf.square(project(rows) - 1))
    code_optimizer = RowwiseAdam(0.1, project=project) if optimizer_name == "rowwise" else v1.train.AdamOptimizer(1e-3)
    steps = [code_optimizer.minimize(loss, var_list=[codes])]
    if with_decoder:
        steps.append(v1.train.AdamOptimizer(2e-3).minimize(loss, var_list=v1.trainable_variables("decoder")))
    return tf.group(*steps)


def serve(num_codes: int, optimizer_name: str, with_decoder: bool) -> None:
    """In a process of its own: for each line read, take so many steps and print milliseconds per step and resident megabytes."""
    from glo_lib.backend import tf

    v1 = tf.compat.v1
    with tf.Graph().as_default():
        step = build_step(num_codes, optimizer_name, with_decoder)
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            for line in sys.stdin:
                began = time.perf_counter()
                for _ in range(int(line)):
                    session.run(step)
                milliseconds = (time.perf_counter() - began) / int(line) * 1000
                print(json.dumps([milliseconds, resident_megabytes()]), flush=True)


def resident_megabytes() -> float:
    """Resident memory of this process now (Linux), else its peak."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize() / 2**20
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def measure_in_turn(cases: list[tuple[int, str, bool]], rounds: int, steps: int) -> list[tuple[float, float]]:
    """Median milliseconds per step and resident megabytes of each case; the cases take turns, round by round."""
    command = [sys.executable, "-m", "benchmarks.flat", "--serve"]
    servers = [
        subprocess.Popen([*command, json.dumps(case)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for case in cases
    ]
    times, memory = [[] for _ in cases], [0.0] * len(cases)
    try:
        for turn in range(rounds + 1):
            for number, server in enumerate(servers):
                server.stdin.write(f"{3 if turn == 0 else steps}\n")
                server.stdin.flush()
                milliseconds, memory[number] = json.loads(server.stdout.readline())
                if turn:  # the first turn warms up
                    times[number].append(milliseconds)
    finally:
        for server in servers:
            server.kill()
    return [(statistics.median(values), megabytes) for values, megabytes in zip(times, memory, strict=True)]


def run() -> dict[str, float]:
    """Print the table and return its ratios."""
    cases = [(size, "rowwise", decode) for decode in (True, False) for size in SIZES]
    results = dict(zip(cases, measure_in_turn(cases, rounds=7, steps=8), strict=True))
    dense = measure_in_turn([(size, "dense", False) for size in SIZES[:2]], rounds=3, steps=3)
    print(f"{'codes N':>12} {'whole step, ms':>15} {'codes alone, ms':>16} {'dense Adam, ms':>15} {'resident, MB':>13}")
    for number, size in enumerate(SIZES):
        whole, alone = results[size, "rowwise", True], results[size, "rowwise", False]
        dense_ms = f"{dense[number][0]:.2f}" if number < len(dense) else "not run"
        print(f"{size:>12,} {whole[0]:>15.2f} {alone[0]:>16.3f} {dense_ms:>15} {whole[1]:>13,.0f}")
    ratio = results[SIZES[-1], "rowwise", True][0] / results[SIZES[0], "rowwise", True][0]
    grown = results[SIZES[-1], "rowwise", True][1] - results[SIZES[0], "rowwise", True][1]
    needed = 12 * (SIZES[-1] - SIZES[0]) * NUM_DIMS / 2**20
    print(f"step at N = {SIZES[-1]:,} / step at N = {SIZES[0]:,}: {ratio:.3f}")
    print(f"memory grew by {grown:,.0f} MB; codes and two moments are {needed:,.0f} MB: {grown / needed:.3f}")
    return {"flat_step_ratio": ratio, "flat_memory_ratio": grown / needed}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--serve", type=json.loads, help="used by the program itself")
    arguments = parser.parse_args()
    np.random.seed(0)
    serve(*arguments.serve) if arguments.serve else run()
