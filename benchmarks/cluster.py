"""Measure training on several machines, in network namespaces: what a step sends, what it costs, and how checkpoints are best written.

    sudo python -m benchmarks.cluster                  # all parts, written to benchmarks/cluster.json and cluster.md
    sudo python -m benchmarks.cluster --bytes          # what a step sends, for 2,000 and for 2,000,000 codes
    sudo python -m benchmarks.cluster --speed          # one process, 1 worker and 2 workers, each on a core of its own, in turns
    sudo python -m benchmarks.cluster --checkpoints    # written by the servers or through the chief, in turns

Each machine is a namespace of this machine, with an address of its own: two parameter servers, the workers and the chief, joined by a
bridge. The bytes are those that the interfaces of all namespaces count. The images are an empty file, because their content does not matter
here. Needs Linux, ip, taskset and root.
"""

import argparse
import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
RESULT, TABLE = HERE / "cluster.json", HERE / "cluster.md"
SIZES = (2_000, 2_000_000)  # codes, for the bytes of a step
SAVED_SIZES = {200_000: 3, 2_000_000: 2}  # codes -> number of turns
SAVED_DIMS = 100
NUM_DIMS, BATCH_SIZE, IMAGE_SIZE = 64, 32, 32
SPEED_IMAGE_SIZE, SPEED_TURNS, SPEED_STEPS = 64, 12, 10
WARM_UP, STEPS = 20, 100
BRIDGE = "glo-bridge"
WRITERS = {True: "servers", False: "chief"}


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@contextlib.contextmanager
def namespaces(names: list[str]) -> Iterator[dict[str, str]]:
    """Make a network namespace for each name, all joined by a bridge; yield their addresses."""
    addresses = {name: f"10.77.0.{number}" for number, name in enumerate(names, start=2)}
    try:
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "link", "set", BRIDGE, "up")
        for name, address in addresses.items():
            run("ip", "netns", "add", name)
            run("ip", "link", "add", f"v{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
            run("ip", "link", "set", f"v{name}", "master", BRIDGE, "up")
            run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")
            run("ip", "-n", name, "link", "set", "lo", "up")
        yield addresses
    finally:
        for name in names:
            subprocess.run(["ip", "link", "del", f"v{name}"], check=False, capture_output=True)
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", BRIDGE], check=False, capture_output=True)


def bytes_sent(names: list[str]) -> dict[str, int]:
    """What each namespace has sent so far: its interface's other end has received it."""
    return {name.removeprefix("glo-"): int(Path(f"/sys/class/net/v{name}/statistics/rx_bytes").read_text()) for name in names}


class Mark(NamedTuple):
    """What the chief says at a moment, and what every machine has sent until then."""

    answer: dict[str, Any]
    sent: dict[str, int]

    def sent_since(self, earlier: "Mark") -> dict[str, int]:
        """Return what every machine has sent since an earlier moment."""
        return {name: number - earlier.sent[name] for name, number in self.sent.items()}


def run_chief(arguments: list[str], num_workers: int) -> list[Mark]:
    """Start a cluster of which this program, with these arguments, is the chief; return what it says.

    Args:
        arguments: of this program.
        num_workers: number of workers.
    """
    names = names_of(num_workers)
    with namespaces(names) as at, contextlib.ExitStack() as stack:
        chief = start_cluster(names, at, arguments, stack)
        marks = []
        while answer := answer_of(chief):
            marks.append(Mark(answer, bytes_sent(names)))
            go_on(chief)
        if chief.wait() or not marks:
            raise RuntimeError(f"the chief has ended with {chief.returncode}; its errors are above")
        return marks


def names_of(num_workers: int, cluster: str = "") -> list[str]:
    """Name the namespaces of a cluster: the chief's, those of two servers, and the workers'; none without workers."""
    kinds = ("chief", "ps0", "ps1", *(f"worker{number}" for number in range(num_workers)))
    return [f"glo-{cluster}{kind}" for kind in kinds] if num_workers else []


def start_cluster(
    names: list[str], at: dict[str, str], arguments: list[str], stack: contextlib.ExitStack, pinned: bool = False
) -> subprocess.Popen:
    """Start the processes of a cluster, which the stack ends; return the chief, which is this program with these arguments.

    Args:
        names: from `names_of`. If there are none, the chief is a single process on the first core.
        at: address of each namespace.
        arguments: of this program.
        stack: ends the processes.
        pinned: whether each worker is kept on a core of its own.
    """
    if not names:
        return _start(["taskset", "-c", "0", *_program(arguments)], "", stack)
    cluster = {"chief": names[:1], "ps": names[1:3], "worker": names[3:]}
    cluster = {kind: [f"{at[name]}:2222" for name in found] for kind, found in cluster.items()}
    tasks = [("chief", 0), ("ps", 0), ("ps", 1), *(("worker", number) for number in range(len(names) - 3))]
    for name, (kind, index) in list(zip(names, tasks, strict=True))[::-1]:
        setting = json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})
        pin = ["taskset", "-c", str(index % (os.cpu_count() or 1))] if pinned and kind == "worker" else []
        program = _program(arguments) if kind == "chief" else [sys.executable, "-m", "glo_lib", "serve"]
        process = _start(["ip", "netns", "exec", name, *pin, *program], setting, stack)
    return process


