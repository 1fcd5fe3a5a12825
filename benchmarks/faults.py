"""Test what survives faults: processes killed at any moment, damaged files, full disks, two processes at once, and a long run.

    python -m benchmarks.faults                  run all parts, print a table and write benchmarks/faults.json
    python -m benchmarks.faults --part kills     run one part: kills, signals, files, disk, concurrent, soak or cluster
    python -m benchmarks.faults --cluster        the same as --part cluster: several machines, of which one after the other is killed
    python -m benchmarks.faults --page           write book/robustness.md from benchmarks/faults.json

Every run trains in a separate process and saves a checkpoint every few steps instead of every ten minutes, so that many kills happen while
a checkpoint is being written. The processes are forked from a parent that has imported TensorFlow but has opened no session, so that
TensorFlow is imported once and not for each of the 70 processes.
"""

import argparse
import csv
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from benchmarks import faults_page, lost_machines
from glo_lib import training
from glo_lib.config import TrainConfig
from glo_lib.evaluation import evaluate
from glo_lib.graph.backend import tf
from glo_lib.images import decode, store
from glo_lib.runs import checkpoints
from glo_lib.runs import folder as run_folder
from glo_lib.training.loop import OnStep

HERE = Path(__file__).parent
RESULT, PAGE = HERE / "faults.json", HERE.parent / "book" / "robustness.md"
STEPS_BETWEEN_CHECKPOINTS = 5
KILLS = (
    "cache",
    "random",
    "checkpoint",
    "random",
    "checkpoint",
    "checkpoint",
    "random",
)  # when the processes of one run are killed, in this order
RUNS = 7  # runs for each number of towers
CLOCK = ("training_seconds",)  # variables that differ between any two runs, because they depend on the clock
CLOCK_METRICS = ("seconds", "images_per_second")  # metrics that differ for the same reason


class Place(NamedTuple):
    """The folders of one run: its images, its run folder, and its cache."""

    data: Path
    run: Path
    cache: Path

    def config(self, towers: int = 1, **changes: Any) -> TrainConfig:
        """Return settings of 100 short steps. The codes are long, so that saving a checkpoint (0.8 MB) takes as long as a step."""
        settings = {
            "data_dir": str(self.data), "run_dir": str(self.run), "image_size": 32, "num_filters": (4, 3, 2), "num_dims": 600,
            "code_init": "normal", "gpus": towers, "batch_size": 8 // towers, "num_epochs": 20, "max_seconds": 0, "precision": "float32",
            "summary_steps": 10,
        }  # fmt: skip
        return TrainConfig(**{**settings, **changes})


def smooth_images(folder: Path, number: int) -> Path:
    """Write JPEG files with different colour gradients."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    for i in range(number):
        corners = Image.fromarray(np.uint8(draw.uniform(0, 255, (3, 3, 3))))
        corners.resize((44, 40), Image.Resampling.BICUBIC).save(folder / f"{i:03d}.jpg", quality=92)
    return folder


# --------------------------------------------------------------------------------------------------------------------- processes


def start(place: Place, work: Callable[[], Any]) -> int:
    """Fork a process that calls ``work`` with its output in ``<run>.log``; return its number. Its exit status is 3 after an exception."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    status = 3
    try:
        log = os.open(f"{place.run}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ["GLO_CACHE_DIR"] = str(place.cache)
        work()
        status = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}\n{''.join(traceback.format_tb(error.__traceback__)[-2:])}", flush=True)
    finally:
        sys.stdout.flush()
        os._exit(status)


def end(child: int, at_most: float = 600) -> int:
    """Wait until a process ends; return its exit status, or minus the number of the signal that ended it."""
    until = time.monotonic() + at_most
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise TimeoutError(f"process {child} did not end within {at_most:.0f} s")


def training_work(config: TrainConfig, every_steps: int = STEPS_BETWEEN_CHECKPOINTS, on_step: OnStep | None = None) -> Callable[[], Any]:
    """Return a function that trains with frequent checkpoints, slow decoding and no figures."""

    def work():
        evaluate.run_figures = lambda *_: {}
        decode.FILES_PER_BATCH = 2
        hook = tf.compat.v1.train.CheckpointSaverHook
        tf.compat.v1.train.CheckpointSaverHook = lambda folder, save_secs, **rest: hook(folder, save_steps=every_steps, **rest)
        training.train(config, on_step)

    return work


