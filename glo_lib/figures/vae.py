"""Figures of the chapter on the VAE."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glo_lib.figures.style import COLOURS, new_figure, tidy

MOST_ROWS, ROW = 7, 0.145  # of the diagrams; the height of a row as a share of the panel
FREE, NETWORK, DATA = "#cfe3f5", "#fde2c4", "#e6e6e6"  # learned table, network, what is given or computed


def draw_models() -> Figure:
    """GLO and the VAE as diagrams, side by side: where the code comes from, and what the loss is made of."""
    figure, (glo, vae) = new_figure((6.4, 4.6), 1, 2)
    tail = [("decoder $g_\\theta$", NETWORK), ("reconstruction $\\hat{x}_i$", DATA)]
    table, projection = ("row $z_i$ of the table of codes", FREE), ("projection $\\Pi(z_i)$", DATA)
    _chain(glo, "GLO", [("index $i$", DATA), table, projection, *tail, ("loss $\\ell(x_i, \\hat{x}_i)$", DATA)])
    gaussian, draw = ("Gaussian $\\mu_i, \\sigma_i$", DATA), ("one draw $z = \\mu_i + \\sigma_i \\epsilon$", DATA)
    both = ("loss $\\ell(x_i, \\hat{x}_i) + \\beta\\,$KL", DATA)
    _chain(vae, "VAE", [("image $x_i$", DATA), ("encoder $q_\\phi$", NETWORK), gaussian, draw, *tail, both])
    return figure


def _chain(axis: Axes, title: str, boxes: Sequence[tuple[str, str]]) -> None:
    """Boxes from the bottom up to as many rows as the longer chain has, so that what the models share lies side by side."""
    places = 0.93 - ROW * np.arange(MOST_ROWS - len(boxes), MOST_ROWS)
    for (text, colour), place in zip(boxes, places, strict=True):
        style = {"boxstyle": "round,pad=0.5", "facecolor": colour, "edgecolor": "black", "linewidth": 0.8}
        axis.text(0.5, place, text, ha="center", va="center", fontsize=9, bbox=style)
    for above, below in pairwise(places):
        arrow = {"arrowstyle": "-|>", "linewidth": 1}
        axis.annotate("", xy=(0.5, below + 0.3 * ROW), xytext=(0.5, above - 0.3 * ROW), arrowprops=arrow)
    axis.set_title(title, fontsize=11)
    axis.set(xlim=(0, 1), ylim=(0, 1))
    axis.set_axis_off()


def show_parameters(encoders: Mapping[str, tuple[int, int]], sizes: Sequence[int]) -> Figure:
    """Numbers to learn beside the decoder: an encoder's, which stay, and a table of codes', which grow with the images.

    Args:
        encoders: name -> (parameters of the encoder, dimensions d of a code).
        sizes: numbers of images, from the smallest to the largest.
    """
    figure, axis = new_figure((6.5, 3.3))
    ends = np.array([sizes[0], sizes[-1]])
    for (name, (parameters, num_dims)), colour in zip(encoders.items(), COLOURS, strict=False):
        axis.plot(ends, num_dims * ends, color=colour, label=f"{name}: table of codes, $N d$")
        axis.plot(ends, [parameters, parameters], color=colour, linestyle="--", label=f"{name}: encoder")
        axis.plot(parameters / num_dims, parameters, "o", color=colour)
    axis.set(xlabel="images N", ylabel="parameters", xscale="log", yscale="log")
    _finish(axis)
    return figure


def show_histories(histories: Mapping[str, Sequence]) -> Figure:
    """The losses of several runs over the steps and over the seconds.

    Args:
        histories: name -> rows with ``step``, ``seconds`` and ``loss``.
    """
    figure, axes = new_figure((7.2, 3), 1, 2, sharey=True)
    for (name, rows), colour in zip(histories.items(), COLOURS, strict=False):
        smooth = np.array([(row.step, row.seconds, row.loss) for row in rows])
        smooth = smooth[: len(smooth) // 20 * 20].reshape(-1, 20, 3).mean(axis=1) if len(smooth) >= 40 else smooth
        for axis, column in zip(axes, (0, 1), strict=True):
            axis.plot(smooth[:, column], smooth[:, 2], label=name, color=colour)
    axes[0].set(xlabel="step", ylabel="loss in training", yscale="log")
    axes[1].set(xlabel="time (s)")
    for axis in axes:
        _finish(axis, legend=axis is axes[0])
    return figure


def show_against_beta(series: Mapping[str, Mapping[float, float]], lines: Mapping[str, tuple[str, float]]) -> Figure:
    """Numbers of VAEs over beta, a panel for each.

    Args:
        series: label of a panel's axis -> beta -> value.
        lines: label of a panel's axis -> name and value of a dashed line to compare with.
    """
    figure, axes = new_figure((2.5 * len(series), 2.7), 1, len(series))
    for axis, (label, values) in zip(np.atleast_1d(axes), series.items(), strict=True):
        axis.plot(list(values), list(values.values()), "o-", color=COLOURS[1], label="VAE")
        if label in lines:
            name, value = lines[label]
            axis.axhline(value, color=COLOURS[0], linestyle="--", label=name)
        axis.set(xlabel=r"$\beta$", ylabel=label, xscale="log", xticks=list(values))
        axis.set_xticklabels([f"{beta:g}" for beta in values], fontsize=8)
        axis.minorticks_off()
        _finish(axis)
    return figure


def show_divergences(divergences: Mapping[str, np.ndarray]) -> Figure:
    """KL divergence of each dimension, sorted: how much each tells of the image.

    Args:
        divergences: name -> (d,) nats.
    """
    figure, axis = new_figure((6.5, 3))
    for (name, values), colour in zip(divergences.items(), COLOURS, strict=False):
        axis.plot(range(1, len(values) + 1), np.sort(values)[::-1], ".-", label=name, color=colour)
    axis.set(xlabel="dimension, by falling divergence", ylabel="KL divergence (nats)")
    _finish(axis)
    return figure


def _finish(axis: Axes, legend: bool = True) -> None:
    tidy(axis, grid="major")
    if legend:
        axis.legend(frameon=False, fontsize=8)