def _program(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "benchmarks.cluster", *arguments]


def _start(command: list[str], setting: str, stack: contextlib.ExitStack) -> subprocess.Popen:
    environment = {**os.environ, "TF_CONFIG": setting}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def answer_of(chief: subprocess.Popen) -> dict[str, Any] | None:
    """Wait for what a chief says; it then waits for `go_on`. None if it has ended."""
    return next((json.loads(line) for line in chief.stdout if line.startswith("{")), None)


def go_on(chief: subprocess.Popen) -> None:
    """Let a chief go on."""
    chief.stdin.write("\n")
    chief.stdin.flush()


# ------------------------------------------------------------------------------------------------------------------------ parts


def measure_bytes() -> list[dict[str, Any]]:
    """What a step of two workers sends, with few codes and with many."""
    found = []
    for num_codes in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            before, after = run_chief(["--steps", str(num_codes), folder, str(IMAGE_SIZE), str(STEPS), "1"], num_workers=2)
        sent = {name: round(number / STEPS / 1000, 1) for name, number in after.sent_since(before).items()}
        found.append({"codes": num_codes, "kilobytes": sent})
        print(f"{num_codes:>9,} codes: {sum(sent.values()):,.1f} kB a step; {sent}", flush=True)
    return found


def measure_speed() -> dict[str, list[float]]:
    """Milliseconds of a step: of one process, of one worker and of two, which take turns, because other programs may run meanwhile."""
    names = {"one process": [], "1 worker": names_of(1, "a-"), "2 workers": names_of(2, "b-")}
    found: dict[str, list[float]] = {name: [] for name in names}
    with namespaces([name for of_cluster in names.values() for name in of_cluster]) as at, contextlib.ExitStack() as stack:
        chiefs = {}
        for name, of_cluster in names.items():
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            arguments = ["--steps", str(SIZES[0]), folder, str(SPEED_IMAGE_SIZE), str(SPEED_STEPS), str(SPEED_TURNS)]
            chiefs[name] = start_cluster(of_cluster, at, arguments, stack, pinned=True)
        for chief in chiefs.values():
            answer_of(chief)  # it is ready
        for turn in range(SPEED_TURNS):
            for name, chief in list(chiefs.items())[:: 1 if turn % 2 else -1]:
                go_on(chief)
                found[name].append(round(answer_of(chief)["milliseconds"], 2))
            print({name: values[-1] for name, values in found.items()}, flush=True)
    return found


