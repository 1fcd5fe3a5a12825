"""Kill the processes of a training on several machines, and see that it goes on.

`benchmarks.faults` calls `kills_in_a_cluster`. The machines are processes of this machine that talk over the loopback: two parameter
servers, two workers and the chief, started by the commands of a user. Whatever is killed is started again at once, as systemd or Kubernetes
would do.
"""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

LOST = "a machine was lost"  # what the chief prints when it has noticed that another process is gone
STEP = "step taken"  # what the chief of this benchmark prints after every step
TASKS = ("worker 0", "worker 1", "ps 0", "ps 1", "chief 0")
ROUNDS = 5  # in each round every task is killed once, in a random order
SHARE_TWICE = 0.2  # of the kills are followed by another one before training has gone on
LIMIT = 30.0  # seconds within which training has to go on by itself
STEPS = 3000
SECONDS_OF_A_STEP = 0.1  # added to every step until the last process has been killed


class Recovery(NamedTuple):
    """What followed a kill.

    Attributes:
        tasks: what was killed; two tasks if the second was killed before training went on.
        moment: what the run was doing at the last kill.
        seconds: from the last kill to the end of the next step.
        repeated: number of steps that were taken again.
        ended: what the chief said if it ended with an error, so that the same command had to be given again; otherwise empty.
    """

    tasks: tuple[str, ...]
    moment: str
    seconds: float
    repeated: int
    ended: str = ""