def alive(child: int) -> bool:
    """Return whether a child process is still running, without collecting its exit status."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def log_of(place: Place) -> str:
    """Return everything that the processes of a run have printed."""
    path = Path(f"{place.run}.log")
    return path.read_text(errors="replace") if path.exists() else ""


# ---------------------------------------------------------------------------------------------------------------------- comparing


def outcome(place: Place) -> dict[str, bytes]:
    """Return the results that must not depend on interruptions: the tensors of the checkpoint, the codes, the metrics and the history."""
    prefix = checkpoints.newest_checkpoint(place.run)
    reader = tf.train.load_checkpoint(prefix)
    made = {name: reader.get_tensor(name).tobytes() for name in reader.get_variable_to_shape_map() if name not in CLOCK}
    made["codes.npy"] = (place.run / "codes.npy").read_bytes()
    metrics = json.loads((place.run / "metrics.json").read_text())
    made["metrics.json"] = json.dumps({name: value for name, value in metrics.items() if name not in CLOCK_METRICS}).encode()
    rows = [(row.step, row.loss) for row in run_folder.read_history(place.run)]
    made["history.csv"] = json.dumps(rows).encode()
    return made


def bytes_different(one: dict[str, bytes], other: dict[str, bytes]) -> int:
    """Count the bytes in which two outcomes differ, including bytes that are missing in one of them."""
    different = 0
    for name in one.keys() | other.keys():
        a, b = one.get(name, b""), other.get(name, b"")
        different += abs(len(a) - len(b)) + sum(x != y for x, y in zip(a, b, strict=False))
    return different


def left_behind(place: Place) -> list[str]:
    """Return the names of files in the run folder that do not belong to a finished run."""
    expected = {
        *("config.json", "hardware.json", "manifest.json", "images.csv", "history.csv", "metrics.json", "codes.npy", "checkpoint"),
        *("figures", ".lock"),
    }
    names = [name for name in os.listdir(place.run) if name not in expected and not name.startswith("events.out")]
    finished = {f"{checkpoints.BASENAME}-{step}" for step in _steps(place.run)}
    return [name for name in names if not any(name.startswith(f"{prefix}.") for prefix in finished)]


def _steps(folder: Path) -> list[int]:
    endings = [path.name.removesuffix(checkpoints.CHECKSUMS).rpartition("-")[2] for path in folder.glob(f"*{checkpoints.CHECKSUMS}")]
    return sorted(int(ending) for ending in endings if ending.isdigit())  # and not the temporary names of files that are being written


# ------------------------------------------------------------------------------------------------------------------------- kills


class Reference(NamedTuple):
    """The outcome and the duration of an uninterrupted run."""

    made: dict[str, bytes]
    seconds: float


def reference(root: Path, data: Path, towers: int) -> Reference:
    """Train twice without interruption. The duration is that of the second time, when the files are in the page cache."""
    for name in ("first", "second"):
        place = Place(data, root / f"{name}{towers}", root / f"cache-{name}{towers}")
        began = time.monotonic()
        assert end(start(place, training_work(place.config(towers)))) == 0, log_of(place)
    return Reference(outcome(place), time.monotonic() - began)


def wait_for(kind: str, place: Place, child: int, chance: random.Random, seconds: float) -> None:
    """Wait until the moment to kill the process, or until the process has ended by itself."""
    if kind == "random":
        until = time.monotonic() + chance.uniform(0, 0.8 * seconds)
        while time.monotonic() < until and alive(child):
            time.sleep(0.001)
        return
    sightings, was_there = chance.randint(1, 1 if kind == "cache" else 5), _is_writing(kind, place)  # what a killed process has left
    while alive(child):
        is_there = _is_writing(kind, place)
        sightings -= is_there and not was_there
        was_there = is_there
        if not sightings:
            time.sleep(chance.choice([0, chance.uniform(0, 0.2 if kind == "cache" else 0.003)]))
            return


def _is_writing(kind: str, place: Place) -> bool:
    """Return whether the image cache, or a checkpoint, is being written."""
    if kind == "cache":
        folder = place.cache / "images"
        return folder.is_dir() and any(store.UNFINISHED in name for name in os.listdir(folder))
    return place.run.is_dir() and _unfinished(os.listdir(place.run))


def where(place: Place) -> str:
    """Infer from the files that a killed process left behind what it was doing."""
    names = os.listdir(place.run) if place.run.is_dir() else []
    cached = os.listdir(place.cache / "images") if (place.cache / "images").is_dir() else []
    if (place.run / "metrics.json").exists():
        return "after the run was complete"
    if _unfinished(names):
        return "while a checkpoint was written"
    if not any(name.endswith(".json") and not name.startswith(store.UNFINISHED) for name in cached):
        return "while the image cache was built" if cached else "before anything was written"
    if not _steps(place.run):
        return "before the first checkpoint"
    return "between checkpoints"


def _unfinished(names: list[str]) -> bool:
    """Return whether a checkpoint has no checksums yet, or a file of TensorFlow's still has its temporary name."""
    prefixes = {name.partition(".index")[0].partition(".data-")[0] for name in names if name.endswith(".index") or ".data-" in name}
    noted = {name.removesuffix(checkpoints.CHECKSUMS) for name in names if name.endswith(checkpoints.CHECKSUMS)}
    return prefixes != noted or any("temp" in name for name in names)


