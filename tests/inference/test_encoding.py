"""Codes of unseen images, found by optimisation."""

import types

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from glo_lib.codes import fit_pca
from glo_lib.graph.backend import tf
from glo_lib.graph.session import open_session
from glo_lib.inference import encoding
from glo_lib.inference.encoding import build_search, encode, fit_code_regression, half_mask, inpaint, read_images, run_search
from glo_lib.inference.model import TrainedModel
from glo_lib.inference.variables import from_arrays


@pytest.fixture(scope="module")
def regression(trained_model, trained_images):
    return fit_code_regression(trained_images, trained_model)


@pytest.fixture(scope="module")
def encoded(trained_model, trained_images, regression):
    """Five training images after 250 steps from three starts."""
    return encode(trained_model, trained_images[:5], regression, restarts=3, steps=250)


def mean_squared_errors(model, codes, images):
    return np.square(model.decode(codes) - (images / np.float32(127.5) - 1)).mean(axis=(1, 2, 3))


def test_the_result_is_the_best_of_all_starts_and_no_worse_than_the_learned_codes(trained_model, trained_images, regression, encoded):
    own = mean_squared_errors(trained_model, trained_model.codes[:5], trained_images[:5])
    assert (encoded.errors <= own + 1e-6).all()
    np.testing.assert_allclose(encoded.errors, mean_squared_errors(trained_model, encoded.codes, trained_images[:5]), rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(encoded.codes, axis=1), 1, atol=1e-5)
    assert encoded.starts == ("regression", "mean", "random 1") and encoded.losses.shape == (251, 3, 5)
    np.testing.assert_allclose(encoded.errors, encoded.losses.min(axis=(0, 1)))
    assert (encoded.best_start == encoded.losses.min(axis=0).argmin(axis=0)).all()
    assert encoded.losses[0, 0].mean() < 0.5 * encoded.losses[0, 1].mean()  # the regression is a better start than the mean code
    np.testing.assert_allclose(np.linalg.norm(regression.predict(trained_images[:4]), axis=1), 1, atol=1e-6)


def test_after_convergence_no_small_step_in_any_direction_gains_much(trained_model, trained_images, encoded):
    assert encoded.converged.all()
    steps = np.random.default_rng(0).standard_normal((60, 5, 6)).astype(np.float32)
    steps *= encoding.TRIAL_STEP / np.linalg.norm(steps, axis=2, keepdims=True)
    for step in steps:
        tried = mean_squared_errors(trained_model, encoded.codes + step, trained_images[:5])
        assert (tried > (1 - 2 * encoding.CONVERGED_GAIN) * encoded.errors).all()


def test_a_search_keeps_the_best_code_that_each_start_passes_through_and_can_be_run_again(trained_model, trained_images):
    starts = trained_model.project(np.random.default_rng(1).standard_normal((4, 6)).astype(np.float32))
    scaled = trained_images[:4] / np.float32(127.5) - 1
    with tf.Graph().as_default(), open_session() as session:
        search = build_search(trained_model, num_codes=4)
        feed = {search.images: scaled, search.mask: np.ones((*scaled.shape[:3], 1), np.float32)}
        best, lowest, errors = run_search(session, search, feed, starts, steps=30, rate=1.0)  # so large a rate overshoots
        again = run_search(session, search, feed, starts, steps=30, rate=1.0)
    np.testing.assert_allclose(errors[0], mean_squared_errors(trained_model, starts, trained_images[:4]), rtol=1e-4)
    np.testing.assert_allclose(lowest, mean_squared_errors(trained_model, best, trained_images[:4]), rtol=1e-4)
    assert (lowest == errors.min(axis=0)).all() and (errors.argmin(axis=0) < 30).any() and (errors.argmin(axis=0) > 0).all()
    np.testing.assert_array_equal(errors, again[2])  # Adam's averages start anew


def test_results_do_not_depend_on_the_batches(trained_model, trained_images, regression, monkeypatch):
    together = encode(trained_model, trained_images[:5], regression, restarts=3, steps=10, seed=4)
    monkeypatch.setattr(encoding, "CODES_PER_BATCH", 6)  # two images at a time, and a last batch that is padded
    apart = encode(trained_model, trained_images[:5], regression, restarts=3, steps=10, seed=4)
    assert [np.shape(values) for values in apart] == [np.shape(values) for values in together]
    np.testing.assert_allclose(together.losses, apart.losses, rtol=1e-2)
    np.testing.assert_allclose(together.codes, apart.codes, atol=1e-2)


@pytest.mark.parametrize(
    ("image_size", "restarts", "expected"), [(32, 4, 64), (64, 4, 64), (64, 3, 85), (128, 4, 16), (256, 4, 4), (256, 20, 1)]
)
def test_the_codes_of_large_images_are_searched_for_fewer_at_once(image_size, restarts, expected):
    assert encoding._images_at_once(image_size, restarts) == expected


