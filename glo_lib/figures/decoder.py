"""Figures of the chapter on the decoder."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glo_lib.figures.style import BLUE, COLOURS, ORANGE, new_figure, tidy
from glo_lib.graph.costs import LayerCost

WHITE_TEXT_SHARE = 0.55  # share of the largest value above which the number in a cell is white


def show_matrices(matrices: Mapping[str, np.ndarray]) -> Figure:
    """Show matrices side by side, with their nonzero numbers in the cells.

    Args:
        matrices: name -> (output pixels, input pixels) matrix.
    """
    widths = [matrix.shape[1] for matrix in matrices.values()]
    figure, axes = new_figure((0.42 * sum(widths) + 1.6, 3.6), 1, len(matrices), width_ratios=widths)
    for axis, (name, matrix) in zip(np.atleast_1d(axes), matrices.items(), strict=True):
        _heat_map(axis, matrix, name)
        axis.set(xlabel="input pixel", ylabel="output pixel", xticks=range(matrix.shape[1]), yticks=range(matrix.shape[0]))
    return figure


def show_overlaps(overlaps: Mapping[int, np.ndarray]) -> Figure:
    """Show how many kernels overlap at each output pixel, with a panel for each kernel size.

    Args:
        overlaps: kernel size in pixels -> (height, width) counts.
    """
    figure, axes = new_figure((2.3 * len(overlaps), 2.7), 1, len(overlaps))
    for axis, (kernel_size, counts) in zip(np.atleast_1d(axes), overlaps.items(), strict=True):
        _heat_map(axis, counts, f"kernel {kernel_size}")
        axis.set(xlabel="output column (pixels)", ylabel="output row (pixels)")
        axis.set(xticks=range(0, counts.shape[1], 2), yticks=range(0, counts.shape[0], 2))
        axis.label_outer()
    return figure


def show_shares(costs: Sequence[LayerCost]) -> Figure:
    """Show the share of each layer in the parameters and the operations of the decoder, in per cent."""
    places = np.arange(len(costs))
    figure, axis = new_figure((6.5, 3))
    series = {"parameters": ([cost.parameters for cost in costs], BLUE), "FLOPs": ([cost.flops for cost in costs], ORANGE)}
    for offset, (name, (values, colour)) in zip((-0.2, 0.2), series.items(), strict=True):
        bars = axis.bar(places + offset, 100 * np.array(values) / sum(values), width=0.38, label=name, color=colour)
        axis.bar_label(bars, fmt="%.0f", fontsize=8)
    axis.set_xticks(places, [cost.name.split("/")[-1] for cost in costs])
    axis.set(xlabel="layer", ylabel="share of the decoder (%)")
    tidy(axis)
    axis.legend(frameon=False)
    return figure


def show_variances(histories: Mapping[str, Sequence[float]], truth: float) -> Figure:
    """Show moving variances over the steps, together with the true variance, on logarithmic scales.

    Args:
        histories: name -> moving variance after step 1, 2, ...
        truth: the true variance, drawn as a dashed line.
    """
    figure, axis = new_figure((6.5, 3.2))
    for (name, values), colour in zip(histories.items(), COLOURS, strict=False):
        axis.plot(range(1, len(values) + 1), values, label=name, color=colour)
    axis.axhline(truth, color="black", linestyle="--", linewidth=1, label="true variance")
    axis.set(xlabel="step", ylabel="moving variance", xscale="log", yscale="log")
    tidy(axis, grid="major")
    axis.legend(frameon=False)
    return figure


def _heat_map(axis: Axes, values: np.ndarray, title: str) -> None:
    axis.imshow(values, cmap="Blues", vmin=0)
    for row, column in zip(*np.nonzero(values), strict=True):
        colour = "white" if values[row, column] > WHITE_TEXT_SHARE * values.max() else "black"
        axis.text(column, row, f"{values[row, column]:g}", ha="center", va="center", fontsize=7, color=colour)
    axis.set_title(title, fontsize=9)
