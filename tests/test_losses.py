"""The three losses against values computed by hand, double loops, and a second implementation of the Laplacian pyramid."""

import functools
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
    perceptual_loss,
)
from glo_lib.networks import efficientnet

v1 = tf.compat.v1
needs_judge = pytest.mark.skipif(not efficientnet.is_installed(), reason=efficientnet.MISSING)
MARKS = {"perceptual": needs_judge}
EVERY_LOSS = pytest.mark.parametrize("loss", [pytest.param(loss, marks=MARKS.get(name, ()), id=name) for name, loss in LOSSES.items()])


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


@pytest.mark.parametrize(
    ("loss", "errors", "expected"),
    [
        (get_glo_loss, [1, -2, 0, 3], (1 + 4 + 0 + 9) / 4),
        (get_pairwise_loss, [0, 0, 0, 1], 6 / (4 * 3)),  # the six ordered pairs with the last entry differ by 1
        (get_pairwise_loss, [1, 0, 0] * 4, 2 * 4 * 8 / (12 * 11)),  # one colour of four pixels is off by 1
    ],
)
def test_mean_and_pairwise_errors_computed_by_hand(loss, errors, expected):
    reconstructions = np.reshape(errors, (1, 2, 2, -1))
    assert value(loss, np.zeros_like(reconstructions), reconstructions) == pytest.approx(expected, rel=1e-6)


def test_pairwise_loss_is_tensorflows_loss_averaged_over_the_batch():
    """In spite of its name, mean_pairwise_squared_error sums over the images of the batch."""
    images, reconstructions = some_images(), some_images(seed=1)
    theirs = value(v1.losses.mean_pairwise_squared_error, images, reconstructions)
    assert value(get_pairwise_loss, images, reconstructions) == pytest.approx(theirs / 3, rel=1e-4)


@settings(max_examples=8)
@given(st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3))
def test_pairwise_loss_ignores_a_constant_offset(offsets):
    """There is one offset for each image; the mean squared error sees them all."""
    images, reconstructions = some_images(), some_images(seed=1)
    shift = np.reshape(offsets, (3, 1, 1, 1)).astype(np.float32)
    before, after = (value(get_pairwise_loss, images, output) for output in (reconstructions, reconstructions + shift))
    assert after == pytest.approx(before, rel=1e-5)
    assert value(get_pairwise_loss, images, images + shift) == pytest.approx(0, abs=1e-10)
    assert value(get_glo_loss, images, images + shift) == pytest.approx(np.mean(np.square(shift)), rel=1e-4, abs=1e-10)


def test_pairwise_loss_is_exact_where_tensorflows_loss_cancels():
    """A small pattern on a large offset: in float32 the difference of two large sums loses all digits, the centred form does not."""
    pattern = np.where(np.arange(192) % 2, 2.0**-10, -(2.0**-10)).reshape(1, 8, 8, 3)
    expected = 2 * 192 / 191 * 2.0**-20
    assert value(get_pairwise_loss, np.zeros((1, 8, 8, 3)), 8 + pattern) == pytest.approx(expected, rel=1e-4)


# ------------------------------------------------------------------------------------------------- Laplacian pyramid
# The second implementation pads the image by mirroring. To reduce, it convolves with the 5x5 kernel and keeps every second pixel; to
# expand, it puts zeros between the pixels, convolves in the same way and multiplies by four, because three pixels in four are zero.

KERNEL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256


def convolved(padded):
    size = padded.shape[0] - 4
    return np.array([[np.sum(KERNEL * padded[y : y + 5, x : x + 5]) for x in range(size)] for y in range(size)])


def reduced(image):
    return convolved(np.pad(image, 2, mode="reflect"))[::2, ::2]


def expanded(image):
    size = 2 * len(image)
    with_zeros = np.zeros((size + 4, size + 4))
    # Padded by one coarse pixel, the fine grid begins at -2, which five taps at position 0 need.
    with_zeros[::2, ::2] = np.pad(image, 1, mode="reflect")
    return 4 * convolved(with_zeros)