def measure_checkpoints() -> list[dict[str, Any]]:
    """Write checkpoints by the servers and through the chief, in turns: seconds, bytes that were sent, and the memory of the chief."""
    found = []
    for num_codes, turns in SAVED_SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            marks = run_chief(["--save", str(num_codes), folder, str(turns)], num_workers=1)
        for before, after in zip(marks[::2], marks[1::2], strict=True):
            sent = sum(after.sent_since(before).values()) / 1e6
            found.append({"codes": num_codes, **after.answer, "megabytes_sent": round(sent, 1)})
            print(found[-1], flush=True)
    return found


# -------------------------------------------------------------------------------------------------------------------- the chief


def take_steps(num_codes: int, folder: str, image_size: int, steps: int, turns: int) -> None:
    """The chief, or with an empty TF_CONFIG a single process: warm up, take some steps in each turn, and say so before and after them."""
    from glo_lib.config import TrainConfig
    from glo_lib.graph.backend import tf
    from glo_lib.graph.cluster import chief_cluster
    from glo_lib.graph.devices import choose_devices
    from glo_lib.images.store import DecodedImages
    from glo_lib.runs.folder import Progress
    from glo_lib.runs.run import Run
    from glo_lib.training import Setting, TrainGraph, build_loss, build_model, build_train_ops
    from glo_lib.training.loop import initialiser
    from glo_lib.training.machines import connect, with_all_towers

    cluster = chief_cluster()
    settings = {"image_size": image_size, "num_dims": NUM_DIMS, "batch_size": BATCH_SIZE, "code_init": "normal", "precision": "float32"}
    config = with_all_towers(TrainConfig(gpus=1, answer_seconds=300, **settings), cluster)
    images = DecodedImages(Path(folder) / "images.uint8", num_codes, image_size, ())
    with open(images.path, "wb") as file:
        file.truncate(images.num_bytes)
    devices = choose_devices(config.gpus, "float32") if cluster is None else connect(config, cluster, images, Path(folder))
    setting = Setting(config, devices, images, Run(Path(folder), config, None, Progress(0, 0.0)))
    v1 = tf.compat.v1
    with tf.Graph().as_default(), tf.device(devices.job) if devices.job else contextlib.nullcontext():
        model = build_model(setting)
        loss = build_loss(setting, model)
        graph = TrainGraph(model, loss, build_train_ops(setting, model, loss))
        initialise, start = initialiser(setting, graph), v1.global_variables_initializer()
        with v1.Session(devices.master, config=devices.session_config) as session:
            session.run(start)
            initialise(None, session)
            for _ in range(WARM_UP):
                session.run(graph.train_ops.step)
            _say({})
            for _ in range(turns):
                times = [time.perf_counter()]
                for _ in range(steps):
                    session.run(graph.train_ops.step)
                    times.append(time.perf_counter())
                _say({"milliseconds": statistics.median(1000 * (after - before) for before, after in itertools.pairwise(times))})


def save_in_turns(num_codes: int, folder: str, turns: int) -> None:
    """The chief: make a split table of codes with its moments, and write it in both ways; say so before and after each time."""
    from glo_lib.codes import RowwiseAdam, create_codes
    from glo_lib.graph.backend import tf
    from glo_lib.graph.cluster import chief_cluster
    from glo_lib.graph.server import find_cluster, start_server
    from glo_lib.graph.session import session_config
    from glo_lib.runs.checkpoints import VerifiedSaver

    cluster = chief_cluster()
    master = start_server(cluster)
    find_cluster(cluster, seconds=300)
    v1 = tf.compat.v1
    with tf.Graph().as_default(), tf.device(cluster.own.device):
        parts = create_codes(num_codes, SAVED_DIMS, [f"{task.device}/cpu:0" for task in cluster.servers])
        RowwiseAdam()._create_slots(parts)
        savers = {by_servers: VerifiedSaver(sharded=by_servers) for by_servers in (True, False)}
        with v1.Session(master, config=session_config()) as session:
            session.run(v1.global_variables_initializer())
            for turn, by_servers in itertools.product(range(turns), (True, False)):
                Path("/proc/self/clear_refs").write_text("5")  # the largest memory so far is forgotten
                memory = _megabytes("VmRSS")
                _say({})
                began = time.perf_counter()
                savers[by_servers].save(session, f"{folder}/model.ckpt", global_step=turn, write_meta_graph=False)
                seconds = time.perf_counter() - began
                grown = max(0.0, _megabytes("VmHWM") - memory)
                _say({"written_by": WRITERS[by_servers], "seconds": round(seconds, 2), "chief_megabytes": round(grown)})
                for path in Path(folder).iterdir():
                    path.unlink()
                os.sync()


