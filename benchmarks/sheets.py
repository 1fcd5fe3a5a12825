"""The pictures of the table of `benchmarks.photographs`: the same people by each of its models, and samples of each model."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.gallery import Photographs, Rows, evenly
from glo_lib.codes import Pca, fit_pca
from glo_lib.evaluation.judgement import code_finder
from glo_lib.inference import load, sample
from glo_lib.runs.run import read_run

COLUMNS = 7
GROUPS = {"losses": ("mse", "lap1", "mse+lap1", "phases"), "models": ("mse", "paper", "vae", "pca")}
SHOWN = {row for rows in GROUPS.values() for row in rows}


class Sheet(NamedTuple):
    """What one model makes.

    Attributes:
        held_out: (n, size, size, 3) reconstructions of photographs of people that it was not trained on.
        samples: (n, size, size, 3).
    """

    held_out: np.ndarray
    samples: np.ndarray


def people(photographs: Photographs) -> np.ndarray:
    """Return the photographs of other people that every model reconstructs, (n, size, size, 3) uint8."""
    return photographs.held_out[evenly(len(photographs.held_out), COLUMNS)]


def of_run(run_dir: Path, photographs: Photographs, prior: str) -> Sheet:
    """Return what a trained model makes."""
    model = load(run_dir)
    find_codes = code_finder(read_run(run_dir), model, photographs.training)
    return Sheet(model.decode(find_codes(people(photographs))), model.decode(sample(model, prior, COLUMNS)))


def of_pca(num_dims: int, photographs: Photographs) -> Sheet:
    """Return what principal components make; the samples are those of a Gaussian."""
    pca, others = fit_pca(photographs.training, num_dims), people(photographs)
    codes = {"held_out": pca.transform(others), "samples": gaussian_codes(pca, COLUMNS)}
    return Sheet(**{kind: decode(pca, rows, others.shape[1:]) for kind, rows in codes.items()})


def gaussian_codes(pca: Pca, count: int, seed: int = 0) -> np.ndarray:
    """Draw (count, d) coefficients from the Gaussian that has the variance of the images along each component."""
    return np.random.default_rng(seed).standard_normal((count, len(pca.scales)), dtype=np.float32) * pca.scales


def decode(pca: Pca, codes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the images of coefficients (n, d): (n, *shape) in [-1, 1]."""
    return np.clip(pca.inverse_transform(codes), -1, 1).reshape(len(codes), *shape)


def pictures(sheets: Mapping[str, Sheet], others: np.ndarray, names: Mapping[str, str]) -> dict[str, Rows]:
    """Return the rows of each picture: for each group of models the reconstructions, below the photographs, and the samples.

    Args:
        sheets: row of the table -> its sheet.
        others: the photographs that were reconstructed.
        names: row of the table -> its name for readers.
    """
    found = {}
    for group, rows in GROUPS.items():
        present = {names[row]: sheets[row] for row in rows if row in sheets}
        if len(present) > 1:  # one model alone compares nothing
            reconstructed = {name: sheet.held_out for name, sheet in present.items()}
            found[f"{group}_held_out"] = {"photographs of other people": others, **reconstructed}
            found[f"{group}_samples"] = {f"samples, {name}": sheet.samples for name, sheet in present.items()}
    return found
