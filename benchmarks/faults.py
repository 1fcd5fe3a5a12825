"""Is anything lost? Training killed at any moment, damaged files of every kind, full disks, two processes at once, a long run.

    python -m benchmarks.faults                  everything; prints a table and writes benchmarks/faults.json
    python -m benchmarks.faults --part kills     one part alone: kills, signals, files, disk, concurrent or soak
    python -m benchmarks.faults --page           makes book/robustness.md from benchmarks/faults.json

Every run is a process of its own that trains in earnest, with checkpoints every few steps instead of every ten minutes, so that many a kill
falls into one. It is forked from a parent that has imported TensorFlow and opened no session: what is saved is the import, 70 times over.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from glo_lib import training
from glo_lib.config import TrainConfig
from glo_lib.evaluation import evaluate
from glo_lib.graph.backend import tf
from glo_lib.images import decode, store
from glo_lib.runs import checkpoints
from glo_lib.runs import folder as run_folder

HERE = Path(__file__).parent
RESULT, PAGE = HERE / "faults.json", HERE.parent / "book" / "robustness.md"
STEPS_BETWEEN_CHECKPOINTS = 5
KILLS = ("cache", "random", "checkpoint", "random", "checkpoint", "checkpoint", "random")  # of one run, one after the other
RUNS = 7  # for each number of towers
CLOCK = ("training_seconds",)  # what differs between any two runs: in checkpoints,
CLOCK_METRICS = ("seconds", "images_per_second")  # and in metrics


class Place(NamedTuple):
    """Where one run lives: its images, its folder, its cache."""

    data: Path
    run: Path
    cache: Path

    def config(self, towers: int = 1, **changes: Any) -> TrainConfig:
        """Tiny: 100 steps of a few milliseconds. The codes are long, so that writing a checkpoint (0.8 MB) takes as long as a step."""
        settings = {
            "data_dir": str(self.data), "run_dir": str(self.run), "image_size": 32, "num_filters": (4, 3, 2), "num_dims": 600,
            "code_init": "normal", "gpus": towers, "batch_size": 8 // towers, "num_epochs": 20, "max_seconds": 0, "precision": "float32",
            "summary_steps": 10,
        }  # fmt: skip
        return TrainConfig(**{**settings, **changes})


def smooth_images(folder: Path, number: int) -> Path:
    """JPEG files of colour gradients, all different."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    for i in range(number):
        corners = Image.fromarray(np.uint8(draw.uniform(0, 255, (3, 3, 3))))
        corners.resize((44, 40), Image.Resampling.BICUBIC).save(folder / f"{i:03d}.jpg", quality=92)
    return folder


# --------------------------------------------------------------------------------------------------------------------- processes


def start(place: Place, work: Callable[[], Any]) -> int:
    """Fork a process that does some work with its output in ``<run>.log``; exit status 0, or 3 after an exception. Returns its number."""
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
    """Wait for a process; its exit status, or minus the number of the signal that ended it."""
    until = time.monotonic() + at_most
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise TimeoutError(f"process {child} did not end within {at_most:.0f} s")


def training_work(config: TrainConfig, every_steps: int = STEPS_BETWEEN_CHECKPOINTS) -> Callable[[], Any]:
    """`train`, with frequent checkpoints, slow decoding and no figures."""

    def work():
        evaluate.run_figures = lambda *_: {}
        decode.FILES_PER_BATCH = 2
        hook = tf.compat.v1.train.CheckpointSaverHook
        tf.compat.v1.train.CheckpointSaverHook = lambda folder, save_secs, **rest: hook(folder, save_steps=every_steps, **rest)
        training.train(config)

    return work


