"""Figures of the chapter on projection, and the small training whose codes it follows."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from glo_lib.codes import RowwiseAdam
from glo_lib.decoder import decoder
from glo_lib.figures.style import BLUE, LINE_STYLES, RED, new_figure, tidy
from glo_lib.graph.backend import tf, v1
from glo_lib.graph.session import open_session
from glo_lib.losses import get_glo_loss
from glo_lib.projection import project
from glo_lib.runs.folder import HistoryRow

AXIS_LIMIT = 2.1  # the axes of the plane run from minus this value to this value
Projection = Callable[[tf.Tensor], tf.Tensor]


class SmallRun(NamedTuple):
    """What `train_small_glo` records.

    Attributes:
        losses: (steps,) loss of each batch.
        before: (steps, batch, d) stored codes of each batch before its step.
        after: (steps, batch, d) the same codes after the step.
        codes: (N, d) stored codes at the end.
    """

    losses: np.ndarray
    before: np.ndarray
    after: np.ndarray
    codes: np.ndarray


def train_small_glo(
    images: np.ndarray,
    start: np.ndarray,
    projection: Projection = project,
    reproject: Projection | None = None,
    rate: float = 0.1,
    num_steps: int = 300,
    batch_size: int = 64,
    seed: int = 0,
) -> SmallRun:
    """Train GLO with a small decoder, and record the codes of each batch before and after its step.

    Both learning rates fall to zero along half a cosine, as in `glo_lib.training`. The decoder has the widths 64-32-16.

    Args:
        images: (N, 32, 32, 3) float32 in [-1, 1].
        start: (N, d) float32 initial codes.
        projection: applied to the codes on the way to the decoder.
        reproject: applied to the stored codes of a batch after its step. Default: the stored codes are not projected.
        rate: initial learning rate of the codes.
        num_steps: number of steps.
        batch_size: images per batch.
        seed: seed of the weights and of the batches.

    Returns:
        `SmallRun`.
    """
    draw, losses, before, after = np.random.default_rng(seed), [], [], []
    with tf.Graph().as_default(), open_session() as session:
        v1.set_random_seed(seed)
        index, scale = v1.placeholder(tf.int64, [batch_size]), v1.placeholder(tf.float32, [])
        codes = v1.get_variable("codes", initializer=tf.constant(start), use_resource=True)
        reconstructions = decoder(projection(tf.gather(codes, index)), num_filters=(64, 32, 16))
        loss = get_glo_loss(tf.gather(tf.constant(images), index), reconstructions)
        decoder_step = v1.train.AdamOptimizer(2e-3 * scale).minimize(loss, var_list=v1.trainable_variables("decoder"))
        code_step = RowwiseAdam(rate * scale, project=reproject).minimize(loss, var_list=[codes])
        session.run(v1.global_variables_initializer())
        for step in range(num_steps):
            batch = draw.choice(len(start), batch_size, replace=False)
            half_cosine = 0.5 * (1 + np.cos(np.pi * step / num_steps))
            before.append(session.run(codes)[batch])
            losses.append(session.run([loss, decoder_step, code_step], {index: batch, scale: half_cosine})[0])
            after.append(session.run(codes)[batch])
        return SmallRun(np.array(losses), np.array(before), np.array(after), session.run(codes))


def show_projections(points: np.ndarray, projected: Mapping[str, np.ndarray]) -> Figure:
    """Show codes in the plane, with arrows to their projections.

    Args:
        points: (n, 2) codes.
        projected: name of the projection -> (n, 2) projected codes.
    """
    figure, axes = _new_plane(projected)
    for axis, images in zip(axes, projected.values(), strict=True):
        _arrows(axis, points, images - points, color="0.6")
        axis.scatter(points[:, 0], points[:, 1], s=34, color=BLUE, label="code $z$", zorder=3)
        axis.scatter(images[:, 0], images[:, 1], s=12, color=RED, marker="D", label=r"projected $\Pi(z)$", zorder=3)
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
        axis.scatter(target[0], target[1], s=90, marker="*", color=RED, label="target", zorder=3)
    axes[0].legend(loc="upper left", fontsize=8)
    return figure


def show_drift(
    norms: Mapping[str, np.ndarray],
    others: Mapping[str, np.ndarray],
    law: np.ndarray | None = None,
    label: str = "angle per step (degrees)",
) -> Figure:
    """Show the norm of the stored codes over the steps, and beside it another quantity on a logarithmic scale.

    Args:
        norms: name of the run -> (steps + 1,) norm before the first step and after each step.
        others: name of the run -> (steps,) values of the other quantity.
        law: (steps + 1,) predicted norm, drawn as a dotted black line.
        label: label of the other quantity.
    """
    figure, (left, right) = new_figure((8.4, 3.2), 1, 2)
    _curves(left, norms)
    if law is not None:
        left.plot(law, color="black", linestyle=":", linewidth=1, label="predicted")
    _curves(right, others)
    left.set(xlabel="step", ylabel="norm of the stored code")
    right.set(xlabel="step", ylabel=label, yscale="log")
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
