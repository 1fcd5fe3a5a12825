"""Make the pictures of the first page from the pretrained model: training images, their reconstructions, and new faces.

    python -m benchmarks.first_page      some ten seconds

It writes ``results.jpg``, which the first page and the README show, and ``card.jpg``, which previews of links show. ``make pretrained``
runs it after the training. Nothing is selected by hand: the training images are the first ones, and the new faces are the first samples of
the prior that ``python -m glo_lib sample`` uses.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from glo_lib.config import DEFAULT_PRIOR
from glo_lib.faces import load_faces
from glo_lib.figures.style import tile
from glo_lib.images.files import list_images
from glo_lib.images.store import decode_as_in
from glo_lib.inference import TrainedModel, load, sample

OUT = Path(__file__).parents[1] / "book" / "_static"
COLUMNS, GAP = 8, 6  # images in a row, and pixels between two rows of images of 64 pixels
RESULTS_WIDTH, JPEG_QUALITY = 768, 90
CARD_SIZE, CARD_WIDTH, CARD_TOP = (1200, 630), 1040, 183  # pixels; the size that previews show, and where the faces are
TEXTS = (
    ("Generative Latent Optimization, measured", 43, "DejaVuSans-Bold.ttf", "#1a1a1a", 46),  # text, size, font, colour, top
    ("A book in which every line runs and every claim is measured", 30, "DejaVuSans.ttf", "#4a4a4a", 112),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write both pictures."""
    parser = argparse.ArgumentParser("python -m benchmarks.first_page", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write to (default: book/_static)")
    out = parser.parse_args(arguments).out
    model = load("pretrained")
    images = decode_as_in(model.config, list_images(load_faces(COLUMNS))).array()
    faces = three_rows(model, images)
    _widened(faces, RESULTS_WIDTH).save(out / "results.jpg", quality=JPEG_QUALITY, optimize=True)
    card(faces).save(out / "card.jpg", quality=JPEG_QUALITY, optimize=True)


def three_rows(model: TrainedModel, images: np.ndarray) -> Image.Image:
    """Return images, their reconstructions and as many samples, with white between the rows.

    Args:
        model: the trained model.
        images: (n, size, size, 3) uint8, the first images that the model was trained on.
    """
    count = len(images)
    rows = [images, model.decode(model.codes[:count]), model.decode(sample(model, DEFAULT_PRIOR, count))]
    bands = [tile(row, count) for row in rows]
    white = np.full((GAP, bands[0].shape[1], 3), 255, np.uint8)
    return Image.fromarray(np.concatenate([bands[0], white, bands[1], white, bands[2]]))


def card(faces: Image.Image) -> Image.Image:
    """Return the card that previews of links show: the title of the book above the rows of faces."""
    picture = Image.new("RGB", CARD_SIZE, "white")
    draw = ImageDraw.Draw(picture)
    left = (CARD_SIZE[0] - CARD_WIDTH) // 2
    for text, size, font, colour, top in TEXTS:
        draw.text((left, top), text, colour, ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", font)), size))
    picture.paste(_widened(faces, CARD_WIDTH), (left, CARD_TOP))
    return picture


def _widened(picture: Image.Image, width: int) -> Image.Image:
    return picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
