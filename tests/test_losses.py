"""The three losses against values worked out by hand, double loops, and a second route through the Laplacian pyramid."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glo_lib import losses
from glo_lib.graph.backend import tf
from glo_lib.losses import (
    LOSSES,
    collapse_pyramid,
    get_glo_loss,
    get_loss,
    get_pairwise_loss,
    laplacian_pyramid,
    laplacian_pyramid_loss,
)

v1 = tf.compat.v1
EVERY_LOSS = pytest.mark.parametrize("loss", [get_glo_loss, get_pairwise_loss, laplacian_pyramid_loss])


def value(loss, images, reconstructions, **settings):
    with tf.Graph().as_default(), v1.Session() as session:
        return float(session.run(loss(tf.constant(images, tf.float32), tf.constant(reconstructions, tf.float32), **settings)))


def gradient(loss, images, reconstructions):
    with tf.Graph().as_default(), v1.Session() as session:
        output = tf.constant(reconstructions, tf.float32)
        return session.run(v1.gradients(loss(tf.constant(images, tf.float32), output), output)[0])


def pyramid_of(images, levels=None):
    with tf.Graph().as_default(), v1.Session() as session:
        return session.run(laplacian_pyramid(tf.constant(images, tf.float32), levels))


def some_images(batch=3, size=8, channels=3, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (batch, size, size, channels)).astype(np.float32)


# ------------------------------------------------------------------------------------------------ mean squared error


def test_mse_of_a_worked_example():
    # Errors 1, -2, 0, 3: squares 1 + 4 + 0 + 9 = 14, over 4 entries.
    images = np.reshape([1.0, 0.0, 0.5, 3.0], (1, 2, 2, 1))
    reconstructions = np.reshape([0.0, 2.0, 0.5, 0.0], (1, 2, 2, 1))
    assert value(get_glo_loss, images, reconstructions) == 3.5


def test_mse_is_the_mean_over_the_whole_batch():
    images = np.zeros((2, 2, 2, 3))
    reconstructions = np.zeros((2, 2, 2, 3))
    reconstructions[1] = 2.0  # errors 0 and 4: mean 2
    assert value(get_glo_loss, images, reconstructions) == 2.0


def test_mse_gradient_is_twice_the_error_over_the_number_of_entries():
    images, reconstructions = some_images(), some_images(seed=1)
    np.testing.assert_allclose(gradient(get_glo_loss, images, reconstructions), 2 * (reconstructions - images) / images.size, rtol=1e-5)


# ----------------------------------------------------------------------------------------------------- pairwise error


def test_pairwise_loss_of_a_worked_example():
    # Errors 0, 0, 0, 1: of the 4 * 3 ordered pairs, the 6 with the last entry differ by 1: 6 / 12.
    reconstructions = np.reshape([0.0, 0.0, 0.0, 1.0], (1, 2, 2, 1))
    assert value(get_pairwise_loss, np.zeros((1, 2, 2, 1)), reconstructions) == pytest.approx(0.5, rel=1e-6)


def test_pairwise_loss_is_the_double_loop_over_pairs():
    images, reconstructions = some_images(size=2), some_images(size=2, seed=1)
    means = []
    for error in (reconstructions - images).astype(np.float64).reshape(len(images), -1):
        pairs = [(a - b) ** 2 for i, a in enumerate(error) for j, b in enumerate(error) if i != j]
        means.append(np.mean(pairs))
    assert value(get_pairwise_loss, images, reconstructions) == pytest.approx(np.mean(means), rel=1e-5)


@pytest.mark.parametrize("shape", [(1, 2, 2, 1), (1, 8, 8, 3), (3, 8, 8, 3), (2, 4, 6, 1)])
def test_pairwise_loss_equals_tensorflows_own_whose_batch_is_summed(shape):
    """Despite the "mean" in its name, TensorFlow's function adds up the losses of the images; ours averages them."""
    draw = np.random.default_rng(3)
    images, reconstructions = draw.uniform(-1, 1, shape), draw.uniform(-1, 1, shape)
    theirs = value(v1.losses.mean_pairwise_squared_error, images, reconstructions)
    assert value(get_pairwise_loss, images, reconstructions) == pytest.approx(theirs / shape[0], rel=1e-4)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3))
