"""CelebA at its full size, tried on a stand-in for its release: time and peak memory of each step from the archive to the neighbours.

    python -m benchmarks.celeba                                  202,599 images; an hour or two, and 6 GB on the disk
    python -m benchmarks.celeba --images 5000 --seconds 20       smaller and shorter; the table says so
    python -m benchmarks.celeba --plan gpus=4 image_size=128     what the real run will take: operations, bytes, and a range of times
    python -m benchmarks.celeba --plan gpus=4 tflops=2-10        the same for a speed of your hardware

Each step is a process of its own, so that its peak memory is its own. Results go to celeba.json and celeba.md, which the book shows. The
speeds of short trainings at several sizes are measured too, and the plan is checked against them.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.machine import machine

RESULTS = Path(__file__).parent / "celeba.json"
IMAGE_SIZE, NUM_DIMS, BATCH_SIZE = 64, 100, 32
CHECK_SIZES, CHECK_IMAGES = (32, 64, 128), 2048  # short trainings whose speeds the plan is checked against
KILLED_AFTER = 0.5  # share of the images that are decoded when the process is killed
QUERIES, NEIGHBOURS = 40, 3
LEAST_SECONDS = 5  # of a short training
POLL_SECONDS = 0.05  # between two looks at how far the decoding is


class Step(NamedTuple):
    """One row of the table.

    Attributes:
        name: what was done.
        seconds: of the whole process, with its start.
        peak_mb: largest resident memory of the process, in megabytes.
        notes: what else was measured, as text.
        facts: the same for programs.
    """

    name: str
    seconds: float
    peak_mb: float
    notes: str
    facts: dict[str, Any]


class Place(NamedTuple):
    """Where the benchmark works.

    Attributes:
        folder: holds the release, the cache and the run.
        images: number of images of the release.
        seconds: longest time of the epoch.
    """

    folder: Path
    images: int
    seconds: float

    @property
    def release(self) -> Path:
        """The stand-in."""
        return self.folder / "CelebA"

    @property
    def archive(self) -> Path:
        """Its archive of images."""
        return self.release / "Img" / "img_align_celeba.zip"

    def config(self, **changes: Any) -> Any:
        """The settings of the run: one epoch at 64 pixels, with the official split."""
        from glo_lib.config import TrainConfig

        settings = {
            "data_dir": str(self.archive), "held_out": 0.1, "held_out_by": "partition", "image_size": IMAGE_SIZE, "num_dims": NUM_DIMS,
            "batch_size": BATCH_SIZE, "num_epochs": 1, "max_seconds": self.seconds, "schedule": "constant",
            "run_dir": str(self.folder / "run"),
        }  # fmt: skip
        return TrainConfig(**{**settings, **changes})


# ------------------------------------------------------------------------------------------- the steps, each in its own process
def write(place: Place) -> dict[str, Any]:
    """Write the stand-in, unless an earlier call has."""
    from glo_lib.faces.stand_in import write_release

    if not place.archive.exists():
        shutil.rmtree(place.release, ignore_errors=True)
        write_release(place.release, place.images)
    return {"bytes": place.archive.stat().st_size}


def check(place: Place) -> dict[str, Any]:
    """Check the release, as ``python -m glo_lib data`` does."""
    from glo_lib.images.report import examine

    report = examine(place.release)
    found = {"images": report.num_images, "people": report.num_people, "parts": list(report.parts.values()), "shared": report.shared["any"]}
    return {**found, "damaged": len(report.damaged), "sound": report.is_sound}


def listing(place: Place) -> dict[str, Any]:
    """Unpack the archive into the cache and split the images as the list says."""
    from glo_lib.images.split import find_split

    split = find_split(place.config())
    return {"training": len(split.training), "held_out": len(split.held_out)}


def cache(place: Place) -> dict[str, Any]:
    """Decode all training images."""
    from glo_lib.images.identity import identify
    from glo_lib.images.split import find_images
    from glo_lib.images.store import decode_images

    images = decode_images(identify(find_images(place.config())), IMAGE_SIZE, progress=True)
    return {"images": images.num_images, "bytes": images.num_bytes}


def epoch(place: Place) -> dict[str, Any]:
    """Start from principal components and train for an epoch, or for as many seconds as are allowed."""
    from glo_lib.runs.folder import Progress
    from glo_lib.training import prepare
    from glo_lib.training.train import train_phase

    config, last = place.config(), [Progress(0, 0.0)]
    setting = prepare(config)
    train_phase(setting, lambda progress, loss: last.append(progress))
    progress, steps = last[-1], config.num_steps(setting.images.num_images)
    facts = {"steps": progress.step, "steps_of_epoch": steps, "training_seconds": progress.seconds}
    return {**facts, "images_per_second": progress.step * BATCH_SIZE / progress.seconds, "precision": setting.devices.precision}


def checkpoint(place: Place) -> dict[str, Any]:
    """Restore the checkpoint in a training graph and write it again, with its checksums."""
    from glo_lib.graph.backend import tf
    from glo_lib.runs.checkpoints import VerifiedSaver
    from glo_lib.training import prepare
    from glo_lib.training.build import build_loss, build_model, build_train_ops

    setting = prepare(place.config())
    prefix = setting.run.checkpoint
    with tf.Graph().as_default(), tempfile.TemporaryDirectory(dir=place.folder) as folder:
        model = build_model(setting)
        build_train_ops(setting, model, build_loss(setting, model))
        saver = VerifiedSaver()
        with tf.compat.v1.Session() as session:
            began = time.perf_counter()
            saver.restore(session, prefix)
            restored = time.perf_counter()
            saver.save(session, f"{folder}/model.ckpt", global_step=0)
            saved = time.perf_counter()
        num_bytes = sum(file.stat().st_size for file in Path(folder).iterdir())
    return {"restore_seconds": restored - began, "save_seconds": saved - restored, "bytes": num_bytes}


def metrics(place: Place) -> dict[str, Any]:
    """Compute the metrics and figures of the run, as at the end of a training."""
    from glo_lib.evaluation.evaluate import evaluate
    from glo_lib.runs.run import open_run

    with open_run(place.config()) as run:
        found = evaluate(run)
    return {name: found[name] for name in ("psnr_db", "pca_psnr_db")}


def neighbours(place: Place) -> dict[str, Any]:
    """Find the nearest of all training images to samples, in pixels and among the codes."""
    from glo_lib.inference.model import load
    from glo_lib.inference.neighbours import nearest_codes, nearest_neighbours
    from glo_lib.inference.priors import fit_prior
    from glo_lib.runs.images import training_images

    model = load(place.folder / "run")
    codes = fit_prior("diagonal", model.codes).sample(QUERIES, seed=0)
    images, samples = training_images(place.folder / "run").array(), model.decode(codes)
    began = time.perf_counter()
    _, distance = nearest_neighbours(samples, images, NEIGHBOURS)
    in_pixels = time.perf_counter()
    nearest_codes(codes, model.codes, NEIGHBOURS)
    return {"pixel_seconds": in_pixels - began, "code_seconds": time.perf_counter() - in_pixels, "least_distance": float(distance.min())}


def speeds(place: Place) -> dict[str, Any]:
    """Train for some seconds at several sizes, on few images, and compare the time of each with what the plan says from the others."""
    from glo_lib.faces.stand_in import write_release
    from glo_lib.runs.folder import Progress
    from glo_lib.training import prepare
    from glo_lib.training.train import train_phase
    from glo_lib.training.work import work_of

    few = place.folder / "few"
    if not few.exists():
        write_release(few, CHECK_IMAGES, archive=False)
    rows = []
    for size in CHECK_SIZES:
        settings = {"data_dir": str(few), "image_size": size, "held_out": 0.0, "held_out_by": "auto", "num_epochs": 10**6}
        config = place.config(
            run_dir=str(place.folder / f"speed{size}"), max_seconds=max(LEAST_SECONDS, min(30, place.seconds)), **settings
        )
        shutil.rmtree(config.run_dir, ignore_errors=True)
        taken = [Progress(0, 0.0)]
        train_phase(prepare(config), lambda progress, loss, taken=taken: taken.append(progress))
        start = taken[len(taken) // 5]  # the first steps take longer
        rate = (taken[-1].step - start.step) * BATCH_SIZE / (taken[-1].seconds - start.seconds)
        flops = work_of(config).flops_per_image
        rows.append({"image_size": size, "images_per_second": rate, "flops_per_image": flops, "flops_per_second": rate * flops})
    return {"rows": rows, **compare_with_plan(rows)}


def compare_with_plan(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Predict the time of each training from the speeds of the others; a ratio above 1 means that the plan says longer than it took."""
    ratios = []
    for row in rows:
        others = [other["flops_per_second"] for other in rows if other is not row]
        ratios.append([row["flops_per_second"] / max(others), row["flops_per_second"] / min(others)])
    return {"predicted_over_measured": ratios}


