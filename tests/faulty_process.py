"""Trains in processes that are killed at a chosen point, or that run out of room. No test itself: `test_faults` runs it and talks to it.

One request a line, an answer a line; each request is served by a process forked from this one, which has imported TensorFlow and opened no
session.
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


def in_the_middle_of(module, name: str, times: int = 1) -> None:
    """Replace a function by one that is killed at the beginning of a call."""
    function, left = getattr(module, name), [times]

    def killed(*arguments, **named):
        left[0] -= 1
        return die() if not left[0] else function(*arguments, **named)

    setattr(module, name, killed)


def with_half_a_row(folder, row) -> None:
    if row.step == 13:
        with open(folder / "history.csv", "a") as file:
            file.write("13,0.1")
        die()
    append_history(folder, row)


append_history = loop.append_history
KILLED = {
    "while the image cache is renamed": lambda: in_the_middle_of(store.os, "replace"),
    "before a checkpoint has its sums": lambda: in_the_middle_of(checkpoints, "write_checksums", times=3),
    "while a row is written": lambda: setattr(loop, "append_history", with_half_a_row),
    "before the metrics are written": lambda: in_the_middle_of(evaluation, "write_json"),
    "": lambda: None,
}


def serve(request: dict) -> None:
    evaluation.run_figures = lambda *_: {}
    hook = loop.v1.train.CheckpointSaverHook
    loop.v1.train.CheckpointSaverHook = lambda folder, save_secs, **rest: hook(folder, save_steps=5, **rest)
    KILLED[request["killed"]]()
    if request["most_bytes"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["most_bytes"], resource.RLIM_INFINITY))
    train(TrainConfig(**request["config"]))


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                serve(json.loads(line))
            except BaseException as error:
                os.write(writing, f"{type(error).__name__}: {error}"[:4000].encode())
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as said:
            error = said.read()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps([status, error]), file=answers, flush=True)


if __name__ == "__main__":
    main()
