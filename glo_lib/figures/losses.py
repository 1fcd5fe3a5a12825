"""Figures of the chapter on the losses."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from glo_lib.figures.style import INCHES_PER_IMAGE, new_figure, tidy, tile

LABEL_INCHES = 1.35  # width of the labels of the rows


def show_table_of_images(rows: Mapping[str, np.ndarray], columns: Sequence[str]) -> Figure:
    """Show images in a table with labelled rows and columns.

    Args:
        rows: name -> (n, height, width, 3) images, float in [-1, 1] or uint8.
        columns: n names.

    Raises:
        ValueError: the number of images in a row differs from the number of columns.
    """
    for name, images in rows.items():
        if len(images) != len(columns):
            raise ValueError(f"row {name!r} has {len(images)} images; there are {len(columns)} columns")
    size = (LABEL_INCHES + 1.25 * INCHES_PER_IMAGE * len(columns), 0.3 + 1.25 * INCHES_PER_IMAGE * len(rows))
    figure, axes = new_figure(size, len(rows), len(columns), squeeze=False)
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(name, fontsize=9, rotation=0, ha="right", va="center", labelpad=6)
        for axis, image in zip(line, images, strict=True):
            axis.imshow(tile(image[None], columns=1), interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
    for axis, name in zip(axes[0], columns, strict=True):
        axis.set_title(name, fontsize=9, pad=3)
    return figure


def enlarge(images: np.ndarray, size: int) -> np.ndarray:
    """Enlarge images by repeating every pixel, to show small images beside large ones.

    Args:
        images: (n, height, width, channels), square, with a side that divides ``size``.
        size: side of the enlarged images, in pixels.

    Returns:
        (n, size, size, channels).

    Example:
        >>> enlarge(np.zeros((2, 4, 4, 3)), 64).shape
        (2, 64, 64, 3)
    """
    times = size // images.shape[1]
    return images.repeat(times, axis=1).repeat(times, axis=2)


def show_level_parts(parts: Mapping[str, Sequence[float]], xlabel: str) -> Figure:
    """Show horizontal stacked bars with one part for each level of the Laplacian pyramid, from fine to coarse.

    Args:
        parts: name -> one number for each level, level 0 first.
        xlabel: label of the axis, with its unit.
    """
    figure, axis = new_figure((6.5, 0.5 + 0.45 * len(parts) + 0.6))
    table = np.array(list(parts.values()))  # (bars, levels)
    colours = plt.get_cmap("viridis")(np.linspace(0.05, 0.95, table.shape[1]))
    for level, (values, colour) in enumerate(zip(table.T, colours, strict=True)):
        axis.barh(list(parts), values, left=table[:, :level].sum(axis=1), color=colour, label=f"level {level}")
    axis.invert_yaxis()
    axis.set_xlabel(xlabel)
    tidy(axis)
    axis.legend(frameon=False, fontsize=8, ncols=table.shape[1], loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure
