"""Codes of images never seen, by optimisation."""

import numpy as np
import pytest
from PIL import Image

from glo_lib.codes import fit_pca
from glo_lib.graph.backend import tf
from glo_lib.inference import encoding
from glo_lib.inference.encoding import encode, fit_code_regression, half_mask, inpaint, read_images
from glo_lib.inference.model import TrainedModel
from glo_lib.inference.variables import from_arrays
from glo_lib.projection import project_array

v1 = tf.compat.v1


@pytest.fixture(scope="module")
def regression(trained_model, trained_images):
    return fit_code_regression(trained_images, trained_model)


def mean_squared_errors(model, codes, images):
    return np.square(model.decode(codes) - (images / np.float32(127.5) - 1)).mean(axis=(1, 2, 3))


def test_training_images_are_found_at_least_as_well_as_their_own_codes_do(trained_model, trained_images, regression):
    found = encode(trained_model, trained_images[:6], regression, restarts=3, steps=150)
    own = mean_squared_errors(trained_model, trained_model.codes[:6], trained_images[:6])
    assert (found.errors <= own + 1e-6).all()


def test_a_restart_alone_finds_them_too(trained_model, trained_images):
    """Without the regression: only the mean and random starts."""
    found = encode(trained_model, trained_images[:6], restarts=5, steps=250)
    own = mean_squared_errors(trained_model, trained_model.codes[:6], trained_images[:6])
    assert found.starts == ("mean", "random 1", "random 2", "random 3", "random 4")
    assert (found.errors <= own + 1e-6).all()


def test_what_the_decoder_drew_is_encoded_almost_exactly(trained_model, regression):
    images = trained_model.decode(trained_model.project(trained_model.codes[:4] + trained_model.codes[4:8]))
    found = encode(trained_model, images, regression, restarts=4, steps=250)
    assert (found.errors < 1e-4).all() and found.converged.all()


def test_errors_belong_to_the_codes_that_are_returned(trained_model, trained_images, regression):
    found = encode(trained_model, trained_images[:5], regression, restarts=3, steps=20)
    np.testing.assert_allclose(found.errors, mean_squared_errors(trained_model, found.codes, trained_images[:5]), rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(found.codes, axis=1), 1, atol=1e-5)
    assert found.losses.shape == (21, 3, 5)
    np.testing.assert_allclose(found.errors, found.losses.min(axis=(0, 1)))
    assert (found.best_start == found.losses.min(axis=0).argmin(axis=0)).all()


def test_a_few_steps_have_not_converged_and_it_is_said(trained_model, trained_images):
    found = encode(trained_model, trained_images[:4], restarts=1, steps=1)
    assert not found.converged.any()
    assert found.report().startswith("0 of 4 converged after 1 steps from 1 starts; mean squared error 0.")


def test_convergence_means_that_no_small_step_gains_much(trained_model, trained_images, regression):
    """The second route: try many small steps in all directions around the codes."""
    found = encode(trained_model, trained_images[:4], regression, restarts=3, steps=250)
    assert found.converged.all()
    steps = np.random.default_rng(0).standard_normal((60, 4, 6)).astype(np.float32)
    steps *= encoding.PROBING_STEP / np.linalg.norm(steps, axis=2, keepdims=True)
    for step in steps:
        tried = mean_squared_errors(trained_model, found.codes + step, trained_images[:4])
        assert (tried > (1 - 2 * encoding.GAIN_LEFT) * found.errors).all()


def test_batches_do_not_change_the_result(trained_model, trained_images, regression, monkeypatch):
    together = encode(trained_model, trained_images[:5], regression, restarts=3, steps=10, seed=4)
    monkeypatch.setattr(encoding, "ROWS_AT_ONCE", 6)  # two images at a time, and one that is filled up
    apart = encode(trained_model, trained_images[:5], regression, restarts=3, steps=10, seed=4)
    for one, other in zip(together, apart, strict=True):
        assert np.shape(one) == np.shape(other)
    np.testing.assert_allclose(together.losses, apart.losses, rtol=1e-2)
    np.testing.assert_allclose(together.codes, apart.codes, atol=1e-2)