def test_pairwise_loss_ignores_a_constant_offset(offsets):
    """One offset per image; the mean squared error sees each of them."""
    images, reconstructions = some_images(), some_images(seed=1)
    shift = np.reshape(offsets, (3, 1, 1, 1)).astype(np.float32)
    before, after = (value(get_pairwise_loss, images, output) for output in (reconstructions, reconstructions + shift))
    assert after == pytest.approx(before, rel=1e-5)
    assert value(get_pairwise_loss, images, images + shift) == pytest.approx(0, abs=1e-10)
    assert value(get_glo_loss, images, images + shift) == pytest.approx(np.mean(np.square(shift)), rel=1e-4, abs=1e-10)


def test_pairwise_loss_does_see_an_offset_of_one_colour():
    # 4 pixels of 3 channels, the first channel off by 1: 4 of 12 errors are 1; 2 * 4 * 8 ordered pairs of 12 * 11 differ by 1.
    reconstructions = np.zeros((1, 2, 2, 3))
    reconstructions[..., 0] = 1
    assert value(get_pairwise_loss, np.zeros((1, 2, 2, 3)), reconstructions) == pytest.approx(64 / 132, rel=1e-6)


def test_pairwise_loss_is_exact_where_tensorflows_own_cancels():
    """A small pattern under a large offset: the difference of two large sums has no digits left in float32, the centred form has."""
    pattern = np.where(np.arange(192) % 2, 2.0**-10, -(2.0**-10)).reshape(1, 8, 8, 3)
    expected = 2 * 192 / 191 * 2.0**-20
    assert value(get_pairwise_loss, np.zeros((1, 8, 8, 3)), 8 + pattern) == pytest.approx(expected, rel=1e-4)


def test_pairwise_gradient_sums_to_zero_in_each_image():
    """No step along it can brighten or darken a whole image."""
    pulled_back = gradient(get_pairwise_loss, some_images(), some_images(seed=1))
    assert np.abs(pulled_back).max() > 1e-4
    np.testing.assert_allclose(pulled_back.sum(axis=(1, 2, 3)), 0, atol=1e-6)


# ------------------------------------------------------------------------------------------------- Laplacian pyramid
# The second route: direct convolution with the 5x5 kernel over an image padded by mirroring, every second pixel kept; and zeros
# put between the pixels of an image padded by mirroring, then the same convolution, times four because three pixels in four are zero.

KERNEL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256


def convolved(padded):
    size = padded.shape[0] - 4
    return np.array([[np.sum(KERNEL * padded[y : y + 5, x : x + 5]) for x in range(size)] for y in range(size)])


def reduced(image):
    return convolved(np.pad(image, 2, mode="reflect"))[::2, ::2]


def expanded(image):
    size = 2 * len(image)
    with_zeros = np.zeros((size + 4, size + 4))
    # Padded by one coarse pixel, the grid begins at -2: just what five taps at position 0 need.
    with_zeros[::2, ::2] = np.pad(image, 1, mode="reflect")
    return 4 * convolved(with_zeros)


def pyramid_by_convolution(image, levels):
    pyramid = []
    for _ in range(levels - 1):
        smaller = reduced(image)
        pyramid.append(image - expanded(smaller))
        image = smaller
    return [*pyramid, image]


def bright_pixel(row, column, size=8):
    image = np.zeros((size, size))
    image[row, column] = 1
    return image


