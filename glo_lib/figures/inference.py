"""Figures of the chapter on inference."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glo_lib.figures.style import COLOURS, RED, new_figure, tidy
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


def show_code_cloud(
    places: np.ndarray, attributes: Mapping[str, np.ndarray], axes: tuple[str, str] = ("component 1", "component 2")
) -> Figure:
    """Show codes as points in the plane, once for each attribute, which gives the points their colour.

    Args:
        places: (n, 2), such as the coordinates of the codes along two principal components.
        attributes: name -> (n,) numbers, or labels 1 and -1. The panel of labels has a legend, that of numbers a scale of colours.
        axes: labels of the horizontal and the vertical axis.

    Example:
        >>> places = np.random.default_rng(0).standard_normal((5, 2))
        >>> len(show_code_cloud(places, {"glasses": np.array([1, -1, -1, 1, 1])}).axes)
        1
    """
    figure, panels = new_figure((4.3 * len(attributes), 3.4), 1, len(attributes), squeeze=False)
    for axis, (name, values) in zip(panels[0], attributes.items(), strict=True):
        if set(np.unique(values)) <= {-1, 1}:
            for label, colour, marker, words in ((-1, "#9a9a9a", "o", "no"), (1, RED, "^", "yes")):
                axis.scatter(*places[values == label].T, s=7, c=colour, marker=marker, label=words, linewidths=0)
            axis.legend(frameon=False, fontsize=9, markerscale=2, loc="upper left", bbox_to_anchor=(1, 1))
        else:
            figure.colorbar(axis.scatter(*places.T, s=7, c=values, cmap="viridis", linewidths=0), ax=axis, shrink=0.7)
        axis.set(title=name, xlabel=axes[0], ylabel=axes[1], aspect="equal")
        tidy(axis)
    return figure


def _axis() -> tuple[Figure, Axes]:
    figure, axis = new_figure((6.5, 3))
    tidy(axis, grid="major")
    return figure, axis
