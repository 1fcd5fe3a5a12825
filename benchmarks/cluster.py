"""Measure what training on several machines sends over the network, and what a step costs there, in network namespaces.

    sudo python -m benchmarks.cluster              # bytes of a step for 2,000 and for 2,000,000 codes
    sudo python -m benchmarks.cluster --speed      # images per second with 1 and 2 workers, each on a core of its own

Each machine is a namespace of this machine, with an address of its own: two parameter servers, the workers and the chief, joined by a
bridge. The bytes are those that the interfaces of all namespaces count. The images are an empty file, because their content does not matter
here. Needs Linux, ip and root.
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

SIZES = (2_000, 2_000_000)
NUM_DIMS, BATCH_SIZE, IMAGE_SIZE = 64, 32, 32
WARM_UP, STEPS = 20, 100
BRIDGE = "glo-bridge"


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
    return {name: int(Path(f"/sys/class/net/v{name}/statistics/rx_bytes").read_text()) for name in names}


def measure(num_codes: int, num_workers: int, pinned: bool = False) -> dict:
    """Take steps on a cluster; return the bytes of a step by machine and its milliseconds."""
    names = ["glo-chief", "glo-ps0", "glo-ps1", *(f"glo-worker{number}" for number in range(num_workers))]
    with namespaces(names) as at, tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        cluster = {"chief": [names[0]], "ps": names[1:3], "worker": names[3:]}
        cluster = {kind: [f"{at[name]}:2222" for name in found] for kind, found in cluster.items()}
        tasks = [("chief", 0), ("ps", 0), ("ps", 1), *(("worker", number) for number in range(num_workers))]
        processes = {}
        for name, (kind, index) in list(zip(names, tasks, strict=True))[::-1]:
            setting = json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})
            pin = ["taskset", "-c", str(index % (os.cpu_count() or 1))] if pinned and kind == "worker" else []
            module = ["benchmarks.cluster", "--chief", str(num_codes), folder] if kind == "chief" else ["glo_lib", "serve"]
            processes[name] = subprocess.Popen(
                ["ip", "netns", "exec", name, *pin, sys.executable, "-m", *module],
                env={**os.environ, "TF_CONFIG": setting},
                stdout=subprocess.PIPE,
                stdin=subprocess.PIPE,
                text=True,
            )
            stack.callback(processes[name].wait)
            stack.callback(processes[name].kill)
        chief = processes[names[0]]
        counts, answers = [], []
        for line in chief.stdout:
            if line.startswith("{"):
                counts.append(bytes_sent(names))
                answers.append(json.loads(line))
                chief.stdin.write("\n")
                chief.stdin.flush()
        per_step = {name: (counts[1][name] - counts[0][name]) / STEPS for name in names}
        return {"bytes": per_step, "total": sum(per_step.values()), "milliseconds": answers[1]["milliseconds"]}


def take_steps(num_codes: int, folder: str, gpus: int) -> None:
    """The chief, or with an empty TF_CONFIG a single process: warm up, take steps, and print a line before and after them."""
    from glo_lib.config import TrainConfig
    from glo_lib.graph.backend import tf
    from glo_lib.graph.cluster import chief_cluster
    from glo_lib.graph.devices import choose_devices
    from glo_lib.images.store import DecodedImages
    from glo_lib.runs.folder import Progress
    from glo_lib.runs.run import Run
    from glo_lib.training import Setting, TrainGraph, build_loss, build_model, build_train_ops
    from glo_lib.training.loop import _initialise
    from glo_lib.training.machines import connect, with_all_towers

    cluster = chief_cluster()
    settings = {"image_size": IMAGE_SIZE, "num_dims": NUM_DIMS, "batch_size": BATCH_SIZE, "code_init": "normal", "precision": "float32"}
    config = with_all_towers(TrainConfig(gpus=gpus, answer_seconds=300, **settings), cluster)
    images = DecodedImages(Path(folder) / "images.uint8", num_codes, IMAGE_SIZE, ())
    with open(images.path, "wb") as file:
        file.truncate(images.num_bytes)
    devices = choose_devices(config.gpus, "float32") if cluster is None else connect(config, cluster, images)
    setting = Setting(config, devices, images, Run(Path(folder), config, None, Progress(0, 0.0)))
    v1 = tf.compat.v1
    with tf.Graph().as_default(), tf.device(devices.job) if devices.job else contextlib.nullcontext():
        model = build_model(setting)
        loss = build_loss(setting, model)
        graph = TrainGraph(model, loss, build_train_ops(setting, model, loss))
        initialise, start = _initialise(setting, graph), v1.global_variables_initializer()
        with v1.Session(devices.master, config=devices.session_config) as session:
            session.run(start)
            initialise(None, session)
            for _ in range(WARM_UP):
                session.run(graph.train_ops.step)
            _say({})
            times = [time.perf_counter()]
            for _ in range(STEPS):
                session.run(graph.train_ops.step)
                times.append(time.perf_counter())
            steps = [1000 * (after - before) for before, after in itertools.pairwise(times)]
            _say({"milliseconds": statistics.median(steps)})


def _say(answer: dict) -> None:
    print(json.dumps(answer), flush=True)
    sys.stdin.readline()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speed", action="store_true", help="images per second instead of bytes")
    parser.add_argument("--chief", nargs=2, metavar=("N", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.chief:
        take_steps(int(options.chief[0]), options.chief[1], gpus=1)
    elif options.speed:
        for workers in (1, 2):
            found = measure(SIZES[0], workers, pinned=True)
            speed = 1000 * workers * BATCH_SIZE / found["milliseconds"]
            print(f"{workers} worker(s), each on a core: {found['milliseconds']:.1f} ms a step, {speed:,.0f} images/s", flush=True)
    else:
        for num_codes in SIZES:
            found = measure(num_codes, num_workers=2)
            sent = ", ".join(f"{name.removeprefix('glo-')} {number / 1000:,.1f}" for name, number in found["bytes"].items())
            print(f"{num_codes:>9,} codes: {found['total'] / 1000:,.1f} kB a step ({sent}), {found['milliseconds']:.1f} ms", flush=True)


if __name__ == "__main__":
    main()
