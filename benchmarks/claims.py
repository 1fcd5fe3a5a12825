"""Compare GLO, the VAE and principal components on one data set over several seeds: the table of the chapter on the VAE.

    python -m benchmarks.claims --out benchmarks/claims
    python -m benchmarks.claims --out claims data_dir=my_photographs image_size=64 num_epochs=50 --seeds 0 1 2 3
    python -m benchmarks.claims --converged --out benchmarks/converged

The settings are those of `glo_lib.config.TrainConfig`. The held-out images come from the data set's ``list_eval_partition.txt``, or are
drawn at random if there is no such file. For each seed these models are trained: GLO, GLO with random initial codes, the VAE for the same
number of steps, the VAE for the same time, and the VAE with a smaller beta. The benchmark writes OUT.json with all numbers, OUT.md with
means and standard deviations, and OUT.svg, a figure of them. The tables have columns for the judges that are installed (``make judges``).
Trained models stay in the cache, so an interrupted benchmark continues where it stopped.

With ``--converged`` the opponents are as strong as they can be made: GLO, the VAE, and a VAE that learns the variance of its noise. Each is
trained for as many epochs as its held-out images profit from: the epochs are doubled until the PSNR gains less than 0.1 dB. Each has priors
that are fitted to its codes, and the VAEs have codes from their encoder and codes from a search.
"""

import argparse
import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import NamedTuple

from glo_lib.config import TrainConfig, describe
from glo_lib.evaluation import comparison, evaluate
from glo_lib.evaluation.comparison import Contender, ImageSets, Row
from glo_lib.evaluation.judges import installed_judges, missing_judges
from glo_lib.evaluation.metrics import psnr
from glo_lib.figures.claims import save_svg, show_claims
from glo_lib.training import find_split, train

DEFAULTS = {
    "num_samples": "2048", "held_out": "0.2", "image_size": "32", "num_filters": "128-64-32", "num_dims": "32",
    "num_epochs": "20", "max_seconds": "0", "precision": "float32",
}  # fmt: skip
SMALL_BETA = 0.1
LEAST_GAIN = 0.1  # dB of the held-out images from twice the epochs, below which a model counts as converged
MOST_EPOCHS = 1280
SEARCH_STEPS = 100
FAIR_PRIORS = ("unit Gaussian", "full Gaussian", "Gaussian mixture")


class Converged(NamedTuple):
    """A model that was trained until it stopped improving.

    Attributes:
        epochs: the epochs of the best run.
        contenders: the contenders of that run.
        by_epochs: epochs -> PSNR of the held-out images in dB, rounded to 0.01, of every run.
    """

    epochs: int
    contenders: list[Contender]
    by_epochs: dict[int, float]


def rows_of_seed(config: TrainConfig) -> list[Row]:
    """Train and measure all models with one seed. The last row is that of the held-out images."""
    split = find_split(config)
    sets = comparison.image_sets(config, split, config.seed, installed_judges(config.tight_crop))
    glo = train(config)
    vae = dataclasses.replace(config, model="vae")
    vaes = {
        "VAE, same steps": vae,
        "VAE, same seconds": dataclasses.replace(vae, max_seconds=glo.metrics["seconds"]),
        f"VAE, same steps, β = {SMALL_BETA}": dataclasses.replace(vae, kl_weight=SMALL_BETA),
    }
    rows = comparison.measure(comparison.glo_contender(glo.run_dir, sets, seed=config.seed), sets)
    random_start = train(dataclasses.replace(config, code_init="normal")).run_dir
    rows += comparison.measure(
        comparison.glo_contender(random_start, sets, "GLO, random start", config.seed, priors=["full Gaussian"]), sets
    )
    for name, settings in vaes.items():
        rows += comparison.measure(comparison.vae_contender(train(settings).run_dir, sets, name, config.seed), sets)
    rows += comparison.measure(comparison.pca_contender(sets, config.num_dims, config.seed), sets)
    return [*rows, comparison.measure_data(sets)]


def converged_rows_of_seed(config: TrainConfig) -> list[Row]:
    """Train GLO and two VAEs until they stop improving, and measure them with fitted priors and, for the VAEs, also with searched codes."""
    sets = comparison.image_sets(config, find_split(config), config.seed, installed_judges(config.tight_crop))
    vae = dataclasses.replace(config, model="vae")
    models = {"GLO": config, "VAE": vae, "VAE, learned noise": dataclasses.replace(vae, learned_noise=True)}
    rows = []
    for name, settings in models.items():
        found = train_until_converged(name, settings, sets)
        lengths = {"epochs": found.epochs, "psnr_held_out_by_epochs": found.by_epochs}
        rows += [{**row, **lengths} for contender in found.contenders for row in comparison.measure(contender, sets)]
    rows += comparison.measure(comparison.pca_contender(sets, config.num_dims, config.seed), sets)
    return [*rows, comparison.measure_data(sets)]


