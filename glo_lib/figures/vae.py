"""Figures of the chapter on the VAE."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glo_lib.figures.style import COLOURS, new_figure, tidy

MAX_ROWS, ROW_HEIGHT = 7, 0.145  # rows of the diagrams; height of a row as a share of the panel
TABLE_COLOUR, NETWORK_COLOUR, DATA_COLOUR = "#cfe3f5", "#fde2c4", "#e6e6e6"  # a learned table, a network, given or computed values


def draw_models() -> Figure:
    """Draw diagrams of GLO and the VAE side by side, from the source of the code to the terms of the loss."""
    figure, (glo, vae) = new_figure((6.4, 4.6), 1, 2)
    tail = [("decoder $g_\\theta$", NETWORK_COLOUR), ("reconstruction $\\hat{x}_i$", DATA_COLOUR)]
    table, projection = ("row $z_i$ of the table of codes", TABLE_COLOUR), ("projection $\\Pi(z_i)$", DATA_COLOUR)
    _draw_chain(glo, "GLO", [("index $i$", DATA_COLOUR), table, projection, *tail, ("loss $\\ell(x_i, \\hat{x}_i)$", DATA_COLOUR)])
    gaussian, draw = ("Gaussian $\\mu_i, \\sigma_i$", DATA_COLOUR), ("one draw $z = \\mu_i + \\sigma_i \\epsilon$", DATA_COLOUR)
    both = ("loss $\\ell(x_i, \\hat{x}_i) + \\beta\\,$KL", DATA_COLOUR)
    _draw_chain(vae, "VAE", [("image $x_i$", DATA_COLOUR), ("encoder $q_\\phi$", NETWORK_COLOUR), gaussian, draw, *tail, both])
    return figure


def _draw_chain(axis: Axes, title: str, boxes: Sequence[tuple[str, str]]) -> None:
    """Draw a chain of boxes, aligned at the bottom, so that the parts that both models share lie side by side."""
    places = 0.93 - ROW_HEIGHT * np.arange(MAX_ROWS - len(boxes), MAX_ROWS)
    for (text, colour), place in zip(boxes, places, strict=True):
        style = {"boxstyle": "round,pad=0.5", "facecolor": colour, "edgecolor": "black", "linewidth": 0.8}
        axis.text(0.5, place, text, ha="center", va="center", fontsize=9, bbox=style)
    for above, below in pairwise(places):
        arrow = {"arrowstyle": "-|>", "linewidth": 1}
        axis.annotate("", xy=(0.5, below + 0.3 * ROW_HEIGHT), xytext=(0.5, above - 0.3 * ROW_HEIGHT), arrowprops=arrow)
    axis.set_title(title, fontsize=11)
    axis.set(xlim=(0, 1), ylim=(0, 1))
    axis.set_axis_off()


def show_parameters(encoders: Mapping[str, tuple[int, int]], sizes: Sequence[int]) -> Figure:
    """Show the number of parameters of an encoder, which is constant, and of a table of codes, which grows with the number of images.

    Args:
        encoders: name -> (parameters of the encoder, dimensions d of a code).
        sizes: numbers of images, in increasing order. Only the first and the last are used.
    """
    figure, axis = new_figure((6.5, 3.3))
    ends = np.array([sizes[0], sizes[-1]])
    for (name, (parameters, num_dims)), colour in zip(encoders.items(), COLOURS, strict=False):
        axis.plot(ends, num_dims * ends, color=colour, label=f"{name}: table of codes, $N d$")
        axis.plot(ends, [parameters, parameters], color=colour, linestyle="--", label=f"{name}: encoder")
        axis.plot(parameters / num_dims, parameters, "o", color=colour)
    axis.set(xlabel="images N", ylabel="parameters", xscale="log", yscale="log")
    _add_grid_and_legend(axis)
    return figure


def show_histories(histories: Mapping[str, Sequence]) -> Figure:
    """Show the losses of several runs over the steps and over the time. Long histories are averaged over 20 rows.

    Args:
        histories: name of the run -> rows with ``step``, ``seconds`` and ``loss``.
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
        _add_grid_and_legend(axis, legend=axis is axes[0])
    return figure


def show_against_beta(series: Mapping[str, Mapping[float, float]], lines: Mapping[str, tuple[str, float]]) -> Figure:
    """Show measures of VAEs over beta, with a panel for each measure.

    Args:
        series: label of the vertical axis of a panel -> beta -> value.
        lines: label of the vertical axis of a panel -> name and value of a dashed line for comparison.
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
        _add_grid_and_legend(axis)
    return figure


def show_against_epochs(series: Mapping[str, Mapping[int, float]], label: str) -> Figure:
    """Show a measure of several models over the epochs of their training, one line for each model.

    Args:
        series: name of the model -> epochs -> value.
        label: label of the vertical axis.
    """
    figure, axis = new_figure((6.5, 3.3))
    for (name, values), colour, marker in zip(series.items(), COLOURS, "os^D", strict=False):
        axis.plot(list(values), list(values.values()), f"{marker}-", color=colour, label=name)
    epochs = sorted({length for values in series.values() for length in values})
    axis.set(xlabel="epochs of training", ylabel=label, xscale="log", xticks=epochs, xticklabels=epochs)
    axis.minorticks_off()
    _add_grid_and_legend(axis)
    return figure


def show_divergences(divergences: Mapping[str, np.ndarray]) -> Figure:
    """Show the KL divergences of the dimensions in decreasing order. They measure the information about the image in each dimension.

    Args:
        divergences: name -> (d,) nats.
    """
    figure, axis = new_figure((6.5, 3))
    for (name, values), colour in zip(divergences.items(), COLOURS, strict=False):
        axis.plot(range(1, len(values) + 1), np.sort(values)[::-1], ".-", label=name, color=colour)
    axis.set(xlabel="dimension, by falling divergence", ylabel="KL divergence (nats)")
    _add_grid_and_legend(axis)
    return figure


def _add_grid_and_legend(axis: Axes, legend: bool = True) -> None:
    tidy(axis, grid="major")
    if legend:
        axis.legend(frameon=False, fontsize=8)
