"""Measure the seconds of training steps, to which the cost model of the book's page on several machines is fitted.

    python -m benchmarks.scaling               # steps of one tower, of two towers, and of one and two workers
    python -m benchmarks.scaling --parts 2 3   # some of the parts; the results keep the others
    python -m benchmarks.scaling --rows        # steps with 20,000, 2 million and 20 million codes; needs 10 GB of memory

The trainings of a part take turns, and the fastest turn of each counts, because other programs can only make a turn longer. Each is the
library's training graph, with its input pipeline; the images are an empty file, because their content does not matter here. Workers and
parameter servers are processes of this machine. The results go to scaling.json.
"""

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.machine import machine
from benchmarks.turns import answer, take_turns

RESULTS = Path(__file__).parent / "scaling.json"
SERVERS = 2
TURN_SECONDS, ROUNDS = 0.25, 8
PART_CASES = 6  # most trainings of a part
ROW_SIZES, ROW_DIMS, ROW_STEPS = (20_000, 2_000_000, 20_000_000), 32, 10
NUM_FILTERS = {32: (256, 128, 64), 64: (256, 96, 48, 32), 128: (256, 128, 64, 64, 32)}  # not the defaults, which may change
ALIVE_SECONDS = 300  # in which all tasks must have answered
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


class Case(NamedTuple):
    """What a process trains.

    Attributes:
        image_size: pixels a side.
        batch_size: images of each tower.
        towers: number of all towers; with workers each has one.
        workers: number of workers, which are processes of their own; 0: everything in one process.
        fitted: whether the cost model is fitted to the case; otherwise the case is held out, to test it.
        num_codes: rows of the table.
        num_dims: dimensions of a code.
    """

    image_size: int
    batch_size: int
    towers: int = 1
    workers: int = 0
    fitted: bool = True
    num_codes: int = 20_000
    num_dims: int = 64

    @property
    def name(self) -> str:
        where = f"{self.workers} worker{'s' * (self.workers > 1)}" if self.workers else f"{self.towers} tower{'s' * (self.towers > 1)}"
        return f"{where}, {self.image_size} pixels, batch {self.batch_size}"


CASES = (
    Case(32, 8), Case(32, 64), Case(64, 32), Case(128, 16),
    Case(32, 16, towers=2), Case(64, 16, towers=2),
    Case(32, 16, workers=1), Case(64, 32, workers=1), Case(32, 16, towers=2, workers=2), Case(64, 32, towers=2, workers=2),
    Case(32, 32, fitted=False), Case(64, 8, fitted=False), Case(64, 128, fitted=False), Case(128, 4, fitted=False),
    Case(128, 8, towers=2, fitted=False), Case(32, 64, workers=1, fitted=False), Case(64, 8, towers=2, workers=2, fitted=False),
    Case(128, 8, towers=2, workers=2, fitted=False),
)  # fmt: skip


def parts() -> list[list[Case]]:
    """The cases in parts: those of a part have as many workers, and share servers, workers and a process."""
    found = []
    for workers in sorted({case.workers for case in CASES}):
        cases = [case for case in CASES if case.workers == workers]
        found += [cases[start : start + PART_CASES] for start in range(0, len(cases), PART_CASES)]
    return found


# --------------------------------------------------------------------------------------------------- one case, in a process of its own
@contextlib.contextmanager
def open_training(case: Case, folder: Path, devices: Any = None, container: str = "") -> Iterator[tuple[Any, Any]]:
    """Open a training in a folder of its own; yield its session and its `glo_lib.training.TrainGraph`.

    Args:
        case: what to train.
        folder: for its images.
        devices: of a cluster; None: those of this process.
        container: of the variables, which have the same names in all trainings on the same servers.
    """
    from glo_lib.graph.backend import tf
    from glo_lib.graph.devices import choose_devices
    from glo_lib.runs.folder import Progress
    from glo_lib.runs.run import Run
    from glo_lib.training import Setting, TrainGraph, build_loss, build_model, build_train_ops
    from glo_lib.training.loop import initialiser

    v1, config = tf.compat.v1, config_of(case)
    devices = devices or choose_devices(case.towers, "float32")
    setting = Setting(config, devices, empty_images(case, folder), Run(folder, config, None, Progress(0, 0.0)))
    with contextlib.ExitStack() as stack:
        tf_graph = stack.enter_context(tf.Graph().as_default())
        stack.enter_context(tf_graph.container(container))
        stack.enter_context(tf.device(devices.job or None))
        model = build_model(setting)
        loss = build_loss(setting, model)
        graph = TrainGraph(model, loss, build_train_ops(setting, model, loss))
        initialise, start = initialiser(setting, graph), v1.global_variables_initializer()
        session = stack.enter_context(v1.Session(devices.master, config=devices.session_config))
        session.run(start)
        initialise(None, session)
        yield session, graph


