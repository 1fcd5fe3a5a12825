"""Figures of the chapter on inference."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glo_lib.figures.style import COLOURS, new_figure, tidy
from glo_lib.inference.encoding import Encoding


def show_convergence(encoding: Encoding) -> Figure:
    """Show the error of each start over the steps, and in black the error of the best start so far. Both are means over the images."""
    figure, axis = _axis()
    for number, name in enumerate(encoding.starts):
        axis.plot(encoding.losses[:, number].mean(axis=1), label=name, color=COLOURS[number % len(COLOURS)])
    best = np.minimum.accumulate(encoding.losses, axis=0).min(axis=1).mean(axis=1)  # (steps + 1,)
    axis.plot(best, label="best of all", color="black", linestyle="--")
    axis.set(xlabel="step of Adam", ylabel="mean squared error", yscale="log")
    axis.legend(fontsize=8)
    return figure


def show_steps(paths: Mapping[str, np.ndarray]) -> Figure:
    """Show how much each step of a path changes the image.

    Args:
        paths: name -> (num_steps, height, width, channels) float images in [-1, 1].
    """
    figure, axis = _axis()
    for (name, images), colour in zip(paths.items(), COLOURS, strict=False):
        steps = np.sqrt(np.square(np.diff(images.astype(np.float64), axis=0)).mean(axis=(1, 2, 3)))
        axis.plot(np.linspace(0, 1, len(steps)), steps, marker="o", markersize=3, label=name, color=colour)
    axis.set(xlabel="share of the way", ylabel="RMS change of pixels per step", ylim=(0, None))
    axis.legend(fontsize=8)
    return figure


def _axis() -> tuple[Figure, Axes]:
    figure, axis = new_figure((6.5, 3))
    tidy(axis, grid="major")
    return figure, axis
