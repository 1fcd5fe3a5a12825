"""What a run achieved: metrics and figures, made from what its folder holds, so that a run can be looked at again."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from glo_lib import __version__, inference
from glo_lib.backend import tf
from glo_lib.codes import fit_pca
from glo_lib.devices import choose_devices
from glo_lib.inference import TrainedModel
from glo_lib.inputs import DecodedImages
from glo_lib.metrics import psnr
from glo_lib.plots import show_grid, show_loss, show_rows
from glo_lib.run_folder import read_history, read_json, read_progress, write_json

EVALUATED_IMAGES = 2000
FIGURES_OF = 10  # columns of the figures


def evaluate(run_dir: Path, images: DecodedImages) -> dict[str, Any]:
    """Write ``metrics.json``, ``codes.npy`` and the figures of a run from its newest checkpoint.

    A folder whose metrics belong to that checkpoint is left as it is.

    Args:
        run_dir: folder of the run.
        images: the images it was trained on.

    Returns:
        The metrics. ``psnr_db`` is the mean over the first 2,000 training images with batch normalization *in use* (moving averages), which
        is what a reader of the decoder gets; the loss of the progress bar is measured in training (statistics of the batch).
    """
    progress = read_progress(run_dir)
    if (run_dir / "metrics.json").exists():
        metrics = read_json(run_dir / "metrics.json")
        if metrics.get("steps") == progress.step:
            return metrics
    model = inference.load(run_dir)
    np.save(run_dir / "codes.npy", model.codes, allow_pickle=False)
    metrics = measure(run_dir, model, images)
    write_figures(run_dir / "figures", all_figures(run_dir, model, images.array()))
    write_json(run_dir / "metrics.json", metrics)
    return metrics


def measure(run_dir: Path, model: TrainedModel, images: DecodedImages) -> dict[str, Any]:
    """The content of ``metrics.json``."""
    config, progress, history = model.config, read_progress(run_dir), read_history(run_dir)
    devices = choose_devices(config.gpus, config.precision)
    array = images.array()
    return {
        "final_loss": history[-1].loss if history else None,
        "psnr_db": reconstruction_psnr(model, array),
        "pca_psnr_db": pca_psnr(array, config.num_dims),
        "images_per_second": progress.step * config.batch_size * config.gpus / max(progress.seconds, 1e-9),
        "steps": progress.step,
        "seconds": progress.seconds,
        "num_images": images.num_images,
        "devices": list(devices.towers),
        "precision": devices.precision,
        "weights": model.weights,
        "versions": versions(),
    }


def reconstruction_psnr(model: TrainedModel, images: np.ndarray) -> float:
    """Mean PSNR, in dB, of the reconstructions of the first 2,000 images (N, height, width, 3) uint8."""
    images = images[:EVALUATED_IMAGES]
    return float(psnr(images / np.float32(127.5) - 1, model.decode(model.codes[: len(images)])).mean())


def pca_psnr(images: np.ndarray, num_dims: int) -> float:
    """Mean PSNR, in dB, of the first 2,000 images from their first so many principal components: the best linear decoder."""
    num_dims = min(num_dims, len(images) - 1)
    pca = fit_pca(images, num_dims)
    images = images[:EVALUATED_IMAGES]
    flat = images.reshape(len(images), -1) / np.float32(127.5) - 1
    return float(psnr(flat, pca.inverse_transform(pca.transform(images))).mean())


def versions() -> dict[str, str]:
    """What the numbers were made with."""
    found = {"python": platform.python_version(), "glo_lib": __version__, "tensorflow": tf.__version__}
    for package in ("tf_keras", "tf-slim", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def all_figures(run_dir: Path, model: TrainedModel, images: np.ndarray) -> dict[str, Figure]:
    """Every figure of a run, by file name."""
    return {
        "loss": show_loss(read_history(run_dir), f"loss ({model.config.loss}, training mode)"),
        "reconstructions": figure_reconstructions(model, images),
        **{f"samples_{name.replace(' ', '_').lower()}": figure_samples(model, name) for name in inference.PRIORS},
        "interpolation": figure_interpolation(model),
        "neighbours": figure_neighbours(model, images),
    }


def write_figures(folder: Path, figures: dict[str, Figure]) -> None:
    """Write figures as PNG files and close them."""
    folder.mkdir(exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=120)
        plt.close(figure)


def figure_reconstructions(model: TrainedModel, images: np.ndarray, rows: int = 2) -> Figure:
    """Originals and, below each, its reconstruction; images spread evenly over the training set."""
    chosen = np.linspace(0, len(images) - 1, min(FIGURES_OF * rows, len(images))).astype(int)
    decoded = model.decode(model.codes[chosen])
    groups = {}
    for number, part in enumerate(np.array_split(np.arange(len(chosen)), rows)):
        groups["originals" + " " * number] = images[chosen[part]]
        groups["reconstructions" + " " * number] = decoded[part]
    return show_rows(groups)


def sample(model: TrainedModel, prior: str, num_samples: int, seed: int = 0) -> np.ndarray:
    """Codes (num_samples, d) drawn from a prior fitted to the model's codes, and projected."""
    return model.project(inference.PRIORS[prior](model.codes).sample(num_samples, seed))


def figure_samples(model: TrainedModel, prior: str, num_samples: int = 40, seed: int = 0) -> Figure:
    """New images: codes drawn from a prior, projected and decoded."""
    return show_grid(model.decode(sample(model, prior, num_samples, seed)), FIGURES_OF, f"samples, {prior}")


def figure_interpolation(model: TrainedModel, rows: int = 3) -> Figure:
    """From one training image's code to another's along the great circle; the ends are reconstructions."""
    ends = np.linspace(0, len(model.codes) - 1, 2 * rows).astype(int).reshape(2, rows).T
    paths = [inference.interpolate(model.codes[a], model.codes[b], FIGURES_OF) for a, b in ends]
    return show_grid(model.decode(np.concatenate(paths)), FIGURES_OF, "interpolations along the great circle")


def figure_neighbours(model: TrainedModel, images: np.ndarray, seed: int = 1) -> Figure:
    """Samples and, below each, the training image nearest in pixels: is anything copied?"""
    samples = model.decode(sample(model, "diagonal Gaussian", FIGURES_OF, seed))
    nearest, _ = inference.nearest_neighbours(samples, images)
    return show_rows({"samples, diagonal Gaussian": samples, "nearest training images": images[nearest[:, 0]]})
