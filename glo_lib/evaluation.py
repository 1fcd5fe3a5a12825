"""What a run achieved: metrics and figures, made from what its folder holds, so that a run can be looked at again."""

import platform
from collections.abc import Callable
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
from glo_lib.run_folder import read_config, read_history, read_json, read_progress, write_codes, write_json
from glo_lib.trained_encoder import load_encoder

EVALUATED_AT_ONCE = 250
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
    if (run_dir / "metrics.json").exists() and (run_dir / "codes.npy").exists():
        metrics = read_json(run_dir / "metrics.json")
        if metrics.get("steps") == progress.step:
            return metrics
    if read_config(run_dir).model == "vae":
        write_codes(run_dir, load_encoder(run_dir).encode(images.array()).mean)
    model = inference.load(run_dir)
    write_codes(run_dir, model.codes)
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
    return _mean_psnr(images, lambda rows, flat: model.decode(model.codes[rows]))


def pca_psnr(images: np.ndarray, num_dims: int) -> float:
    """Mean PSNR, in dB, of the first 2,000 images from their first so many principal components: the best linear decoder."""
    pca = fit_pca(images, min(num_dims, len(images) - 1))
    return _mean_psnr(images, lambda rows, flat: (flat - pca.mean) @ pca.components.T @ pca.components + pca.mean)


def _mean_psnr(images: np.ndarray, reconstruct: Callable[[slice, np.ndarray], np.ndarray]) -> float:
    """Over the first 2,000 images, block by block: at 128 pixels each copy of them would take 0.4 GB."""
    values = []
    for start in range(0, min(EVALUATED_IMAGES, len(images)), EVALUATED_AT_ONCE):
        rows = slice(start, min(start + EVALUATED_AT_ONCE, EVALUATED_IMAGES, len(images)))
        flat = images[rows].reshape(rows.stop - rows.start, -1) / np.float32(127.5) - 1
        values.append(psnr(flat, reconstruct(rows, flat).reshape(flat.shape)))
    return float(np.concatenate(values).mean())


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
    return inference.fit_prior(prior, model.codes, model.config.projection).sample(num_samples, seed)


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
