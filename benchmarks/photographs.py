"""What GLO makes of photographs of people: the results behind the page of photographs, or a table of several losses and models.

    python -m benchmarks.photographs data_dir=PHOTOGRAPHS --out book/photographs      some two and a half hours
    python -m benchmarks.photographs --table data_dir=PHOTOGRAPHS --out benchmarks/photographs      two hours
    python -m benchmarks.photographs --table data_dir=PHOTOGRAPHS --rows mse phases --seeds 0 --seconds 1500 \\
        --rates benchmarks/photographs.json --out benchmarks/photographs_1500

PHOTOGRAPHS is a folder or an archive whose files are named after the people, as in Labeled Faces in the Wild, or CelebA with its list of
identities: whole people are held out. The codes have 100 dimensions. Both judges have to be installed (make judges).

The first command trains at 64 and at 128 pixels, each for five minutes with the squared error and for an hour in two phases, and writes
the folder OUT: results.json and pictures (`benchmarks.gallery`). Further settings, such as ``batch_size=64``, may follow ``data_dir``. It
keeps the trained models in the cache, so an interrupted benchmark continues where it stopped.

With ``--table`` the models have 64 pixels, and each is a row:

    mse, lap1, mse+lap1   these losses, with the other settings of the book
    phases                first squared error, then squared error and the perceptual loss
    paper                 the paper's model, as in book/params/paper_celeba64.yaml, for as many seconds
    mse_128               the squared error in batches of 128 images, for as many steps as the paper's model has
    vae                   the VAE of the book, which encodes new people
    vae_searched          the same models, with codes of new people found by the search of GLO
    pca                   principal components, without training

Time is counted in steps: at the beginning the steps per second of each loss are measured, which should be done while nothing else runs,
and then each model takes as many steps as fit into the time. So a program that runs later slows the benchmark down, but does not change its
result. With ``--rates FILE`` they are not measured, but those of another table count, so that a second has as many steps in both tables.

The table writes OUT.json with all numbers, OUT.md with means and standard deviations over the seeds, pictures of the models of the first
seed (`benchmarks.sheets`) to OUT_*.jpg, and the trained models to the folder OUT, so that an interrupted benchmark continues where it
stopped.
"""

import argparse
import dataclasses
import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from benchmarks import gallery, sheets
from benchmarks.steps import steps_per_second, with_steps_for
from glo_lib.codes import fit_pca
from glo_lib.config import TrainConfig
from glo_lib.evaluation import judgement
from glo_lib.evaluation.evaluate import versions
from glo_lib.evaluation.judges import TITLES, installed_judges, missing_judges
from glo_lib.evaluation.metrics import psnr
from glo_lib.images.split import find_split
from glo_lib.inference import TrainedModel, load
from glo_lib.runs.folder import read_json, write_json
from glo_lib.training import train

SECONDS, SEEDS, NUM_JUDGED = 300, (0, 1, 2), 1000
SIZES = (64, 128)  # pixels a side, of the page
SAMPLED = "Gaussian mixture"  # the same prior for all models: the best for a judge may be one that stays near training images
KINDS = ("training", "held_out", "samples")
TWO_PHASES = "0.2 mse, 0.8 mse+0.5*perceptual"
PAPER = Path(__file__).parents[1] / "book" / "params" / "paper_celeba64.yaml"
COMMON = {"held_out": 0.18, "held_out_by": "identity", "image_size": 64, "num_dims": 100, "max_seconds": 0}
ROWS: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "mse": ("squared error", dict),
    "lap1": ("Lap1", lambda: {"loss": "lap1"}),
    "mse+lap1": ("squared error + Lap1", lambda: {"loss": "mse+lap1"}),
    "phases": (f"two phases, {TWO_PHASES}", lambda: {"phases": TWO_PHASES}),
    "paper": ("the paper's model", lambda: yaml.safe_load(PAPER.read_text())),
    "mse_128": ("squared error, in the steps of the paper's model", lambda: {"batch_size": 128}),
    "vae": ("VAE", lambda: {"model": "vae"}),
    "vae_searched": ("VAE, searched codes", lambda: {"model": "vae"}),
    "pca": ("PCA", lambda: {}),
}
RUNS_OF = {"vae_searched": "vae"}  # row -> the row whose runs it takes
STEPS_OF = {**RUNS_OF, "mse_128": "paper"}  # row -> the row that says how many steps it has


