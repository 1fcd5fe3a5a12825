"""The figures of a run show the images that they should, each in its place."""

import types

import numpy as np
import pytest

from glo_lib.config import QUICK_PRIORS
from glo_lib.figures.run import COLUMNS, figure_reconstructions, run_figures
from glo_lib.figures.style import tile
from glo_lib.inference import sample
from glo_lib.runs.folder import read_history


def pictures_of(figure):
    """The title and the (height, width, 3) picture of each part of a figure."""
    return [(axis.get_title("left").strip(), np.asarray(axis.images[0].get_array())) for axis in figure.axes]


def assert_shows(picture, images, columns=COLUMNS):
    """Check that a picture is the grid of these images, up to a rounding of decoded images by one grey level."""
    np.testing.assert_allclose(picture, tile(images, columns), atol=1)


@pytest.fixture(scope="module")
def figures(trained_run, trained_model, trained_images):
    return run_figures(trained_run, trained_model, trained_images)


def test_the_loss_is_that_of_the_history(figures, trained_run, trained_model):
    (axis,) = figures["loss"].axes
    assert axis.lines[0].get_xydata().tolist() == [[row.step, row.loss] for row in read_history(trained_run)]
    assert axis.get_ylabel() == f"loss ({trained_model.config.loss}, training mode)"


def test_reconstructions_are_shown_below_their_originals(figures, trained_model, trained_images):
    titles, pictures = zip(*pictures_of(figures["reconstructions"]), strict=True)
    assert titles == ("originals", "reconstructions") * 2
    chosen = np.linspace(0, 47, 20).astype(int)  # spread evenly from the first to the last image
    for rows, originals, reconstructions in zip((chosen[:10], chosen[10:]), pictures[::2], pictures[1::2], strict=True):
        np.testing.assert_array_equal(originals, tile(trained_images[rows], COLUMNS))
        assert_shows(reconstructions, trained_model.decode(trained_model.codes[rows]))
    (_, first), _, (_, second), _ = pictures_of(figure_reconstructions(trained_model, trained_images[:5]))  # fewer images than places
    np.testing.assert_array_equal(first, tile(trained_images[:3], 3))
    np.testing.assert_array_equal(second, tile(trained_images[3:5], 3))


@pytest.mark.parametrize("num_images", [1, 2, 3])
def test_few_images_have_all_figures(trained_run, trained_model, trained_images, num_images):
    codes, images = trained_model.codes[:num_images].copy(), trained_images[:num_images]
    codes[num_images - 1] = -codes[0]  # as the codes of two images usually are
    model = types.SimpleNamespace(config=trained_model.config, codes=codes, decode=trained_model.decode)
    figures = run_figures(trained_run, model, images)
    assert len(figures) == 10
    pictures = [picture for _, picture in pictures_of(figures["reconstructions"])]
    shown = np.concatenate([np.split(picture, picture.shape[1] // 32, axis=1) for picture in pictures[::2]])
    np.testing.assert_array_equal(shown[:num_images], images)
    assert (shown[num_images:] == 255).all()  # padding
    (_, drawn), (_, nearest) = pictures_of(figures["neighbours"])
    assert drawn.shape == nearest.shape == (32, COLUMNS * 32, 3)


def test_there_are_samples_from_every_prior_that_need_not_be_learned(figures, trained_model):
    names = ("unit_gaussian", "diagonal_gaussian", "full_gaussian", "gaussian_mixture", "kernel_density", "neighbours")
    for name, prior in zip(names, QUICK_PRIORS, strict=True):
        ((title, picture),) = pictures_of(figures[f"samples_{name}"])
        assert title == f"samples, {prior}"
        assert_shows(picture, trained_model.decode(sample(trained_model, prior, 40, seed=0)))


def test_interpolations_lead_from_one_reconstruction_to_another(figures, trained_model):
    ((_, picture),) = pictures_of(figures["interpolation"])
    assert picture.shape == (3 * 32, COLUMNS * 32, 3)
    ends = np.linspace(0, 47, 6).astype(int)
    assert_shows(picture[:, :32], trained_model.decode(trained_model.codes[ends[:3]]), columns=1)
    assert_shows(picture[:, -32:], trained_model.decode(trained_model.codes[ends[3:]]), columns=1)


def test_the_nearest_training_image_is_shown_below_each_sample(figures, trained_model, trained_images):
    (_, drawn), (_, nearest) = pictures_of(figures["neighbours"])
    samples = trained_model.decode(sample(trained_model, "diagonal Gaussian", COLUMNS, seed=1))
    distances = np.square(samples[:, None] - (trained_images[None] / np.float32(127.5) - 1)).mean(axis=(2, 3, 4))
    assert_shows(drawn, samples)
    np.testing.assert_array_equal(nearest, tile(trained_images[distances.argmin(axis=1)], COLUMNS))
