"""Train on several machines that are processes of this machine: two parameter servers, two workers, and a chief. Tests start this program.

Its argument is a JSON object: the addresses of all tasks, and the runs to train one after the other, each with its settings and whether it
is trained on the cluster. It writes the losses of each run as a line of JSON. TensorFlow is imported once and the processes are forked.
"""

import importlib
import json
import os
import signal
import sys

from glo_lib.__main__ import main
from glo_lib.config import TrainConfig
from glo_lib.training import train


def environment_of(addresses: dict, kind: str, index: int) -> str:
    return json.dumps({"cluster": addresses, "task": {"type": kind, "index": index}})


def start(addresses: dict, kind: str, index: int) -> int:
    process = os.fork()
    if not process:
        os.environ["TF_CONFIG"] = environment_of(addresses, kind, index)
        sys.stdout = sys.stderr
        os._exit(main(["serve", "--i-know-this-is-open"]))  # some systems let root alone limit a server to its address
    return process


def train_all(request: dict) -> None:
    importlib.import_module("glo_lib.training.train").evaluate = lambda _: {}
    sys.stdout, answers = sys.stderr, sys.stdout
    for run in request["runs"]:
        os.environ["TF_CONFIG"] = environment_of(request["addresses"], "chief", 0) if run["on_cluster"] else ""
        losses = []
        train(TrainConfig(**run["settings"]), lambda progress, loss, to=losses: to.append([progress.step, loss]))
        print(json.dumps(losses), file=answers, flush=True)


if __name__ == "__main__":
    request = json.loads(sys.argv[1])
    servers = [start(request["addresses"], kind, index) for kind in ("ps", "worker") for index in range(len(request["addresses"][kind]))]
    try:
        train_all(request)
    finally:
        for server in servers:
            os.kill(server, signal.SIGKILL)
