"""What the figures of a run show: the images that they are said to show, each in its place."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from glo_lib.figures import run as run_module
from glo_lib.figures.run import (
    COLUMNS,
    figure_interpolation,
    figure_neighbours,
    figure_reconstructions,
    figure_samples,
    run_figures,
)
from glo_lib.figures.style import tile
from glo_lib.inference import PRIORS, sample
from glo_lib.runs.folder import read_history


@pytest.fixture(autouse=True)
def closed_figures():
    """Figures are drawn without a display, and closed."""
    before = matplotlib.get_backend()
    plt.switch_backend("agg")
    yield
    plt.close("all")
    plt.switch_backend(before)


def pictures_of(figure):
    """The (height, width, 3) picture of each part of a figure, by its title."""
    return {axis.get_title("left"): np.asarray(axis.images[0].get_array()) for axis in figure.axes}


def assert_shows(picture, images, columns=COLUMNS):
    """A picture is the grid of these images; decoded ones may differ by a rounding of a byte."""
    expected = tile(images, columns)
    assert picture.shape == expected.shape
    assert np.abs(picture.astype(int) - expected).max() <= 1


def test_every_figure_of_a_run_is_made(trained_run, trained_model, trained_images):
    figures = run_figures(trained_run, trained_model, trained_images)
    samples = ["samples_unit_gaussian", "samples_diagonal_gaussian", "samples_full_gaussian", "samples_gaussian_mixture"]
    assert list(figures) == ["loss", "reconstructions", *samples, "interpolation", "neighbours"]
    assert [next(iter(pictures_of(figures[name]))) for name in samples] == [f"samples, {prior}" for prior in PRIORS]


def test_the_loss_is_that_of_the_history(trained_run, trained_model, trained_images):
    (axis,) = run_figures(trained_run, trained_model, trained_images)["loss"].axes
    history = read_history(trained_run)
    assert list(axis.lines[0].get_xdata()) == [row.step for row in history]
    assert list(axis.lines[0].get_ydata()) == [row.loss for row in history]
    assert axis.get_ylabel() == f"loss ({trained_model.config.loss}, training mode)"


def test_reconstructions_stand_below_their_originals(trained_model, trained_images):
    """20 images, spread evenly from the first to the last, in two pairs of rows."""
    parts = pictures_of(figure_reconstructions(trained_model, trained_images))
    chosen = np.linspace(0, 47, 20).astype(int)
    assert [title.strip() for title in parts] == ["originals", "reconstructions"] * 2
    for number, rows in enumerate((chosen[:10], chosen[10:])):
        originals, reconstructions = list(parts.values())[2 * number : 2 * number + 2]
        np.testing.assert_array_equal(originals, tile(trained_images[rows], COLUMNS))
        assert_shows(reconstructions, trained_model.decode(trained_model.codes[rows]))


def test_reconstructions_of_fewer_images_than_places_show_each_once(trained_model, trained_images):
    parts = pictures_of(figure_reconstructions(trained_model, trained_images[:5]))
    first, _, second, _ = parts.values()
    np.testing.assert_array_equal(first, tile(trained_images[:3], 3))
    np.testing.assert_array_equal(second, tile(trained_images[3:5], 3))


@pytest.mark.parametrize("prior", PRIORS)
def test_samples_are_decoded_draws_from_the_prior(trained_model, prior):
    ((title, picture),) = pictures_of(figure_samples(trained_model, prior, num_samples=13, seed=3)).items()
    assert title == f"samples, {prior}"
    assert_shows(picture, trained_model.decode(sample(trained_model, prior, 13, seed=3)))


def test_interpolations_lead_from_one_reconstruction_to_another(trained_model):
    (picture,) = pictures_of(figure_interpolation(trained_model, rows=2)).values()
    size = trained_model.config.image_size
    assert picture.shape == (2 * size, COLUMNS * size, 3)
    ends = np.linspace(0, 47, 4).astype(int)
    assert_shows(picture[:, :size], trained_model.decode(trained_model.codes[ends[:2]]), columns=1)
    assert_shows(picture[:, -size:], trained_model.decode(trained_model.codes[ends[2:]]), columns=1)


def test_below_each_sample_is_the_training_image_nearest_to_it(trained_model, trained_images):
    parts = pictures_of(figure_neighbours(trained_model, trained_images))
    samples = trained_model.decode(sample(trained_model, "diagonal Gaussian", COLUMNS, seed=1))
    distances = np.square(samples[:, None] - (trained_images[None] / np.float32(127.5) - 1)).mean(axis=(2, 3, 4))
    assert list(parts) == ["samples, diagonal Gaussian", "nearest training images"]
    assert_shows(parts["samples, diagonal Gaussian"], samples)
    np.testing.assert_array_equal(parts["nearest training images"], tile(trained_images[distances.argmin(axis=1)], COLUMNS))


def test_a_copied_training_image_stands_below_its_copy(trained_model, trained_images, monkeypatch):
    """The question that the figure is for: samples that are reconstructions lie nearest to their own images."""
    rows = np.arange(3, 3 + COLUMNS)
    monkeypatch.setattr(run_module, "sample", lambda *_: trained_model.codes[rows])
    parts = pictures_of(figure_neighbours(trained_model, trained_images))
    np.testing.assert_array_equal(parts["nearest training images"], tile(trained_images[rows], COLUMNS))