def with_projection(model, projection):
    config = type(model.config).from_parameters({**model.config.as_dict(), "projection": projection})
    return TrainedModel(config, model.codes, from_arrays(model.variables))


@pytest.mark.parametrize(("projection", "size"), [("none", 1.0), ("ball", 6**-0.5)])
def test_a_step_is_as_long_as_the_codes_are_large(trained_model, trained_images, projection, size):
    """The first step of Adam changes every entry by the rate. The codes have six dimensions, and the mean code is inside the ball."""
    model = with_projection(trained_model, projection)
    found = encode(model, trained_images[:2], restarts=1, steps=1, learning_rate=1e-3)
    np.testing.assert_allclose(np.abs(found.codes - model.codes.mean(axis=0)), 1e-3 * size, rtol=1e-2)


@pytest.mark.parametrize(("projection", "limit"), [("none", 0.1), ("ball", 0.3)])
def test_a_code_has_converged_if_a_hundredth_of_its_typical_norm_gains_little(projection, limit):
    """The error is 1 and falls linearly. In nine dimensions a step is 0.03 long without a projection, and 0.01 in the ball."""
    slopes = limit * np.array([0.9, 1.1])
    session = types.SimpleNamespace(run=lambda tensor, feed: slopes[:, None] * np.eye(9)[:2])
    model = types.SimpleNamespace(config=types.SimpleNamespace(projection=projection, num_dims=9), project=lambda codes: codes)
    search = types.SimpleNamespace(gradient=None, codes="codes")
    assert encoding._has_converged(session, search, {}, model, np.zeros((2, 9)), np.ones(2)).tolist() == [True, False]


def test_random_starts_depend_on_the_seed_and_not_on_the_other_images(trained_model, trained_images):
    encodings = [encode(trained_model, trained_images[:count], restarts=3, steps=1, seed=seed) for count, seed in ((2, 1), (1, 1), (2, 2))]
    both, first, other = (found.losses[0] for found in encodings)
    np.testing.assert_allclose(both[:, :1], first, rtol=1e-4)
    np.testing.assert_array_equal(both[0], other[0])  # the mean code
    assert (both[1:] != other[1:]).all() and (both[1] != both[2]).all()
    assert not encodings[0].converged.any()
    assert encodings[0].report().startswith("0 of 2 converged after 1 steps from 3 starts; mean squared error 0.")


def test_hidden_pixels_do_not_count_and_are_inpainted_better_than_by_the_mean_image(trained_model, trained_images, regression):
    mask = half_mask(32, "left")
    spoiled = trained_images[:12].copy()
    spoiled[:, :, :16] = np.random.default_rng(0).integers(0, 256, spoiled[:, :, :16].shape)
    found, same = (encode(trained_model, images, regression, mask, restarts=2, steps=100) for images in (trained_images[:12], spoiled))
    np.testing.assert_array_equal(found.codes, same.codes)
    filled = inpaint(trained_model, spoiled, found, mask)
    scaled = trained_images / np.float32(127.5) - 1
    np.testing.assert_array_equal(filled[:, :, 16:], scaled[:12, :, 16:])
    hidden = np.square(filled - scaled[:12])[:, :, :16].mean()
    assert hidden < 0.5 * np.square(scaled.mean(axis=0) - scaled[:12])[:, :, :16].mean()


def test_a_heavy_prior_adds_the_mahalanobis_distance_to_the_error_and_reduces_it(trained_model, trained_images):
    # Several restarts, because the distance alone has local minima on the sphere.
    free, held = (encode(trained_model, trained_images[:4], restarts=4, steps=40, prior_weight=weight) for weight in (0.0, 100.0))
    whitening = np.linalg.inv(np.linalg.cholesky(np.cov(trained_model.codes.T, bias=True))).T
    far, near = (np.square((found.codes - trained_model.codes.mean(axis=0)) @ whitening).mean(axis=1) for found in (free, held))
    assert near.mean() < 0.97 * far.mean()
    expected = mean_squared_errors(trained_model, held.codes, trained_images[:4]) + 100 * near
    np.testing.assert_allclose(held.errors, expected, rtol=1e-3)


def test_the_regression_is_exact_for_codes_that_are_linear_in_the_images(trained_images):
    """The codes lie inside the ball, where the projection leaves them as they are."""
    images = trained_images[:, ::4, ::4]
    flat = images.reshape(48, -1) / 127.5 - 1
    codes = 0.01 * (flat @ np.random.default_rng(0).standard_normal((flat.shape[1], 3)) / 12)
    model = types.SimpleNamespace(codes=codes.astype(np.float32), config=types.SimpleNamespace(num_dims=3, projection="ball"))
    fitted = fit_code_regression(images, model, fit_pca(images, 47))
    np.testing.assert_allclose(fitted.predict(images), codes, atol=1e-4)
    with pytest.raises(ValueError, match="there are 48 codes and 7 images"):
        fit_code_regression(images[:7], model)


