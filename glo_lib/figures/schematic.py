"""A schematic of the training step, drawn as SVG: which way the images, the codes and the gradients go."""

import math
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

PARTS = ("inputs", "codes", "projection", "decoder", "loss", "gradients")
WIDTH, HEIGHT = 460, 356  # units of the drawing
SHOWN_WIDTH = 600  # pixels; narrower pages scale the drawing
BATCH = (3, 0, 5)  # indices of the images of the batch, which are rows of the table
NUM_ROWS = 6  # of the table of codes
SHADES = (0.9, 0.5, 0.75, 0.4, 0.65)  # of the numbers of a code
COLOURS = ("#1f77b4", "#d95f02", "#2a8a2a")  # of the images of the batch, their codes and their reconstructions
RED = "#c01c28"

DESCRIPTION = (
    "The training step of GLO. A batch has images and their indices. The indices select rows of the table of codes. These codes are "
    "projected to the sphere or the ball, the decoder turns them into reconstructions, and the loss compares the reconstructions with the "
    "images. Gradients go from the loss back through the decoder and the projection; they change the decoder's weights, and in the table "
    "only the rows of the batch."
)


class Ink(NamedTuple):
    """Colours of a part: dark and bright where it is lit, grey where it is not."""

    line: str
    fill: str
    text: str
    weight: str
    images: tuple[str, ...]
    gradient: str


LIT = Ink("#202020", "#dbe9f6", "#000000", "bold", COLOURS, RED)
UNLIT = Ink("#9a9a9a", "#efefef", "#666666", "normal", ("#b0b0b0",) * 3, "#9a9a9a")


@dataclass(frozen=True)
class Schematic:
    """A drawing as SVG; as the last line of a cell it becomes the cell's output, as text that nbval compares.

    Attributes:
        svg: the drawing, with its own white background and with its description for screen readers.
        description: what it shows, in words; this is what a terminal prints.
    """

    svg: str
    description: str

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return self.description


def training_step(*lit: str) -> Schematic:
    """Draw the training step of GLO: from images and their indices to the loss, and the gradients back.

    Args:
        lit: the parts that are drawn in colour: "inputs", "codes", "projection", "decoder", "loss" or "gradients". The others are grey.
            Default: all.

    Returns:
        The drawing. The same parts give the same text.

    Raises:
        ValueError: there is no part of that name.

    Example:
        >>> print(training_step("decoder").description.rpartition(". ")[-1])
        Lit: decoder.
    """
    unknown = sorted(set(lit) - set(PARTS))
    if unknown:
        raise ValueError(f"the schematic has no part {', '.join(map(repr, unknown))}; its parts are {', '.join(PARTS)}")
    inks = {part: LIT if part in lit or not lit else UNLIT for part in PARTS}
    description = DESCRIPTION + (f" Lit: {', '.join(part for part in PARTS if part in lit)}." if lit else "")
    elements = [element for part, draw in DRAWINGS.items() for element in draw(inks[part])]
    return Schematic("\n".join([*_head(description), *elements, "</svg>"]) + "\n", description)


def _head(description: str) -> list[str]:
    size = f'width="{SHOWN_WIDTH}" height="{SHOWN_WIDTH * HEIGHT // WIDTH}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="Helvetica, Arial, sans-serif">',
        "<title>The training step of GLO</title>",
        f"<desc>{escape(description)}</desc>",
        *[_arrow_head(colour) for colour in sorted({LIT.line, UNLIT.line, *LIT.images, *UNLIT.images, LIT.gradient, UNLIT.gradient})],
        _shape("rect", width=WIDTH, height=HEIGHT, rx=8, fill="#ffffff"),
    ]


def _inputs(ink: Ink) -> list[str]:
    """Three images with their indices, and an arrow from the images to the loss."""
    tops = [36 + 31 * number for number in range(len(BATCH))]
    faces = [element for top, colour in zip(tops, ink.images, strict=True) for element in _face(36, top, colour, ink.line)]
    indices = [_text(92, top + 18, str(index), ink) for top, index in zip(tops, BATCH, strict=True)]
    return [_text(78, 22, "image x{i}, index i", ink), *faces, *indices, _arrow("M49 134 V206", ink.line)]