def step_edge(size=8):
    return np.repeat([[0.0], [1.0]], size // 2, axis=0) * np.ones((1, size))


PYRAMID_IMAGES = {
    "centre": bright_pixel(4, 4),
    "first corner": bright_pixel(0, 0),
    "last corner": bright_pixel(7, 7),
    "edge": bright_pixel(7, 2),
    "step down": step_edge(),
    "step across": step_edge().T,
    "random, 4 levels": some_images(1, 32, 1)[0, ..., 0],
}


@pytest.mark.parametrize("image", PYRAMID_IMAGES.values(), ids=PYRAMID_IMAGES)
def test_pyramid_equals_direct_convolution_with_mirrored_edges(image):
    levels = {8: 2, 32: 4}[len(image)]
    ours = pyramid_of(image[None, :, :, None])
    theirs = pyramid_by_convolution(image, levels)
    assert [level.shape for level in ours] == [(1, *level.shape, 1) for level in theirs]
    for our_level, their_level in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our_level[0, ..., 0], their_level, atol=1e-6)


def test_lap1_of_a_bright_pixel_worked_out_by_hand():
    # A pixel of 1 at (4, 4) of 8x8. Blurred and halved, rows and columns alike: pixel 4 is tap 0 of coarse pixel 2 and tap +-2 of
    # coarse pixels 1 and 3, so the coarse row is a = [0, 1, 6, 1] / 16 and the 4x4 image a a^T, all positive.
    # Its mean is (8/16)^2 / 16 = 1/64, the same as the image's.
    # Doubling (even fine pixels: 1/8, 6/8, 1/8 of three coarse neighbours; odd ones: half of two), with the mirror at both ends:
    #   fine 0: (6*0 + 2*1)/8      fine 1: (0 + 1)/2     fine 2: (0 + 6*1 + 6)/8     fine 3: (1 + 6)/2
    #   fine 4: (1 + 6*6 + 1)/8    fine 5: (6 + 1)/2     fine 6: (6 + 6*1 + 6)/8     fine 7: (1 + 6)/2    all over 16
    # (fine 6 and 7 mirror coarse 4 to coarse 2), so that e = [2, 4, 12, 28, 38, 28, 18, 28] / 128, sum 158/128.
    # Band-pass level: -e e^T, and 1 - (38/128)^2 at (4, 4). Mean of the absolute values, over 64 entries:
    # ((158/128)^2 - (38/128)^2 + 1 - (38/128)^2) / 64.
    band_pass = ((158 / 128) ** 2 + 1 - 2 * (38 / 128) ** 2) / 64
    image = bright_pixel(4, 4)[None, :, :, None]
    assert value(laplacian_pyramid_loss, image, np.zeros_like(image)) == pytest.approx(band_pass + 1 / 64, rel=1e-5)


