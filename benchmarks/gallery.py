"""What the page of photographs shows: pictures and numbers of a short and a long run on photographs of people, in one folder.

`benchmarks.photographs` runs this program; its help says how. The folder holds pictures and numbers only, neither data nor weights.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from glo_lib.config import PRIORS, TrainConfig
from glo_lib.evaluation import judgement
from glo_lib.evaluation.evaluate import versions
from glo_lib.evaluation.metrics import psnr
from glo_lib.figures.style import tile
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
from glo_lib.runs.folder import write_json
from glo_lib.training import train

SHORT_SECONDS, LONG_SECONDS = 300, 3600
WIDTH = 640  # pixels of a picture: ten images of 64 pixels, five of 128
SHARE_BEYOND = 2.0  # standard deviations to each side that a principal direction is followed
NUM_DIRECTIONS, NUM_PATHS = 4, 4
IMAGES_PER_BLOCK = 250  # decoded at once
JPEG_QUALITY = 90
SETTINGS: dict[str, Any] = {"held_out": 0.18, "held_out_by": "identity", "num_dims": 100, "num_epochs": 100_000}
LONG_PHASES = "0.2 mse, 0.8 mse+0.5*perceptual"
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
    results: dict[str, Any] = {"command": command, "versions": versions(), "runs": {}, "pictures": {}}
    for size in sizes:
        short = TrainConfig.from_parameters({**SETTINGS, "max_seconds": SHORT_SECONDS, **settings, "image_size": size})
        long = dataclasses.replace(short, max_seconds=LONG_SECONDS, phases=LONG_PHASES)
        models = {}
        for name, config in {f"{size} pixels, short": short, f"{size} pixels, long": long}.items():
            models[name], results["runs"][name] = _run(config)
        photographs = _photographs(long)
        for name, rows in pictures(*models.values(), photographs).items():
            path = out / f"{name}_{size}.jpg"
            Image.fromarray(stack(rows)).save(path, quality=JPEG_QUALITY, optimize=True)
            results["pictures"][path.name] = list(rows)
        write_json(out / "results.json", results)


def _run(config: TrainConfig) -> tuple[TrainedModel, dict[str, Any]]:
    begin = time.perf_counter()
    result = train(config)
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


def pictures(short: TrainedModel, long: TrainedModel, photographs: Photographs) -> dict[str, Rows]:
    """Return the rows of every picture.

    Args:
        short: the model after the short run.
        long: the model after the long run.
        photographs: what both were trained on, and what was held out.
    """
    training = photographs.training
    columns = WIDTH // training.shape[1]
    decibels = np.concatenate([psnr(training[rows], long.decode(long.codes[rows])) for rows in slices(len(training), IMAGES_PER_BLOCK)])
    worst = np.argsort(decibels)[:columns]
    return {
        "reconstructions": reconstructions(short, long, training, _evenly(len(training), columns)),
        "held_out": searched(long, photographs, columns),
        **{f"samples_{prior.replace(' ', '_').lower()}": samples(long, prior, training, columns) for prior in PRIORS},
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


def searched(model: TrainedModel, photographs: Photographs, columns: int) -> Rows:
    """Return photographs of people that the model has not seen, and their reconstructions from codes found by a search."""
    rows = _evenly(len(photographs.held_out), columns)
    chosen = photographs.held_out[rows]
    regression = fit_code_regression(photographs.training, model)
    codes = encode(model, chosen, regression, restarts=2, steps=SEARCH_STEPS).codes
    return {"photographs of other people": chosen, "from codes found by a search": model.decode(codes)}


def samples(model: TrainedModel, prior: str, training: np.ndarray, columns: int) -> Rows:
    """Return samples, and below each the training photograph whose code is nearest."""
    drawn = sample(model, prior, 2 * columns)
    nearest = nearest_codes(drawn, model.codes)[0][:, 0]
    first, second = slice(columns), slice(columns, None)
    decoded, found = model.decode(drawn), training[nearest]
    return {
        f"samples, {prior}": decoded[first],
        "the training photographs with the nearest codes": found[first],
        "further samples": decoded[second],
        "and theirs": found[second],
    }


def paths(model: TrainedModel, columns: int) -> Rows:
    """Return walks along great circles between reconstructions of training photographs."""
    ends = _evenly(len(model.codes), 2 * NUM_PATHS).reshape(2, NUM_PATHS).T
    ways = "ball" if model.config.projection == "ball" else "great_circle"
    walks = [model.decode(interpolate(model.codes[a], model.codes[b], columns, ways)) for a, b in ends]
    return {f"path {number}": images for number, images in enumerate(walks, start=1)}


def directions(model: TrainedModel, columns: int) -> Rows:
    """Return what the leading principal directions of the codes change, each beginning at the mean code."""
    count = min(NUM_DIRECTIONS, model.config.num_dims)
    found = principal_directions(model.codes, count)
    amounts = np.linspace(-SHARE_BEYOND, SHARE_BEYOND, columns)
    rows = {}
    for number in range(count):
        codes = walk(found.mean[None], found.directions[number] * found.scales[number], amounts)[0]
        rows[f"direction {number + 1}"] = model.decode(model.project(codes))
    return rows


def stack(rows: Rows) -> np.ndarray:
    """Return the rows as one picture, (height, width, 3) uint8, with narrow white lines between them."""
    bands = [tile(images, len(images)) for images in rows.values()]
    line = np.full((4, bands[0].shape[1], 3), 255, np.uint8)
    return np.concatenate([part for band in bands for part in (band, line)][:-1])


def _evenly(count: int, wanted: int) -> np.ndarray:
    return np.linspace(0, count - 1, wanted).astype(int)
