"""The check of the contrast, which all tests of the figures share, finds what is hard to read."""

import importlib.util
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

spec = importlib.util.spec_from_file_location("shared", Path(__file__).with_name("conftest.py"))
shared = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shared)


@pytest.fixture
def axis():
    figure, axis = plt.subplots()
    yield axis
    plt.close(figure)  # before the check that all tests of this folder share


@pytest.mark.parametrize(("colour", "problems"), [("black", 0), ("0.4", 0), ("0.6", 1), ("tab:orange", 1), ("tab:red", 0)])
def test_text_on_white(axis, colour, problems):
    axis.text(0.5, 0.5, "word", color=colour)
    assert len(shared.texts_of_low_contrast(axis.figure)) == problems


def test_text_on_an_image_is_compared_with_the_image(axis):
    axis.imshow(np.full((8, 8), 0.0), cmap="gray", vmin=0, vmax=1)
    axis.text(4, 4, "black on black")
    axis.text(4, 2, "white on black", color="white")
    assert shared.texts_of_low_contrast(axis.figure) == ["'black on black' has a contrast of 1.0:1 in the colour black"]


def test_transparent_text_is_as_faint_as_it_looks(axis):
    axis.text(0.5, 0.5, "faint", color="black", alpha=0.4)
    assert len(shared.texts_of_low_contrast(axis.figure)) == 1


def test_hidden_text_counts_for_nothing_and_the_figure_stays_as_it_was(axis):
    hidden, shown = axis.text(0.5, 0.5, "hidden", color="white", visible=False), axis.text(0.5, 0.5, "shown")
    assert shared.texts_of_low_contrast(axis.figure) == []
    assert shown.get_visible() and not hidden.get_visible()
    assert shared.luminance(np.ones(3)) == pytest.approx(1) and shared.luminance(np.zeros(3)) == 0