def killed_run(place: Place, towers: int, chance: random.Random, original: Reference) -> dict[str, Any]:
    """Kill and restart a run repeatedly, let it finish, and compare its outcome with that of the uninterrupted run.

    Returns:
        The moments of the kills, and what was lost; or instead of the latter the ``error`` with which the run ended.
    """
    moments, repeated = [], []
    for kind in KILLS:
        child = start(place, training_work(place.config(towers)))
        wait_for(kind, place, child, chance, original.seconds)
        os.kill(child, signal.SIGKILL)
        status = end(child)
        if status == -signal.SIGKILL:
            moments.append(where(place))
            repeated.append(_steps_to_repeat(place))
        elif status:
            return {"kills": moments, "error": log_of(place)[-2000:]}
    status = end(start(place, training_work(place.config(towers))))
    if status:
        return {"kills": moments, "error": log_of(place)[-2000:]}
    lost = bytes_different(original.made, outcome(place))
    return {"kills": moments, "steps_repeated": repeated, "bytes_lost": lost, "left_behind": left_behind(place)}


def _steps_to_repeat(place: Place) -> int:
    return max(0, _steps_taken(place) - _steps(place.run)[-1]) if _steps(place.run) else 0


def _steps_taken(place: Place) -> int:
    history = place.run / "history.csv"
    if not history.exists():
        return 0
    with open(history) as file:
        rows = [row for row in csv.reader(file) if len(row) == 3]
    return int(rows[-1][0]) if rows else 0


def kills(root: Path) -> dict[str, Any]:
    """Kill and resume runs with one and two towers, and compare the final bits with those of an uninterrupted run."""
    data, chance, results = smooth_images(root / "data", 40), random.Random(7), []
    compared = 0
    for towers in (1, 2):
        original = reference(root, data, towers)
        compared += sum(map(len, original.made.values()))
        for number in range(RUNS):
            name = f"killed-{towers}-{number}"
            results.append(killed_run(Place(data, root / name, root / f"cache-{name}"), towers, chance, original))
            lost = results[-1].get("bytes_lost", "not resumed, so all")
            print(f"  {towers} tower(s), run {number + 1}: {len(results[-1]['kills'])} kills, {lost} bytes lost", flush=True)
    return {**counted_kills(results), "bytes_compared": compared * RUNS}