def config_of(case: Case) -> Any:
    """The settings of a case."""
    from glo_lib.config import TrainConfig

    sizes = {"image_size": case.image_size, "num_filters": NUM_FILTERS[case.image_size], "num_dims": case.num_dims}
    return TrainConfig(
        **sizes, batch_size=case.batch_size, gpus=case.towers, code_init="normal", precision="float32", answer_seconds=ALIVE_SECONDS
    )


def empty_images(case: Case, folder: Path) -> Any:
    """A file without content in place of the decoded images; it takes no room on the disk."""
    from glo_lib.images.store import DecodedImages

    folder.mkdir(exist_ok=True)
    images = DecodedImages(folder / "images.uint8", case.num_codes, case.image_size, ())
    with open(images.path, "wb") as file:
        file.truncate(images.num_bytes)
    return images


@contextlib.contextmanager
def cluster_of(case: Case, folder: Path) -> Iterator[Any]:
    """Start the servers and workers of a case on the loopback, with this process as their chief; yield the devices.

    Without workers nothing is started, and None is yielded.
    """
    if not case.workers:
        yield None
        return
    from glo_lib.graph.cluster import chief_cluster
    from glo_lib.training.machines import connect

    numbers = {"chief": 1, "ps": SERVERS, "worker": case.workers}
    addresses = {kind: [_free_address() for _ in range(number)] for kind, number in numbers.items()}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": addresses, "task": {"type": "chief", "index": 0}})
    with contextlib.ExitStack() as stack:
        for kind in ("ps", "worker"):
            for index in range(len(addresses[kind])):
                setting = json.dumps({"cluster": addresses, "task": {"type": kind, "index": index}})
                command = [sys.executable, "-m", "benchmarks.scaling", "--task"]
                task = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=sys.stderr, env={**os.environ, "TF_CONFIG": setting})
                stack.callback(task.wait)
                stack.callback(task.kill)
        yield connect(config_of(case), chief_cluster(), empty_images(case, folder), folder)


def _free_address() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{found.getsockname()[1]}"


def serve_until_alone() -> None:
    """Be a server or worker until the process that started this one ends, also if it is killed."""
    from glo_lib.__main__ import main as command_line

    def wait() -> None:
        sys.stdin.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
    command_line(["serve"])


