"""Show images with a slider, as HTML that needs no network, no library and no running kernel."""

import base64
import html
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from glo_lib.images.pixels import to_bytes

MAX_FRAMES = 200
# Show the frame with the number of the slider, and its caption. The script refers only to elements of its own figure.
SHOW_FRAME_SCRIPT = (
    "const f=this.closest('figure');"
    "f.querySelectorAll('img').forEach((m,i)=>m.style.display=i==this.value?'block':'none');"
    "const c=f.querySelectorAll('img')[this.value].dataset.caption;"
    "f.querySelector('output').textContent=c;this.setAttribute('aria-valuetext',c);"
)


class Slider(NamedTuple):
    """The HTML of an image with a slider, which a notebook displays."""

    html: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"Slider of {self.html.count('<img')} frames"


def slider(frames: np.ndarray, label: str, alt: str, captions: Sequence[str] = (), quality: int = 85, scale: int = 1) -> Slider:
    """Show one of several frames, with a slider below that selects the frame. The middle frame is shown first.

    Args:
        frames: (n, height, width, 3) float in [-1, 1] or uint8, at most 200 frames.
        label: label of the slider, also for screen readers.
        alt: alternative text of the images. The caption of each frame is appended.
        captions: n captions, one for each frame. Default: "1 of n", "2 of n", ...
        quality: quality of the embedded JPEG files, 1 to 95.
        scale: pixels of the page for each pixel of a frame, where the page is wide enough.

    Raises:
        ValueError: there are no frames or too many, the number of captions differs from that of frames, or a text is empty.

    Example:
        >>> slider(np.zeros((3, 8, 8, 3)), "brightness", "a black square")
        Slider of 3 frames
    """
    captions = list(captions) or [f"{number} of {len(frames)}" for number in range(1, len(frames) + 1)]
    if not 1 <= len(frames) <= MAX_FRAMES:
        raise ValueError(f"there are {len(frames)} frames; give 1 to {MAX_FRAMES}")
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
        f'style="width:100%;max-width:{width}px;display:block" oninput="{html.escape(SHOW_FRAME_SCRIPT)}">'
    )
    # Set the colours, so that the figure looks the same on light and dark pages.
    return Slider(
        f'<figure style="background:white;color:black;padding:8px;margin:0 0 8px 0">{pictures}'
        f"<label>{html.escape(label)}{control}</label> <output>{html.escape(captions[middle])}</output></figure>"
    )


def sliders(several: Sequence[Slider]) -> Slider:
    """Stack several images with sliders vertically."""
    return Slider("".join(part.html for part in several))


def _as_jpeg(frame: np.ndarray, quality: int) -> str:
    file = io.BytesIO()
    Image.fromarray(to_bytes(frame)).save(file, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
