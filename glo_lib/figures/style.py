"""Style of the figures: grids of images with labels, and curves. The background is white on light and on dark pages."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage, BboxImage, FigureImage
from PIL import Image

from glo_lib.images.pixels import to_bytes
from glo_lib.runs.folder import HistoryRow

INCHES_PER_IMAGE = 0.95
COLOURS = BLUE, ORANGE, GREEN, RED, PURPLE, BROWN = "tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple", "tab:brown"
DOTS_PER_INCH = 90  # of a figure on a page: ten inches are 900 pixels wide
JPEG_QUALITY = 88
LINE_STYLES = ("-", "--", "-.", ":")  # curves differ in style as well as in colour, for colour-blind readers


def new_figure(size: tuple[float, float], rows: int = 1, columns: int = 1, **settings: Any) -> tuple[Figure, Any]:
    """Make a figure with a white background, so that it looks the same on light and dark pages.

    Args:
        size: width and height, in inches.
        rows: number of rows of panels.
        columns: number of columns of panels.
        settings: further arguments of ``matplotlib.pyplot.subplots``.

    Returns:
        The figure, and its axes or an array of axes.
    """
    return plt.subplots(rows, columns, figsize=size, layout="constrained", facecolor="white", **settings)


def tidy(axis: Axes, grid: Literal["", "major", "both"] = "") -> None:
    """Remove the top and right borders of a panel, and draw a faint grid if wanted.

    Args:
        axis: the panel.
        grid: grid lines at the "major" ticks or at "both" major and minor ticks; empty for no grid.
    """
    axis.spines[["top", "right"]].set_visible(False)
    if grid:
        axis.grid(alpha=0.3, which=grid)


def use_notebook_style() -> None:
    """Show figures with photographs as JPEG, and all others as PNG, in the notebook that calls it.

    JPEG keeps photographs small, which take megabytes as PNG, but blurs lines and text. Figures without photographs are therefore shown as
    PNG, with two pixels of the file for each pixel of the page, so that they are sharp on screens with many pixels too. Outside a notebook
    nothing happens.
    """
    if matplotlib.get_backend().lower().endswith("inline"):
        import matplotlib_inline.backend_inline  # noqa: F401, when it is imported later, it chooses PNG for all figures
        from IPython import get_ipython  # both come with Jupyter, which the library alone does not need

        formatters = get_ipython().display_formatter.formatters
        formatters["image/jpeg"].for_type(Figure, jpeg_of_photographs)
        formatters["image/png"].for_type(Figure, png_of_curves)


def has_photographs(figure: Figure) -> bool:
    """Tell whether a figure shows an image in colour; a matrix drawn with a colour map is no photograph."""
    images = [artist for artist in figure.findobj() if isinstance(artist, (AxesImage, BboxImage, FigureImage))]
    arrays = [image.get_array() for image in images]
    return any(array is not None and array.ndim == 3 for array in arrays)


def jpeg_of_photographs(figure: Figure) -> tuple[str, dict[str, int]] | None:
    """Return a figure with photographs as JPEG in base 64, with its width on the page; None for other figures, as IPython expects."""
    if not has_photographs(figure):
        return None
    file = jpeg(figure)
    return base64.b64encode(file).decode("ascii"), {"width": Image.open(io.BytesIO(file)).width}


def jpeg(figure: Figure) -> bytes:
    """Return a figure as a JPEG file."""
    file = io.BytesIO()
    _draw(figure, DOTS_PER_INCH).save(file, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return file.getvalue()


def png_of_curves(figure: Figure) -> tuple[str, dict[str, int]] | None:
    """Return a figure without photographs as PNG in base 64, with its width on the page; None for other figures, as IPython expects.

    At most 256 colours, the nearest without dithering, make the file a third as large, and nobody sees the difference in lines and areas.
    """
    if has_photographs(figure) or not (figure.axes or figure.lines):
        return None
    picture, file = _draw(figure, 2 * DOTS_PER_INCH).quantize(256, dither=Image.Dither.NONE), io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii"), {"width": picture.width // 2}


def _draw(figure: Figure, dots_per_inch: int) -> Image.Image:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dots_per_inch, bbox_inches="tight", facecolor="white")
    return Image.open(file).convert("RGB")


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """Arrange images in rows, as one picture.

    Args:
        images: (n, height, width, channels) float in [-1, 1] or uint8.
        columns: images in a row. The last row is padded with white.

    Returns:
        (rows * height, columns * width, channels) uint8.

    Example:
        >>> tile(np.zeros((5, 8, 8, 3)), columns=3).shape
        (16, 24, 3)
    """
    images = to_bytes(images)
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    filled = np.full((rows * columns, height, width, channels), 255, np.uint8)
    filled[:count] = images
    filled = filled.reshape(rows, columns, height, width, channels).swapaxes(1, 2)  # (rows, height, columns, width, channels)
    return filled.reshape(rows * height, columns * width, channels)


def show_grid(images: np.ndarray, columns: int = 10, title: str = "") -> Figure:
    """Show a grid of images (n, height, width, 3), float in [-1, 1] or uint8, under a title."""
    return show_rows({title: images}, columns=columns)


def show_rows(groups: Mapping[str, np.ndarray], columns: int | None = None, inches: float = INCHES_PER_IMAGE) -> Figure:
    """Show groups of images below each other, each under its name. Images in the same column are aligned.

    Args:
        groups: name -> (n, height, width, 3) images, float in [-1, 1] or uint8.
        columns: images in a row. Default: each group is one row, and shorter groups are padded with white.
        inches: width of an image.
    """
    columns = columns or max(len(images) for images in groups.values())
    pictures = {name: tile(images, columns) for name, images in groups.items()}
    width = max(picture.shape[1] for picture in pictures.values())
    scale = inches / next(iter(groups.values())).shape[2]
    heights = [picture.shape[0] * scale + (0.28 if name else 0) for name, picture in pictures.items()]
    figure, axes = new_figure((width * scale, sum(heights)), len(pictures), height_ratios=heights, squeeze=False)
    for axis, (name, picture) in zip(axes[:, 0], pictures.items(), strict=True):
        axis.imshow(picture, interpolation="lanczos")
        axis.set_title(name, fontsize=9, loc="left", pad=3)
        axis.set_axis_off()
    return figure


def show_loss(history: Sequence[HistoryRow], label: str = "loss") -> Figure:
    """Show the loss over the steps, on a logarithmic scale.

    Args:
        history: rows of the history of a run.
        label: label of the vertical axis.
    """
    figure, axis = new_figure((6.5, 3))
    axis.plot([row.step for row in history], [row.loss for row in history], color=BLUE)
    axis.set(xlabel="step", ylabel=label, yscale="log")
    tidy(axis, grid="both")
    return figure
