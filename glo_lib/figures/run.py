"""Figures of a run: reconstructions, samples, interpolations, nearest neighbours, and the loss."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from glo_lib.config import QUICK_PRIORS
from glo_lib.figures.style import show_grid, show_loss, show_rows
from glo_lib.images.pixels import ImageRows
from glo_lib.inference.interpolation import interpolate
from glo_lib.inference.model import TrainedModel
from glo_lib.inference.neighbours import nearest_neighbours
from glo_lib.inference.priors import sample
from glo_lib.runs.folder import read_history

COLUMNS = 10


def run_figures(run_dir: Path, model: TrainedModel, images: ImageRows) -> dict[str, Figure]:
    """Make all figures of a run. There are samples of the priors that need not be learned.

    Args:
        run_dir: folder of the run, which holds the history of the loss.
        model: the trained model.
        images: (N, height, width, 3) uint8, the training images.

    Returns:
        File name without its ending -> figure.
    """
    return {
        "loss": show_loss(read_history(run_dir), f"loss ({model.config.loss}, training mode)"),
        "reconstructions": figure_reconstructions(model, images),
        **{f"samples_{name.replace(' ', '_').lower()}": figure_samples(model, name) for name in QUICK_PRIORS},
        "interpolation": figure_interpolation(model),
        "neighbours": figure_neighbours(model, images),
    }


def figure_reconstructions(model: TrainedModel, images: ImageRows, rows: int = 2) -> Figure:
    """Show evenly spaced training images, and below each its reconstruction."""
    chosen = np.linspace(0, len(images) - 1, min(COLUMNS * rows, len(images))).astype(int)
    decoded = model.decode(model.codes[chosen])
    groups = {}
    for number, part in enumerate(np.array_split(np.arange(len(chosen)), min(rows, len(chosen)))):
        groups["originals" + " " * number] = images[chosen[part]]
        groups["reconstructions" + " " * number] = decoded[part]
    return show_rows(groups)


def figure_samples(model: TrainedModel, prior: str, num_samples: int = 40, seed: int = 0) -> Figure:
    """Show decoded samples from a prior."""
    return show_grid(model.decode(sample(model, prior, num_samples, seed)), COLUMNS, f"samples, {prior}")


def figure_interpolation(model: TrainedModel, rows: int = 3) -> Figure:
    """Show interpolations between the codes of training images along great circles. The ends of each row are reconstructions."""
    ends = np.linspace(0, len(model.codes) - 1, 2 * rows).astype(int).reshape(2, rows).T
    paths = [interpolate(model.codes[a], model.codes[b], COLUMNS) for a, b in ends]
    return show_grid(model.decode(np.concatenate(paths)), COLUMNS, "interpolations along the great circle")


def figure_neighbours(model: TrainedModel, images: ImageRows, seed: int = 1) -> Figure:
    """Show samples, and below each the training image that is nearest in pixels, to check for copies of training images."""
    samples = model.decode(sample(model, "diagonal Gaussian", COLUMNS, seed))
    nearest, _ = nearest_neighbours(samples, images)
    return show_rows({"samples, diagonal Gaussian": samples, "nearest training images": images[nearest[:, 0]]})
