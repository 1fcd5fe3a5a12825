"""Metrics on data whose answer is known."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glo_lib.evaluation import metrics
from glo_lib.evaluation.metrics import (
    frechet_distance,
    laplacian_variance,
    memorisation_ratio,
    nearest_distances,
    precision_recall,
    psnr,
    relative_sharpness,
    ssim,
)
from glo_lib.images.pixels import flat_blocks
from glo_lib.inference import neighbours


def small_blocks(monkeypatch):
    """Blocks of a few rows: what is computed must not depend on where they end."""
    monkeypatch.setattr(metrics, "MOST_DISTANCES", 9)
    monkeypatch.setattr(metrics, "BLOCK_BYTES", 1)
    monkeypatch.setattr(neighbours, "BLOCK_BYTES", 25)
    monkeypatch.setattr(neighbours, "QUERY_BYTES", 25)


def smooth_images(count=6, size=16, seed=0):
    waves = np.random.default_rng(seed).uniform(0.2, 0.6, (count, 1, 1, 3))
    rows, columns = np.indices((size, size))
    return 0.9 * np.sin(waves * rows[None, :, :, None] + 2 * waves * columns[None, :, :, None])


def test_psnr_of_worked_examples():
    # Peak 2, so 10 log10(4 / MSE): errors of 2 give 0 dB, of 0.2 give 20 dB, of 0.02 give 40 dB.
    images = np.zeros((3, 2, 2, 3)) - 1
    reconstructions = images + np.reshape([2.0, 0.2, 0.02], (3, 1, 1, 1))
    np.testing.assert_allclose(psnr(images, reconstructions), [0, 20, 40], rtol=1e-9, atol=1e-9)


def test_psnr_takes_the_mean_of_the_squares_over_the_image():
    # One entry of four is off by 1: MSE 1/4, 10 log10(16) = 12.04 dB.
    assert psnr(np.zeros((1, 4)), np.array([[0, 0, 1.0, 0]]))[0] == pytest.approx(12.0412, abs=1e-4)


def test_each_image_has_its_own_value():
    draw = np.random.default_rng(0)
    images, reconstructions = draw.uniform(-1, 1, (2, 5, 4, 4, 3))
    together = psnr(images, reconstructions)
    assert together.shape == (5,) and together.dtype == np.float64
    alone = [psnr(images[i : i + 1], reconstructions[i : i + 1])[0] for i in range(5)]
    np.testing.assert_allclose(together, alone)
    assert len(set(together)) == 5


def test_equal_images_have_infinite_psnr_and_no_warning():
    images = np.random.default_rng(0).uniform(-1, 1, (2, 4, 4, 3)).astype(np.float32)
    reconstructions = images.copy()
    reconstructions[1] += 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = psnr(images, reconstructions)
    assert np.isposinf(values[0]) and np.isfinite(values[1])


def test_reconstructions_outside_the_range_count_as_what_a_display_would_show():
    images = np.array([[1.0, -1.0], [1.0, -1.0], [0.8, -0.8]])
    reconstructions = np.array([[7.0, -3.0], [0.8, -0.8], [99.0, -99.0]])
    # Clipped: no error at all; an error of 0.2; an error of 0.2.
    np.testing.assert_allclose(psnr(images, reconstructions), [np.inf, 20, 20])


@settings(deadline=None, max_examples=30)
@given(st.floats(0.01, 0.9), st.floats(1.1, 10))
def test_error_ten_times_smaller_is_twenty_decibels_better(error, factor):
    images = np.zeros((1, 8))
    difference = psnr(images, images + error / factor) - psnr(images, images + error)
    assert difference[0] == pytest.approx(20 * np.log10(factor), abs=1e-9)


def test_float32_images_are_compared_in_double_precision():
    # MSE of one step of float32 at 0.5 over 2^20 entries: a float32 sum of such squares would be off.
    images = np.full((1, 2**20), 0.5, np.float32)
    reconstructions = np.nextafter(images, np.float32(1))
    assert psnr(images, reconstructions)[0] == pytest.approx(10 * np.log10(4 / 2.0**-48), abs=1e-9)


def test_arguments_are_not_changed():
    images, reconstructions = np.zeros((1, 4)), np.full((1, 4), 3.0)
    psnr(images, reconstructions)
    assert images.tolist() == [[0] * 4] and reconstructions.tolist() == [[3] * 4]


def test_psnr_takes_bytes_as_well(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (7, 4, 4, 3)).astype(np.uint8)
    noisy = images / 127.5 - 1 + 0.01
    whole = psnr(images, noisy)
    np.testing.assert_allclose(whole, psnr(images / 127.5 - 1, noisy))
    small_blocks(monkeypatch)
    np.testing.assert_array_equal(psnr(images, noisy), whole)


def ssim_by_hand(a, b):
    """One window as large as the image, one channel, values in [0, 1]: the formula of Wang et al. (2004), equation 13."""
    taps = np.exp(-np.square(np.arange(11) - 5) / (2 * 1.5**2))
    window = np.outer(taps, taps) / taps.sum() ** 2
    mean_a, mean_b = (window * a).sum(), (window * b).sum()
    variance_a, variance_b = (window * a * a).sum() - mean_a**2, (window * b * b).sum() - mean_b**2
    covariance = (window * a * b).sum() - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    return (2 * mean_a * mean_b + c1) * (2 * covariance + c2) / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2))


def test_ssim_of_one_window_is_the_formula():
    a, b = np.random.default_rng(0).uniform(0.1, 0.9, (2, 11, 11))
    assert ssim(2 * a[None, :, :, None] - 1, 2 * b[None, :, :, None] - 1)[0] == pytest.approx(ssim_by_hand(a, b), abs=1e-4)


def test_ssim_is_one_for_equal_images_and_falls_with_the_error():
    images = smooth_images()
    noise = np.random.default_rng(1).normal(size=images.shape)
    values = [ssim(images, images + scale * noise).mean() for scale in (0, 0.05, 0.2, 0.8)]
    assert values[0] == pytest.approx(1, abs=1e-6) and values == sorted(values, reverse=True) and values[-1] < 0.6


def test_ssim_sees_what_psnr_does_not():
    # A shift of the brightness and noise of the same energy: PSNR is the same, the structure is not.
    images = 0.5 * smooth_images()
    noise = np.random.default_rng(1).choice([-0.1, 0.1], images.shape)
    np.testing.assert_allclose(psnr(images, images + 0.1), psnr(images, images + noise))
    assert ssim(images, images + 0.1).min() > ssim(images, images + noise).max() + 0.03


def test_ssim_does_not_depend_on_the_blocks(monkeypatch):
    images = smooth_images()
    bytes_of = np.uint8((images + 1) * 127.5)
    whole = ssim(bytes_of, images)
    small_blocks(monkeypatch)
    np.testing.assert_allclose(ssim(bytes_of, images), whole, atol=1e-6)


@pytest.mark.parametrize("surface", [lambda x, y: 0 * x, lambda x, y: 0.1 * x - 0.05 * y, lambda x, y: 0.01 * (x * x - y * y)])
def test_constant_ramp_and_saddle_have_no_laplacian_variance(surface):
    y, x = np.indices((9, 9))
    assert laplacian_variance(surface(x, y)[None, :, :, None])[0] == pytest.approx(0, abs=1e-20)


def test_laplacian_variance_of_a_single_bright_pixel():
    # On 3 x 3 inner pixels the Laplacian is -4 in the middle and 1 at its four neighbours: mean 0, variance (16 + 4) / 9.
    image = np.zeros((1, 5, 5, 1))
    image[0, 2, 2] = 1
    assert laplacian_variance(image)[0] == pytest.approx(20 / 9)
    assert laplacian_variance(np.repeat(image, 3, axis=3))[0] == pytest.approx(20 / 9)  # grey in three channels is the same grey
    assert laplacian_variance(image * [0, 1, 0])[0] == pytest.approx(0.587**2 * 20 / 9)


def test_sharpness_is_relative_to_the_data(monkeypatch):
    data = np.random.default_rng(0).uniform(-1, 1, (5, 8, 8, 3))
    assert relative_sharpness(data, data) == 1
    assert relative_sharpness(data / 2, data) == pytest.approx(0.25)
    blurred = (data + np.roll(data, 1, axis=1)) / 2
    assert relative_sharpness(blurred, data) < 0.8
    small_blocks(monkeypatch)
    assert relative_sharpness(data / 2, data) == pytest.approx(0.25)


def with_moments(mean, covariance, count=50, seed=0):
    """Rows whose mean and covariance are exactly these."""
    draw = np.random.default_rng(seed).normal(size=(count, len(mean)))
    draw -= draw.mean(axis=0)
    draw = draw @ np.linalg.inv(np.linalg.cholesky(np.cov(draw, rowvar=False))).T
    return draw @ np.linalg.cholesky(covariance).T + mean


def test_frechet_distance_of_two_gaussians_along_the_axes():
    # (3 - 1)^2 + (5 - 2)^2 for the standard deviations, 1^2 + 2^2 for the means.
    one = with_moments([0, 0], np.diag([9.0, 25.0]))
    other = with_moments([1, 2], np.diag([1.0, 4.0]), count=70, seed=1)
    assert frechet_distance(one, other) == pytest.approx(4 + 9 + 1 + 4, rel=1e-5)


def test_frechet_distance_of_gaussians_that_do_not_share_axes():
    # For 2 x 2 matrices tr (A B)^(1/2) = sqrt(tr AB + 2 sqrt(det AB)).
    a, b = np.array([[2.0, 0.6], [0.6, 1.0]]), np.array([[1.0, -0.7], [-0.7, 3.0]])
    expected = np.trace(a + b) - 2 * np.sqrt(np.trace(a @ b) + 2 * np.sqrt(np.linalg.det(a @ b)))
    found = frechet_distance(with_moments([1, 1], a), with_moments([1, 1], b, seed=1))
    assert found == pytest.approx(expected, rel=1e-5) and expected > 0.5


def test_frechet_distance_of_a_set_to_itself_is_zero_and_is_symmetric(monkeypatch):
    draw = np.random.default_rng(0)
    one, other = draw.normal(size=(40, 6)), draw.normal(0.3, 2, (30, 6))
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one))
    whole = frechet_distance(one, other)
    small_blocks(monkeypatch)
    assert frechet_distance(one, other) == pytest.approx(whole)


def test_frechet_distance_with_fewer_images_than_features():
    one, other = np.random.default_rng(0).normal(size=(2, 5, 20))
    assert np.isfinite(frechet_distance(one, other)) and frechet_distance(one, one) == pytest.approx(0, abs=1e-6)


def cluster(centre, seed):
    return np.random.default_rng(seed).normal(centre, 1, (60, 3))


def test_identical_sets_have_full_precision_and_recall():
    data = cluster(0, 0)
    assert precision_recall(data, data.copy()) == (1, 1)


def test_disjoint_sets_have_none():
    assert precision_recall(cluster(0, 0), cluster(50, 1)) == (0, 0)


def test_sets_that_share_half_have_half():
    shared = cluster(0, 0)
    data, samples = np.concatenate([shared, cluster(50, 1)]), np.concatenate([shared, cluster(-50, 2)])
    assert precision_recall(data, samples) == (0.5, 0.5)


def test_samples_of_one_mode_are_precise_and_miss_the_other():
    data = np.concatenate([cluster(0, 0), cluster(50, 1)])
    assert precision_recall(data, data[:60]) == (1, 0.5)
    assert precision_recall(data[:60], data) == (0.5, 1)


def test_precision_and_recall_of_points_on_a_line():
    # k = 1. Data 0, 1, 3 have radii 1, 1, 2 and cover [-1, 5]; samples 4, 6, 9 have radii 2, 2, 3 and cover [2, 12].
    data, samples = np.array([[0.0], [1], [3]]), np.array([[4.0], [6], [9]])
    assert precision_recall(data, samples, num_neighbours=1) == (pytest.approx(1 / 3), pytest.approx(1 / 3))


def test_precision_and_recall_do_not_depend_on_the_blocks(monkeypatch):
    data, samples = cluster(0, 0), cluster(1, 1)
    whole = precision_recall(data, samples, num_neighbours=2)
    small_blocks(monkeypatch)
    assert precision_recall(data, samples, num_neighbours=2) == whole
    assert 0 < whole.precision < 1 and 0 < whole.recall < 1


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 5), st.integers(6, 20), st.integers(0, 10**6))
def test_nearest_distances_are_those_of_all_pairs(num_neighbours, count, seed):
    draw = np.random.default_rng(seed)
    rows, others = draw.normal(size=(count, 2)), draw.normal(size=(count + 3, 2))
    every = np.sort(np.linalg.norm(rows[:, None] - others, axis=2), axis=1)
    own = np.sort(np.linalg.norm(rows[:, None] - rows, axis=2), axis=1)
    with pytest.MonkeyPatch.context() as patch:
        small_blocks(patch)
        found = nearest_distances(rows, others, num_neighbours)
        among = nearest_distances(rows, rows, num_neighbours, among_themselves=True)
    np.testing.assert_allclose(found, every[:, num_neighbours - 1], atol=1e-5)
    np.testing.assert_allclose(among, own[:, num_neighbours], atol=1e-5)


def test_distances_of_near_neighbours_far_from_the_origin_are_not_lost():
    rows = np.full((2, 500), 100.0)
    rows[1, 0] += 0.0625  # exact in float32
    assert nearest_distances(rows[:1], rows[1:])[0] == pytest.approx(0.0625, rel=1e-3)


def test_copies_have_ratio_zero_and_new_images_ratio_one():
    draw = np.random.default_rng(0)
    training, held_out, new = draw.uniform(-1, 1, (300, 4, 4, 3)), *draw.uniform(-1, 1, (2, 80, 4, 4, 3))
    assert memorisation_ratio(training[:50], held_out, training) == pytest.approx(0, abs=1e-6)
    assert memorisation_ratio(new, held_out, training) == pytest.approx(1, abs=0.05)


def test_halfway_copies_lie_between():
    draw = np.random.default_rng(0)
    training, held_out = draw.uniform(-1, 1, (300, 48)), draw.uniform(-1, 1, (80, 48))
    distance = np.median(nearest_distances(held_out, training))
    step = draw.normal(size=(100, 48))
    copies = training[:100] + 0.25 * distance * step / np.linalg.norm(step, axis=1, keepdims=True)
    assert memorisation_ratio(copies, held_out, training) == pytest.approx(0.25, rel=1e-4)


def test_bytes_and_floats_give_the_same_ratio():
    images = np.random.default_rng(0).integers(0, 256, (60, 4, 4, 3)).astype(np.uint8)
    ratio = memorisation_ratio(images[:10] / 127.5 - 1, images[10:20], images[20:])
    assert ratio == pytest.approx(memorisation_ratio(images[:10], images[10:20], images[20:]), rel=1e-5)


GOOD = np.random.default_rng(0).normal(size=(8, 3))
NAN = np.where(np.arange(24).reshape(8, 3) == 5, np.nan, GOOD)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: psnr(np.zeros((2, 4)), np.zeros((2, 5))), r"images have shape \(2, 4\) and reconstructions \(2, 5\)"),
        (lambda: psnr(np.zeros((0, 4)), np.zeros((0, 4))), r"images has 0 row\(s\); at least 1"),
        (lambda: ssim(np.zeros((2, 10, 16, 3)), np.zeros((2, 10, 16, 3))), "at least 11 pixels"),
        (lambda: laplacian_variance(np.zeros((2, 8, 8, 2))), r"shape \(2, 8, 8, 2\)"),
        (lambda: relative_sharpness(np.ones((1, 8, 8, 3)), np.ones((1, 9, 9, 3))), "one size only"),
        (lambda: relative_sharpness(np.ones((1, 8, 8, 3)), np.ones((1, 8, 8, 3))), "no edges"),
        (lambda: relative_sharpness(np.ones((0, 8, 8, 3)), np.ones((1, 8, 8, 3))), r"images has 0 row\(s\)"),
        (lambda: frechet_distance(GOOD, GOOD[:, :2]), r"features \(n, 3\), other_features \(n, 2\)"),
        (lambda: frechet_distance(GOOD, NAN), "other_features holds NaN or infinity in 1 of 8 rows"),
        (lambda: frechet_distance(GOOD[:1], GOOD), r"features has 1 row\(s\); at least 2"),
        (lambda: precision_recall(GOOD, GOOD[:3]), r"samples has 3 row\(s\); at least 4"),
        (lambda: precision_recall(GOOD, GOOD, num_neighbours=8), r"features has 8 row\(s\); at least 9"),
        (lambda: precision_recall(GOOD, GOOD, num_neighbours=0), "num_neighbours is 0; give at least 1"),
        (lambda: precision_recall(NAN, GOOD), "features holds NaN"),
        (lambda: precision_recall(GOOD, np.inf * GOOD), "samples holds NaN or infinity in 8 of 8 rows"),
        (lambda: memorisation_ratio(GOOD, GOOD[:, :2], GOOD), r"held_out \(n, 2\)"),
        (lambda: memorisation_ratio(GOOD, GOOD, GOOD), "they are training images"),
        (lambda: memorisation_ratio(GOOD[:0], GOOD, GOOD), r"samples has 0 row\(s\)"),
        (lambda: nearest_distances(GOOD, GOOD, num_neighbours=8, among_themselves=True), r"at least 9"),
        (lambda: frechet_distance(np.zeros(5), np.zeros(5)), "at least one entry"),
    ],
)
def test_bad_input_is_refused_with_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()


class OnlyInParts:
    """Images that can be read a few at a time and not as a whole."""

    def __init__(self, images, most):
        self._images, self._most = images, most
        self.shape, self.ndim, self.dtype = images.shape, images.ndim, images.dtype

    def __len__(self):
        return len(self._images)

    def __getitem__(self, rows):
        part = self._images[rows]
        assert len(part) <= self._most
        return part

    def __array__(self, *_, **__):
        pytest.fail("all images were read at once")


def test_images_are_read_a_block_at_a_time(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (30, 12, 12, 3)).astype(np.uint8)
    monkeypatch.setattr(metrics, "BLOCK_BYTES", 5 * 8 * 12 * 12 * 3)
    parts = OnlyInParts(images, most=10)
    psnr(parts, parts)
    ssim(parts, parts)
    relative_sharpness(parts, parts)
    least = 5 * 4 * 12 * 12 * 3
    monkeypatch.setattr(metrics, "flat_blocks", lambda rows, block_bytes=least: flat_blocks(rows, block_bytes=min(block_bytes, least)))
    for setting in ("BLOCK_BYTES", "QUERY_BYTES"):
        monkeypatch.setattr(neighbours, setting, least)
    monkeypatch.setattr(neighbours, "EXACT_ROWS", 10)
    frechet_distance(parts, parts)
    precision_recall(parts, parts)
    memorisation_ratio(parts, OnlyInParts(255 - images, most=10), parts)