STEPS: dict[str, tuple[str, Callable[[Place], dict[str, Any]]]] = {
    "write": ("write the stand-in", write),
    "check": ("check the release (`python -m glo_lib data`)", check),
    "listing": ("unpack, list and split", listing),
    "killed": (f"decode, killed (kill -9) after {KILLED_AFTER:.0%}", cache),
    "cache": ("decode the others", cache),
    "cached": ("open the cache and check it", cache),
    "epoch": (f"an epoch at {IMAGE_SIZE} pixels, with the start", epoch),
    "checkpoint": ("restore a checkpoint and write it", checkpoint),
    "metrics": ("metrics and figures", metrics),
    "neighbours": (f"{NEIGHBOURS} nearest images to {QUERIES} samples", neighbours),
    "speeds": (f"short trainings at {', '.join(map(str, CHECK_SIZES))} pixels", speeds),
}


def describe(name: str, facts: dict[str, Any]) -> str:
    """Return what a step measured, in words."""
    texts: dict[str, Callable[[], str]] = {
        "write": lambda: f"{facts['bytes'] / 1e9:.2f} GB",
        "check": lambda: (
            f"{facts['images']:,} images of {facts['people']:,} people, {facts['shared']} of them in more than one part; "
            f"{facts['damaged']} damaged"
        ),
        "listing": lambda: f"{facts['training']:,} to train on, {facts['held_out']:,} held out",
        "killed": lambda: f"{facts['decoded']:,} images decoded until then",
        "cache": lambda: f"{facts['images']:,} images, {facts['bytes'] / 1e9:.2f} GB",
        "cached": lambda: f"{facts['images']:,} images",
        "epoch": lambda: (
            f"{facts['steps']:,} of {facts['steps_of_epoch']:,} steps in {facts['training_seconds']:,.0f} s, "
            f"{facts['images_per_second']:,.0f} images/s, {facts['precision']}"
            + ("" if facts["steps"] >= facts["steps_of_epoch"] else f"; the whole epoch would take {_whole_epoch(facts):,.0f} s")
        ),
        "checkpoint": lambda: (
            f"restored in {facts['restore_seconds']:.2f} s, written in {facts['save_seconds']:.2f} s, {facts['bytes'] / 1e6:,.0f} MB"
        ),
        "metrics": lambda: f"{facts['psnr_db']:.1f} dB, PCA {facts['pca_psnr_db']:.1f} dB",
        "neighbours": lambda: f"in pixels {facts['pixel_seconds']:.1f} s, among the codes {facts['code_seconds']:.1f} s",
        "speeds": lambda: "; ".join(
            f"{row['image_size']}: {row['images_per_second']:,.0f} images/s, {row['flops_per_second'] / 1e9:,.0f} GFLOP/s, "
            f"plan {low:.2f} to {high:.2f} of that time"
            for row, (low, high) in zip(facts["rows"], facts["predicted_over_measured"], strict=True)
        ),
    }
    return texts[name]()


