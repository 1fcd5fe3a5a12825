"""Evaluate a run: compute its metrics and figures from its newest checkpoint."""

import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from glo_lib import __version__
from glo_lib.codes.pca import fit_pca
from glo_lib.evaluation.metrics import psnr
from glo_lib.figures.run import run_figures
from glo_lib.graph.backend import tf
from glo_lib.images.pixels import ImageRows, slices, to_floats
from glo_lib.inference.encoder import load_encoder
from glo_lib.inference.model import TrainedModel, load_stored_codes
from glo_lib.inference.variables import from_checkpoint
from glo_lib.runs.folder import read_hardware, read_history, read_json, write_codes, write_json
from glo_lib.runs.run import OpenRun
from glo_lib.system.progress import slow_progress

IMAGES_PER_BATCH = 250
MAX_IMAGES = 2000
PNG_LEVEL = 3  # files of photographs are a tenth larger than with zlib's usual 6, and written in a third of the time
EXACT_DB = 100.0  # from here on images are equal up to the rounding of float32


def evaluate(run: OpenRun) -> dict[str, Any]:
    """Write ``metrics.json``, ``codes.npy`` and the figures of a run.

    If the folder already holds the metrics of this checkpoint, they are returned and nothing is written.

    Args:
        run: the open run, at the checkpoint to evaluate.

    Returns:
        The metrics. ``psnr_db`` is the mean PSNR of the first 2,000 training images with batch normalisation in *inference mode* (moving
        averages), as for any user of the decoder. The loss of the progress bar, in contrast, is measured in training mode (statistics of
        the batch).
    """
    folder = run.folder
    if (folder / "metrics.json").exists() and (folder / "codes.npy").exists():
        metrics = read_json(folder / "metrics.json")
        if metrics.get("steps") == run.progress.step:
            return metrics
    with slow_progress("metrics and figures"):
        # Not `load`, which refuses the codes of a VAE before their evaluation is complete.
        codes = load_encoder(run).encode(run.images.array()).mean if run.config.model == "vae" else load_stored_codes(run)
        model = TrainedModel(run.config, codes, from_checkpoint(run.trained_checkpoint()))
        write_codes(folder, model.codes)
        metrics = measure(run, model)
        write_figures(folder / "figures", run_figures(folder, model, run.images.array()))
    write_json(folder / "metrics.json", metrics)  # written last, because its presence marks a complete evaluation
    return metrics


def measure(run: OpenRun, model: TrainedModel) -> dict[str, Any]:
    """Compute the metrics that are written to ``metrics.json``."""
    config, progress, history = run.config, run.progress, read_history(run.folder)
    hardware, images = read_hardware(run.folder), run.images.array()
    return {
        "final_loss": history[-1].loss if history else None,
        "psnr_db": reconstruction_psnr(model, images),
        "pca_psnr_db": pca_psnr(images, config.num_dims),
        "images_per_second": progress.step * config.batch_size * config.gpus / max(progress.seconds, 1e-9),
        "steps": progress.step,
        "seconds": progress.seconds,
        "num_images": run.images.num_images,
        "devices": hardware.get("devices", []),
        "precision": hardware.get("precision", config.precision),
        "weights": model.weights,
        "versions": versions(),
    }


def reconstruction_psnr(model: TrainedModel, images: ImageRows) -> float:
    """Return the mean PSNR (dB) of the reconstructions of the first 2,000 images.

    Args:
        model: the trained model.
        images: (N, height, width, 3) uint8, the training images.
    """
    return _mean_psnr(images, lambda rows, flat: model.decode(model.codes[rows]))


def pca_psnr(images: ImageRows, num_dims: int) -> float:
    """Return the mean PSNR (dB) of the first 2,000 images reconstructed from principal components, the best linear decoder.

    Args:
        images: (N, height, width, 3) uint8, the training images.
        num_dims: number of components.

    Returns:
        At most 100 dB, which means that the images are exact up to rounding: N images have at most N - 1 components, and with all of
        them nothing is lost. A single image is the mean image itself, and needs no component.
    """
    if len(images) == 1:
        return EXACT_DB
    pca = fit_pca(images, min(num_dims, len(images) - 1))
    return min(EXACT_DB, _mean_psnr(images, lambda rows, flat: (flat - pca.mean) @ pca.components.T @ pca.components + pca.mean))


def _mean_psnr(images: ImageRows, reconstruct: Callable[[slice, np.ndarray], np.ndarray]) -> float:
    """Average over the first 2,000 images in batches, because a float copy of all of them at 128 pixels would take 0.4 GB."""
    values = []
    for rows in slices(min(MAX_IMAGES, len(images)), IMAGES_PER_BATCH):
        flat = to_floats(images[rows]).reshape(rows.stop - rows.start, -1)
        values.append(psnr(flat, reconstruct(rows, flat).reshape(flat.shape)))
    return float(np.concatenate(values).mean())


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that the metrics depend on."""
    found = {"python": platform.python_version(), "glo_lib": __version__, "tensorflow": tf.__version__}
    for package in ("tf_keras", "tf-slim", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def write_figures(folder: Path, figures: dict[str, Figure]) -> None:
    """Write figures as PNG files, named by their keys, and close them."""
    folder.mkdir(exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=120, pil_kwargs={"compress_level": PNG_LEVEL})
        plt.close(figure)