def _codes(ink: Ink) -> list[str]:
    """The table, with the rows of the batch in the colours of their images, and an arrow from each index to its row."""
    left, top, wide, high = 190, 36, 16, 15
    colours = dict(zip(BATCH, ink.images, strict=True))
    outline = {"width": wide, "height": high, "stroke": ink.line, "stroke_width": 0.8}
    cells = [
        _shape("rect", x=left + wide * column, y=top + high * row, fill=colours.get(row, "#ffffff"), fill_opacity=shade, **outline)
        for row in range(NUM_ROWS)
        for column, shade in enumerate(SHADES)
    ]
    ends = [(49 + 31 * number, top + high * row + high // 2) for number, row in enumerate(BATCH)]
    arrows = [
        _arrow(f"M104 {start} C140 {start} 150 {end} 186 {end}", colour) for (start, end), colour in zip(ends, ink.images, strict=True)
    ]
    return [_text(230, 22, "codes z{i}", ink), *cells, *arrows, _arrow("M276 74 H332", ink.line)]


def _projection(ink: Ink) -> list[str]:
    """A circle, and three codes that move to their nearest points on it."""
    x, y, radius = 382, 80, 40
    elements = [_shape("circle", cx=x, cy=y, r=radius, fill=ink.fill, stroke=ink.line, stroke_width=1.6)]
    for (angle, norm), colour in zip(((-75, 0.4), (18, 1.3), (136, 0.5)), ink.images, strict=True):
        right, down = (radius * part(math.radians(angle)) for part in (math.cos, math.sin))
        start, end = ((round(x + scale * right, 1), round(y + scale * down, 1)) for scale in (norm, 1))
        elements += [
            _shape("line", x1=start[0], y1=start[1], x2=end[0], y2=end[1], stroke=colour, stroke_width=1.6),
            _shape("circle", cx=start[0], cy=start[1], r=3, fill="#ffffff", stroke=colour, stroke_width=1.6),
            _shape("circle", cx=end[0], cy=end[1], r=5, fill=colour),
        ]
    return [_text(x, 22, "projection Π(z{i})", ink), *elements, _arrow("M398 126 C398 165 425 165 425 224", ink.line)]


def _decoder(ink: Ink) -> list[str]:
    """Layers that become larger and have fewer channels, from right to left."""
    layers = [
        _shape("rect", x=left, y=241 - height // 2, width=width, height=height, rx=2, fill=ink.fill, stroke=ink.line, stroke_width=1.4)
        for left, width, height in ((416, 18, 22), (394, 16, 38), (375, 13, 56), (358, 11, 78))
    ]
    return [_text(394, 302, "decoder g{θ}", ink), *layers, _arrow("M350 234 H288", ink.line)]


def _loss(ink: Ink) -> list[str]:
    """The reconstructions, and the loss that compares them with the images."""
    faces = [element for number, colour in enumerate(ink.images) for element in _face(185 + 32 * number, 228, colour, ink.line, False)]
    box = _shape("rect", x=30, y=216, width=96, height=50, rx=8, fill=ink.fill, stroke=ink.line, stroke_width=1.6)
    words = [_text(231, 302, "reconstructions x̂{i}", ink), _text(78, 246, "ℓ(x{i}, x̂{i})", ink), _text(78, 302, "loss", ink)]
    return [box, *faces, *words, _arrow("M178 234 H136", ink.line)]


def _gradients(ink: Ink) -> list[str]:
    """Dashed arrows against the flow, what they change, and the legend."""
    paths = ("M134 250 H176", "M288 250 H348", "M407 210 C407 172 370 172 370 132", "M332 92 H280")
    words = ink._replace(text=ink.gradient if ink is LIT else ink.text)
    return [
        *[_arrow(path, ink.gradient, is_dashed=True) for path in paths],
        _text(230, 143, "change these rows", words),
        _text(394, 322, "change θ", words),
        _arrow("M36 341 H76", LIT.line),
        _text(84, 346, "values", UNLIT, anchor="start"),
        _arrow("M150 341 H190", ink.gradient, is_dashed=True),
        _text(198, 346, "gradients of the loss", words, anchor="start"),
    ]


DRAWINGS = {
    "inputs": _inputs,
    "codes": _codes,
    "projection": _projection,
    "decoder": _decoder,
    "loss": _loss,
    "gradients": _gradients,
}


def _face(left: int, top: int, colour: str, line: str, is_sharp: bool = True) -> list[str]:
    """A drawn face of 26 by 26 units; a reconstruction is paler, and its lines are broader."""
    opacity, line_width, eye = (0.9, 1.4, 1.5) if is_sharp else (0.6, 2.2, 2)
    return [
        _shape("rect", x=left, y=top, width=26, height=26, rx=3, fill=colour, fill_opacity=opacity, stroke=line, stroke_width=0.8),
        _shape("circle", cx=left + 13, cy=top + 13, r=9.5, fill="#ffffff", fill_opacity=opacity),
        *[_shape("circle", cx=left + across, cy=top + 11, r=eye, fill=line) for across in (10, 16)],
        _shape("path", d=f"M{left + 8} {top + 15} q5 5 10 0", fill="none", stroke=line, stroke_width=line_width),
    ]


def _arrow(path: str, colour: str, is_dashed: bool = False) -> str:
    dashes = {"stroke_dasharray": "5 3"} if is_dashed else {}
    return _shape("path", d=path, fill="none", stroke=colour, stroke_width=1.8, marker_end=f"url(#{_name(colour)})", **dashes)


def _arrow_head(colour: str) -> str:
    place = 'viewBox="0 0 8 8" refX="4" refY="4" markerWidth="9" markerHeight="9" markerUnits="userSpaceOnUse" orient="auto"'
    return f'<marker id="{_name(colour)}" {place}><path d="M0 0 L8 4 L0 8 Z" fill="{colour}"/></marker>'


def _name(colour: str) -> str:
    return f"arrow-head-{colour[1:]}"


def _text(x: int, y: int, text: str, ink: Ink, anchor: str = "middle") -> str:
    """Text in which {…} is a subscript; its numbers are units of the drawing."""
    parts = text.replace("}", "{").split("{")
    spans = [f'<tspan dy="3" font-size="11">{part}</tspan><tspan dy="-3">' if number % 2 else part for number, part in enumerate(parts)]
    settings = f'fill="{ink.text}" font-weight="{ink.weight}" font-size="15" text-anchor="{anchor}"'
    return f'<text x="{x}" y="{y}" {settings}>{"".join(spans)}{"</tspan>" * (len(parts) // 2)}</text>'


def _shape(name: str, **attributes: object) -> str:
    settings = " ".join(f'{key.replace("_", "-")}="{value}"' for key, value in attributes.items())
    return f"<{name} {settings}/>"


if __name__ == "__main__":
    print(training_step().svg, end="")