class Machines:
    """The processes of a training, by task. Use it as a context manager: at its end all of them are killed.

    Args:
        settings: of the run.
        log: the file to which the chief writes; the others write beside it.
        environment: of all processes.
    """

    def __init__(self, settings: dict[str, Any], log: Path, environment: dict[str, str]):
        self._settings, self._log, self._environment = settings, log, environment
        self._cluster: dict[str, list[str]] = {}
        self._processes: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> "Machines":
        with contextlib.ExitStack() as stack:
            sockets = {task: stack.enter_context(socket.socket()) for task in TASKS}
            for task, one in sockets.items():
                one.bind(("127.0.0.1", 0))
                self._cluster.setdefault(task.split()[0], []).append(f"127.0.0.1:{one.getsockname()[1]}")
        for task in TASKS:
            self.start(task)
        return self

    def __exit__(self, *_) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()

    def start(self, task: str) -> None:
        """Start the process of a task: the training itself, or ``python -m glo_lib serve``."""
        kind, index = task.split()
        name = "benchmarks.lost_machines" if kind == "chief" else "glo_lib"
        arguments = [json.dumps(self._settings)] if kind == "chief" else ["serve"]
        setting = json.dumps({"cluster": self._cluster, "task": {"type": kind, "index": int(index)}})
        path = self._log if kind == "chief" else self._log.with_suffix(f".{kind}{index}")
        with open(path, "ab") as file:
            self._processes[task] = subprocess.Popen(
                [sys.executable, "-m", name, *arguments],
                env={**self._environment, "TF_CONFIG": setting},
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def kill(self, task: str) -> None:
        """Kill a task with signal 9 and start it again."""
        self._processes[task].send_signal(signal.SIGKILL)
        self._processes[task].wait()
        self.start(task)

    def wait(self, seconds: float) -> int:
        """Wait for the end of the chief and return its exit status."""
        return self._processes["chief 0"].wait(seconds)

    def steps(self) -> list[list[tuple[float, int]]]:
        """The times and numbers of the steps that the chief has printed, in a list for each session that it has had."""
        sessions: list[list[tuple[float, int]]] = [[]]
        for line in self._log.read_text(errors="replace").splitlines():
            if LOST in line or line == "begins":
                sessions.append([])
            elif line.startswith(STEP):
                at, number = line.removeprefix(STEP).split()
                sessions[-1].append((float(at), int(number)))
        return sessions

    def last_words(self) -> str:
        """Return what the chief has said at last if it has ended with an error; otherwise an empty text."""
        status = self._processes["chief 0"].poll()
        if status == 0:
            raise RuntimeError("the run was complete before all processes had been killed; it needs more STEPS")
        return "" if status is None else f"ended with {status}: {self._log.read_text(errors='replace')[-1000:]}"


def wait_for_step(machines: Machines, after: float, sessions: int, at_most: float = 300) -> tuple[float, int, str]:
    """Wait for the first step of a new session; return its time and number, and why the chief had to be started again, if so.

    Args:
        machines: the processes.
        after: the time from which ``at_most`` counts.
        sessions: the number of sessions before.
        at_most: seconds.
    """
    ended = ""
    while time.time() < after + at_most:
        found = machines.steps()
        if len(found) > sessions and found[-1]:
            return *found[-1][0], ended
        if words := machines.last_words():
            ended = words
            machines.start("chief 0")
        time.sleep(0.05)
    raise TimeoutError(f"training did not go on within {at_most:.0f} seconds")


def kill_one(machines: Machines, tasks: tuple[str, ...], chance: random.Random, moment: Callable[[], str]) -> Recovery:
    """Kill a task at a random moment, perhaps a second one while the first is waited for, and wait until training goes on."""
    time.sleep(chance.uniform(0, 3))
    before = machines.steps()
    for number, task in enumerate(tasks):
        if number:
            time.sleep(chance.uniform(0, 8))
            before = machines.steps()
        at, doing = time.time(), moment()
        machines.kill(task)
    taken = max((step for session in before for _, step in session), default=0)
    waiting = not before[-1]  # for a session whose first step has not been taken; it may be the next one
    again_at, first, ended = wait_for_step(machines, at, len(before) - waiting)
    return Recovery(tasks, doing, again_at - at, max(0, taken - first + 1), ended)


def plan(chance: random.Random) -> list[tuple[str, ...]]:
    """The tasks to be killed, one after the other; in some places two."""
    planned = []
    for _ in range(ROUNDS):
        order = list(TASKS)
        chance.shuffle(order)
        planned += [(task, chance.choice(TASKS)) if chance.random() < SHARE_TWICE else (task,) for task in order]
    return planned


def kill_all(machines: Machines, hurry: Path, chance: random.Random, moment: Callable[[], str]) -> list[Recovery]:
    """Kill tasks as planned while the run goes on, and wait for its end."""
    wait_for_step(machines, time.time(), 0)
    recoveries = []
    for tasks in plan(chance):
        recoveries.append(kill_one(machines, tasks, chance, moment))
        print(f"  {recoveries[-1]}", flush=True)
    hurry.touch()
    if machines.wait(seconds=1800) != 0:
        raise RuntimeError(machines.last_words())
    return recoveries


def summary(recoveries: list[Recovery]) -> dict[str, Any]:
    """Count the kills by task and by moment, and say how long the longest recovery took, by kind of task.

    Where two tasks were killed, the recovery is counted for the chief if it is one of them, and else for the second, with whose end the
    time begins.
    """
    tasks = [task for recovery in recoveries for task in recovery.tasks]
    moments = [recovery.moment for recovery in recoveries]
    longest = {}
    for recovery in recoveries:
        kind = "chief" if "chief 0" in recovery.tasks else "worker" if recovery.tasks[-1].startswith("worker") else "ps"
        longest[kind] = max(longest.get(kind, 0.0), round(recovery.seconds, 1))
    return {
        "kills": len(tasks),
        "by_task": {task: tasks.count(task) for task in TASKS},
        "two_at_once": sum(len(recovery.tasks) == 2 for recovery in recoveries),
        "moments": {moment: moments.count(moment) for moment in sorted(set(moments))},
        "longest_recovery_seconds": longest,
        "within_limit": sum(recovery.seconds <= LIMIT for recovery in recoveries),
        "recoveries": len(recoveries),
        "chief_started_again": [recovery.ended for recovery in recoveries if recovery.ended],
        "most_steps_repeated": max(recovery.repeated for recovery in recoveries),
    }


def train_slowly(settings: dict[str, Any]) -> None:
    """The chief: train with frequent checkpoints and without figures, print every step, and slow down until a file ``hurry`` exists."""
    from benchmarks.faults import training_work
    from glo_lib.config import TrainConfig

    hurry = Path(f"{settings['run_dir']}.hurry")

    def on_step(progress, _):
        print(f"{STEP} {time.time():.3f} {progress.step}", flush=True)
        if not hurry.exists():
            time.sleep(SECONDS_OF_A_STEP)

    print("begins", flush=True)
    training_work(TrainConfig(**settings), on_step=on_step)()


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    train_slowly(json.loads(sys.argv[1]))
