"""Figure of the page of photographs: how far reconstructions and new faces are from photographs, by each judge."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from glo_lib.evaluation.judges import TITLES
from glo_lib.figures.style import BLUE, GREEN, ORANGE, new_figure, tidy

KINDS = {
    "floor": "training photographs",
    "training": "reconstructions, training",
    "held_out": "reconstructions, held out",
}
STYLES = ((ORANGE, "s"), (BLUE, "o"), (GREEN, "^"))
ERRORS = 2  # standard errors to each side
APART = 0.24  # distance between the markers of two runs in the same row, in rows

Distances = Mapping[str, tuple[float, float]]  # what is compared -> kernel distance and its standard error, both times 1,000


def distances_of(judged: Mapping[str, Any], judge: str) -> dict[str, tuple[float, float]]:
    """Return what a judge found out about a run, as it is shown.

    Args:
        judged: what `glo_lib.evaluation.judgement.judge_run` returned.
        judge: key of `glo_lib.evaluation.judges.TITLES`.

    Returns:
        Names of photographs, reconstructions and priors -> kernel distance and its standard error, both times 1,000.

    Example:
        >>> row = {"kernel_distance": 0.2, "standard_error": 0.01}
        >>> distances_of({"face_recogniser": {"training": row, "samples": {"full Gaussian": row}}}, "face_recogniser")
        {'reconstructions, training': (200.0, 10.0), 'new faces, full Gaussian': (200.0, 10.0)}
    """
    found = judged[judge]
    rows = {title: found[kind] for kind, title in KINDS.items() if kind in found}
    rows |= {f"new faces, {prior}": values for prior, values in found["samples"].items()}
    return {name: (1000 * values["kernel_distance"], 1000 * values["standard_error"]) for name, values in rows.items()}


def show_distances(runs: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Show the kernel distances that each judge found for several runs, with bars of two standard errors to each side.

    Args:
        runs: name -> what `glo_lib.evaluation.judgement.judge_run` returned; at most three.
    """
    rows = len(distances_of(next(iter(runs.values())), next(iter(TITLES))))
    figure, axes = new_figure((7.4, 0.9 + 0.3 * rows), 1, len(TITLES), sharey=True)
    for axis, (judge, title) in zip(axes, TITLES.items(), strict=True):
        for number, (name, judged) in enumerate(runs.items()):
            _draw_run(axis, distances_of(judged, judge), name, number)
        axis.set_xlabel(f"kernel distance × 1000,\n{title}")
        axis.set_xlim(left=min(0, axis.get_xlim()[0]))
        axis.tick_params(labelsize=8)
        tidy(axis, grid="major")
    axes[0].invert_yaxis()  # from above, as in a table
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside upper right", ncols=len(runs))
    return figure


def _draw_run(axis: Axes, distances: Distances, name: str, number: int) -> None:
    colour, marker = STYLES[number]
    places = [row + (number - 0.5) * APART for row in range(len(distances))]
    values, errors = np.array(list(distances.values())).T
    axis.errorbar(values, places, xerr=ERRORS * errors, fmt=marker, color=colour, markersize=4.5, capsize=2, label=name)
    axis.set_yticks(range(len(distances)), list(distances))
