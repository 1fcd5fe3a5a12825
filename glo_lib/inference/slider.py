"""A picture with a slider, as one piece of HTML that needs no network, no library and no kernel."""

import base64
import html
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from glo_lib.images.pixels import to_bytes

MOST_FRAMES = 200
# Shows the frame whose number the slider has, and writes its caption. Everything it needs is inside the figure it stands in.
ON_INPUT = (
    "const f=this.closest('figure');"
    "f.querySelectorAll('img').forEach((m,i)=>m.style.display=i==this.value?'block':'none');"
    "const c=f.querySelectorAll('img')[this.value].dataset.caption;"
    "f.querySelector('output').textContent=c;this.setAttribute('aria-valuetext',c);"
)


class Slider(NamedTuple):
    """HTML of a picture with a slider; a notebook shows it as such."""

    html: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"Slider of {self.html.count('<img')} frames"


def slider(frames: np.ndarray, label: str, alt: str, captions: Sequence[str] = (), quality: int = 85, scale: int = 1) -> Slider:
    """A picture with a slider below it, which moves through the frames; it begins in the middle.

    Args:
        frames: (n, height, width, 3) float in [-1, 1] or uint8; at most 200.
        label: what the slider does, for the reader and for a screen reader.
        alt: what the picture shows; the caption of the frame is added to it.
        captions: n words, one for each frame; default: "1 of n" and so on.
        quality: of the JPEG files inside, 1 to 95.
        scale: pixels on the page for each pixel of the frames.

    Raises:
        ValueError: no or too many frames, captions that are not one per frame, or no label or alternative text.

    Example:
        >>> slider(np.zeros((3, 8, 8, 3)), "brightness", "a black square")
        Slider of 3 frames
    """
    captions = list(captions) or [f"{number} of {len(frames)}" for number in range(1, len(frames) + 1)]
    if not 1 <= len(frames) <= MOST_FRAMES:
        raise ValueError(f"there are {len(frames)} frames; give 1 to {MOST_FRAMES}")
    if len(captions) != len(frames):
        raise ValueError(f"there are {len(captions)} captions for {len(frames)} frames; give one for each")
    if not label.strip() or not alt.strip():
        raise ValueError("label and alt must say what the slider does and what the picture shows")
    middle, width = len(frames) // 2, scale * frames.shape[2]
    pictures = "".join(
        f'<img src="{_as_jpeg(frame, quality)}" alt="{html.escape(f"{alt}: {caption}")}" data-caption="{html.escape(caption)}" '
        f'style="display:{"block" if number == middle else "none"};width:100%;max-width:{width}px;margin:0">'
        for number, (frame, caption) in enumerate(zip(frames, captions, strict=True))
    )
    control = (
        f'<input type="range" min="0" max="{len(frames) - 1}" value="{middle}" step="1" aria-valuetext="{html.escape(captions[middle])}" '
        f'style="width:100%;max-width:{width}px;display:block" oninput="{html.escape(ON_INPUT)}">'
    )
    # Its own colours: it reads alike in light and dark pages.
    return Slider(
        f'<figure style="background:white;color:black;padding:8px;margin:0 0 8px 0">{pictures}'
        f"<label>{html.escape(label)}{control}</label><output>{html.escape(captions[middle])}</output></figure>"
    )


def sliders(several: Sequence[Slider]) -> Slider:
    """Pictures with sliders under each other."""
    return Slider("".join(part.html for part in several))


def _as_jpeg(frame: np.ndarray, quality: int) -> str:
    file = io.BytesIO()
    Image.fromarray(to_bytes(frame)).save(file, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
