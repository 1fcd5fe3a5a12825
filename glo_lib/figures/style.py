"""Style of the figures: grids of images with labels, and curves. The background is white on light and on dark pages."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glo_lib.images.pixels import to_bytes
from glo_lib.runs.folder import HistoryRow

INCHES_PER_IMAGE = 0.95
COLOURS = BLUE, ORANGE, GREEN, RED, PURPLE, BROWN = "tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple", "tab:brown"
LINE_STYLES = ("-", "--", "-.", ":")  # curves differ in style as well as in colour, for colour-blind readers


def new_figure(size: tuple[float, float], rows: int = 1, columns: int = 1, **settings: Any) -> tuple[Figure, Any]:
    """Make a figure with a white background, so that it looks the same on light and dark pages.

    Args:
        size: width and height, in inches.
        rows: number of rows of panels.
        columns: number of columns of panels.
        settings: further arguments of ``matplotlib.pyplot.subplots``.

    Returns:
        The figure, and its axes or an array of axes.
    """
    return plt.subplots(rows, columns, figsize=size, layout="constrained", facecolor="white", **settings)


def tidy(axis: Axes, grid: str = "") -> None:
    """Remove the top and right borders of a panel, and draw a faint grid if wanted.

    Args:
        axis: the panel.
        grid: grid lines at the "major" ticks or at "both" major and minor ticks; empty for no grid.
    """
    axis.spines[["top", "right"]].set_visible(False)
    if grid:
        axis.grid(alpha=0.3, which=grid)


def use_notebook_style() -> None:
    """Show figures in a notebook as JPEG at moderate resolution, because photographs as PNG would take megabytes."""
    if matplotlib.get_backend().lower().endswith("inline"):
        import matplotlib_inline.backend_inline  # comes with Jupyter, which the library alone does not need

        matplotlib_inline.backend_inline.set_matplotlib_formats("jpeg", pil_kwargs={"quality": 88}, dpi=90, facecolor="white")


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """Arrange images in rows, as one picture.

    Args:
        images: (n, height, width, channels) float in [-1, 1] or uint8.
        columns: images in a row. The last row is padded with white.

    Returns:
        (rows * height, columns * width, channels) uint8.

    Example:
        >>> tile(np.zeros((5, 8, 8, 3)), columns=3).shape
        (16, 24, 3)
    """
    images = to_bytes(images)
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    filled = np.full((rows * columns, height, width, channels), 255, np.uint8)
    filled[:count] = images
    filled = filled.reshape(rows, columns, height, width, channels).swapaxes(1, 2)  # (rows, height, columns, width, channels)
    return filled.reshape(rows * height, columns * width, channels)


def show_grid(images: np.ndarray, columns: int = 10, title: str = "") -> Figure:
    """Show a grid of images (n, height, width, 3), float in [-1, 1] or uint8, under a title."""
    return show_rows({title: images}, columns=columns)


def show_rows(groups: Mapping[str, np.ndarray], columns: int | None = None) -> Figure:
    """Show groups of images below each other, each under its name. Images in the same column are aligned.

    Args:
        groups: name -> (n, height, width, 3) images, float in [-1, 1] or uint8.
        columns: images in a row. Default: each group is one row, and shorter groups are padded with white.
    """
    columns = columns or max(len(images) for images in groups.values())
    pictures = {name: tile(images, columns) for name, images in groups.items()}
    width = max(picture.shape[1] for picture in pictures.values())
    scale = INCHES_PER_IMAGE / next(iter(groups.values())).shape[2]
    heights = [picture.shape[0] * scale + (0.28 if name else 0) for name, picture in pictures.items()]
    figure, axes = new_figure((width * scale, sum(heights)), len(pictures), height_ratios=heights, squeeze=False)
    for axis, (name, picture) in zip(axes[:, 0], pictures.items(), strict=True):
        axis.imshow(picture, interpolation="lanczos")
        axis.set_title(name, fontsize=9, loc="left", pad=3)
        axis.set_axis_off()
    return figure


def show_loss(history: Sequence[HistoryRow], label: str = "loss") -> Figure:
    """Show the loss over the steps, on a logarithmic scale.

    Args:
        history: rows of the history of a run.
        label: label of the vertical axis.
    """
    figure, axis = new_figure((6.5, 3))
    axis.plot([row.step for row in history], [row.loss for row in history], color=BLUE)
    axis.set(xlabel="step", ylabel=label, yscale="log")
    tidy(axis, grid="both")
    return figure
