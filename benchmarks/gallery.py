"""What the page of photographs shows: pictures and numbers of a short and a long run on photographs of people, in one folder.

`benchmarks.photographs` runs this program; its help says how. The folder holds pictures and numbers only, neither data nor weights. The
long run has a wider decoder, because most of its time goes to the network of the perceptual loss, and a wide decoder costs little beside
it (``benchmarks/README.md``).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.steps import steps_per_second, with_steps_for
from glo_lib.config import PRIORS, TrainConfig
from glo_lib.evaluation import judgement
from glo_lib.evaluation.evaluate import versions
from glo_lib.evaluation.metrics import psnr
from glo_lib.figures.style import jpeg, show_rows
from glo_lib.images.pixels import slices
from glo_lib.images.split import find_split
from glo_lib.images.store import decode_as_in
from glo_lib.inference import (
    TrainedModel,
    encode,
    fit_code_regression,
    interpolate,
    load,
    nearest_codes,
    principal_directions,
    sample,
    walk,
)
from glo_lib.runs.folder import read_json, write_json
from glo_lib.training import train

SHORT_SECONDS, LONG_SECONDS = 300, 3600
COLUMNS = {64: 7, 128: 5}  # images in a row
PICTURE_INCHES, CLOSE_COLUMNS = 7.4, 4  # width of a picture, and images in a row where they are shown closely
MAIN_PRIOR = "Gaussian mixture"  # the only prior with a picture at further sizes; the first size has one for each prior
SHARE_BEYOND = 2.0  # standard deviations to each side that a principal direction is followed
NUM_DIRECTIONS, NUM_PATHS = 4, 4
IMAGES_PER_BLOCK = 250  # decoded at once
SETTINGS: dict[str, Any] = {"held_out": 0.18, "held_out_by": "identity", "num_dims": 100, "max_seconds": 0}
LONG_PHASES = "0.2 mse, 0.8 mse+0.5*perceptual"
LONG_FILTERS = {64: (512, 192, 96, 64)}  # those of the settings for other sizes
SEARCH_STEPS = 200
HIDDEN = frozenset({"data_dir", "run_dir"})  # settings that are paths of a machine

Rows = Mapping[str, np.ndarray]  # caption -> images (n, size, size, 3), one row of a picture


class Run(NamedTuple):
    """A run that is to be trained.

    Attributes:
        config: its settings.
        seconds: how long it may take on a quiet machine.
    """

    config: TrainConfig
    seconds: float


class Photographs(NamedTuple):
    """The photographs of a run.

    Attributes:
        training: (N, size, size, 3) uint8.
        held_out: (M, size, size, 3) uint8, of other people.
    """

    training: np.ndarray
    held_out: np.ndarray


def make(out: Path, settings: Mapping[str, Any], sizes: Sequence[int], command: str) -> None:
    """Train a short and a long run for each size, and write OUT/results.json and OUT/*.jpg.

    The steps per second that an earlier call with the same settings measured are used again, so that an interrupted benchmark goes on with
    the same runs, and a further size can be added later.

    Args:
        out: the folder.
        settings: settings of both runs, ``data_dir`` among them.
        sizes: pixels a side.
        command: the command that makes the folder, for its readers.
    """
    out.mkdir(parents=True, exist_ok=True)
    path, given = out / "results.json", {name: value for name, value in settings.items() if name not in HIDDEN}
    results: dict[str, Any] = {"command": command, "versions": versions(), "settings": given, "steps_per_second": {}}
    earlier = read_json(path) if path.exists() else {}
    if earlier.get("settings") == given:
        results["steps_per_second"] = earlier["steps_per_second"]
    results |= {"runs": {}, "pictures": {}}
    for size in sizes:
        models = {}
        for length, run in runs_of(size, settings).items():
            name, split = f"{size} pixels, {length}", find_split(run.config)
            if name not in results["steps_per_second"]:
                results["steps_per_second"][name] = steps_per_second(run.config)
                write_json(path, results)
            config = with_steps_for(run.config, run.seconds, results["steps_per_second"][name], len(split.training))
            models[length], results["runs"][name] = _train_and_judge(config)
        results["images"] = {"training": len(split.training), "held_out": len(split.held_out)}
        priors = PRIORS if size == sizes[0] else (MAIN_PRIOR,)
        for name, rows in pictures(models["short"], models["long"], photographs_of(run.config), priors).items():
            picture = out / f"{name}_{size}.jpg"
            picture.write_bytes(draw(rows))
            results["pictures"][picture.name] = list(rows)
        write_json(path, results)


def runs_of(size: int, settings: Mapping[str, Any]) -> dict[str, Run]:
    """Return the short and the long run of a size, without their numbers of steps."""
    config = TrainConfig.from_parameters({**SETTINGS, **settings, "image_size": size})
    widths = config.num_filters if "num_filters" in settings else LONG_FILTERS.get(size, config.num_filters)
    long = dataclasses.replace(config, phases=LONG_PHASES, num_filters=widths)
    return {"short": Run(config, SHORT_SECONDS), "long": Run(long, LONG_SECONDS)}


def _train_and_judge(config: TrainConfig) -> tuple[TrainedModel, dict[str, Any]]:
    result = train(config)
    judged = result.metrics.get("judges", {})
    if judged.get("efficientnet_lite0", {}).get("samples", {}).keys() != set(PRIORS):
        judged = judgement.judge_run(result.run_dir, priors=PRIORS)
    numbers = {
        "settings": {name: value for name, value in config.as_dict().items() if name not in HIDDEN},
        "metrics": {name: result.metrics[name] for name in ("psnr_db", "pca_psnr_db", "steps", "seconds")},
        "judges": judged,
    }
    return load(result.run_dir), numbers


def photographs_of(config: TrainConfig) -> Photographs:
    """Return the photographs that a run with these settings is trained on, and those that it holds out."""
    split = find_split(config)
    return Photographs(*(decode_as_in(config, files).array() for files in (split.training, split.held_out)))


def pictures(short: TrainedModel, long: TrainedModel, photographs: Photographs, priors: Sequence[str]) -> dict[str, Rows]:
    """Return the rows of every picture.

    Args:
        short: the model after the short run.
        long: the model after the long run.
        photographs: what both were trained on, and what was held out.
        priors: each has a picture of its samples.
    """
    training = photographs.training
    columns = COLUMNS.get(training.shape[1], max(COLUMNS.values()))
    decibels = np.concatenate([psnr(training[rows], long.decode(long.codes[rows])) for rows in slices(len(training), IMAGES_PER_BLOCK)])
    worst = np.argsort(decibels)[:columns]
    return {
        "reconstructions": reconstructions(short, long, training, evenly(len(training), columns)),
        "closer": reconstructions(short, long, training, evenly(len(training), CLOSE_COLUMNS)),
        "held_out": searched(short, long, photographs, columns),
        "samples_short": {f"new faces, {MAIN_PRIOR}": short.decode(sample(short, MAIN_PRIOR, columns))},
        **{f"samples_{prior.replace(' ', '_').lower()}": samples(long, prior, training, columns) for prior in priors},
        "interpolation": paths(long, columns),
        "directions": directions(long, columns),
        "worst": reconstructions(short, long, training, worst),
    }


def reconstructions(short: TrainedModel, long: TrainedModel, training: np.ndarray, rows: np.ndarray) -> Rows:
    """Return photographs and what both models make of them."""
    return {
        "photographs": training[rows],
        "after the short run": short.decode(short.codes[rows]),
        "after the long run": long.decode(long.codes[rows]),
    }


def searched(short: TrainedModel, long: TrainedModel, photographs: Photographs, columns: int) -> Rows:
    """Return photographs of people that the models have not seen, and their reconstructions from codes found by a search."""
    chosen = photographs.held_out[evenly(len(photographs.held_out), columns)]
    rows = {"photographs of other people": chosen}
    for name, model in {"after the short run": short, "after the long run": long}.items():
        regression = fit_code_regression(photographs.training, model)
        rows[name] = model.decode(encode(model, chosen, regression, restarts=2, steps=SEARCH_STEPS).codes)
    return rows


def samples(model: TrainedModel, prior: str, training: np.ndarray, columns: int) -> Rows:
    """Return samples, and below each the training photograph whose code is nearest."""
    drawn = sample(model, prior, columns)
    nearest = nearest_codes(drawn, model.codes)[0][:, 0]
    return {f"new faces, {prior}": model.decode(drawn), "the training photographs with the nearest codes": training[nearest]}


def paths(model: TrainedModel, columns: int) -> Rows:
    """Return walks along great circles between reconstructions of training photographs."""
    ends = evenly(len(model.codes), 2 * NUM_PATHS).reshape(2, NUM_PATHS).T
    ways = "ball" if model.config.projection == "ball" else "great_circle"
    walks = [model.decode(interpolate(model.codes[a], model.codes[b], columns, ways)) for a, b in ends]
    return {f"path {number}": images for number, images in enumerate(walks, start=1)}


def directions(model: TrainedModel, columns: int) -> Rows:
    """Return what the leading principal directions of the codes change in the reconstruction of one training photograph."""
    found = principal_directions(model.codes, min(NUM_DIRECTIONS, model.config.num_dims))
    amounts = np.linspace(-SHARE_BEYOND, SHARE_BEYOND, columns)
    start = model.codes[evenly(len(model.codes), columns)[1]]
    rows = {}
    for number, (direction, scale) in enumerate(zip(found.directions, found.scales, strict=True), start=1):
        codes = walk(start[None], direction * scale, amounts)[0]
        rows[f"principal direction {number}"] = model.decode(model.project(codes))
    return rows


def draw(rows: Rows) -> bytes:
    """Return the rows as one JPEG file, each under its name."""
    columns = max(len(images) for images in rows.values())
    figure = show_rows(rows, inches=PICTURE_INCHES / columns)
    file = jpeg(figure)
    plt.close(figure)
    return file


def evenly(count: int, wanted: int) -> np.ndarray:
    """Return as many row numbers as wanted, at equal distances, from 0 to count - 1."""
    return np.linspace(0, count - 1, wanted).astype(int)
