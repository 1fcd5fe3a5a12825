"""Figures of the page on the claims: the measures of every model, with their spread over several seeds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glo_lib.figures.style import BLUE, ORANGE, tidy

RECONSTRUCTIONS = {"psnr_training": ("training images", BLUE, "o"), "psnr_held_out": ("held-out images", ORANGE, "s")}
SAMPLES = {"sharpness": "sharpness", "frechet_pixels": "Fréchet, pixels", "recall": "recall"}
FRECHET_TICKS = (5, 10, 20, 50, 100)
SEEDS_BELOW = 0.25  # how far the points of the seeds lie below the mean, in rows
IDENTIFIERS = "glo"  # matplotlib derives the names inside an SVG file from this text, so that the same figure gives the same file

Row = Mapping[str, Any]


def show_claims(results: Mapping[str, Any]) -> Figure:
    """Show the PSNR of the reconstructions, and the sharpness, the Fréchet distance and the recall of the samples, of every model.

    Markers are means over the seeds, bars are one standard deviation to each side, and the small grey points below are the seeds.

    Args:
        results: the content of the file OUT.json of ``benchmarks.claims``: ``runs``, the rows of each seed; ``mean`` and ``deviation``.
    """
    figure = plt.figure(figsize=(7.4, 6.6), layout="constrained", facecolor="white")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(2.6, 4)).flat
    axis = above.subplots()
    models = _first_of_each_model(results["mean"])
    for name, (label, colour, marker) in RECONSTRUCTIONS.items():
        _draw_measure(axis, name, results, models, colour, marker, label)
    _label_rows(axis, [results["mean"][row]["model"] for row in models])
    axis.set_xlabel("PSNR of the reconstructions (dB)")
    axis.legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)  # above, where no marker is
    axes = below.subplots(1, len(SAMPLES), sharey=True)
    rows = list(range(len(results["mean"])))
    for axis, (name, label) in zip(axes, SAMPLES.items(), strict=True):
        _draw_measure(axis, name, results, rows, BLUE, "o")
        axis.set_xlabel(label)
    axes[0].set_xlim(left=0)
    axes[1].set(xscale="log", xticks=FRECHET_TICKS, xticklabels=FRECHET_TICKS)
    axes[1].minorticks_off()
    axes[2].set_xlim(0, 1)
    _label_rows(axes[0], [", ".join(filter(None, (row["model"], row["prior"]))) for row in results["mean"]])
    return figure


def save_svg(figure: Figure, path: str | Path) -> None:
    """Write a figure as SVG whose bytes depend on the figure only, not on the time or on a random number.

    Args:
        figure: the figure. Its text is written as outlines, so that it looks the same with any fonts.
        path: the file.
    """
    with matplotlib.rc_context({"svg.hashsalt": IDENTIFIERS, "svg.fonttype": "path"}):
        figure.savefig(path, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})


def _first_of_each_model(rows: Sequence[Row]) -> list[int]:
    """Return the number of the first row of each model that reconstructs images; the held-out images themselves do not."""
    first = {row["model"]: number for number, row in reversed(list(enumerate(rows)))}
    return sorted(number for number in first.values() if _number(rows[number]["psnr_training"]) > 0)


def _draw_measure(
    axis: Axes, name: str, results: Mapping[str, Any], rows: Sequence[int], colour: str, marker: str, label: str | None = None
) -> None:
    places = np.arange(len(rows))
    for run in results["runs"]:
        axis.plot([_number(run[row][name]) for row in rows], places + SEEDS_BELOW, ".", color="grey", markersize=3.5)
    means, deviations = ([_number(results[part][row][name]) for row in rows] for part in ("mean", "deviation"))
    axis.errorbar(means, places, xerr=deviations, fmt=marker, color=colour, markersize=5, capsize=3, label=label)
    axis.tick_params(labelsize=8)
    tidy(axis, grid="major")


def _label_rows(axis: Axes, labels: Sequence[str]) -> None:
    axis.set_yticks(range(len(labels)), labels)
    axis.set_ylim(len(labels) - 0.4, -0.5)  # from above, as in a table


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