def _megabytes(name: str) -> float:
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) / 1024


def _say(answer: dict) -> None:
    print(json.dumps(answer), flush=True)
    sys.stdin.readline()


# ------------------------------------------------------------------------------------------------------------------------- main


def _range(values: list[float], digits: int = 0) -> str:
    """Return the smallest and the largest of some values, such as ``12 to 15``."""
    low, high = (f"{value:,.{digits}f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def table(results: dict[str, Any]) -> str:
    """Return the results as a Markdown table."""
    rows = [("what", "measured"), ("---", "---")]
    for row in results["bytes"]:
        rows.append((f"what a step of 2 workers sends, {row['codes']:,} codes", f"{sum(row['kilobytes'].values()) / 1000:.1f} MB"))
    rows += _speed_rows(results["speed"])
    for num_codes in sorted({row["codes"] for row in results["checkpoints"]}):
        for writer, text in (("servers", "written by the servers"), ("chief", "written through the chief")):
            found = [row for row in results["checkpoints"] if (row["codes"], row["written_by"]) == (num_codes, writer)]
            seconds, sent, memory = ([row[key] for row in found] for key in ("seconds", "megabytes_sent", "chief_megabytes"))
            measured = f"{_range(seconds, 1)} s, {statistics.median(sent):,.0f} MB sent, up to {max(memory):,} MB more in the chief"
            rows.append((f"a checkpoint of {num_codes:,} codes of {SAVED_DIMS} dimensions, {text}", measured))
    return "".join(f"| {what} | {measured} |\n" for what, measured in rows)


def _speed_rows(speed: dict[str, list[float]]) -> Iterator[tuple[str, str]]:
    alone = speed["one process"]
    for number, (name, times) in enumerate(speed.items()):
        images = 1000 * max(1, number) * BATCH_SIZE / statistics.median(times)
        ratios = [value / other for value, other in zip(times, alone, strict=True)]
        more = statistics.median(value - other for value, other in zip(times, alone, strict=True))
        compared = f"; {statistics.median(ratios):.2f} times that of one process ({_range(_middle(ratios), 2)}), {more:.0f} ms more"
        where = "each on a core" if number > 1 else "on a core"
        yield f"a step of {name}, {where}", f"{statistics.median(times):.0f} ms, {images:,.0f} images/s{compared if number else ''}"


def _middle(values: list[float]) -> list[float]:
    """Return the first and the third quartile."""
    first, _, third = statistics.quantiles(values, n=4)
    return [first, third]


PARTS = {"bytes": measure_bytes, "speed": measure_speed, "checkpoints": measure_checkpoints}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, part in PARTS.items():
        parser.add_argument(f"--{name}", action="store_true", help=part.__doc__.splitlines()[0])
    parser.add_argument("--steps", nargs=5, metavar=("N", "FOLDER", "PIXELS", "STEPS", "TURNS"), help=argparse.SUPPRESS)
    parser.add_argument("--save", nargs=3, metavar=("N", "FOLDER", "TURNS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    for act, arguments in ((take_steps, options.steps), (save_in_turns, options.save)):
        if arguments:
            return act(int(arguments[0]), arguments[1], *map(int, arguments[2:]))
    chosen = [name for name in PARTS if getattr(options, name)] or list(PARTS)
    results = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for name in chosen:
        results[name] = PARTS[name]()
        RESULT.write_text(json.dumps(results, indent=1) + "\n")
    if results.keys() == PARTS.keys():
        TABLE.write_text(table(results))


if __name__ == "__main__":
    main()
