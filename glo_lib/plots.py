"""Figures: grids of images with labels, and curves. All on a white ground, so that they read alike in light and dark pages."""

from collections.abc import Mapping, Sequence

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from glo_lib.run_folder import HistoryRow

INCHES_PER_IMAGE = 0.95


def use_notebook_style() -> None:
    """Figures in a notebook as JPEG at moderate resolution: a page of photographs in PNG would take megabytes."""
    if matplotlib.get_backend().lower().endswith("inline"):
        import matplotlib_inline.backend_inline  # comes with Jupyter, which the library alone does not need

        matplotlib_inline.backend_inline.set_matplotlib_formats("jpeg", pil_kwargs={"quality": 88}, dpi=90, facecolor="white")


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """Images side by side in rows, as one picture.

    Args:
        images: (n, height, width, channels) float in [-1, 1] or uint8.
        columns: images per row; the last row is filled up with white.

    Returns:
        (rows * height, columns * width, channels) uint8.

    Example:
        >>> tile(np.zeros((5, 8, 8, 3)), columns=3).shape
        (16, 24, 3)
    """
    if images.dtype != np.uint8:
        images = np.uint8(np.clip((images + 1) * 127.5 + 0.5, 0, 255))
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    filled = np.full((rows * columns, height, width, channels), 255, np.uint8)
    filled[:count] = images
    filled = filled.reshape(rows, columns, height, width, channels).swapaxes(1, 2)  # (rows, height, columns, width, channels)
    return filled.reshape(rows * height, columns * width, channels)


def show_grid(images: np.ndarray, columns: int = 10, title: str = "") -> Figure:
    """A grid of images (n, height, width, 3) under a title."""
    return show_rows({title: images}, columns=columns)


def show_rows(groups: Mapping[str, np.ndarray], columns: int | None = None) -> Figure:
    """Groups of images under each other, each with its name above it; images of one column belong together.

    Args:
        groups: name -> (n, height, width, 3) images, float in [-1, 1] or uint8.
        columns: images per row; default: a group is one row, a shorter one filled up with white.
    """
    columns = columns or max(len(images) for images in groups.values())
    pictures = {name: tile(images, columns) for name, images in groups.items()}
    width = max(picture.shape[1] for picture in pictures.values())
    scale = INCHES_PER_IMAGE / next(iter(groups.values())).shape[2]
    heights = [picture.shape[0] * scale + (0.28 if name else 0) for name, picture in pictures.items()]
    figure, axes = plt.subplots(
        len(pictures),
        figsize=(width * scale, sum(heights)),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
        facecolor="white",
    )
    for axis, (name, picture) in zip(axes[:, 0], pictures.items(), strict=True):
        axis.imshow(picture, interpolation="lanczos")
        axis.set_title(name, fontsize=9, loc="left", pad=3)
        axis.set_axis_off()
    return figure


def show_loss(history: Sequence[HistoryRow], label: str = "loss") -> Figure:
    """The loss over the steps, on a logarithmic scale."""
    figure, axis = plt.subplots(figsize=(6.5, 3), layout="constrained", facecolor="white")
    axis.plot([row.step for row in history], [row.loss for row in history], color="tab:blue")
    axis.set(xlabel="step", ylabel=label, yscale="log")
    axis.grid(alpha=0.3, which="both")
    axis.spines[["top", "right"]].set_visible(False)
    return figure