def alive(child: int) -> bool:
    """Whether a child has not ended yet; does not take its status."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def log_of(place: Place) -> str:
    """What the processes of a run have printed."""
    path = Path(f"{place.run}.log")
    return path.read_text(errors="replace") if path.exists() else ""


# ---------------------------------------------------------------------------------------------------------------------- comparing


def outcome(place: Place) -> dict[str, bytes]:
    """Everything a run has made that has to be the same in the end: tensors of the checkpoint, codes, metrics, history."""
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
    """Bytes in which two outcomes differ, those that one of them lacks included."""
    different = 0
    for name in one.keys() | other.keys():
        a, b = one.get(name, b""), other.get(name, b"")
        different += abs(len(a) - len(b)) + sum(x != y for x, y in zip(a, b, strict=False))
    return different


def left_behind(place: Place) -> list[str]:
    """Names in the run folder that no finished run has."""
    expected = {"config.json", "manifest.json", "images.csv", "history.csv", "metrics.json", "codes.npy", "checkpoint", "figures", ".lock"}
    names = [name for name in os.listdir(place.run) if name not in expected and not name.startswith("events.out")]
    finished = {f"{checkpoints.BASENAME}-{step}" for step in _steps(place.run)}
    return [name for name in names if not any(name.startswith(f"{prefix}.") for prefix in finished)]


def _steps(folder: Path) -> list[int]:
    endings = [path.name.removesuffix(checkpoints.CHECKSUMS).rpartition("-")[2] for path in folder.glob(f"*{checkpoints.CHECKSUMS}")]
    return sorted(int(ending) for ending in endings if ending.isdigit())  # and not those that are being written


# ------------------------------------------------------------------------------------------------------------------------- kills


class Reference(NamedTuple):
    """A run that was never interrupted."""

    made: dict[str, bytes]
    seconds: float


def reference(root: Path, data: Path, towers: int) -> Reference:
    """Train without interruption, twice: the second time tells how long it takes with a warm cache of files."""
    for name in ("first", "second"):
        place = Place(data, root / f"{name}{towers}", root / f"cache-{name}{towers}")
        began = time.monotonic()
        assert end(start(place, training_work(place.config(towers)))) == 0, log_of(place)
    return Reference(outcome(place), time.monotonic() - began)


def wait_for(kind: str, place: Place, child: int, chance: random.Random, seconds: float) -> None:
    """Until the moment to kill has come, or the process has ended by itself."""
    if kind == "random":
        until = time.monotonic() + chance.uniform(0, 0.8 * seconds)
        while time.monotonic() < until and alive(child):
            time.sleep(0.001)
        return
    folder, mark = (place.cache / "images", store.UNFINISHED) if kind == "cache" else (place.run, "_temp")
    sightings, was_there = chance.randint(1, 1 if kind == "cache" else 5), False
    while alive(child):
        is_there = folder.is_dir() and any(mark in name for name in os.listdir(folder))
        sightings -= is_there and not was_there
        was_there = is_there
        if not sightings:
            time.sleep(chance.choice([0, chance.uniform(0, 0.2 if kind == "cache" else 0.003)]))
            return


def where(place: Place) -> str:
    """What a killed process was doing, by what it left behind."""
    names = os.listdir(place.run) if place.run.is_dir() else []
    cached = os.listdir(place.cache / "images") if (place.cache / "images").is_dir() else []
    if (place.run / "metrics.json").exists():
        return "after the run was complete"
    if any("_temp" in name for name in names) or _unfinished(names):
        return "while a checkpoint was written"
    if not any(name.endswith(".json") and not name.startswith(store.UNFINISHED) for name in cached):
        return "while the image cache was built" if cached else "before anything was written"
    if not _steps(place.run):
        return "before the first checkpoint"
    return "between checkpoints"


def _unfinished(names: list[str]) -> bool:
    prefixes = {name.partition(".index")[0].partition(".data-")[0] for name in names if name.endswith(".index") or ".data-" in name}
    noted = {name.removesuffix(checkpoints.CHECKSUMS) for name in names if name.endswith(checkpoints.CHECKSUMS)}
    return prefixes != noted  # sums that are not there yet, or no longer needed


def killed_run(place: Place, towers: int, chance: random.Random, original: Reference) -> dict[str, Any]:
    """One run that is killed and started again and again, and at last left alone; compared with the original."""
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
            return {"kills": moments, "error": log_of(place)[-2000:], "bytes_lost": -1}
    status = end(start(place, training_work(place.config(towers))))
    if status:
        return {"kills": moments, "error": log_of(place)[-2000:], "bytes_lost": -1}
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
    """Kill and resume, one and two towers; the final bits are compared with those of a run that was never interrupted."""
    data, chance, results = smooth_images(root / "data", 40), random.Random(7), []
    compared = 0
    for towers in (1, 2):
        original = reference(root, data, towers)
        compared += sum(map(len, original.made.values()))
        for number in range(RUNS):
            name = f"killed-{towers}-{number}"
            results.append(killed_run(Place(data, root / name, root / f"cache-{name}"), towers, chance, original))
            print(
                f"  {towers} tower(s), run {number + 1}: {len(results[-1]['kills'])} kills, {results[-1]['bytes_lost']} bytes lost",
                flush=True,
            )
    moments = [moment for result in results for moment in result["kills"]]
    return {
        "kills": len(moments),
        "survived": sum(len(result["kills"]) for result in results if result["bytes_lost"] == 0),
        "moments": {moment: moments.count(moment) for moment in sorted(set(moments))},
        "runs": len(results),
        "bytes_compared": compared * RUNS,
        "bytes_lost": sum(result["bytes_lost"] for result in results),
        "most_steps_repeated": max(max(result.get("steps_repeated") or [0]) for result in results),
        "left_behind": sorted({name for result in results for name in result.get("left_behind", [])}),
        "errors": [result["error"] for result in results if "error" in result],
    }


def signals(root: Path) -> dict[str, Any]:
    """Ctrl-C and SIGTERM at random moments of the training, and the interrupt button of a notebook, each followed by a resume."""
    data, chance, lost, stopped = smooth_images(root / "data", 40), random.Random(8), 0, 0
    original = reference(root, data, 1)
    for number in range(6):
        place = Place(data, root / f"signal-{number}", root / "cache-signal")
        child = start(place, training_work(place.config(), every_steps=10_000))
        until = chance.randint(1, 60)  # of 100 steps: counted in steps, so that a fast machine is not done before the signal comes
        while _steps_taken(place) < until:
            time.sleep(0.001)
            assert alive(child), log_of(place)
        os.kill(child, signal.SIGINT if number % 2 else signal.SIGTERM)
        status = end(child)
        stopped += status in (0, -signal.SIGTERM)
        assert end(start(place, training_work(place.config()))) == 0, log_of(place)
        lost += bytes_different(original.made, outcome(place))
    place = Place(data, root / "notebook", root / "cache-notebook")
    said = interrupted_notebook(place)
    assert end(start(place, training_work(place.config()))) == 0, log_of(place)
    lost += bytes_different(original.made, outcome(place))
    return {"signals": 7, "stopped_and_saved": stopped + ("the same call goes on from here" in said), "bytes_lost": lost}


def interrupted_notebook(place: Place) -> str:
    """Train in a Jupyter kernel, press its interrupt button after the first steps, and return what the cell printed."""
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
    """Train until a checkpoint or two are there, go on with little room, then go on with enough."""
    child = start(place, training_work(place.config()))
    while not (_steps(place.run) and _steps(place.run)[-1] >= 10):
        time.sleep(0.001)
        assert alive(child), log_of(place)
    os.kill(child, signal.SIGKILL)
    end(child)
    before = len(log_of(place))

    def with_little_room():
        limit()
        training_work(place.config())()

    status = end(start(place, with_little_room))
    said = log_of(place)[before:]
    lift()
    usable = checkpoints.newest_checkpoint(place.run) is not None
    finished = end(start(place, training_work(place.config()))) == 0
    return {
        "stopped": status == 3,
        "explained": status != 3 or "nothing more can be written" in said,
        "previous_usable": usable,
        "bytes_lost": bytes_different(original.made, outcome(place)) if finished else -1,
        "said": "OSError" + said.partition("OSError")[2].partition("\n")[0].replace(str(place.run), "run") if status == 3 else "",
    }


def disk(root: Path) -> dict[str, Any]:
    """Files of limited size (``RLIMIT_FSIZE``), and where the system allows it a file system of two megabytes that is nearly full."""
    data, chance, results = smooth_images(root / "data", 40), random.Random(9), []
    original = reference(root, data, 1)
    for limit in (500, 5_000, 50_000, 200_000, 400_000, 600_000, 700_000):
        place = Place(data, root / f"limit-{limit}", root / "cache-disk")
        set_limit = lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))  # noqa: E731
        # The log of the process is a file too: it begins anew, so that what is said fits.
        Path(f"{place.run}.log").unlink(missing_ok=True)
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
    tried = [result for result in results if "stopped" in result]
    return {
        "tried": len(tried),
        "stopped_for_lack_of_room": sum(result["stopped"] for result in tried),
        "explained": sum(result["explained"] for result in tried),
        "previous_usable": sum(result["previous_usable"] for result in tried),
        "bytes_lost": sum(result["bytes_lost"] for result in tried),
        "cases": results,
    }


def _fill(path: Path, room: int) -> None:
    free = os.statvfs(path.parent)
    with open(path, "wb") as file:
        file.write(bytes(max(0, free.f_bavail * free.f_frsize - room)))


# ---------------------------------------------------------------------------------------------------------------- two at once, soak


def concurrent(root: Path) -> dict[str, Any]:
    """Two processes on one run folder, and several that build one image cache."""
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
    """Memory and open files over a long run of small steps, with a checkpoint every two seconds and a summary every hundred steps."""
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


# -------------------------------------------------------------------------------------------------------------------------- main


def files(root: Path) -> dict[str, Any]:
    """Damaged and odd files of every kind; see `benchmarks.damaged`. In a process of its own, as it opens sessions."""
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
}


def run(parts: list[str]) -> dict[str, Any]:
    """Run some parts and add their results to ``benchmarks/faults.json``."""
    results = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for part in parts:
        print(f"{part} ...", flush=True)
        began, root = time.monotonic(), Path(tempfile.mkdtemp(prefix=f"faults-{part}-"))
        try:
            results[part] = {**PARTS[part](root), "wall_seconds": round(time.monotonic() - began)}
        finally:
            shutil.rmtree(root, ignore_errors=True)
        run_folder.write_json(RESULT, results)
    print(table(results))
    return results


def table(results: dict[str, Any]) -> str:
    """The results as a Markdown table: what was done, how often, what came of it, bytes lost."""
    rows = [("what was done", "times", "outcome", "bytes lost")]
    if found := results.get("kills"):
        rows.append(
            (
                f"`kill -9`, resume; {found['runs']} runs, one and two towers",
                found["kills"],
                f"{found['survived']} survived",
                found["bytes_lost"],
            )
        )
        rows += [(f"– {moment}", number, "", "") for moment, number in found["moments"].items()]
    if found := results.get("signals"):
        rows.append(
            (
                "Ctrl-C, SIGTERM, interrupt button; resume",
                found["signals"],
                f"{found['stopped_and_saved']} saved and ended",
                found["bytes_lost"],
            )
        )
    if found := results.get("files"):
        counted = f"{found['read']:,} read, {found['refused']:,} refused by name, {found['left_out']:,} left out"
        others = f"{found['before']:,} times the checkpoint before was used, {found['unexpected']:,} unexpected"
        rows.append((f"damaged and odd files, {found['kinds']} kinds", f"{found['inputs']:,}", f"{counted}, {others}", ""))
    if found := results.get("disk"):
        stopped = f"{found['stopped_for_lack_of_room']} stopped, {found['explained']} explained"
        usable = f"checkpoint before usable {found['previous_usable']} times"
        rows.append(("full disk (`RLIMIT_FSIZE`, small tmpfs); resume", found["tried"], f"{stopped}, {usable}", found["bytes_lost"]))
    if found := results.get("concurrent"):
        rows.append(("second process on a run folder", found["of"], f"{found['second_process_refused']} refused", found["bytes_lost"]))
        rows.append(
            ("builders of one image cache at once", found["builders_at_once"], f"{found['files_in_their_cache']} files in the cache", "")
        )
    if found := results.get("soak"):
        files_open = " to ".join(map(str, sorted({found["open_files"][0], found["open_files"][-1]})))
        grown = f"{found['megabytes_per_10000_steps']:+.1f} MB per 10,000 steps, {files_open} open files"
        rows.append(("small steps in one run", f"{found['steps']:,}", grown, ""))
    lines = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join([lines[0], "|---|---:|---|---:|", *lines[1:]])


PAGE_TEXT = """\
# Nothing is lost

