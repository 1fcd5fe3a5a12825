"""Figures of the chapter on training."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from glo_lib.figures.style import COLOURS, new_figure, tidy
from glo_lib.graph.backend import tf


def operations_by_device(graph: tf.Graph) -> dict[str, Counter]:
    """Count the operations of a graph by part and by requested device.

    Args:
        graph: a graph. It is not run.

    Returns:
        First part of the operations' names, such as "tower_0" -> requested device, such as "/cpu:1" ("none" without a request) -> number.

    Example:
        >>> graph = tf.Graph()
        >>> with graph.as_default(), tf.device("/cpu:1"):
        ...     _ = tf.constant(1, name="part/one"), tf.constant(2, name="part/two")
        >>> operations_by_device(graph)
        {'part': Counter({'/cpu:1': 2})}
    """
    counts: dict[str, Counter] = {}
    for operation in graph.get_operations():
        device = operation.device.lower().replace("/device:", "/") or "none"
        counts.setdefault(operation.name.split("/")[0], Counter())[device] += 1
    return counts


def show_devices(counts: Mapping[str, Counter], at_least: int = 1) -> Figure:
    """Show the number of operations in each part of the graph as stacked bars, coloured by requested device.

    Args:
        counts: from `operations_by_device`.
        at_least: parts with fewer operations are drawn together as "all else".
    """
    parts = {name: number for name, number in counts.items() if number.total() >= at_least}
    rest = sum((number for name, number in counts.items() if name not in parts), Counter())
    parts = {**parts, "all else": rest} if rest else parts
    devices = sorted(set().union(*parts.values()))
    figure, axis = new_figure((6.5, 0.32 * len(parts) + 1.2))
    left = np.zeros(len(parts))
    for device, colour in zip(devices, COLOURS, strict=False):
        widths = np.array([number[device] for number in parts.values()])
        axis.barh(list(parts), widths, left=left, label=device, color=colour)
        left += widths
    axis.set(xlabel="operations in the graph")
    axis.invert_yaxis()
    tidy(axis)
    figure.legend(title="device asked for", frameon=False, loc="outside right upper")  # beside the bars, which would cover its text
    return figure


def show_lines(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], xlabel: str, ylabel: str, scale: str = "linear", markers: bool = False
) -> Figure:
    """Show curves in one panel, with a legend.

    Args:
        lines: name -> x and y values.
        xlabel: label of the horizontal axis, with its unit.
        ylabel: label of the vertical axis, with its unit.
        scale: "linear", "log" for a logarithmic vertical axis, or "loglog" for two logarithmic axes.
        markers: also mark the individual points.
    """
    figure, axis = new_figure((6.5, 3.2))
    for number, (name, (places, values)) in enumerate(lines.items()):
        # Draw dashed lines over solid ones, so that both are visible where two curves coincide.
        style = ("-", "--", ":")[number % 3]
        axis.plot(places, values, style, label=name, color=COLOURS[number % len(COLOURS)], marker="o" if markers else None)
    axis.set(xlabel=xlabel, ylabel=ylabel)
    axis.set_xscale("log" if scale == "loglog" else "linear")
    axis.set_yscale("linear" if scale == "linear" else "log")
    tidy(axis, grid="major")
    axis.legend(frameon=False)
    return figure