def test_results_depend_on_the_seed_alone(trained_model, trained_images):
    first, same, other = (encode(trained_model, trained_images[:2], restarts=2, steps=5, seed=seed).losses for seed in (1, 1, 2))
    assert np.array_equal(first, same) and not np.array_equal(first, other)


def test_the_decoder_stays_as_it_was(trained_model, trained_images):
    before = trained_model.decode(trained_model.codes[:3])
    encode(trained_model, trained_images[:2], restarts=1, steps=3)
    assert np.array_equal(trained_model.decode(trained_model.codes[:3]), before)


def test_hidden_pixels_do_not_count(trained_model, trained_images, regression):
    mask = half_mask(32, "left")
    spoiled = trained_images[:3].copy()
    spoiled[:, :, :16] = np.random.default_rng(0).integers(0, 256, spoiled[:, :, :16].shape)
    found = [encode(trained_model, images, regression, mask, restarts=2, steps=20) for images in (trained_images[:3], spoiled)]
    np.testing.assert_array_equal(found[0].codes, found[1].codes)


def test_a_hidden_half_is_filled_better_than_by_the_mean_image(trained_model, trained_images, regression):
    mask = half_mask(32, "right")
    found = encode(trained_model, trained_images[:12], regression, mask, restarts=3, steps=150)
    filled = inpaint(trained_model, trained_images[:12], found, mask)
    scaled = trained_images / np.float32(127.5) - 1
    np.testing.assert_array_equal(filled[:, :, :16], scaled[:12, :, :16])
    hidden = np.square(filled - scaled[:12])[:, :, 16:].mean()
    assert hidden < 0.5 * np.square(scaled.mean(axis=0) - scaled[:12])[:, :, 16:].mean()


def test_a_heavy_prior_pulls_codes_to_the_learned_ones_and_adds_their_distance_to_the_error(trained_model, trained_images):
    # Several restarts: on the sphere the distance alone has minima that are not the least one.
    free, held = (encode(trained_model, trained_images[:4], restarts=4, steps=40, prior_weight=weight) for weight in (0.0, 100.0))
    whitening = np.linalg.inv(np.linalg.cholesky(np.cov(trained_model.codes.T, bias=True))).T
    distance = {
        name: np.square((found.codes - trained_model.codes.mean(axis=0)) @ whitening).mean(axis=1)
        for name, found in (("free", free), ("held", held))
    }
    assert distance["held"].mean() < 0.97 * distance["free"].mean()
    expected = mean_squared_errors(trained_model, held.codes, trained_images[:4]) + 100 * distance["held"]
    np.testing.assert_allclose(held.errors, expected, rtol=1e-3)


def test_the_regression_is_exact_where_codes_are_linear_in_the_images(trained_model, trained_images):
    """Codes made of the images by a known linear map; inside the ball, where the projection does nothing."""
    flat = trained_images.reshape(48, -1) / 127.5 - 1
    codes = 0.01 * (flat @ np.random.default_rng(0).standard_normal((flat.shape[1], 3)) / 50)

    class Linear:
        config = type("Config", (), {"num_dims": 3, "projection": "ball"})

    Linear.codes = codes.astype(np.float32)
    fitted = fit_code_regression(trained_images, Linear, fit_pca(trained_images, 47))
    np.testing.assert_allclose(fitted.predict(trained_images), codes, atol=1e-4)


def test_the_regression_starts_better_than_the_mean(trained_model, trained_images, regression):
    losses = encode(trained_model, trained_images[:8], regression, restarts=2, steps=1).losses[0]  # (starts, images)
    assert losses[0].mean() < 0.5 * losses[1].mean()