A run on real data takes days, and in days machines are switched off, disks fill up, and somebody presses Ctrl-C. The promise: **kill the
training at any moment, start the same command again, and the final codes, weights and metrics are bit for bit those of a run that was
never interrupted**, on the same machine, with the same precision and number of towers. The one condition is `max_seconds=0`: a time limit
lets the learning rates follow the clock, and no two clocks are alike.

## How

- The batch of a step is a function of seed and step alone, so the position in the data needs no file: it follows from the step.
- A checkpoint holds decoder, codes, both optimisers' moments and counts, averages, batch-norm statistics, step, seconds, and the losses
  that are not yet in `history.csv`. Its files get a third one with their checksums; a checkpoint that does not match is named, and the
  one before is used. TensorFlow's own list of checkpoints is never believed: it is written anew from what is found whole.
- `images.csv` in the run folder notes size and digest of every image. What was added, removed, renamed or altered is refused by name; so
  are other settings, except those that are safe to change (how long, where, how often it reports).
- The run folder is locked by `flock`, which ends with the process however it ends. Windows has no such lock: there a warning says so.
- The image cache is written under another name and renamed when whole, with checksums; what killed builders leave, the next one clears.
- Images that cannot be read are refused all at once, or with `on_bad_image=skip` left out and listed in `skipped.json`.
- Nothing in a run folder is unpickled, and no parameter reaches a shell.
- A loss or gradient that is not finite stops the step before any weight is updated; the step is then taken once more without its
  updates, tensor by tensor, and the first one that is not finite is named.

