"""A slider holds its frames, its texts and its script, and loads nothing from elsewhere."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from glo_lib.inference.slider import slider, sliders

FRAMES = np.linspace(-1, 1, 4)[:, None, None, None] * np.ones((1, 8, 16, 3))


def test_the_frames_are_embedded_as_jpeg_and_the_middle_one_shows_at_first():
    html = slider(FRAMES, "brightness", "a grey square", scale=3).html
    files = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)"', html)
    pictures = [Image.open(io.BytesIO(base64.b64decode(file))) for file in files]
    assert [picture.size for picture in pictures] == [(16, 8)] * 4
    np.testing.assert_allclose([np.asarray(picture).mean() for picture in pictures], [0, 85, 170, 255], atol=2)
    assert re.findall(r"display:(\w+);width:100%;max-width:48px;margin", html) == ["none", "none", "block", "none"]
    assert '<input type="range" min="0" max="3" value="2" step="1" aria-valuetext="3 of 4"' in html


def test_texts_are_escaped_and_every_picture_has_an_alternative_text():
    html = slider(FRAMES[:2], "from <dark> to light", 'a "grey" square', ["dark", "light & bright"]).html
    assert re.findall(r'alt="([^"]*)"', html) == ["a &quot;grey&quot; square: dark", "a &quot;grey&quot; square: light &amp; bright"]
    assert "<label>from &lt;dark&gt; to light<input" in html and "<output>light &amp; bright</output>" in html


def test_nothing_is_loaded_and_two_sliders_on_a_page_are_independent():
    one = slider(FRAMES, "one", "grey")
    assert one._repr_html_() == one.html and repr(one) == "Slider of 4 frames"
    html = sliders([one, slider(FRAMES, "two", "grey")]).html
    for tag, count in (("<figure", 2), ("</figure>", 2), ("<input", 2), ("this.closest(&#x27;figure&#x27;)", 2), ("<img", 8)):
        assert html.count(tag) == count
    assert not re.search(r"https?:|<script|<link|\bid=|\burl\(", html)


@pytest.mark.parametrize(
    ("count", "texts", "message"),
    [
        (0, ("l", "a"), "there are 0 frames; give 1 to 200"),
        (201, ("l", "a"), "there are 201 frames"),
        (2, ("l", "a", ["one"]), "there are 1 captions for 2 frames"),
        (2, (" ", "a"), "label and alt must say"),
        (2, ("l", ""), "label and alt must say"),
    ],
)
def test_bad_arguments_are_refused(count, texts, message):
    with pytest.raises(ValueError, match=message):
        slider(np.zeros((count, 2, 2, 3)), *texts)
