"""Figures of the chapter on several machines."""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from glo_lib.figures.style import BLUE, COLOURS, GREEN, LINE_STYLES, ORANGE, new_figure, tidy

GREY, DARK_ORANGE = "0.35", "#a04a00"  # for text, which needs more contrast than lines
TEXT_SIZE, TITLE_SIZE = 7.5, 8.5
ROWS_DRAWN = 4  # rows of a table, at each server


class Box(NamedTuple):
    """A machine of the schematic.

    Attributes:
        left: in units of the axis, as are the others.
        bottom: of its lower edge.
        width: of the box.
        height: of the box.
    """

    left: float
    bottom: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Of its right edge."""
        return self.left + self.width

    @property
    def middle(self) -> float:
        """Height of its middle."""
        return self.bottom + self.height / 2


class ErrorPoint(NamedTuple):
    """A measured step and what a model says of it.

    Attributes:
        measured: seconds.
        predicted: seconds.
        fitted: whether the model was fitted to it.
    """

    measured: float
    predicted: float
    fitted: bool


def rows_of_servers(num_images: int, servers: int) -> list[tuple[int, int]]:
    """Return the first and the last row of the table of codes on each parameter server; the first ones have a row more if need be.

    Example:
        >>> rows_of_servers(5, 2)
        [(0, 2), (3, 4)]
    """
    each, larger = divmod(num_images, servers)
    first_rows = [number * each + min(number, larger) for number in range(servers + 1)]
    return [(first, following - 1) for first, following in itertools.pairwise(first_rows)]


def show_machines(num_images: int, servers: int = 2, workers: int = 2, towers: int = 2) -> Figure:
    """Show what is on which machine, and what crosses the network in a step.

    Args:
        num_images: N.
        servers: number of parameter servers.
        workers: number of workers.
        towers: towers of each worker.
    """
    figure, axis = new_figure((7.4, 1.5 + 1.35 * max(servers, workers)))
    height = 10 + 26 * max(servers, workers)
    axis.set(xlim=(-1, 101), ylim=(0, height + 16))
    axis.set_axis_off()
    chief = Box(24, height + 4, 52, 11)
    _draw_box(axis, chief, "chief: the program that trains", "builds the graph, drives every step,\nwrites history and checkpoints", GREY)
    server_boxes, worker_boxes = _column(0, servers, height), _column(63, workers, height)
    for number, (box, (first, last)) in enumerate(zip(server_boxes, rows_of_servers(num_images, servers), strict=True)):
        text = f"codes {first:,} to {last:,},\ntheir moments, row-wise Adam;\nsome of the decoder's\nvariables, their Adam"
        _draw_box(axis, box, f"parameter server {number}", text, BLUE)
        _draw_table(axis, box)
    for number, box in enumerate(worker_boxes):
        _draw_box(axis, box, f"worker {number}", "decodes, compares,\ncomputes gradients;\nreads its own copy\nof the images", ORANGE)
        _draw_towers(axis, box, towers)
    for server in server_boxes:
        for worker in worker_boxes:
            _arrow(axis, (server.right, server.middle + 2), (worker.left, worker.middle + 2), BLUE)
            _arrow(axis, (worker.left, worker.middle - 2), (server.right, server.middle - 2), ORANGE)
    _arrow(axis, (chief.left + 4, chief.bottom), (server_boxes[0].left + 18, server_boxes[0].bottom + server_boxes[0].height), GREY, "--")
    _arrow(axis, (chief.right - 4, chief.bottom), (worker_boxes[0].left + 18, worker_boxes[0].bottom + worker_boxes[0].height), GREY, "--")
    label = {"ha": "center", "fontsize": TEXT_SIZE}
    axis.text(50, height - 2, "the graph once; then one call per step", color=GREY, **label)
    highest = max(server_boxes[0].middle, worker_boxes[0].middle)
    lowest = min(server_boxes[-1].middle, worker_boxes[-1].middle)
    axis.text(50, highest + 3, "weights of the decoder,\nrows of the batch", color=BLUE, va="bottom", **label)
    axis.text(50, lowest - 3, "gradients of both", color=DARK_ORANGE, va="top", **label)
    return figure


def _column(left: float, number: int, height: float) -> list[Box]:
    """Boxes below each other, the first at the top."""
    step = (height - 4) / number
    return [Box(left, height - 4 - step * (place + 0.5) - 11, 37, 22) for place in range(number)]


def _draw_box(axis: Axes, box: Box, title: str, text: str, colour: str) -> None:
    axis.add_patch(
        FancyBboxPatch((box.left, box.bottom), box.width, box.height, "round,pad=0,rounding_size=1.5", fc="white", ec=colour, lw=1.5)
    )
    top = box.bottom + box.height
    axis.text(
        box.left + 1.5, top - 1.2, title, color=DARK_ORANGE if colour == ORANGE else colour, fontsize=TITLE_SIZE, weight="bold", va="top"
    )
    axis.text(box.left + 1.5, top - 5.6, text, fontsize=TEXT_SIZE, va="top", linespacing=1.25)


def _draw_table(axis: Axes, box: Box) -> None:
    """Some rows of a table, of which one is looked up."""
    for row in range(ROWS_DRAWN):
        for column in range(3):
            place = (box.right - 8.5 + 2.3 * column, box.bottom + 4 + 2.6 * row)
            axis.add_patch(Rectangle(place, 2.3, 2.6, fc=BLUE if row == 1 else "white", ec=BLUE, lw=0.8, alpha=0.8))


def _draw_towers(axis: Axes, box: Box, towers: int) -> None:
    size = min(8.0, 19 / towers)
    for number in range(towers):
        place = (box.right - 11, box.bottom + box.height - 2 - (number + 1) * size)
        axis.add_patch(Rectangle(place, 9.5, size - 1, fc=ORANGE, ec="none", alpha=0.25))
        axis.text(place[0] + 4.75, place[1] + (size - 1) / 2, f"tower {number}", fontsize=TEXT_SIZE - 1, ha="center", va="center")


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float], colour: str, style: str = "-") -> None:
    axis.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color=colour, ls=style, lw=1.2, shrinkA=1, shrinkB=1))


def show_errors(points: Sequence[ErrorPoint]) -> Figure:
    """Show predicted against measured times of a step, on logarithmic scales, and the relative errors below.

    Args:
        points: the measured steps; those to which the model was fitted and those that were held out have their own marks.
    """
    figure, (above, below) = new_figure((6.5, 5), 2, 1, sharex=True, height_ratios=(2, 1))
    kinds = {"fitted": (True, "o", BLUE), "held out": (False, "D", ORANGE)}
    for name, (fitted, mark, colour) in kinds.items():
        chosen = np.array([point[:2] for point in points if point.fitted == fitted]).reshape(-1, 2)
        above.plot(1000 * chosen[:, 0], 1000 * chosen[:, 1], mark, color=colour, label=name)
        below.plot(1000 * chosen[:, 0], 100 * (chosen[:, 1] / chosen[:, 0] - 1), mark, color=colour)
    ends = 1000 * np.array([min(point.measured for point in points) / 1.2, max(point.measured for point in points) * 1.2])
    above.plot(ends, ends, color=GREY, lw=1, label="predicted = measured")
    above.set(xscale="log", yscale="log", ylabel="predicted (ms)")
    above.xaxis.set_major_formatter("{x:g}")
    above.yaxis.set_major_formatter("{x:g}")
    below.axhline(0, color=GREY, lw=1)
    below.set(xlabel="measured time of a step (ms)", ylabel="error (%)")
    above.legend(frameon=False)
    for axis in (above, below):
        tidy(axis, grid="major")
    return figure


def show_parts(
    gpus: Sequence[int],
    parts: Mapping[str, Sequence[float]],
    band: tuple[Sequence[float], Sequence[float]],
    other: Mapping[str, Sequence[float]],
) -> Figure:
    """Show the parts of a step over the number of GPUs, on logarithmic scales.

    Args:
        gpus: numbers of GPUs.
        parts: name -> milliseconds of this part for each number of GPUs.
        band: least and most milliseconds of the whole step, drawn as a band.
        other: further curves, drawn thin and dotted: what the library does not do.
    """
    figure, axis = new_figure((6.5, 3.8))
    axis.fill_between(gpus, *band, color="0.85", label="whole step")
    for number, (name, values) in enumerate(parts.items()):
        axis.plot(gpus, _positive(values), LINE_STYLES[number % len(LINE_STYLES)], color=COLOURS[number % len(COLOURS)], label=name)
    for name, values in other.items():
        axis.plot(gpus, _positive(values), ":", color="black", lw=1, label=name)
    axis.set(xscale="log", yscale="log", xlabel="GPUs", ylabel="time per step (ms)")
    axis.set_xticks(gpus, map(str, gpus))
    axis.minorticks_off()
    tidy(axis, grid="major")
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _positive(values: Sequence[float]) -> np.ndarray:
    """What a logarithmic axis can show; a curve has a gap where a part takes no time."""
    return np.where(np.array(values) > 0, values, np.nan)


def show_table_sizes(
    sizes: Sequence[int], milliseconds: Sequence[tuple[float, float]], gigabytes: Sequence[float], predicted: Sequence[float]
) -> Figure:
    """Show the time of a step and the memory of the process over the number of codes.

    Args:
        sizes: numbers of codes N.
        milliseconds: lower quartile and median of a step, for each N.
        gigabytes: measured memory beyond that of the smallest table.
        predicted: what the tables need beyond those of the smallest.
    """
    figure, (left, right) = new_figure((6.8, 3), 1, 2)
    low, median = np.array(milliseconds).T
    left.errorbar(sizes, low, yerr=(np.zeros(len(low)), median - low), fmt="o-", color=BLUE, capsize=3)
    left.set(xscale="log", xlabel="number of codes N", ylabel="time per step (ms)", ylim=(0, 1.25 * median.max()))
    right.plot(sizes[1:], gigabytes[1:], "o", color=BLUE, label="measured")
    right.plot(sizes[1:], predicted[1:], "--", color=GREEN, label="codes, moments, visits")
    right.set(xscale="log", yscale="log", xlabel="number of codes N", ylabel="memory (GB)")
    right.legend(frameon=False, fontsize=8)
    right.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    for axis, places in ((left, sizes), (right, sizes[1:])):
        axis.set_xticks(places, [f"{size:,}" for size in places], fontsize=TEXT_SIZE)
        axis.minorticks_off()
        tidy(axis, grid="major")
    return figure


def show_gain(towers: Sequence[int], gains: Mapping[str, Sequence[float]], cost: float) -> Figure:
    """Show how many times as many batches asynchronous towers take, and how many times as many steps they may need.

    Args:
        towers: numbers of towers K.
        gains: name -> gain for each K.
        cost: the factor of more steps, drawn as a line; above it, asynchronous updates pay.
    """
    figure, axis = new_figure((6.5, 3.2))
    for number, (name, values) in enumerate(gains.items()):
        axis.plot(towers, values, LINE_STYLES[number % len(LINE_STYLES)], color=COLOURS[number % len(COLOURS)], label=name)
    axis.axhline(cost, color=GREY, lw=1, label=f"f = {cost:g}: above, asynchronous updates pay")
    axis.set(xscale="log", xlabel="towers K", ylabel="batches per second,\nasynchronous / synchronous")
    axis.set_xticks(towers, map(str, towers))
    axis.minorticks_off()
    tidy(axis, grid="major")
    axis.legend(frameon=False, fontsize=8)
    return figure