def test_in_the_ball_codes_find_their_way_from_the_surface_to_the_inside(trained_model):
    config = type(trained_model.config).from_parameters({**trained_model.config.as_dict(), "projection": "ball"})
    ball = TrainedModel(config, trained_model.codes, from_arrays(trained_model.variables))
    inside = 0.4 * trained_model.codes[:3]
    found = encode(ball, ball.decode(inside), restarts=4, steps=250)
    np.testing.assert_allclose(np.linalg.norm(found.codes, axis=1), 0.4, atol=0.1)
    assert (found.errors < 1e-3).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((2, 16, 16, 3))}, r"images have shape \(2, 16, 16, 3\); this model draws \(n, 32, 32, 3\)"),
        ({"images": np.zeros((0, 32, 32, 3))}, "there are no images"),
        ({"restarts": 0}, "restarts is 0; give at least 1"),
        ({"steps": 0}, "steps is 0; give at least 1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; it must be above 0"),
        ({"prior_weight": -1.0}, "prior_weight is -1.0; it must be at least 0"),
        ({"mask": np.ones((16, 16))}, r"mask has shape \(16, 16\); it must be \(32, 32\) or \(2, 32, 32\)"),
        ({"mask": np.zeros((32, 32))}, "show at least one pixel"),
        ({"mask": np.full((32, 32), 0.5)}, "mask must be 1 where a pixel counts and 0 elsewhere"),
    ],
)
def test_bad_requests_are_refused(trained_model, trained_images, change, message):
    arguments = {"images": trained_images[:2], **change}
    with pytest.raises(ValueError, match=message):
        encode(trained_model, **arguments)


def test_a_regression_needs_one_code_per_image(trained_model, trained_images):
    with pytest.raises(ValueError, match="there are 48 codes and 7 images"):
        fit_code_regression(trained_images[:7], trained_model)


def test_each_half_can_be_hidden():
    assert half_mask(4, "right").tolist() == [[1, 1, 0, 0]] * 4
    assert half_mask(4, "top").tolist() == [[0] * 4] * 2 + [[1] * 4] * 2
    assert half_mask(4, "bottom").tolist() == half_mask(4, "top")[::-1].tolist()
    with pytest.raises(ValueError, match="hidden is 'middle'; allowed are 'left', 'right', 'top', 'bottom'"):
        half_mask(4, "middle")


def test_images_of_other_sizes_are_resized_and_unreadable_ones_named(trained_model, small_images, trained_images, tmp_path):
    Image.new("RGB", (90, 50), "red").save(tmp_path / "wide.png")
    Image.new("RGB", (32, 32), "blue").save(tmp_path / "fits.png")
    (tmp_path / "broken.jpg").write_bytes(b"no image at all")
    names = [small_images / "003.jpg", tmp_path / "broken.jpg", tmp_path / "wide.png", tmp_path / "fits.png", tmp_path / "absent.png"]
    read = read_images(names, trained_model.config)
    assert read.filenames == tuple(str(names[number]) for number in (0, 2, 3))
    np.testing.assert_array_equal(read.images[0], trained_images[3])
    np.testing.assert_array_equal(read.images[1:, 16, 16], [[255, 0, 0], [0, 0, 255]])
    assert len(read.problems) == 2 and "broken.jpg" in read.problems[0] and "absent.png" in read.problems[1]
    assert len(read.resized) == 2 and "wide.png': 90x50 pixels, cropped and resized to 32x32 as in training" in read.resized[1]


def test_no_readable_image_is_an_error(trained_model, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no image can be read:\n.*broken\.jpg': the file is empty"):
        read_images([tmp_path / "broken.jpg"], trained_model.config)
    with pytest.raises(ValueError, match="no image is given"):
        read_images([], trained_model.config)


def test_projected_starts_are_on_the_sphere(trained_model, trained_images, regression):
    predicted = regression.predict(trained_images[:4])
    np.testing.assert_allclose(predicted, project_array(predicted, "sphere"), atol=1e-6)