def test_lap1_of_a_step_worked_out_by_hand():
    # Rows 0-3 are 0, rows 4-7 are 1. Coarse row k is the blur at 2k: 0 at k = 0; tap +2 of row 2 reaches row 4: 1/16; row 4 sees
    # taps 0, 1, 2: 11/16; row 6 sees all: 1 (its last taps are mirrored to rows 6 and 7). c = [0, 1, 11, 16] / 16, mean 28/64.
    # Doubled, over 128:  2, 4, (0 + 6 + 11) = 17, 4 * 12 = 48, (1 + 66 + 16) = 83, 4 * 27 = 108, (11 + 96 + 11) = 118, 4 * 27 = 108.
    # (fine 6: coarse 2, 3 and its mirror 2; fine 7: coarse 3 and the mirror 2.)
    # Differences from the step: 2, 4, 17, 48 below, 45, 20, 10, 20 above: sum 166; mean 166 / (128 * 8).
    image = step_edge()[None, :, :, None]
    expected = 166 / 1024 + 28 / 64
    assert value(laplacian_pyramid_loss, image, np.zeros_like(image)) == pytest.approx(expected, rel=1e-5)
    assert value(laplacian_pyramid_loss, image.swapaxes(1, 2), np.zeros_like(image)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("size", [8, 16, 32])
def test_lap1_equals_the_paper_s_weighted_sum_over_the_number_of_entries(size):
    """Sum over j of 2^(2j) |L_j(x) - L_j(x')|_1 with two pyramids by convolution, divided by the entries of the image."""
    image, reconstruction = some_images(2, size, 1)[..., 0].astype(np.float64)
    levels = int(np.log2(size)) - 1
    pyramids = zip(pyramid_by_convolution(image, levels), pyramid_by_convolution(reconstruction, levels), strict=True)
    expected = sum(4**j * np.abs(ours - theirs).sum() for j, (ours, theirs) in enumerate(pyramids)) / size**2
    ours = value(laplacian_pyramid_loss, image[None, :, :, None], reconstruction[None, :, :, None])
    assert ours == pytest.approx(expected, rel=1e-5)


def test_lap1_of_a_constant_offset_is_the_offset():
    # Every band-pass level of a constant is zero; the last level is the constant.
    assert value(laplacian_pyramid_loss, np.full((2, 32, 32, 3), 0.25), np.zeros((2, 32, 32, 3))) == pytest.approx(0.25, rel=1e-5)


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_difference_in_one_level_counts_as_its_mean_absolute_value_whatever_the_level(level, monkeypatch):
    """The weight 2^(2j) makes the mean of each level count alike: 4^j fewer entries weigh 4^j times more."""
    pyramid = [np.zeros((2, 32 // 2**j, 32 // 2**j, 3), np.float32) for j in range(4)]
    pyramid[level][:, :, ::2] = -0.5  # every second column: mean absolute value 1/4
    monkeypatch.setattr(losses, "laplacian_pyramid", lambda *_: [tf.constant(each) for each in pyramid])
    assert value(laplacian_pyramid_loss, np.zeros((2, 32, 32, 3)), np.zeros((2, 32, 32, 3))) == pytest.approx(0.25, rel=1e-6)


def test_pattern_that_blurs_to_nothing_counts_as_its_own_mean_absolute_value():
    """An image in the null space of blurring and halving lives in the finest level alone."""
    # One-dimensional reduction as a matrix (8, 16): what each unit vector becomes.
    matrix = np.array([reduced(np.outer(unit, np.ones(16)))[:, 0] for unit in np.eye(16)]).T
    null_space = np.linalg.svd(matrix)[2][8:]
    image = null_space.T @ np.random.default_rng(0).uniform(-1, 1, (8, 8)) @ null_space
    finest, *others = pyramid_of(image[None, :, :, None])
    np.testing.assert_allclose(finest[0, ..., 0], image, atol=1e-6)
    assert all(np.abs(level).max() < 1e-6 for level in others)
    ours = value(laplacian_pyramid_loss, image[None, :, :, None], np.zeros((1, 16, 16, 1)))
    assert ours == pytest.approx(np.abs(image).mean(), rel=1e-4)


@pytest.mark.parametrize(("size", "levels"), [(8, None), (8, 1), (32, None), (32, 2), (64, None)])
def test_pyramid_collapses_back_to_its_image(size, levels):
    images = some_images(2, size)
    with tf.Graph().as_default(), v1.Session() as session:
        again = session.run(collapse_pyramid(laplacian_pyramid(tf.constant(images), levels)))
    np.testing.assert_allclose(again, images, atol=1e-6)


def test_collapsing_doubles_with_the_same_convolution():
    """Perfect reconstruction alone would also hold for a wrong expansion, used both ways."""
    small = some_images(1, 4, 1)
    with tf.Graph().as_default(), v1.Session() as session:
        image = session.run(collapse_pyramid([tf.zeros([1, 8, 8, 1]), tf.constant(small)]))
    np.testing.assert_allclose(image[0, ..., 0], expanded(small[0, ..., 0]), atol=1e-6)


def test_pyramid_is_linear():
    first, second = some_images(), some_images(seed=1)
    combined = pyramid_of(2 * first - 0.5 * second)
    for both, one, other in zip(combined, pyramid_of(first), pyramid_of(second), strict=True):
        np.testing.assert_allclose(both, 2 * one - 0.5 * other, atol=1e-6)


def test_colours_and_images_of_a_batch_have_pyramids_of_their_own():
    images = some_images(3, 8, 3)
    together = pyramid_of(images)
    for batch in range(3):
        for channel in range(3):
            alone = pyramid_of(images[batch : batch + 1, ..., channel : channel + 1])
            for whole, part in zip(together, alone, strict=True):
                np.testing.assert_allclose(whole[batch, ..., channel], part[0, ..., 0], atol=1e-6)


@pytest.mark.parametrize(("size", "sides"), [(8, [8, 4]), (16, [16, 8, 4]), (64, [64, 32, 16, 8, 4])])
def test_pyramid_ends_with_four_pixels_a_side_unless_told_otherwise(size, sides):
    assert [level.shape for level in pyramid_of(some_images(2, size))] == [(2, side, side, 3) for side in sides]
    fewer = pyramid_of(some_images(2, size), levels=len(sides) - 1)
    assert [level.shape[1] for level in fewer] == sides[:-1]


def test_with_one_level_lap1_is_the_mean_absolute_error():
    images, reconstructions = some_images(), some_images(seed=1)
    ours = value(laplacian_pyramid_loss, images, reconstructions, levels=1)
    assert ours == pytest.approx(np.abs(images - reconstructions).mean(), rel=1e-5)
    assert ours != pytest.approx(value(laplacian_pyramid_loss, images, reconstructions), rel=1e-2)


def test_lap1_takes_batches_of_unknown_size():
    images = some_images(3)
    with tf.Graph().as_default(), v1.Session() as session:
        batch = v1.placeholder(tf.float32, [None, 8, 8, 3])
        loss = laplacian_pyramid_loss(batch, tf.zeros_like(batch))
        for rows in (1, 3):
            expected = value(laplacian_pyramid_loss, images[:rows], np.zeros_like(images[:rows]))
            assert session.run(loss, {batch: images[:rows]}) == pytest.approx(expected, rel=1e-6)


# ------------------------------------------------------------------------------------------------------ all of them


@EVERY_LOSS
def test_weight_scales_the_loss(loss):
    images, reconstructions = some_images(), some_images(seed=1)
    whole = value(loss, images, reconstructions)
    assert whole > 0.1
    assert value(loss, images, reconstructions, weight=0.25) == pytest.approx(0.25 * whole, rel=1e-6)


@EVERY_LOSS
def test_equal_images_cost_nothing_and_have_a_finite_gradient(loss):
    images = some_images()
    assert value(loss, images, images) == 0
    assert np.all(np.isfinite(gradient(loss, images, images)))


@EVERY_LOSS
def test_loss_is_symmetric(loss):
    images, reconstructions = some_images(), some_images(seed=1)
    assert value(loss, images, reconstructions) == pytest.approx(value(loss, reconstructions, images), rel=1e-6)


@EVERY_LOSS
def test_loss_is_the_mean_of_the_losses_of_the_images(loss):
    """What lets towers take parts of a batch, and their losses be averaged."""
    images, reconstructions = some_images(), some_images(seed=1)
    parts = [value(loss, images[i : i + 1], reconstructions[i : i + 1]) for i in range(3)]
    assert value(loss, images, reconstructions) == pytest.approx(np.mean(parts), rel=1e-5)


@EVERY_LOSS
def test_small_step_against_the_gradient_lowers_the_loss_by_its_squared_length(loss):
    """The gradient against a difference of two values."""
    images, reconstructions = some_images(), some_images(seed=1)
    pulled_back = gradient(loss, images, reconstructions).astype(np.float64)
    step = 0.02 / np.linalg.norm(pulled_back)
    shorter = value(loss, images, reconstructions - step * pulled_back)
    longer = value(loss, images, reconstructions + step * pulled_back)
    assert longer - shorter == pytest.approx(2 * step * np.sum(pulled_back**2), rel=2e-2)


@EVERY_LOSS
def test_shapes_that_differ_are_named(loss):
    with tf.Graph().as_default(), pytest.raises(ValueError, match=re.escape("(3, 8, 8, 3) and reconstructions (3, 16, 16, 3)")):
        loss(tf.zeros([3, 8, 8, 3]), tf.zeros([3, 16, 16, 3]))


@pytest.mark.parametrize("loss", [get_glo_loss, get_pairwise_loss, laplacian_pyramid_loss])
def test_arrays_are_taken_like_tensors(loss):
    images, reconstructions = np.random.default_rng(0).uniform(-1, 1, (2, 2, 8, 8, 3)).astype(np.float32)
    with tf.Graph().as_default(), v1.Session() as session:
        of_arrays, of_tensors = loss(images, reconstructions), loss(tf.constant(images), tf.constant(reconstructions))
        assert session.run(of_arrays) == session.run(of_tensors) > 0
        with pytest.raises(ValueError, match="they must be alike"):
            loss(images, reconstructions[:, :4])


@pytest.mark.parametrize("shape", [(8, 16), (16, 8), (4, 4), (12, 12), (24, 24)])
def test_pyramid_refuses_images_it_cannot_halve_to_four_pixels(shape):
    images = np.zeros((1, *shape, 3))
    with pytest.raises(ValueError, match=f"images are {shape[0]}x{shape[1]} pixels"):
        value(laplacian_pyramid_loss, images, images)


@pytest.mark.parametrize("loss", [get_pairwise_loss, laplacian_pyramid_loss])
@pytest.mark.parametrize("shape", [(2, None, 16, 3), (2, 16, None, 3), (2, 16, 16, None), (None, None, None, 3), None, (16, 16, 3)])
def test_images_whose_size_is_unknown_are_named_with_the_way_out(loss, shape):
    with tf.Graph().as_default():
        images = v1.placeholder(tf.float32, shape)
        with pytest.raises(ValueError, match=re.escape(f"images have shape {images.shape}")) as caught:
            loss(images, images)
        assert "tf.ensure_shape" in str(caught.value)


@pytest.mark.parametrize("loss", [get_pairwise_loss, laplacian_pyramid_loss])
def test_images_of_unknown_size_take_it_from_reconstructions_whose_size_is_known(loss):
    with tf.Graph().as_default(), v1.Session() as session:
        images = v1.placeholder(tf.float32, [None, None, None, 3])
        known = tf.ensure_shape(images, [None, 8, 8, 3])
        found = [session.run(loss(given, known * 0), {images: some_images(2, 8)}) for given in (images, known)]
    assert found[0] == found[1] > 0


@pytest.mark.parametrize("levels", [0, -1, 4])
def test_pyramid_says_how_many_levels_an_image_allows(levels):
    with pytest.raises(ValueError, match=f"levels is {levels}; images of 16x16 pixels allow 1 to 3"):
        pyramid_of(some_images(1, 16), levels)


def test_get_loss_finds_each_loss_by_name():
    assert get_loss("mse") is get_glo_loss
    assert get_loss("mpse") is get_pairwise_loss
    assert get_loss("lap1") is laplacian_pyramid_loss
    assert set(LOSSES) == {"mse", "mpse", "lap1"}


@pytest.mark.parametrize("name", ["MSE", "l2", "", None])
def test_get_loss_names_the_wrong_value_and_the_allowed_ones(name):
    with pytest.raises(ValueError, match=re.escape(f"loss is {name!r}; allowed are 'mse', 'mpse', 'lap1'")):
        get_loss(name)
