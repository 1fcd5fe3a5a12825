"""Figures of where codes and samples lie."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glo_lib.evaluation.code_space import HELD_OUT, TRAINING, CodeSpace
from glo_lib.figures.style import COLOURS, new_figure, tidy

LOWEST, HIGHEST = 5, 95  # percentiles that a bar reaches


def show_code_space(space: CodeSpace) -> Figure:
    """Show the distances to the nearest training code, the norms before projection, and the gain of a mixture over one Gaussian.

    Each bar reaches from the 5th to the 95th percentile, and its dot is the median. Codes of images have other colours than samples.

    Args:
        space: from `glo_lib.evaluation.code_space.measure_code_space`.
    """
    figure, axes = new_figure((10, 0.9 + 0.32 * len(space.distances)), columns=3)
    _show_ranges(axes[0], space.distances, "distance to the nearest training code")
    _show_ranges(axes[1], space.norms, "norm before projection")
    axes[1].axvline(1, color="0.6", linewidth=1, linestyle="--")
    axes[1].set_xscale("log" if max(map(np.max, space.norms.values())) > 3 else "linear")
    numbers, gains = zip(*space.cluster_gains.items(), strict=True)
    axes[2].plot(range(len(numbers)), gains, marker="o", color=COLOURS[0])
    axes[2].axhline(0, color="0.6", linewidth=1, linestyle="--")
    axes[2].set(xticks=range(len(numbers)), xticklabels=numbers, xlabel="components of the mixture", ylabel="gain, nats per left-out code")
    tidy(axes[2], grid="major")
    return figure


def _show_ranges(axis: Axes, values: Mapping[str, np.ndarray], label: str) -> None:
    for row, (name, numbers) in enumerate(values.items()):
        low, middle, high = np.percentile(numbers, [LOWEST, 50, HIGHEST])
        colour = COLOURS[{TRAINING: 1, HELD_OUT: 2}.get(name, 0)]
        axis.plot([low, high], [row, row], color=colour, linewidth=5, alpha=0.4, solid_capstyle="butt")
        axis.plot([middle], [row], color=colour, marker="o", markersize=5)
    axis.set(yticks=range(len(values)), yticklabels=values, xlabel=label)
    axis.invert_yaxis()
    tidy(axis, grid="major")
