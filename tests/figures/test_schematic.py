"""Tests of `glo_lib.figures.schematic`: what is lit, the text in it, and the copy on the first page."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from glo_lib.figures.schematic import DRAWINGS, HEIGHT, LIT, PARTS, UNLIT, WIDTH, training_step

SVG = "{http://www.w3.org/2000/svg}"
FILE = Path(__file__).parents[2] / "book/_static/training_step.svg"


def parsed(*lit):
    return ElementTree.fromstring(training_step(*lit).svg)


def words(root):
    return ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]


def test_every_part_is_drawn_and_can_be_lit():
    assert tuple(DRAWINGS) == PARTS
    for part in PARTS:
        bold = ["".join(text.itertext()) for text in parsed(part).iter(f"{SVG}text") if text.get("font-weight") == "bold"]
        expected = {
            "inputs": "image xi, index i",
            "codes": "codes zi",
            "projection": "projection Π(zi)",
            "decoder": "decoder gθ",
            "loss": "ℓ(xi, x̂i)",
            "gradients": "change θ",
        }
        assert expected[part] in bold
        assert not set(bold) & {label for other, label in expected.items() if other != part}


def test_all_parts_are_lit_unless_some_are_named():
    assert training_step(*PARTS).svg != training_step().svg  # the descriptions differ
    assert training_step(*PARTS).svg.replace(f" Lit: {', '.join(PARTS)}.", "") == training_step().svg


def test_the_same_parts_give_the_same_text_in_any_order():
    assert training_step("loss", "codes").svg == training_step("codes", "loss").svg == training_step("codes", "loss").svg


def test_lit_and_grey_drawings_differ_in_colour_alone():
    assert words(parsed()) == words(parsed("loss"))
    without_colours = [re.sub(r"#[0-9a-f]{6}|bold|normal| Lit: loss\.", "", training_step(*lit).svg) for lit in ((), ("loss",))]
    heads = re.compile(r"<marker.*?</marker>|arrow-head-\w*")
    assert heads.sub("", without_colours[0]) == heads.sub("", without_colours[1])


def test_the_drawing_describes_itself():
    shown = training_step("codes", "gradients")
    root = ElementTree.fromstring(shown.svg)
    assert root.get("role") == "img" and root.find(f"{SVG}title").text == "The training step of GLO"
    assert root.find(f"{SVG}desc").text == shown.description == repr(shown) and shown.description.endswith(" Lit: codes, gradients.")
    assert shown._repr_svg_() == shown.svg


def test_text_has_a_contrast_of_at_least_four_and_a_half_on_the_drawings_own_white():
    root = parsed("decoder")
    (background,) = (rect for rect in root.findall(f"{SVG}rect") if rect.get("width") == str(WIDTH))
    assert background.get("fill") == "#ffffff" and background.get("height") == str(HEIGHT)
    for colour in {text.get("fill") for lit in ((), ("decoder",)) for text in parsed(*lit).iter(f"{SVG}text")}:
        assert 1.05 / (luminance(colour) + 0.05) >= 4.5
    for fill in (LIT.fill, UNLIT.fill):  # the formula of the loss stands on its box
        assert (luminance(fill) + 0.05) / (luminance((LIT if fill == LIT.fill else UNLIT).text) + 0.05) >= 4.5


def luminance(colour):
    """Relative luminance of a colour such as #ffffff, by the definition of the Web Content Accessibility Guidelines."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in channels]
    return sum(weight * channel for weight, channel in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_text_is_large_enough_on_a_telephone():
    """A page of 360 pixels leaves 328 for the drawing."""
    assert min(float(text.get("font-size")) for text in parsed().iter(f"{SVG}text")) * 328 / WIDTH > 10


def test_arrows_refer_to_heads_that_exist():
    for lit in ((), ("loss",)):
        root = parsed(*lit)
        heads = {f"url(#{marker.get('id')})" for marker in root.iter(f"{SVG}marker")}
        used = {path.get("marker-end") for path in root.iter(f"{SVG}path")} - {None}
        assert len(used) >= 3 and used <= heads


def test_an_unknown_part_is_refused_with_the_names_that_exist():
    with pytest.raises(ValueError, match=r"no part 'encoder', 'prior'; its parts are inputs, codes, projection, decoder, loss, gradients"):
        training_step("prior", "codes", "encoder")


def test_the_first_pages_copy_is_the_drawing():
    """To write it again: ``python -m glo_lib.figures.schematic > book/_static/training_step.svg``."""
    assert FILE.read_text("utf8") == training_step().svg