## Tried

`python -m benchmarks.faults` ({minutes} minutes on two shared CPU cores; seeded; all numbers are in `benchmarks/faults.json`) said:

{table}

What is compared after each resume: every tensor of the last checkpoint (but the seconds), `codes.npy`, `metrics.json` (but seconds and
speed) and `history.csv`. At most {repeated} steps had to be taken again, with a checkpoint every {between} steps.

The files, kind by kind ("read": as the image it is; "refused": with a message that names the file; "before": the checkpoint before was
used; "left out": not taken for an image):

| kind | inputs | outcome |
|---|---:|---|
{kinds}

Not promised: the same bits on another machine or with another version of TensorFlow. After a power cut, when the disk may lack what the
system had promised to write, the checksums find the damage, and the checkpoint before is used.
"""


def page(results: dict[str, Any]) -> str:
    """The page of the book."""
    kinds = "\n".join(
        f"| {kind} | {found['inputs']} | {', '.join(f'{number} {word}' for word, number in found['outcomes'].items())} |"
        for kind, found in results["files"]["by_kind"].items()
    )
    minutes = sum(found["wall_seconds"] for found in results.values()) / 60
    return PAGE_TEXT.format(
        minutes=f"{minutes:.0f}",
        table=table(results),
        kinds=kinds,
        repeated=results["kills"]["most_steps_repeated"],
        between=STEPS_BETWEEN_CHECKPOINTS,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, action="append", help="one part alone; may be given several times")
    parser.add_argument("--page", action="store_true", help="write the page of the book from the results")
    arguments = parser.parse_args()
    if arguments.page:
        PAGE.write_text(page(json.loads(RESULT.read_text())))
    else:
        run(arguments.part or list(PARTS))