def counted_kills(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Add up what `killed_run` returned for several runs. A run that could not be resumed has no results whose bytes could be counted."""
    moments = [moment for result in results for moment in result["kills"]]
    return {
        "kills": len(moments),
        "survived": sum(len(result["kills"]) for result in results if result.get("bytes_lost") == 0),
        "moments": {moment: moments.count(moment) for moment in sorted(set(moments))},
        "runs": len(results),
        "not_resumed": sum("error" in result for result in results),
        "bytes_lost": sum(result.get("bytes_lost", 0) for result in results),
        "most_steps_repeated": max(max(result.get("steps_repeated") or [0]) for result in results),
        "left_behind": sorted({name for result in results for name in result.get("left_behind", [])}),
        "errors": [result["error"] for result in results if "error" in result],
    }


def signals(root: Path) -> dict[str, Any]:
    """Stop training by Ctrl-C and SIGTERM at random steps and by the interrupt button of a notebook, and resume each run."""
    data, chance, lost, stopped = smooth_images(root / "data", 40), random.Random(8), 0, 0
    original = reference(root, data, 1)
    for number in range(6):
        place = Place(data, root / f"signal-{number}", root / "cache-signal")
        child = start(place, training_work(place.config(), every_steps=10_000))
        until = chance.randint(1, 60)  # of 100 steps; counted in steps, so that a fast machine does not finish before the signal
        while _steps_taken(place) < until:
            time.sleep(0.001)
            assert alive(child), log_of(place)
        os.kill(child, signal.SIGINT if number % 2 else signal.SIGTERM)
        stopped += end(child) in (0, -signal.SIGTERM) and is_saved(place, until)
        assert end(start(place, training_work(place.config()))) == 0, log_of(place)
        lost += bytes_different(original.made, outcome(place))
    place = Place(data, root / "notebook", root / "cache-notebook")
    stopped += "the same call goes on from here" in interrupted_notebook(place) and is_saved(place, 1)
    assert end(start(place, training_work(place.config()))) == 0, log_of(place)
    lost += bytes_different(original.made, outcome(place))
    return {"signals": 7, "stopped_and_saved": stopped, "bytes_lost": lost}


def is_saved(place: Place, step: int) -> bool:
    """Return whether the newest checkpoint has at least that many steps. A process that a signal ends at once does not save them."""
    return max(_steps(place.run), default=0) >= step


def interrupted_notebook(place: Place) -> str:
    """Train in a Jupyter kernel, interrupt it after the first steps, and return what the cell printed."""
    from jupyter_client.manager import start_new_kernel

    os.environ["GLO_CACHE_DIR"] = str(place.cache)
    manager, client = start_new_kernel(kernel_name="python3", startup_timeout=300)
    try:
        client.execute(
            "from glo_lib.evaluation import evaluate\nfrom glo_lib.training import TrainConfig, train\nimport json, time\n"
            "evaluate.run_figures = lambda *_: {}\ndef slowly(progress, loss):\n    time.sleep(0.05)\n"
            f"result = train(TrainConfig(**json.loads({json.dumps(place.config().as_dict())!r})), on_step=slowly)\nprint('returned')"
        )
        while not (place.run / "history.csv").exists() or (place.run / "history.csv").stat().st_size < 60:
            time.sleep(0.05)
        manager.interrupt_kernel()
        said = ""
        while "returned" not in said and "Error" not in said:
            message = client.get_iopub_msg(timeout=300)
            said += message["content"].get("text", "") + message["content"].get("ename", "")
        return said
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


# ------------------------------------------------------------------------------------------------------------------ full disks


def full_disk(place: Place, original: Reference, limit: Callable[[], None], lift: Callable[[], None]) -> dict[str, Any]:
    """Train until there are two or three checkpoints, resume with too little disk space, and then resume with enough.

    Returns:
        Whether the run with too little space stopped, with which message, and what the resumed run lost; None if it failed.
    """
    child = start(place, training_work(place.config()))
    while not (_steps(place.run) and _steps(place.run)[-1] >= 10):
        time.sleep(0.001)
        assert alive(child), log_of(place)
    os.kill(child, signal.SIGKILL)
    end(child)
    status, said = resume_limited(place, limit)
    lift()
    usable = checkpoints.newest_checkpoint(place.run) is not None
    finished = end(start(place, training_work(place.config()))) == 0
    return {
        "stopped": status == 3,
        "explained": status == 3 and "nothing more can be written" in said,
        "previous_usable": usable,
        "bytes_lost": bytes_different(original.made, outcome(place)) if finished else None,
        "said": "OSError" + said.partition("OSError")[2].partition("\n")[0].replace(str(place.run), "run") if status == 3 else "",
    }


def resume_limited(place: Place, limit: Callable[[], None]) -> tuple[int, str]:
    """Resume a run in a process that calls ``limit`` first; return its exit status and what it printed.

    It prints to a pipe, to which no limit of files applies. What a run prints is much less than a pipe holds (64 kB).
    """
    read_end, write_end = os.pipe()

    def with_little_room():
        os.dup2(write_end, 1)
        os.dup2(write_end, 2)
        limit()
        training_work(place.config())()

    status = end(start(place, with_little_room))
    os.close(write_end)
    with open(read_end, errors="replace") as pipe:
        return status, pipe.read()


def disk(root: Path) -> dict[str, Any]:
    """Limit the size of files (``RLIMIT_FSIZE``) and, if the system allows it, train on a small file system that is nearly full."""
    data, chance, results = smooth_images(root / "data", 40), random.Random(9), []
    original = reference(root, data, 1)
    for limit in (500, 5_000, 50_000, 200_000, 400_000, 600_000, 700_000):
        place = Place(data, root / f"limit-{limit}", root / "cache-disk")
        set_limit = lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))  # noqa: E731
        results.append({"room": f"files of at most {limit:,} bytes", **full_disk(place, original, set_limit, lambda: None)})
        print(f"  {results[-1]}", flush=True)
    mounted = root / "small"
    mounted.mkdir()
    for number in range(4):
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(mounted)], capture_output=True).returncode:
            results.append({"room": "small file system: not allowed here"})
            break
        try:
            place, room = Place(data, mounted / "run", root / "cache-disk"), chance.randrange(0, 1_500_000)
            filler = mounted / "filler"
            results.append({"room": f"{room:,} bytes left", **full_disk(place, original, lambda: _fill(filler, room), filler.unlink)})  # noqa: B023
            print(f"  {number} {results[-1]}", flush=True)
        finally:
            subprocess.run(["umount", "-l", str(mounted)], check=False)
    return counted_disks(results)


def counted_disks(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Add up what `full_disk` returned for several disks. A run that could not be resumed has no results whose bytes could be counted."""
    tried = [result for result in results if "stopped" in result]
    return {
        "tried": len(tried),
        "stopped_for_lack_of_room": sum(result["stopped"] for result in tried),
        "explained": sum(result["explained"] for result in tried),
        "previous_usable": sum(result["previous_usable"] for result in tried),
        "not_resumed": sum(result["bytes_lost"] is None for result in tried),
        "bytes_lost": sum(result["bytes_lost"] or 0 for result in tried),
        "cases": results,
    }


def _fill(path: Path, room: int) -> None:
    free = os.statvfs(path.parent)
    with open(path, "wb") as file:
        file.write(bytes(max(0, free.f_bavail * free.f_frsize - room)))


# ---------------------------------------------------------------------------------------------------------------- two at once, soak


def concurrent(root: Path) -> dict[str, Any]:
    """Start two processes in one run folder, and three processes that build the same image cache."""
    data, refused, lost = smooth_images(root / "data", 40), 0, 0
    original = reference(root, data, 1)
    for number in range(3):
        place = Place(data, root / f"both-{number}", root / "cache-both")
        first = start(place, training_work(place.config()))
        while not _steps(place.run):
            time.sleep(0.001)
        second = end(start(place, training_work(place.config())))
        refused += second == 3 and "is in use by process" in log_of(place)
        assert end(first) == 0, log_of(place)
        lost += bytes_different(original.made, outcome(place))
    builders, places = [], [Place(data, root / f"builder-{number}", root / "cache-builders") for number in range(3)]
    for place in places:
        builders.append(start(place, training_work(place.config())))
    assert [end(child) for child in builders] == [0, 0, 0], [log_of(place) for place in places]
    lost += sum(bytes_different(original.made, outcome(place)) for place in places)
    left = len(os.listdir(root / "cache-builders" / "images"))
    return {"second_process_refused": refused, "of": 3, "builders_at_once": 3, "files_in_their_cache": left, "bytes_lost": lost}


def soak(root: Path, steps: int = 20_000) -> dict[str, Any]:
    """Measure memory and open files during a long run of small steps, with a checkpoint every two seconds and a summary every 100 steps."""
    data = smooth_images(root / "data", 40)
    place, measured = Place(data, root / "soak", root / "cache-soak"), root / "soak.csv"
    # 40 images in batches of 8
    config = place.config(num_dims=5, num_epochs=steps // 5, summary_steps=100, checkpoint_seconds=2)

    def work():
        def measure(progress, loss):
            if progress.step % 1000 == 0:
                with open("/proc/self/statm") as file, open(measured, "a") as out:
                    megabytes = int(file.read().split()[1]) * resource.getpagesize() / 2**20
                    out.write(f"{progress.step},{megabytes:.1f},{len(os.listdir('/proc/self/fd'))}\n")

        evaluate.run_figures = lambda *_: {}
        training.train(config, on_step=measure)

    assert end(start(place, work), at_most=3600) == 0, log_of(place)
    rows = [(int(step), float(megabytes), int(files)) for step, megabytes, files in csv.reader(measured.read_text().splitlines())]
    after_start = [row for row in rows if row[0] >= steps // 10]
    slope = np.polyfit([row[0] for row in after_start], [row[1] for row in after_start], 1)[0] * 10_000
    return {
        "steps": rows[-1][0],
        "megabytes": {str(step): megabytes for step, megabytes, _ in [*rows[:: max(1, len(rows) // 5)], rows[-1]]},
        "megabytes_per_10000_steps": round(float(slope), 2),
        "open_files": sorted({files for _, _, files in after_start}),
        "history_rows": len(run_folder.read_history(place.run)),
        "checkpoints_kept": len(_steps(place.run)),
    }


# ---------------------------------------------------------------------------------------------------------------- several machines


def cluster(root: Path) -> dict[str, Any]:
    """Kill the processes of a training on several machines at random moments, and compare its outcome with that of an undisturbed one."""
    data, outcomes, recoveries = smooth_images(root / "data", 40), [], []
    for name in ("undisturbed", "killed"):
        place = Place(data, root / name, root / f"cache-{name}")
        hurry, log = Path(f"{place.run}.hurry"), Path(f"{place.run}.log")
        # 2 workers with a tower each; 40 images in batches of 8
        settings = place.config(batch_size=4, num_epochs=lost_machines.STEPS // 5, answer_seconds=120).as_dict()
        with lost_machines.Machines(settings, log, {**os.environ, "GLO_CACHE_DIR": str(place.cache)}) as machines:
            if name == "killed":
                recoveries = lost_machines.kill_all(machines, hurry, random.Random(12), lambda place=place: where(place))
            else:
                hurry.touch()
                assert machines.wait(seconds=3600) == 0, log_of(place)
        outcomes.append(outcome(place))
    return {
        **lost_machines.summary(recoveries),
        "steps": lost_machines.STEPS,
        "bytes_compared": sum(map(len, outcomes[0].values())),
        "bytes_lost": bytes_different(*outcomes),
        "left_behind": left_behind(place),
    }


# -------------------------------------------------------------------------------------------------------------------------- main


def files(root: Path) -> dict[str, Any]:
    """Try damaged and unusual files; see `benchmarks.damaged`. This runs in a separate process because it opens sessions."""
    from benchmarks import damaged

    place, result = Place(root, root / "files", root / "cache-files"), root / "files.json"
    assert end(start(place, lambda: result.write_text(json.dumps(damaged.try_all(root))))) == 0, log_of(place)
    return json.loads(result.read_text())


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "kills": kills,
    "signals": signals,
    "files": files,
    "disk": disk,
    "concurrent": concurrent,
    "soak": soak,
    "cluster": cluster,
}


def run(parts: list[str]) -> dict[str, Any]:
    """Run the given parts and add their results to ``benchmarks/faults.json``."""
    results = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for part in parts:
        print(f"{part} ...", flush=True)
        began, root = time.monotonic(), Path(tempfile.mkdtemp(prefix=f"faults-{part}-"))
        try:
            results[part] = {**PARTS[part](root), "wall_seconds": round(time.monotonic() - began)}
        finally:
            shutil.rmtree(root, ignore_errors=True)
        run_folder.write_json(RESULT, results)
    print(faults_page.table(results))
    return results


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, and run the tests or write the page."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks.faults", description=__doc__, formatter_class=layout)
    parser.add_argument("--part", choices=PARTS, action="append", help="one part alone; may be given several times")
    parser.add_argument("--cluster", dest="part", action="append_const", const="cluster", help="the same as --part cluster")
    parser.add_argument("--page", action="store_true", help="write the page of the book from the results")
    options = parser.parse_args(arguments)
    if options.page:
        PAGE.write_text(faults_page.page(json.loads(RESULT.read_text()), STEPS_BETWEEN_CHECKPOINTS))
    else:
        run(options.part or list(PARTS))


if __name__ == "__main__":
    main()