class Measured(NamedTuple):
    """One model with one seed.

    Attributes:
        row: key in `ROWS`.
        seed: seed of the training.
        numbers: flat names -> values; kernel distances are multiplied by 1,000.
    """

    row: str
    seed: int
    numbers: dict[str, float]


def settings_of(row: str, data_dir: str, seed: int) -> TrainConfig:
    """Return the settings of a row, without a length."""
    return TrainConfig.from_parameters({**ROWS[row][1](), **COMMON, "data_dir": data_dir, "seed": seed})


def measure(row: str, config: TrainConfig) -> Measured:
    """Train a model, or take it from its folder, and judge it."""
    seed = config.seed
    if row == "pca":
        return Measured(row, seed, measure_pca(config))
    result = train(config)
    if row == "vae_searched":
        return Measured(row, seed, measure_searched(config, load(result.run_dir)))
    judged = judgement.judge_run(result.run_dir, NUM_JUDGED, priors=(SAMPLED,))
    numbers = {"psnr_training": judged["psnr_training_db"], "psnr_held_out": judged["psnr_held_out_db"], "steps": result.metrics["steps"]}
    for judge in TITLES:
        for kind, values in {**judged[judge], "samples": judged[judge]["samples"][SAMPLED]}.items():
            numbers[f"{judge} {kind}"] = 1000 * values["kernel_distance"]
    numbers["same_person"] = judged["face_recogniser"]["training"]["same_person"]
    return Measured(row, seed, numbers)


class Judged(NamedTuple):
    """The photographs that `glo_lib.evaluation.judgement.judge_run` would choose, as (n, size, size, 3) uint8.

    Attributes:
        training: all photographs of the training.
        photographs: some of them.
        unseen: as many of people who are held out.
    """

    training: np.ndarray
    photographs: np.ndarray
    unseen: np.ndarray


def judged_photographs(config: TrainConfig) -> Judged:
    """Choose photographs of the training and of the held-out people."""
    training, held_out = gallery.photographs_of(config)
    rows = np.random.default_rng(0).permutation(len(training))[: min(NUM_JUDGED, len(held_out))]
    others = np.random.default_rng(0).permutation(len(held_out))[: len(rows)]
    return Judged(training, training[np.sort(rows)], held_out[np.sort(others)])


def measure_searched(config: TrainConfig, model: TrainedModel) -> dict[str, float]:
    """Judge reconstructions of people who are held out, whose codes are found by optimisation, whatever the model is."""
    training, photographs, unseen = judged_photographs(config)
    decoded = model.decode(judgement.code_search(model, training)(unseen))
    numbers = {"psnr_held_out": float(psnr(unseen, decoded).mean())}
    return numbers | kernel_distances(config, unseen, {"floor": photographs, "held_out": decoded})


