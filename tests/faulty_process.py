"""Train in processes that are killed at a chosen point, or whose files have a maximum size. `test_faults` starts this program.

It reads one request per line and writes one answer per line. Each request is served by a forked process, so that TensorFlow is imported
only once; this process itself opens no session.
"""

import json
import os
import resource
import signal
import sys

from glo_lib.config import TrainConfig
from glo_lib.evaluation import evaluate as evaluation
from glo_lib.images import store
from glo_lib.runs import checkpoints
from glo_lib.training import loop, train


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(module, name: str, call: int = 1) -> None:
    """Replace a function by one that kills the process at the beginning of the given call."""
    function, left = getattr(module, name), [call]

    def killing(*arguments, **named):
        left[0] -= 1
        return die() if not left[0] else function(*arguments, **named)

    setattr(module, name, killing)


def append_half_a_row(folder, row) -> None:
    """Append rows, but die in the middle of the thirteenth."""
    if row.step == 13:
        with open(folder / "history.csv", "a") as file:
            file.write("13,0.1")
        die()
    append_history(folder, row)


append_history = loop.append_history
KILLS = {
    "while the image cache is renamed": lambda: kill_at(store.os, "replace"),
    "before the checksums are written": lambda: kill_at(checkpoints, "write_checksums", call=3),
    "while a row is written": lambda: setattr(loop, "append_history", append_half_a_row),
    "before the metrics are written": lambda: kill_at(evaluation, "write_json"),
    "": lambda: None,
}


def serve(request: dict) -> None:
    evaluation.run_figures = lambda *_: {}
    hook = loop.v1.train.CheckpointSaverHook
    loop.v1.train.CheckpointSaverHook = lambda folder, save_secs, **rest: hook(folder, save_steps=5, **rest)
    KILLS[request["killed"]]()
    if request["max_file_bytes"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["max_file_bytes"], resource.RLIM_INFINITY))
    train(TrainConfig.from_parameters(request["config"]))


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            error = ""
            try:
                serve(json.loads(line))
            except BaseException as raised:
                error = f"{type(raised).__name__}: {raised}"
            print(json.dumps([0, error]), file=answers, flush=True)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status:  # a process that was killed has not answered
            print(json.dumps([status, ""]), file=answers, flush=True)


if __name__ == "__main__":
    main()
