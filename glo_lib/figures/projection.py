"""Figures of the chapter on projection: codes in the plane, their drift during training, and their norms."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from glo_lib.figures.style import BLUE, LINE_STYLES, RED, new_figure, tidy
from glo_lib.runs.folder import HistoryRow

AXIS_LIMIT = 2.1  # the axes of the plane run from minus this value to this value


def show_projections(points: np.ndarray, projected: Mapping[str, np.ndarray]) -> Figure:
    """Show codes in the plane, with arrows to their projections.

    Args:
        points: (n, 2) codes.
        projected: name of the projection -> (n, 2) projected codes.
    """
    figure, axes = _new_plane(projected)
    for axis, images in zip(axes, projected.values(), strict=True):
        _arrows(axis, points, images - points, color="0.6")
        axis.scatter(*points.T, s=34, color=BLUE, label="code $z$", zorder=3)
        axis.scatter(*images.T, s=12, color=RED, marker="D", label=r"projected $\Pi(z)$", zorder=3)
    axes[0].legend(loc="upper left", fontsize=8)
    return figure


def show_descent(points: np.ndarray, arrows: Mapping[str, np.ndarray], target: np.ndarray) -> Figure:
    """Show the directions in which gradient descent moves codes in the plane.

    Args:
        points: (n, 2) codes.
        arrows: name of the projection -> (n, 2) directions of descent, drawn to the scale of the axes.
        target: (2,) the point at which the loss of the projected codes is minimal.
    """
    figure, axes = _new_plane(arrows)
    for axis, directions in zip(axes, arrows.values(), strict=True):
        _arrows(axis, points, directions, color=BLUE)
        axis.scatter(*target, s=90, marker="*", color=RED, label="target", zorder=3)
    axes[0].legend(loc="upper left", fontsize=8)
    return figure


def show_drift(norms: Mapping[str, np.ndarray], angles: Mapping[str, np.ndarray], law: np.ndarray | None = None) -> Figure:
    """Show the norm of the stored codes and the angle by which a step rotates them, side by side.

    Args:
        norms: name of the run -> (steps + 1,) norm before the first step and after each step.
        angles: name of the run -> (steps,) angles in degrees.
        law: (steps + 1,) predicted norm, drawn as a dotted black line.
    """
    figure, (left, right) = new_figure((8.4, 3.2), 1, 2)
    _curves(left, norms)
    if law is not None:
        left.plot(law, color="black", linestyle=":", linewidth=1, label="predicted")
    _curves(right, angles)
    left.set(xlabel="step", ylabel="norm of the stored code")
    right.set(xlabel="step", ylabel="angle per step (degrees)", yscale="log")
    # The range is about one decade, in which powers of ten alone would give only one label.
    right.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    right.yaxis.set_major_formatter("{x:g}")
    right.yaxis.set_minor_formatter(NullFormatter())
    left.legend(fontsize=8)
    for axis in (left, right):
        _tidy(axis)
    return figure


def show_norms(samples: Mapping[int, np.ndarray]) -> Figure:
    """Show histograms of norm / sqrt(d) for samples of several dimensions d, each relative to its tallest bin.

    Args:
        samples: d -> (n, d) samples.
    """
    figure, axis = new_figure((6.5, 3))
    bins = np.linspace(0, 2.5, 126)
    for dims, codes in samples.items():
        relative = np.linalg.norm(codes, axis=1) / np.sqrt(dims)
        counts, _ = np.histogram(relative, bins)
        axis.stairs(counts / counts.max(), bins, fill=True, alpha=0.55, label=f"d = {dims}")
    axis.axvline(1, color="black", linewidth=1, linestyle=":")
    axis.set(xlabel=r"norm / $\sqrt{d}$", ylabel="samples (tallest bin = 1)")
    axis.legend(fontsize=8)
    _tidy(axis)
    return figure


def show_losses(histories: Mapping[str, Sequence[HistoryRow]], label: str = "loss") -> Figure:
    """Show the losses of several runs over the steps, on a logarithmic scale.

    Args:
        histories: name of the run -> rows of its history.
        label: label of the vertical axis.
    """
    figure, axis = new_figure((6.5, 3))
    for number, (name, history) in enumerate(histories.items()):
        steps, losses = [row.step for row in history], [row.loss for row in history]
        axis.plot(steps, losses, linewidth=1, linestyle=LINE_STYLES[number % len(LINE_STYLES)], label=name)
    axis.set(xlabel="step", ylabel=label, yscale="log")
    axis.legend(fontsize=8)
    _tidy(axis)
    return figure


def _new_plane(panels: Mapping[str, object]) -> tuple[Figure, Sequence[Axes]]:
    """Make a square panel of the plane with the unit circle for each name. The circle is filled if the name contains "ball"."""
    figure, axes = new_figure((3.9 * len(panels), 3.9), 1, len(panels), squeeze=False, sharey=True)
    for axis, name in zip(axes[0], panels, strict=True):
        filled = "ball" in name
        axis.add_patch(plt.Circle((0, 0), 1, facecolor="0.92" if filled else "none", edgecolor="black", linewidth=1, zorder=0))
        axis.set(title=name, xlabel="$z_1$", xlim=(-AXIS_LIMIT, AXIS_LIMIT), ylim=(-AXIS_LIMIT, AXIS_LIMIT), aspect="equal")
    axes[0, 0].set_ylabel("$z_2$")
    return figure, axes[0]


def _arrows(axis: Axes, points: np.ndarray, directions: np.ndarray, color: str) -> None:
    axis.quiver(*points.T, *directions.T, angles="xy", scale_units="xy", scale=1, width=0.005, color=color, zorder=2)


def _curves(axis: Axes, curves: Mapping[str, np.ndarray]) -> None:
    for number, (name, values) in enumerate(curves.items()):
        axis.plot(values, linestyle=LINE_STYLES[number % len(LINE_STYLES)], label=name)


def _tidy(axis: Axes) -> None:
    tidy(axis, grid="both")
