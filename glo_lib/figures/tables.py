"""Figures that compare images in tables, and that enlarge a part of them where a difference is too small to be seen."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from glo_lib.figures.style import INCHES_PER_IMAGE, ORANGE, new_figure, tile

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


def show_patches(originals: np.ndarray, others: Mapping[str, np.ndarray], corners: Sequence[tuple[int, int]], size: int) -> Figure:
    """Show whole images with a frame, and below them what is inside the frame, enlarged: of the images and of their reconstructions.

    Args:
        originals: (n, height, width, 3) images, float in [-1, 1] or uint8.
        others: name -> reconstructions of the images, of the same shape.
        corners: row and column of the upper left pixel of the frame in each of the n images.
        size: side of the frames, in pixels.

    Raises:
        ValueError: the number of corners differs from the number of images, or a frame does not lie within its image.
    """
    height, width = originals.shape[1:3]
    if len(corners) != len(originals):
        raise ValueError(f"there are {len(originals)} images and {len(corners)} corners; give a corner for each image")
    for row, column in corners:
        if not (0 <= row <= height - size and 0 <= column <= width - size):
            raise ValueError(f"a frame of {size} pixels at {(row, column)} does not lie within images of {height}x{width} pixels")
    patches = {name: _cut_out(images, corners, size) for name, images in {"original": originals, **others}.items()}
    figure = show_table_of_images({"images": originals, **patches}, [""] * len(originals))
    for axis, (row, column) in zip(figure.axes, corners, strict=False):
        axis.add_patch(Rectangle((column - 0.5, row - 0.5), size, size, fill=False, edgecolor=ORANGE, linewidth=1.5))
    return figure


def _cut_out(images: np.ndarray, corners: Sequence[tuple[int, int]], size: int) -> np.ndarray:
    """Return (n, size, size, 3) parts of the images."""
    return np.stack([image[row : row + size, column : column + size] for image, (row, column) in zip(images, corners, strict=True)])
