"""Figures of the chapter on the losses."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from glo_lib.figures.style import new_figure, tidy


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