def test_the_regression_can_be_fitted_to_some_of_the_images_and_their_codes(trained_model, trained_images):
    some, pca = slice(10, 30), fit_pca(trained_images[10:30], 19)
    fitted = fit_code_regression(trained_images[some], trained_model, pca, trained_model.codes[some])
    # Twenty images have nineteen components, so with the intercept the regression passes through every code.
    np.testing.assert_allclose(fitted.predict(trained_images[some]), trained_model.codes[some], atol=1e-3)


def test_codes_that_do_not_fit_the_images_or_the_model_are_refused(trained_model, trained_images):
    with pytest.raises(ValueError, match="there are 6 codes and 7 images"):
        fit_code_regression(trained_images[:7], trained_model, codes=trained_model.codes[:6])
    wanted = trained_model.config.num_dims
    with pytest.raises(ValueError, match=rf"codes have shape \(7, {wanted - 1}\); those of this model are \(7, {wanted}\)"):
        fit_code_regression(trained_images[:7], trained_model, codes=trained_model.codes[:7, 1:])


def test_a_single_training_image_can_be_encoded(trained_model, trained_images):
    one = TrainedModel(trained_model.config, trained_model.codes[:1], from_arrays(trained_model.variables))
    regression = fit_code_regression(trained_images[:1], one)
    np.testing.assert_allclose(regression.predict(trained_images[:2]), np.repeat(one.codes, 2, axis=0), atol=1e-6)
    found = encode(one, trained_images[:1], regression, half_mask(32, "left"), restarts=2, steps=3, prior_weight=0.003)
    assert found.starts == ("regression", "mean") and np.isfinite(found.losses).all()
    np.testing.assert_allclose(found.codes, one.codes, atol=0.01)  # the prior holds it at the only code there is


def test_in_the_ball_codes_move_from_the_surface_to_the_inside(trained_model):
    ball = with_projection(trained_model, "ball")
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
def test_bad_arguments_are_refused(trained_model, trained_images, change, message):
    with pytest.raises(ValueError, match=message):
        encode(trained_model, **{"images": trained_images[:2], **change})


def test_each_half_can_be_hidden():
    assert half_mask(4, "right").tolist() == [[1, 1, 0, 0]] * 4
    assert half_mask(4, "top").tolist() == [[0] * 4] * 2 + [[1] * 4] * 2
    assert half_mask(4, "bottom").tolist() == half_mask(4, "top")[::-1].tolist()
    with pytest.raises(ValueError, match="hidden is 'middle'; allowed are 'left', 'right', 'top', 'bottom'"):
        half_mask(4, "middle")


def test_images_of_other_sizes_are_resized_and_unreadable_ones_named(trained_model, small_images, trained_images, tmp_path):
    Image.new("RGB", (90, 50), "red").save(tmp_path / "wide.png")
    Image.new("RGB", (32, 32), "blue").save(tmp_path / "fits.png")
    (tmp_path / "broken.jpg").write_bytes(b"")
    names = [small_images / "003.jpg", tmp_path / "broken.jpg", tmp_path / "wide.png", tmp_path / "fits.png", tmp_path / "absent.png"]
    read = read_images(names, trained_model.config)
    assert read.filenames == tuple(str(names[number]) for number in (0, 2, 3))
    np.testing.assert_array_equal(read.images[0], trained_images[3])
    np.testing.assert_array_equal(read.images[1:, 16, 16], [[255, 0, 0], [0, 0, 255]])
    assert len(read.problems) == 2 and "broken.jpg" in read.problems[0] and "absent.png" in read.problems[1]
    assert len(read.resized) == 2 and "wide.png': 90x50 pixels, cropped and resized to 32x32 as in training" in read.resized[1]
    with pytest.raises(ValueError, match=r"image file\(s\) cannot be read.*\n.*broken\.jpg': the file is empty"):
        read_images([tmp_path / "broken.jpg"], trained_model.config)
    with pytest.raises(ValueError, match="no image is given"):
        read_images([], trained_model.config)


def test_a_photograph_with_metadata_that_cannot_be_read_is_read(trained_model, tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "x" * 2**21, zip=True)  # more than Pillow decompresses
    Image.new("RGB", (90, 50), "red").save(tmp_path / "wide.png", pnginfo=text)
    with pytest.raises(ValueError, match="too large"):
        Image.open(tmp_path / "wide.png")
    read = read_images(tmp_path / "wide.png", trained_model.config)
    assert read.images.shape == (1, 32, 32, 3) and "90x50 pixels" in read.resized[0]


def test_images_are_read_from_a_folder_or_by_a_pattern(trained_model, small_images, trained_images):
    np.testing.assert_array_equal(read_images(small_images, trained_model.config).images, trained_images)
    np.testing.assert_array_equal(read_images(f"{small_images}/01*.jpg", trained_model.config).images, trained_images[10:20])
