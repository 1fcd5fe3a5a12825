"""What the page of photographs shows: pictures and numbers of a short and a long run on photographs of people, in one folder.

`benchmarks.photographs` runs this program; its help says how. The folder holds pictures and numbers only, neither data nor weights. The
long run has a wider decoder, because most of its time goes to the network of the perceptual loss, and a wide decoder costs little beside
it: at 64 pixels twice the widths take 1.4 times as long a step.
"""

import base64
import dataclasses
import time
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
from glo_lib.figures.style import jpeg_of_photographs, show_rows
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
MAIN_PRIOR = ("Gaussian mixture",)  # of the pictures of further sizes; the first size has a picture for each prior
SHARE_BEYOND = 2.0  # standard deviations to each side that a principal direction is followed
NUM_DIRECTIONS, NUM_PATHS = 4, 4
IMAGES_PER_BLOCK = 250  # decoded at once
SETTINGS: dict[str, Any] = {"held_out": 0.18, "held_out_by": "identity", "num_dims": 100, "max_seconds": 0}
LONG_PHASES = "0.2 mse, 0.8 mse+0.5*perceptual"
LONG_FILTERS = {64: (512, 192, 96, 64)}  # those of the settings for other sizes
SEARCH_STEPS = 200

Rows = Mapping[str, np.ndarray]  # caption -> images (n, size, size, 3), one row of a picture


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

    Args:
        out: the folder.
        settings: settings of both runs, ``data_dir`` among them.
        sizes: pixels a side.
        command: the command that makes the folder, for its readers.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / "results.json"
    earlier = read_json(path) if path.exists() else {}
    rates = earlier["steps_per_second"] if earlier.get("command") == command else {}
    results: dict[str, Any] = {"command": command, "versions": versions(), "steps_per_second": rates, "runs": {}, "pictures": {}}
    for size in sizes:
        short = TrainConfig.from_parameters({**SETTINGS, **settings, "image_size": size})
        widths = LONG_FILTERS.get(size, short.num_filters) if "num_filters" not in settings else short.num_filters
        long = dataclasses.replace(short, phases=LONG_PHASES, num_filters=widths)
        models = {}
        for name, config, seconds in ((f"{size} pixels, short", short, SHORT_SECONDS), (f"{size} pixels, long", long, LONG_SECONDS)):
            if name not in rates:
                rates[name] = steps_per_second(config)
                write_json(path, results)
            split = find_split(config)
            results["images"] = {"training": len(split.training), "held_out": len(split.held_out)}
            models[name], results["runs"][name] = _run(with_steps_for(config, seconds, rates[name], len(split.training)))
        priors = PRIORS if size == sizes[0] else MAIN_PRIOR
        for name, rows in pictures(*models.values(), _photographs(long), priors).items():
            picture = out / f"{name}_{size}.jpg"
            picture.write_bytes(draw(rows))
            results["pictures"][picture.name] = list(rows)
        write_json(path, results)


def _run(config: TrainConfig) -> tuple[TrainedModel, dict[str, Any]]:
    begin = time.perf_counter()
    result = train(config)
    judged = result.metrics.get("judges", {})
    if judged.get("efficientnet_lite0", {}).get("samples", {}).keys() != set(PRIORS):
        judged = judgement.judge_run(result.run_dir, priors=PRIORS)
    hidden = {"data_dir", "run_dir"}
    numbers = {
        "settings": {name: value for name, value in config.as_dict().items() if name not in hidden},
        "metrics": {name: result.metrics[name] for name in ("psnr_db", "pca_psnr_db", "steps", "seconds")},
        "judges": judged,
        "wall_seconds": round(time.perf_counter() - begin),
    }
    return load(result.run_dir), numbers


def _photographs(config: TrainConfig) -> Photographs:
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
        "reconstructions": reconstructions(short, long, training, _evenly(len(training), columns)),
        "closer": reconstructions(short, long, training, _evenly(len(training), CLOSE_COLUMNS)),
        "held_out": searched(short, long, photographs, columns),
        "samples_short": {f"new faces, {MAIN_PRIOR[0]}": short.decode(sample(short, MAIN_PRIOR[0], columns))},
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
    chosen = photographs.held_out[_evenly(len(photographs.held_out), columns)]
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
    ends = _evenly(len(model.codes), 2 * NUM_PATHS).reshape(2, NUM_PATHS).T
    ways = "ball" if model.config.projection == "ball" else "great_circle"
    walks = [model.decode(interpolate(model.codes[a], model.codes[b], columns, ways)) for a, b in ends]
    return {f"path {number}": images for number, images in enumerate(walks, start=1)}


def directions(model: TrainedModel, columns: int) -> Rows:
    """Return what the leading principal directions of the codes change in the reconstruction of one training photograph."""
    found = principal_directions(model.codes, min(NUM_DIRECTIONS, model.config.num_dims))
    amounts = np.linspace(-SHARE_BEYOND, SHARE_BEYOND, columns)
    start = model.codes[_evenly(len(model.codes), columns)[1]]
    rows = {}
    for number, (direction, scale) in enumerate(zip(found.directions, found.scales, strict=True), start=1):
        codes = walk(start[None], direction * scale, amounts)[0]
        rows[f"principal direction {number}"] = model.decode(model.project(codes))
    return rows


def draw(rows: Rows) -> bytes:
    """Return the rows as one JPEG file, each under its name."""
    columns = max(len(images) for images in rows.values())
    figure = show_rows(rows, inches=PICTURE_INCHES / columns)
    encoded = jpeg_of_photographs(figure)
    plt.close(figure)
    assert encoded is not None  # it shows images in colour
    return base64.b64decode(encoded[0])


def _evenly(count: int, wanted: int) -> np.ndarray:
    return np.linspace(0, count - 1, wanted).astype(int)
