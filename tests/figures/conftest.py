"""Shared by the tests of the figures: every figure that a test draws must have text that can be read."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text

LEAST_CONTRAST = 4.5  # of text, by the Web Content Accessibility Guidelines, level AA


@pytest.fixture(autouse=True)
def draw_without_display():
    """Draw figures without a display, check the contrast of their text, and close them after each test."""
    plt.switch_backend("agg")
    yield
    hard_to_read = [problem for number in plt.get_fignums() for problem in texts_of_low_contrast(plt.figure(number))]
    plt.close("all")
    assert hard_to_read == []


def texts_of_low_contrast(figure: Figure) -> list[str]:
    """Return a line for each text whose colour is too close to what is behind it, which may be an image or a coloured area."""
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    figure.canvas.draw()
    figure.set_layout_engine("none")  # otherwise everything moves when the texts are hidden
    places = [text.get_window_extent() for text in texts]
    for text in texts:
        text.set_visible(False)
    figure.canvas.draw()
    picture = np.asarray(figure.canvas.buffer_rgba())[::-1, :, :3] / 255  # from the lowest row on, as the places are
    for text in texts:
        text.set_visible(True)
    found = []
    for text, place in zip(texts, places, strict=True):
        (left, right), (low, high) = (np.clip(np.rint(ends), 0, None).astype(int) for ends in (place.intervalx, place.intervaly))
        area = picture[low : high + 1, left : right + 1].reshape(-1, 3)
        if len(area) and contrast(text, behind := np.median(area, axis=0)) < LEAST_CONTRAST:
            found.append(f"{text.get_text()!r} has a contrast of {contrast(text, behind):.1f}:1 in the colour {text.get_color()}")
    return found


def contrast(text: Text, behind: np.ndarray) -> float:
    """Return the ratio of the luminances of a text and of the colour (3,) behind it, from 1 to 21."""
    *colour, alpha = to_rgba(text.get_color(), text.get_alpha())
    light, dark = sorted((luminance(alpha * np.array(colour) + (1 - alpha) * behind), luminance(behind)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: np.ndarray) -> float:
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))