def kernel_distances(config: TrainConfig, reference: np.ndarray, images: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the kernel distance of each kind of images to the reference, times 1,000, by each judge."""
    numbers = {}
    for judge in installed_judges(config.tight_crop):
        features = judge.features(reference)
        for kind, some in images.items():
            found = judgement.compare(judge.features(some), features, paired=kind == "held_out")
            numbers[f"{judge.name} {kind}"] = 1000 * found["kernel_distance"]
    return numbers


def measure_pca(config: TrainConfig) -> dict[str, float]:
    """Judge reconstructions from principal components, and samples from a Gaussian fitted to their coefficients."""
    training, photographs, unseen = judged_photographs(config)
    pca = fit_pca(training, config.num_dims)
    drawn = sheets.gaussian_codes(pca, len(photographs), config.seed)
    decoded = {
        name: sheets.decode(pca, codes, photographs.shape[1:])
        for name, codes in {"training": pca.transform(photographs), "held_out": pca.transform(unseen), "samples": drawn}.items()
    }
    numbers = {
        "psnr_training": float(psnr(photographs, decoded["training"]).mean()),
        "psnr_held_out": float(psnr(unseen, decoded["held_out"]).mean()),
    }
    return numbers | kernel_distances(config, unseen, {"floor": photographs, **decoded})


def markdown(measured: Sequence[Measured], seconds: float) -> str:
    """Format the table: a line for each model, with mean and standard deviation over the seeds."""
    columns = {
        "psnr_training": "PSNR training, dB",
        "psnr_held_out": "PSNR held out, dB",
        **{
            f"{judge} {kind}": f"{TITLES[judge]}: {kind.replace('_', ' ')}"
            for judge in TITLES
            for kind in ("training", "held_out", "samples")
        },
        "same_person": "same person, training",
        "steps": "steps",
    }
    lines = ["| | seeds | " + " | ".join(columns.values()) + " |", "|---|--:|" + "--:|" * len(columns)]
    for row, (name, _) in ROWS.items():
        found = [one.numbers for one in measured if one.row == row]
        if found:
            lines.append(
                f"| {name} | {len(found)} | "
                + " | ".join(_cell(column, [numbers.get(column) for numbers in found]) for column in columns)
                + " |"
            )
    floors = {judge: [one.numbers[f"{judge} floor"] for one in measured if f"{judge} floor" in one.numbers] for judge in TITLES}
    floor = "; ".join(f"{TITLES[judge]} {statistics.mean(values):.1f}" for judge, values in floors.items() if values)
    note = f"{seconds:g} seconds a model, in steps. Kernel distances times 1,000; of training photographs themselves: {floor}. "
    note += f"Samples of the {SAMPLED}, for PCA of a Gaussian."
    return "\n".join([note, "", *lines])


def _cell(column: str, values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    digits = {"steps": 0, "same_person": 2, "psnr_training": 2, "psnr_held_out": 2}.get(column, 1)
    spread = f" ± {statistics.stdev(known):,.{digits}f}" if len(known) > 1 else ""
    return f"{statistics.mean(known):,.{digits}f}{spread}"


def measure_rates(out: Path, rows: Sequence[str], data_dir: str) -> dict[str, list[float]]:
    """Measure the steps per second of each row and phase, unless an earlier call with the same folder did so."""
    path = out / "rates.json"
    rates = read_json(path) if path.exists() else {}
    for row in rows:
        if row not in rates and row != "pca":
            rates[row] = steps_per_second(settings_of(row, data_dir, 0))
            out.mkdir(parents=True, exist_ok=True)
            write_json(path, rates)
    return rates


def read_rates(path: Path, rows: Sequence[str]) -> dict[str, list[float]]:
    """Return the steps per second, of each row and phase, in the results of another table or in its ``rates.json``.

    Raises:
        ValueError: the file does not have those of a row.
        OSError: the file cannot be read.
    """
    content = json.loads(path.read_text("utf8"))
    rates = content.get("steps_per_second", content)
    missing = [row for row in rows if row != "pca" and row not in rates]
    if missing:
        raise ValueError(f"{str(path)!r} has no steps per second of {', '.join(missing)}; it has those of {', '.join(rates) or 'no row'}")
    return rates


def draw_sheets(configs: Mapping[str, TrainConfig], out: Path) -> None:
    """Write the pictures of the models, OUT_*.jpg.

    Args:
        configs: row -> settings of one run of it, with its folder.
        out: the name that the table has, without an ending.
    """
    photographs = gallery.photographs_of(next(iter(configs.values())))
    made = {
        row: sheets.of_pca(config.num_dims, photographs) if row == "pca" else sheets.of_run(Path(config.run_dir), photographs, SAMPLED)
        for row, config in configs.items()
        if row in sheets.SHOWN
    }
    names = {row: name for row, (name, _) in ROWS.items()}
    for name, rows in sheets.pictures(made, sheets.people(photographs), names).items():
        out.with_name(f"{out.name}_{name}.jpg").write_bytes(gallery.draw(rows))


def make_table(
    data_dir: str, rows: Sequence[str], seeds: Sequence[int], seconds: float, rates: Mapping[str, Sequence[float]], out: Path, command: str
) -> None:
    """Measure every model with every seed, and write and print the table."""
    measured: list[Measured] = []
    configs: dict[str, TrainConfig] = {}
    for seed in seeds:
        for row in rows:
            config = settings_of(row, data_dir, seed)
            if row != "pca":
                num_images = len(find_split(config).training)
                fitted = with_steps_for(config, seconds, rates[STEPS_OF.get(row, row)], num_images)
                config = dataclasses.replace(fitted, run_dir=str(out / f"{RUNS_OF.get(row, row)}-{seconds:g}-{seed}"))
            measured.append(measure(row, config))
            configs.setdefault(row, config)
            models = [one._asdict() for one in measured]
            content = {"seconds": seconds, "common": COMMON, "steps_per_second": rates, "models": models, "versions": versions()}
            write_json(out.with_suffix(".json"), content)
            table = markdown(measured, seconds)
            out.with_suffix(".md").write_text(f"{table}\n\nMade by `{command}`.\n")
    draw_sheets(configs, out)
    print(out.with_suffix(".md").read_text())


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, and make the folder of the page or the table."""
    given, settings = _parse(arguments)
    shown = ["data_dir=PHOTOGRAPHS" if word.startswith("data_dir=") else word for word in arguments or sys.argv[1:]]
    command = f"python -m benchmarks.photographs {' '.join(shown)}"
    if not given.table:
        gallery.make(given.out, settings, given.sizes or SIZES, command)
        return
    rows = given.rows or list(ROWS)
    rates = given.rates or measure_rates(given.out, _timed(rows), settings["data_dir"])
    make_table(settings["data_dir"], rows, given.seeds or SEEDS, given.seconds or SECONDS, rates, given.out, command)


def _timed(rows: Sequence[str]) -> list[str]:
    """Return the rows whose steps per second say how many steps these rows have."""
    return [STEPS_OF.get(row, row) for row in rows]


def _parse(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, dict[str, str]]:
    """Return the options and the settings; the ``rates`` among the options are those of the given file."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.photographs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", nargs="+", metavar="NAME=VALUE", help="data_dir=PHOTOGRAPHS, and further settings of TrainConfig")
    parser.add_argument("--table", action="store_true", help="a table of several losses and models")
    parser.add_argument("--rows", nargs="+", choices=ROWS, help="of the table (default: all)")
    parser.add_argument("--seeds", type=int, nargs="+", help=f"each model of the table is trained with each (default: {_words(SEEDS)})")
    parser.add_argument("--seconds", type=float, help=f"of each model of the table, counted in steps (default: {SECONDS})")
    parser.add_argument(
        "--rates", type=Path, metavar="FILE", help="another table's OUT.json, whose steps per second count for this one too"
    )
    parser.add_argument("--sizes", type=int, nargs="+", help=f"pixels a side, without --table (default: {_words(SIZES)})")
    parser.add_argument("--out", type=Path, default=Path("photographs"), help="folder, or name of the table (default: %(default)s)")
    given = parser.parse_intermixed_args(arguments)
    settings = dict(setting.partition("=")[::2] for setting in given.settings)
    if not settings.get("data_dir"):
        parser.error(f"the settings are {' '.join(given.settings)}; give data_dir=PHOTOGRAPHS, a folder or an archive of photographs")
    if given.table and len(settings) > 1:
        parser.error("the settings of the table are fixed; give data_dir only")
    without_effect = ("sizes",) if given.table else ("rows", "seeds", "seconds", "rates")
    if unused := [f"--{name}" for name in without_effect if getattr(given, name) is not None]:
        parser.error(f"{'with' if given.table else 'without'} --table there is no use for {', '.join(unused)}; leave it out")
    if missing_judges():
        parser.error("; ".join(missing_judges()))
    if given.rates:
        try:
            given.rates = read_rates(given.rates, _timed(given.rows or list(ROWS)))
        except (OSError, ValueError) as error:
            parser.error(f"--rates: {error}")
    return given, settings


def _words(numbers: Sequence[int]) -> str:
    return " ".join(map(str, numbers))


if __name__ == "__main__":
    main()