def serve_part(cases: Sequence[Case]) -> None:
    """Serve the steps of some cases: for each line of numbers of steps, print the seconds of a step of each."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        with contextlib.redirect_stdout(sys.stderr):
            devices = stack.enter_context(cluster_of(cases[0], Path(name)))
            trainings = [open_training(case, Path(name, f"{place}"), devices, f"case{place}") for place, case in enumerate(cases)]
            opened = [stack.enter_context(training) for training in trainings]
        for line in sys.stdin:
            print(
                json.dumps([take_steps(*training, number) for training, number in zip(opened, json.loads(line), strict=True)]), flush=True
            )


def take_steps(session: Any, graph: Any, number: int) -> float:
    """Take some steps; return the seconds of a step."""
    began = time.perf_counter()
    for _ in range(number):
        session.run(graph.train_ops.step)
    return (time.perf_counter() - began) / number


def serve_case(case: Case) -> None:
    """Serve `take_turns` with the steps of a case."""
    with tempfile.TemporaryDirectory() as folder, open_training(case, Path(folder)) as (session, graph):
        answer(lambda number: take_steps(session, graph, number))


# ------------------------------------------------------------------------------------------------------------------- all cases
class Part:
    """Some cases in a process of their own, which `serve_part` serves."""

    def __init__(self, cases: Sequence[Case]):
        self.cases = cases
        command = [sys.executable, "-m", "benchmarks.scaling", "--serve", json.dumps(cases)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def take(self, steps: Sequence[int]) -> list[float]:
        """Take so many steps of each training; return the seconds of a step of each."""
        self._process.stdin.write(f"{json.dumps(steps)}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self.cases[0].name} ended with status {self._process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


def measure_part(cases: Sequence[Case], rounds: int = ROUNDS) -> list[list[float]]:
    """Return the seconds of a step of each case, for each round of turns; a turn takes some tenths of a second."""
    part = Part(cases)
    try:
        part.take([2] * len(part.cases))  # warm up
        steps = [max(2, round(TURN_SECONDS / seconds)) for seconds in part.take([3] * len(part.cases))]
        return [part.take(steps) for _ in range(rounds)]
    finally:
        part.close()


def points_of(turns: Sequence[Sequence[Sequence[float]]]) -> list[dict[str, Any]]:
    """Return all cases with the seconds of a step in their fastest turn and in the median of their turns.

    Args:
        turns: for each part, each of its rounds, and each of its cases, the seconds of a step.
    """
    found = {}
    for cases, rounds in zip(parts(), turns, strict=True):
        for case, seconds in zip(cases, zip(*rounds, strict=True), strict=True):
            found[case] = {"seconds": min(seconds), "median_seconds": statistics.median(seconds)}
    return [{**case._asdict(), "num_filters": NUM_FILTERS[case.image_size], "name": case.name, **found[case]} for case in CASES]


def summary(case: Case, seconds: Sequence[float]) -> dict[str, Any]:
    """The case with its seconds per step: the lower quartile of its turns, since other programs only make steps longer, and the median."""
    low, median, _ = statistics.quantiles(seconds, n=4)
    return {**case._asdict(), "name": case.name, "seconds": low, "median_seconds": median}


def measure_rows(sizes: Sequence[int] = ROW_SIZES, rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Measure steps with tables of several sizes, for images of 32 pixels."""
    cases = {str(size): Case(32, 32, num_codes=size, num_dims=ROW_DIMS, fitted=False) for size in sizes}
    commands = {size: ["benchmarks.scaling", "--case", json.dumps(case)] for size, case in cases.items()}
    turns = take_turns(commands, dict.fromkeys(cases, ROW_STEPS), rounds)
    first, rows = turns[str(sizes[0])], []
    for size, case in cases.items():
        ratios = [turn.seconds / other.seconds for turn, other in zip(turns[size], first, strict=True)]
        row = summary(case, [turn.seconds for turn in turns[size]])
        rows.append({**row, "anonymous_mb": turns[size][-1].anonymous_mb, "over_first": statistics.quantiles(ratios, n=4)})
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or take the part of one process."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.scaling", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", action="store_true", help="the sizes of the table instead of the points of the cost model")
    parser.add_argument("--sizes", type=int, nargs="+", default=ROW_SIZES, metavar="N", help="sizes for --rows (default: %(default)s)")
    numbers = range(len(parts()))
    parser.add_argument("--parts", type=int, nargs="+", choices=numbers, default=list(numbers), help="parts of the points (default: all)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="turns of each training (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to write (default: benchmarks/scaling.json)")
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--task", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.task:
        return serve_until_alone()
    if options.case:
        return serve_case(Case(*options.case))
    if options.serve:
        return serve_part([Case(*case) for case in options.serve])
    os.environ |= QUIET
    results = json.loads(options.results.read_text()) if options.results.exists() else {}
    results |= {"machine": machine(), "date": date.today().isoformat()}
    if options.rows:
        results["rows"] = measure_rows(options.sizes, options.rounds)
    else:
        turns = results.setdefault("turns", {}) | {str(number): measure_part(parts()[number], options.rounds) for number in options.parts}
        results["turns"] = turns
        if len(turns) == len(numbers):
            results["points"] = points_of([turns[str(number)] for number in numbers])
    options.results.write_text(json.dumps(results, indent=1) + "\n")
    for row in results.get("rows" if options.rows else "points", []):
        print(f"{row['num_codes']:>12,} codes, {row['name']:40} {1000 * row['seconds']:8.1f} ms", flush=True)
    return None


if __name__ == "__main__":
    main()