def train_until_converged(name: str, config: TrainConfig, sets: ImageSets) -> Converged:
    """Double the epochs until the held-out images gain less than `LEAST_GAIN` dB.

    Each length is a run of its own, because the learning rates fall to zero at its end. Of the contenders of a run the better one counts.
    """
    best, epochs, by_epochs = -math.inf, config.num_epochs, {}
    while True:
        longer = contenders_of(name, dataclasses.replace(config, num_epochs=epochs), sets)
        decibels = max(float(psnr(sets.held_out, contender.of_held_out).mean()) for contender in longer)
        print(f"{name}, {epochs} epochs: {decibels:.2f} dB on held-out images", file=sys.stderr)
        by_epochs[epochs] = round(decibels, 2)
        if decibels > best:
            found = Converged(epochs, longer, by_epochs)
        if decibels < best + LEAST_GAIN or 2 * epochs > MOST_EPOCHS:
            return found
        best, epochs = decibels, 2 * epochs


def contenders_of(name: str, config: TrainConfig, sets: ImageSets) -> list[Contender]:
    """Train a model; of a VAE there are two contenders, one with codes from its encoder and one with codes from a search."""
    run_dir = train(config).run_dir
    if config.model == "glo":
        return [comparison.glo_contender(run_dir, sets, name, config.seed, SEARCH_STEPS, FAIR_PRIORS)]
    searched = comparison.vae_contender(run_dir, sets, f"{name}, searched codes", config.seed, ["full Gaussian"], SEARCH_STEPS)
    return [comparison.vae_contender(run_dir, sets, name, config.seed, FAIR_PRIORS), searched]


def write(out: Path, config: TrainConfig, seeds: list[int], runs: list[list[Row]], arguments: list[str]) -> None:
    """Write OUT.json, OUT.md and OUT.svg."""
    means, deviations = comparison.average_rows(runs)
    settings = {name: value for name, value, _ in describe(config) if name not in ("data_dir", "run_dir", "seed")}
    data = Path(config.data_dir).name or "embedded faces"
    shown = [argument if not argument.startswith("data_dir=") else f"data_dir={data}" for argument in arguments]
    content = {"data": data, "settings": settings, "seeds": seeds, "runs": runs, "mean": means, "deviation": deviations}
    content |= {"versions": evaluate.versions(), "arguments": shown}
    content = _without_nan(content)
    out.with_suffix(".json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    out.with_suffix(".md").write_text(tables(content))
    save_svg(show_claims(content), out.with_suffix(".svg"))


def tables(content: dict) -> str:
    """Return the text of OUT.md from the content of OUT.json."""
    means, deviations = ([_with_nan(row) for row in content[part]] for part in ("mean", "deviation"))
    seeds = ", ".join(map(str, content["seeds"]))
    lines = [
        f"Data: {content['data']}. Mean ± standard deviation over the seeds {seeds}; first the reconstructions, then the samples.",
        *_lengths(content["runs"]),
        comparison.markdown_tables(means, deviations),
        f"Made by `python -m benchmarks.claims {' '.join(content['arguments'])}`.",
    ]
    return "\n\n".join(lines) + "\n"


def _lengths(runs: list[list[Row]]) -> list[str]:
    """Return a sentence on the epochs of each model with each seed, if its runs have lengths of their own."""
    epochs = {row["model"]: [] for row in runs[0] if "epochs" in row}
    for run in runs:
        for model, row in {row["model"]: row for row in run if row["model"] in epochs}.items():
            epochs[model].append(str(row["epochs"]))
    found = "; ".join(f"{model}: {', '.join(lengths)}" for model, lengths in epochs.items())
    return [f"Epochs of training with each seed. {found}."] if found else []


def _without_nan(content):
    """Replace NaN by None, because JSON has no NaN. An undefined number becomes null."""
    if isinstance(content, dict):
        return {name: _without_nan(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and math.isnan(content) else content


def _with_nan(row: Row) -> Row:
    """Replace None, which stands for an undefined number, by NaN."""
    return {name: math.nan if value is None else value for name, value in row.items()}


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, run every seed, write the table and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", help="name=value, settings of TrainConfig")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("claims"))
    parser.add_argument("--converged", action="store_true", help="models at their strongest, trained until they stop improving")
    arguments = sys.argv[1:] if arguments is None else arguments
    given = parser.parse_intermixed_args(arguments)
    if len(given.seeds) < 2 or not all("=" in setting for setting in given.settings):
        parser.error("give settings as name=value, and at least two seeds: the table shows their spread")
    parameters = {**DEFAULTS, **dict(setting.split("=", 1) for setting in given.settings)}
    print(*missing_judges(), sep="\n", file=sys.stderr)
    configs = [TrainConfig.from_parameters({**parameters, "seed": seed}) for seed in given.seeds]
    rows = converged_rows_of_seed if given.converged else rows_of_seed
    write(given.out, configs[0], given.seeds, [rows(config) for config in configs], arguments)
    print(given.out.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
