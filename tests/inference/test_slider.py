"""The slider holds its frames, its words and its own little program, and nothing from elsewhere."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from glo_lib.inference.slider import slider, sliders


class Tags(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.found, self.open = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in ("img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def of(self, wanted):
        return [attributes for tag, attributes in self.found if tag == wanted]


def grey_frames(count=4):
    return np.linspace(-1, 1, count)[:, None, None, None] * np.ones((1, 8, 16, 3))


def test_the_frames_are_inside_as_jpeg():
    pictures = Tags(slider(grey_frames(), "brightness", "a grey square").html).of("img")
    levels = []
    for picture in pictures:
        kind, _, data = picture["src"].partition(",")
        assert kind == "data:image/jpeg;base64"
        image = Image.open(io.BytesIO(base64.b64decode(data)))
        assert image.size == (16, 8)
        levels.append(np.asarray(image).mean())
    np.testing.assert_allclose(levels, [0, 85, 170, 255], atol=2)


def test_one_frame_shows_at_first_and_the_slider_stands_on_it():
    tags = Tags(slider(grey_frames(5), "brightness", "a grey square").html)
    assert ["display:block" in picture["style"] for picture in tags.of("img")] == [False, False, True, False, False]
    (control,) = tags.of("input")
    assert (control["type"], control["min"], control["max"], control["value"]) == ("range", "0", "4", "2")
    assert control["aria-valuetext"] == "3 of 5" and tags.open == []


def test_it_has_a_label_and_every_picture_says_what_it_shows():
    html = slider(grey_frames(2), "from <dark> to light", 'a "grey" square', ["dark", "light & bright"]).html
    tags = Tags(html)
    assert [picture["alt"] for picture in tags.of("img")] == ['a "grey" square: dark', 'a "grey" square: light & bright']
    label = re.search(r"<label>(.*?)<input", html).group(1)
    assert label == "from &lt;dark&gt; to light"
    assert "<output>light &amp; bright</output>" in html


def test_nothing_is_fetched_and_two_on_a_page_do_not_meet():
    both = sliders([slider(grey_frames(), "one", "grey"), slider(grey_frames(), "two", "grey")])
    tags = Tags(both.html)
    assert len(tags.of("figure")) == len(tags.of("input")) == 2 and len(tags.of("img")) == 8
    assert not re.search(r"https?:|<script|<link|\bid=|\burl\(", both.html)
    assert all(picture["src"].startswith("data:") for picture in tags.of("img"))
    assert "this.closest('figure')" in tags.of("input")[0]["oninput"]


def test_a_notebook_shows_it_and_its_text_has_no_pictures():
    shown = slider(grey_frames(), "brightness", "grey")
    assert shown._repr_html_() == shown.html and repr(shown) == "Slider of 4 frames"


@pytest.mark.parametrize(
    ("frames", "label", "alt", "captions", "message"),
    [
        (np.zeros((0, 8, 8, 3)), "l", "a", (), "there are 0 frames; give 1 to 200"),
        (np.zeros((201, 2, 2, 3)), "l", "a", (), "there are 201 frames"),
        (np.zeros((2, 8, 8, 3)), "l", "a", ("one",), "there are 1 captions for 2 frames"),
        (np.zeros((2, 8, 8, 3)), " ", "a", (), "label and alt must say"),
        (np.zeros((2, 8, 8, 3)), "l", "", (), "label and alt must say"),
    ],
)
def test_bad_requests_are_refused(frames, label, alt, captions, message):
    with pytest.raises(ValueError, match=message):
        slider(frames, label, alt, captions)