def pyramid_by_convolution(image, levels):
    pyramid = []
    for _ in range(levels - 1):
        smaller = reduced(image)
        pyramid.append(image - expanded(smaller))
        image = smaller
    return [*pyramid, image]


def bright_pixel(row, column):
    return np.outer(np.eye(8)[row], np.eye(8)[column])


def test_the_pyramid_equals_direct_convolution_with_mirrored_edges():
    """Each channel of each image has its own pyramid; the bright pixels touch edges and corners."""
    bright = [[bright_pixel(4, 4), bright_pixel(0, 0)], [bright_pixel(7, 7), bright_pixel(7, 2)]]
    for images in (np.transpose(bright, (0, 2, 3, 1)), some_images(1, 32)):
        levels = {8: 2, 32: 4}[images.shape[1]]
        ours = pyramid_of(images)
        assert [level.shape[1] for level in ours] == [images.shape[1] // 2**level for level in range(levels)]
        for batch in range(len(images)):
            for channel in range(images.shape[3]):
                theirs = pyramid_by_convolution(images[batch, ..., channel], levels)
                for our_level, their_level in zip(ours, theirs, strict=True):
                    np.testing.assert_allclose(our_level[batch, ..., channel], their_level, atol=1e-6)


def test_lap1_of_a_bright_pixel_computed_by_hand():
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


def test_lap1_of_a_step_computed_by_hand():
    # Rows 0-3 are 0, rows 4-7 are 1. Coarse row k is the blur at 2k: 0 at k = 0; tap +2 of row 2 reaches row 4: 1/16; row 4 sees
    # taps 0, 1, 2: 11/16; row 6 sees all: 1 (its last taps are mirrored to rows 6 and 7). c = [0, 1, 11, 16] / 16, mean 28/64.
    # Doubled, over 128:  2, 4, (0 + 6 + 11) = 17, 4 * 12 = 48, (1 + 66 + 16) = 83, 4 * 27 = 108, (11 + 96 + 11) = 118, 4 * 27 = 108.
    # (fine 6: coarse 2, 3 and its mirror 2; fine 7: coarse 3 and the mirror 2.)
    # Differences from the step: 2, 4, 17, 48 below, 45, 20, 10, 20 above: sum 166; mean 166 / (128 * 8).
    image = np.repeat([0.0, 1.0], 4)[None, :, None, None] * np.ones((1, 1, 8, 1))
    expected = 166 / 1024 + 28 / 64
    assert value(laplacian_pyramid_loss, image, np.zeros_like(image)) == pytest.approx(expected, rel=1e-5)
    assert value(laplacian_pyramid_loss, image.swapaxes(1, 2), np.zeros_like(image)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("size", "levels", "expected_levels"), [(8, None, 2), (32, None, 4), (32, 1, 1)])
def test_lap1_is_the_weighted_sum_of_the_paper_over_the_number_of_entries(size, levels, expected_levels):
    """The sum over j of 2^(2j) |L_j(x) - L_j(x')|_1, from two pyramids by convolution."""
    image, reconstruction = some_images(2, size, 1)[..., 0].astype(np.float64)
    pyramids = zip(*(pyramid_by_convolution(each, expected_levels) for each in (image, reconstruction)), strict=True)
    expected = sum(4**j * np.abs(ours - theirs).sum() for j, (ours, theirs) in enumerate(pyramids)) / size**2
    ours = value(laplacian_pyramid_loss, image[None, :, :, None], reconstruction[None, :, :, None], levels=levels)
    assert ours == pytest.approx(expected, rel=1e-5)


def test_collapsing_a_pyramid_gives_its_image_by_the_same_expansion():
    """Perfect reconstruction alone would also hold for a wrong expansion that is used both ways."""
    images, small = some_images(2, 32), some_images(1, 4, 1)
    with tf.Graph().as_default(), v1.Session() as session:
        again = session.run(collapse_pyramid(laplacian_pyramid(tf.constant(images), levels=3)))
        image = session.run(collapse_pyramid([tf.zeros([1, 8, 8, 1]), tf.constant(small)]))
    np.testing.assert_allclose(again, images, atol=1e-6)
    np.testing.assert_allclose(image[0, ..., 0], expanded(small[0, ..., 0]), atol=1e-6)


@EVERY_LOSS
def test_the_loss_is_the_mean_over_the_images_times_the_weight(loss):
    """So towers may take parts of a batch, and their losses are averaged."""
    images, reconstructions = some_images(), some_images(seed=1)
    parts = [value(loss, images[i : i + 1], reconstructions[i : i + 1]) for i in range(3)]
    assert min(parts) > 0.1
    assert value(loss, images, reconstructions) == pytest.approx(np.mean(parts), rel=1e-5)
    assert value(loss, images, reconstructions, weight=0.25) == pytest.approx(0.25 * np.mean(parts), rel=1e-5)


@EVERY_LOSS
def test_the_gradient_agrees_with_a_difference_of_two_values_and_is_finite_for_equal_images(loss):
    images, reconstructions = some_images(), some_images(seed=1)
    assert value(loss, images, images) == 0
    assert np.all(np.isfinite(gradient(loss, images, images)))
    slope = gradient(loss, images, reconstructions).astype(np.float64)
    step = (0.002 if loss is perceptual_loss else 0.02) / np.linalg.norm(slope)  # the network has many kinks
    lower = value(loss, images, reconstructions - step * slope)
    higher = value(loss, images, reconstructions + step * slope)
    assert higher - lower == pytest.approx(2 * step * np.sum(slope**2), rel=2e-2)


@EVERY_LOSS
def test_arrays_are_accepted_and_different_shapes_are_named(loss):
    images, reconstructions = some_images(), some_images(seed=1)
    with tf.Graph().as_default(), v1.Session() as session:
        assert session.run(loss(images, reconstructions)) == pytest.approx(value(loss, images, reconstructions))
        with pytest.raises(ValueError, match=re.escape("(3, 8, 8, 3) and reconstructions (3, 16, 16, 3); they must be alike")):
            loss(images, some_images(size=16))


@pytest.mark.parametrize("loss", [get_pairwise_loss, laplacian_pyramid_loss])
def test_images_of_unknown_size_are_refused_unless_the_reconstructions_have_a_known_size(loss):
    with tf.Graph().as_default(), v1.Session() as session:
        for shape in ((2, None, 16, 3), (2, 16, 16, None), None, (16, 16, 3)):
            images = v1.placeholder(tf.float32, shape)
            with pytest.raises(ValueError, match=re.escape(f"images have shape {images.shape}") + ".*tf.ensure_shape"):
                loss(images, images)
        images = v1.placeholder(tf.float32, [None, None, None, 3])
        known = tf.ensure_shape(images, [None, 8, 8, 3])
        found = session.run([loss(images, known * 0), loss(known, known * 0)], {images: some_images()})
    assert found == pytest.approx(2 * [value(loss, some_images(), 0 * some_images())])


@pytest.mark.parametrize(
    ("height", "width", "levels", "message"),
    [
        (8, 16, None, "images are 8x16 pixels"),
        (4, 4, None, "images are 4x4 pixels"),
        (24, 24, None, "images are 24x24 pixels"),
        (16, 16, 0, "levels is 0; images of 16x16 pixels allow 1 to 3"),
        (16, 16, 4, "levels is 4; images of 16x16 pixels allow 1 to 3"),
    ],
)
def test_images_that_cannot_be_halved_so_often_are_refused(height, width, levels, message):
    with pytest.raises(ValueError, match=message):
        pyramid_of(np.zeros((1, height, width, 3)), levels)


def test_a_sum_of_losses_is_the_sum_of_their_values_times_their_weights():
    images, reconstructions = some_images(), some_images(seed=1)
    mse, lap1 = (value(loss, images, reconstructions) for loss in (get_glo_loss, laplacian_pyramid_loss))
    assert value(get_loss("lap1"), images, reconstructions) == pytest.approx(lap1)
    assert value(get_loss("mse + 0.25*lap1"), images, reconstructions) == pytest.approx(mse + 0.25 * lap1)
    with pytest.raises(ValueError, match="'MSE' is not a loss; there are mse, mpse, lap1, perceptual"):
        get_loss("MSE")


@needs_judge
def test_the_perceptual_loss_compares_maps_block_by_block():
    """Two blocks, by hand: the maps of the network, their mean absolute difference, and the usual sizes."""
    images, reconstructions = some_images(size=16), some_images(size=16, seed=1)
    with tf.Graph().as_default(), v1.Session() as session:
        maps = [efficientnet.efficientnet_lite0(tf.constant(x), efficientnet.load_weights(), 2).blocks for x in (images, reconstructions)]
        of_images, of_reconstructions = session.run(maps)
    expected = [np.abs(a - b).mean() / size for a, b, size in zip(of_images, of_reconstructions, efficientnet.MEAN_SIZES, strict=False)]
    found = value(get_loss("perceptual", perceptual={"num_blocks": 2}), images, reconstructions)
    assert len(expected) == 2 and found == pytest.approx(np.mean(expected), rel=1e-4)


@needs_judge
def test_the_perceptual_loss_has_no_variables_and_a_gradient_for_the_reconstructions_only():
    images, reconstructions = (tf.float32, [2, 16, 16, 3]), (tf.float32, [2, 16, 16, 3])
    with tf.Graph().as_default():
        placeholders = [v1.placeholder(*images), v1.placeholder(*reconstructions)]
        of_images, of_reconstructions = tf.gradients(LOSSES["perceptual"](*placeholders), placeholders)
        assert not v1.global_variables() and of_images is None and of_reconstructions is not None


def test_images_are_moved_by_whole_pixels_and_mirrored_as_the_seed_says():
    image = np.arange(2 * 16 * 16 * 3, dtype=np.float32).reshape(2, 16, 16, 3)
    padded = np.pad(image, ((0, 0), (7, 0), (7, 0), (0, 0)), "symmetric")
    places = {(down, right): padded[:, 7 - down : 23 - down, 7 - right : 23 - right] for down in range(8) for right in range(8)}
    found = []
    with tf.Graph().as_default(), v1.Session() as session:
        seed = v1.placeholder(tf.int64, [2])
        moved = losses._moved(tf.constant(image), seed)
        for step in range(60):
            result = session.run(moved, {seed: [1, step]})
            place = [
                place for place, expected in places.items() if any(np.array_equal(result, x) for x in (expected, expected[:, :, ::-1]))
            ]
            assert len(place) == 1
            found.append((*place[0], np.array_equal(result, places[place[0]])))
    assert [len({one[axis] for one in found}) for axis in range(3)] == [8, 8, 2]


@needs_judge
def test_the_perceptual_loss_moves_both_images_alike():
    images, reconstructions = some_images(size=16), some_images(size=16, seed=1)
    seeded = [functools.partial(perceptual_loss, num_blocks=2, seed=np.array([0, step])) for step in range(3)]
    assert [value(loss, images, images) for loss in seeded] == [0, 0, 0]
    values = [value(loss, images, reconstructions) for loss in seeded]
    assert len(set(values)) == 3 and values == pytest.approx([np.mean(values)] * 3, rel=0.2)


def test_without_the_weights_the_perceptual_loss_says_how_to_get_them(monkeypatch):
    monkeypatch.setattr(efficientnet, "PACKAGE", "no_such_package")
    efficientnet.load_weights.cache_clear()
    with pytest.raises(ModuleNotFoundError, match="are not installed: make judges"), tf.Graph().as_default():
        LOSSES["perceptual"](tf.zeros([1, 16, 16, 3]), tf.zeros([1, 16, 16, 3]))