def _whole_epoch(facts: dict[str, Any]) -> float:
    return facts["training_seconds"] * facts["steps_of_epoch"] / facts["steps"]


# ----------------------------------------------------------------------------------------------------- processes and the table
def run_step(name: str, place: Place) -> Step:
    """Run a step in a process of its own, and measure its time and its peak memory."""
    command = [sys.executable, "-m", "benchmarks.celeba", "--step", name, "--folder", str(place.folder)]
    command += ["--images", str(place.images), "--seconds", str(place.seconds)]
    environment = {**os.environ, "GLO_CACHE_DIR": str(place.folder / "cache"), "MPLBACKEND": "Agg"}
    results = place.folder / f"{name}.json"
    results.unlink(missing_ok=True)
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[1])
    decoded = _kill_while_decoding(process, place) if name == "killed" else 0
    _, status, usage = os.wait4(process.pid, 0)  # the memory of this child alone
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if name == "killed":
        facts = {"decoded": decoded}
    elif process.returncode:
        raise RuntimeError(f"the step {name!r} failed with status {process.returncode}")
    else:
        facts = json.loads(results.read_text())
    return Step(STEPS[name][0], seconds, usage.ru_maxrss / 1024, describe(name, facts), facts)


def _kill_while_decoding(process: subprocess.Popen, place: Place) -> int:
    """Kill a process when it has decoded its share of the images; return how many that were."""
    from glo_lib.faces.stand_in import part_sizes

    row_bytes, wanted = 3 * IMAGE_SIZE**2, int(KILLED_AFTER * part_sizes(place.images)[0])
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        decoded = max((_size(path) // row_bytes for path in (place.folder / "cache" / "images").glob("decoding-*")), default=0)
        if decoded >= wanted:
            process.send_signal(signal.SIGKILL)
            return decoded
        time.sleep(POLL_SECONDS)
    return 0  # it was done before


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


def as_markdown(results: dict[str, Any]) -> str:
    """Return the table for the book."""
    lines = ["| step | time | peak memory | |", "|---|---|---|---|"]
    for step in results["steps"].values():
        seconds = f"{step['seconds'] / 60:.1f} min" if step["seconds"] >= 120 else f"{step['seconds']:.1f} s"
        lines.append(f"| {step['name']} | {seconds} | {step['peak_mb']:,.0f} MB | {step['notes']} |")
    facts = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    return "\n".join([*lines, "", f"{results['images']:,} images, measured on {results['date']}. Machine and versions: {facts}.", ""])


def run(place: Place, names: Sequence[str], results_path: Path = RESULTS) -> dict[str, Any]:
    """Run the named steps in order, and write the table after each; steps that are not named keep their last results."""
    place.folder.mkdir(parents=True, exist_ok=True)
    results = json.loads(results_path.read_text()) if results_path.exists() else {}
    if results.get("images") != place.images:
        results = {"steps": {}}
    if "epoch" in names:
        shutil.rmtree(place.folder / "run", ignore_errors=True)
    if "killed" in names:
        shutil.rmtree(place.folder / "cache" / "images", ignore_errors=True)
    for name in names:
        step = run_step(name, place)
        steps = {**results["steps"], name: step._asdict()}
        results = {
            "images": place.images, "date": date.today().isoformat(), "machine": machine(),
            "steps": {name: steps[name] for name in STEPS if name in steps},
        }  # fmt: skip
        results_path.write_text(json.dumps(results, indent=1) + "\n")
        results_path.with_suffix(".md").write_text(as_markdown(results))
        print(f"{step.name:55} {step.seconds:8.1f} s {step.peak_mb:8,.0f} MB  {step.notes}", flush=True)
    return results


def print_plan(arguments: Sequence[str], results_path: Path = RESULTS) -> None:
    """Print what a run will take, at the given speed or at those measured on this machine."""
    from benchmarks.plan import describe as describe_plan
    from benchmarks.plan import read_plan

    plan, given = read_plan(arguments)
    measured = json.loads(results_path.read_text())["steps"].get("speeds") if results_path.exists() else None
    if given is None and measured is None:
        raise ValueError("no speed was measured here yet; give tflops=LOW-HIGH, or run python -m benchmarks.celeba --steps speeds")
    rates = [row["flops_per_second"] for row in measured["facts"]["rows"]] if measured else []
    source = "as given" if given else f"as measured here for one tower, at {', '.join(map(str, CHECK_SIZES))} pixels"
    print(describe_plan(plan, given or (min(rates), max(rates)), source))
    if measured:
        print("checked     " + measured["notes"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark, or print a plan."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.celeba", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plan", nargs="*", metavar="NAME=VALUE", help="print what a run takes; settings, num_images and tflops")
    parser.add_argument("--images", type=int, default=202_599, help="images of the stand-in (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=600, help="longest time of the epoch in seconds (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where to work; kept (default: a folder that is removed at the end)")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS), help="only these; needs --folder of an earlier call")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to write the results (default: benchmarks/celeba.json)")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)  # what `run_step` starts
    options = parser.parse_args(arguments)
    if options.plan is not None:
        try:
            return print_plan(options.plan, options.results)
        except ValueError as error:
            sys.exit(f"python -m benchmarks.celeba --plan: {error}")
    if options.step:
        place = Place(options.folder, options.images, options.seconds)
        (place.folder / f"{options.step}.json").write_text(json.dumps(STEPS[options.step][1](place)))
        return None
    with tempfile.TemporaryDirectory() if options.folder is None else contextlib.nullcontext(options.folder) as folder:
        run(Place(Path(folder).absolute(), options.images, options.seconds), options.steps, options.results)
    return None


if __name__ == "__main__":
    main()
