"""Tests of the program that makes the pictures of the first page."""

import numpy as np
import pytest
from PIL import Image

from benchmarks import first_page
from glo_lib.config import DEFAULT_PRIOR
from glo_lib.figures.style import tile
from glo_lib.inference import sample


@pytest.fixture(scope="module")
def faces(trained_model, trained_images):
    return first_page.three_rows(trained_model, trained_images[:4])


def test_the_rows_are_images_their_reconstructions_and_samples(faces, trained_model, trained_images):
    size, gap = trained_images.shape[1], first_page.GAP
    rows = np.asarray(faces)
    assert rows.shape == (3 * size + 2 * gap, 4 * size, 3)
    first, second, third = (rows[top : top + size] for top in (0, size + gap, 2 * (size + gap)))
    np.testing.assert_array_equal(first, tile(trained_images[:4], 4))
    np.testing.assert_array_equal(second, tile(trained_model.decode(trained_model.codes[:4]), 4))
    np.testing.assert_array_equal(third, tile(trained_model.decode(sample(trained_model, DEFAULT_PRIOR, 4)), 4))
    assert (rows[size : size + gap] == 255).all()


def test_the_card_has_the_title_above_the_faces_and_white_around_them(faces):
    card = np.asarray(first_page.card(faces.resize((512, 204))))  # the proportions of three rows of eight faces
    height, width = card.shape[:2]
    assert (width, height) == first_page.CARD_SIZE
    top, left = first_page.CARD_TOP, (width - first_page.CARD_WIDTH) // 2
    assert card[:top].min() < 60 and (card[:40] == 255).all() and (card[:, :left] == 255).all() and (card[:, -left:] == 255).all()
    assert card[top : top + 130, left : width - left].mean() < 250 and (card[-20:] == 255).all()


def test_the_pictures_of_the_book_have_the_size_that_the_program_gives_them():
    with Image.open(first_page.OUT / "results.jpg") as results, Image.open(first_page.OUT / "card.jpg") as card:
        assert results.size == (first_page.RESULTS_WIDTH, 306) and card.size == first_page.CARD_SIZE
