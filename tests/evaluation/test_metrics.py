"""Metrics on data whose answer is known."""

import itertools

import numpy as np
import pytest

from glo_lib.evaluation import metrics
from glo_lib.inference import neighbours


def use_small_blocks(monkeypatch):
    """Compute in blocks of a few rows. The result must not depend on where the blocks end."""
    monkeypatch.setattr(metrics, "MAX_DISTANCES", 9)
    monkeypatch.setattr(metrics, "BLOCK_BYTES", 1)
    monkeypatch.setattr(neighbours, "BLOCK_BYTES", 25)
    monkeypatch.setattr(neighbours, "QUERY_BYTES", 25)


@pytest.mark.filterwarnings("error")
def test_psnr_of_worked_examples():
    # The peak is 2, so errors of 2, 0.2 and 0.02 give 10 log10(4 / MSE) = 0, 20 and 40 dB. Values outside [-1, 1] are clipped.
    images = np.array([[-1, -1], [0, 0], [-0.5, 0.5], [0, 0], [1, -1], [0.8, -0.8]])
    reconstructions = np.array([[1, 1], [0.2, -0.2], [-0.48, 0.52], [0, 1], [7, -3], [99, -99]])
    np.testing.assert_allclose(metrics.psnr(images, reconstructions), [0, 20, 40, 10 * np.log10(8), np.inf, 20], atol=1e-9)


def ssim_by_hand(a, b):
    """One window as large as the image, one channel, values in [0, 1]: equation 13 of Wang et al. (2004)."""
    taps = np.exp(-np.square(np.arange(11) - 5) / (2 * 1.5**2))
    window = np.outer(taps, taps) / taps.sum() ** 2
    mean_a, mean_b = (window * a).sum(), (window * b).sum()
    variance_a, variance_b = (window * a * a).sum() - mean_a**2, (window * b * b).sum() - mean_b**2
    covariance = (window * a * b).sum() - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    return (2 * mean_a * mean_b + c1) * (2 * covariance + c2) / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2))


def test_ssim_of_one_window_is_that_of_the_formula():
    a, b = np.random.default_rng(0).uniform(0.1, 0.9, (2, 11, 11))
    assert metrics.ssim(2 * a[None, :, :, None] - 1, 2 * b[None, :, :, None] - 1)[0] == pytest.approx(ssim_by_hand(a, b), abs=1e-4)


def test_psnr_and_ssim_take_bytes_and_do_not_depend_on_the_blocks(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (7, 16, 16, 3)).astype(np.uint8)
    noisy = images / 127.5 - 1 + 0.01
    for metric in (metrics.psnr, metrics.ssim):
        with monkeypatch.context() as patch:
            whole = metric(images, noisy)
            use_small_blocks(patch)
            np.testing.assert_allclose(metric(images, noisy), whole, rtol=1e-5)
            np.testing.assert_allclose(metric(images / 127.5 - 1, noisy), whole, rtol=1e-5)


def test_sharpness_of_a_saddle_and_of_a_bright_pixel(monkeypatch):
    y, x = np.indices((9, 9))
    surface = 0.3 + 0.1 * x - 0.05 * y + 0.01 * (x * x - y * y)  # its Laplacian is 0 everywhere
    assert metrics.laplacian_variance(surface[None, :, :, None])[0] == pytest.approx(0, abs=1e-20)
    # On 3 x 3 inner pixels the Laplacian is -4 in the middle and 1 at its four neighbours: mean 0, variance (16 + 4) / 9.
    image = np.zeros((1, 5, 5, 1))
    image[0, 2, 2] = 1
    assert metrics.laplacian_variance(image)[0] == pytest.approx(20 / 9)
    assert metrics.laplacian_variance(image * [1, 1, 1])[0] == pytest.approx(20 / 9)
    assert metrics.laplacian_variance(image * [0, 1, 0])[0] == pytest.approx(0.587**2 * 20 / 9)
    data = np.random.default_rng(0).uniform(-1, 1, (5, 8, 8, 3))
    use_small_blocks(monkeypatch)
    assert metrics.relative_sharpness(data / 2, data) == pytest.approx(0.25)


def rows_with_moments(mean, covariance, count=50, seed=0):
    """Rows whose mean and covariance are exactly these."""
    rows = np.random.default_rng(seed).normal(size=(count, len(mean)))
    rows -= rows.mean(axis=0)
    rows = rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows, rowvar=False))).T
    return rows @ np.linalg.cholesky(covariance).T + mean


def test_frechet_distance_of_known_gaussians(monkeypatch):
    # (3 - 1)^2 + (5 - 2)^2 for the standard deviations, 1^2 + 2^2 for the means.
    one, other = rows_with_moments([0, 0], np.diag([9.0, 25])), rows_with_moments([1, 2], np.diag([1.0, 4]), count=70, seed=1)
    assert metrics.frechet_distance(one, other) == pytest.approx(4 + 9 + 1 + 4, rel=1e-5)
    # Where the axes differ: for 2 x 2 matrices tr (A B)^(1/2) = sqrt(tr AB + 2 sqrt(det AB)).
    a, b = np.array([[2.0, 0.6], [0.6, 1.0]]), np.array([[1.0, -0.7], [-0.7, 3.0]])
    expected = np.trace(a + b) - 2 * np.sqrt(np.trace(a @ b) + 2 * np.sqrt(np.linalg.det(a @ b)))
    few = np.random.default_rng(0).normal(size=(5, 20))
    assert metrics.frechet_distance(few, few) == pytest.approx(0, abs=1e-6)
    use_small_blocks(monkeypatch)
    assert metrics.frechet_distance(rows_with_moments([1, 1], a), rows_with_moments([1, 1], b, seed=1)) == pytest.approx(expected, rel=1e-5)


def test_precision_and_recall_of_points_on_a_line_in_any_blocks(monkeypatch):
    # k = 1. Data 0, 1, 3 have radii 1, 1, 2 and cover [-1, 5]; samples 4, 6, 9, 9.5 have radii 2, 2, 0.5, 0.5 and cover [2, 8] and more.
    data, samples = np.array([[0.0], [1], [3]]), np.array([[4.0], [6], [9], [9.5]])
    for _ in range(2):
        assert metrics.precision_recall(data, samples, num_neighbours=1) == (pytest.approx(1 / 4), pytest.approx(1 / 3))
        use_small_blocks(monkeypatch)


def test_copies_of_an_image_cover_each_other(monkeypatch):
    """With four copies of each row the radii are 0, so every rounding error would leave rows uncovered."""
    data = np.repeat(1000 + np.random.default_rng(0).normal(size=(9, 7)), 4, axis=0)
    for _ in range(2):
        assert metrics.precision_recall(data, data) == (1, 1)
        assert metrics.precision_recall(data, np.concatenate([data[:12], data[:12] + 1e-9])) == (0.5, 1 / 3)
        use_small_blocks(monkeypatch)


def test_frechet_distance_in_the_components_of_the_reference():
    draw = np.random.default_rng(0)
    reference = rows_with_moments([1, 2, 3], np.diag([9.0, 4, 1]), count=60)
    moved = reference + np.array([3, 4, 100])
    for components, expected in ((1, 9), (2, 25), (3, 10025), (128, 10025)):
        found = metrics.frechet_distance_in_components(moved, reference, metrics.fit_components(reference, components))
        assert found == pytest.approx(expected, rel=1e-5)
    few, others = draw.normal(size=(5, 40)), draw.normal(size=(9, 40))  # at most four components
    axes = np.linalg.svd(few - few.mean(axis=0), full_matrices=False)[2][:4].T
    expected = metrics.frechet_distance(others @ axes, few @ axes)
    assert metrics.frechet_distance_in_components(others, few) == pytest.approx(expected, rel=1e-6)


def kernel(x, y):
    return (float(x @ y) / len(x) + 1) ** 3


def kernel_distance_by_loops(features, reference):
    pairs = [[kernel(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j] for rows in (features, reference)]
    return np.mean(pairs[0]) + np.mean(pairs[1]) - 2 * np.mean([kernel(a, b) for a in features for b in reference])


def test_the_kernel_distance_and_its_jackknife_are_those_of_loops_over_all_pairs(monkeypatch):
    features, reference = np.random.default_rng(0).normal(size=(7, 3)), np.random.default_rng(1).normal(0.5, 1, (9, 3))
    expected = kernel_distance_by_loops(features, reference)
    one_less = [
        [kernel_distance_by_loops(np.delete(features, row, axis=0), reference) for row in range(7)],
        [kernel_distance_by_loops(features, np.delete(reference, row, axis=0)) for row in range(9)],
    ]
    variance = sum((len(values) - 1) / len(values) * np.square(values - np.mean(values)).sum() for values in one_less)
    for _ in range(2):
        found = metrics.kernel_distance(features, reference)
        assert found == (pytest.approx(expected, rel=1e-9), pytest.approx(np.sqrt(variance), rel=1e-9))
        use_small_blocks(monkeypatch)


def test_the_kernel_distance_is_unbiased():
    """Over all ways to divide six points into two halves its mean is 0, and the points of a half need not be like those of the other."""
    points = np.random.default_rng(0).normal(size=(6, 2))
    halves = [list(half) for half in itertools.combinations(range(6), 3)]
    values = [metrics.kernel_distance(points[half], np.delete(points, half, axis=0)).value for half in halves]
    assert np.mean(values) == pytest.approx(0, abs=1e-12) and min(values) < -0.01


def paired_distance_by_loops(features, reference):
    pairs = list(itertools.permutations(range(len(features)), 2))
    x, y = features, reference
    return np.mean([kernel(x[i], x[j]) + kernel(y[i], y[j]) - kernel(x[i], y[j]) - kernel(x[j], y[i]) for i, j in pairs])


def test_the_kernel_distance_of_pairs_leaves_out_each_row_with_its_own(monkeypatch):
    reference = np.random.default_rng(0).normal(size=(7, 3))
    features = reference + np.random.default_rng(1).normal(0.5, 0.3, (7, 3))
    one_less = [paired_distance_by_loops(np.delete(features, row, axis=0), np.delete(reference, row, axis=0)) for row in range(7)]
    error = np.sqrt(6 / 7 * np.square(one_less - np.mean(one_less)).sum())
    for _ in range(2):
        found = metrics.kernel_distance(features, reference, paired=True)
        assert found == (pytest.approx(paired_distance_by_loops(features, reference), rel=1e-9), pytest.approx(error, rel=1e-9))
        use_small_blocks(monkeypatch)
    with pytest.raises(ValueError, match="7 rows of features and 6 of the reference; paired"):
        metrics.kernel_distance(features, reference[:6], paired=True)


def test_pairs_that_are_alike_do_not_make_the_kernel_distance_of_equal_distributions_negative():
    draw = np.random.default_rng(0)
    points = [draw.normal(size=(30, 4)) for _ in range(200)]
    pairs = [(rows, 0.8 * rows + 0.6 * draw.normal(size=(30, 4))) for rows in points]
    found, plain = ([metrics.kernel_distance(x, y, paired).value for x, y in pairs] for paired in (True, False))
    spread = np.std(found) / np.sqrt(200)
    assert abs(np.mean(found)) < 2 * spread and np.mean(plain) < -5 * spread
    moved = [metrics.kernel_distance(x, y + 1, paired=True) for x, y in pairs]  # where the two are equal, the jackknife is too large
    assert np.mean([one.standard_error for one in moved]) == pytest.approx(np.std([one.value for one in moved]), rel=0.15)


def test_the_standard_error_of_the_kernel_distance_is_the_spread_over_draws():
    draw = np.random.default_rng(0)
    found = [metrics.kernel_distance(draw.normal(size=(40, 4)), draw.normal(0.7, 1, (60, 4))) for _ in range(200)]
    spread = np.std([distance.value for distance in found])
    assert np.mean([distance.standard_error for distance in found]) == pytest.approx(spread, rel=0.15)


def test_nearest_distances_and_the_memorisation_ratio_of_known_points():
    points = np.array([[0.0], [1], [3], [7]])
    assert metrics.nearest_distances(points, points, num_neighbours=2).tolist() == [1, 1, 2, 4]
    assert metrics.nearest_distances(points, points, num_neighbours=2, among_themselves=True).tolist() == [3, 2, 3, 6]
    draw = np.random.default_rng(0)
    training, held_out, new = draw.uniform(-1, 1, (300, 48)), *draw.uniform(-1, 1, (2, 80, 48))
    step = draw.normal(size=(100, 48))
    step *= np.median(metrics.nearest_distances(held_out, training)) / np.linalg.norm(step, axis=1, keepdims=True)
    assert metrics.memorisation_ratio(training[:100] + 0.25 * step, held_out, training) == pytest.approx(0.25, rel=1e-4)
    assert metrics.memorisation_ratio(new, held_out, training) == pytest.approx(1, abs=0.05)


GOOD = np.random.default_rng(0).normal(size=(8, 3))
NAN = np.where(np.arange(24).reshape(8, 3) == 5, np.nan, GOOD)
IMAGE = np.ones((1, 8, 8, 3))


@pytest.mark.parametrize(
    ("metric", "arguments", "message"),
    [
        (metrics.psnr, (np.zeros((2, 4)), np.zeros((2, 5))), r"images have shape \(2, 4\) and reconstructions \(2, 5\)"),
        (metrics.psnr, (np.zeros((0, 4)), np.zeros((0, 4))), r"images has 0 row\(s\); at least 1"),
        (metrics.ssim, (np.zeros((2, 10, 16, 3)), np.zeros((2, 10, 16, 3))), "at least 11 pixels"),
        (metrics.laplacian_variance, (np.zeros((2, 8, 8, 2)),), r"shape \(2, 8, 8, 2\)"),
        (metrics.relative_sharpness, (IMAGE, np.ones((1, 9, 9, 3))), "one size only"),
        (metrics.relative_sharpness, (IMAGE, IMAGE), "no edges"),
        (metrics.relative_sharpness, (IMAGE[:0], IMAGE), r"images has 0 row\(s\)"),
        (metrics.frechet_distance, (GOOD, GOOD[:, :2]), r"features \(n, 3\), other_features \(n, 2\)"),
        (metrics.frechet_distance, (np.zeros(5), np.zeros(5)), "at least one entry"),
        (metrics.frechet_distance, (GOOD, NAN), "other_features holds NaN or infinity in 1 of 8 rows"),
        (metrics.frechet_distance, (GOOD[:1], GOOD), r"features has 1 row\(s\); at least 2"),
        (metrics.frechet_distance_in_components, (GOOD, GOOD[:, :2]), r"reference \(n, 2\)"),
        (metrics.kernel_distance, (GOOD, GOOD[:2]), r"reference has 2 row\(s\); at least 3"),
        (metrics.kernel_distance, (NAN, GOOD), "features holds NaN or infinity in 1 of 8 rows"),
        (metrics.precision_recall, (GOOD, GOOD[:3]), r"samples has 3 row\(s\); at least 4"),
        (metrics.precision_recall, (GOOD, GOOD, 0), "num_neighbours is 0; give at least 1"),
        (metrics.precision_recall, (np.inf * GOOD, GOOD), "features holds NaN or infinity in 8 of 8 rows"),
        (metrics.memorisation_ratio, (GOOD, GOOD[:, :2], GOOD), r"held_out \(n, 2\)"),
        (metrics.memorisation_ratio, (GOOD, GOOD, GOOD), "they are training images"),
        (metrics.memorisation_ratio, (GOOD[:0], GOOD, GOOD), r"samples has 0 row\(s\)"),
        (metrics.nearest_distances, (GOOD, GOOD, 8, True), "at least 9"),
    ],
)
def test_bad_arguments_are_refused(metric, arguments, message):
    with pytest.raises(ValueError, match=message):
        metric(*arguments)


class OnlyInParts:
    """Images that can be read ten at a time and not as a whole."""

    def __init__(self, images):
        self._images, self.shape, self.ndim, self.dtype = images, images.shape, images.ndim, images.dtype

    def __len__(self):
        return len(self._images)

    def __getitem__(self, rows):
        part = self._images[rows]
        assert len(part) <= 10
        return part


def test_images_are_read_in_blocks(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (30, 12, 12, 3)).astype(np.uint8)
    monkeypatch.setattr(metrics, "BLOCK_BYTES", 5 * 8 * 12 * 12 * 3)
    parts = OnlyInParts(images)
    metrics.psnr(parts, parts)
    metrics.ssim(parts, parts)
    metrics.relative_sharpness(parts, parts)
    five = 5 * 4 * 12 * 12 * 3  # bytes of five float32 images
    for setting in ("BLOCK_BYTES", "QUERY_BYTES"):
        monkeypatch.setattr(neighbours, setting, five)
    monkeypatch.setattr(neighbours, "FLOAT64_ROWS", 10)
    metrics.frechet_distance(parts, parts)
    metrics.kernel_distance(parts, parts)
    metrics.precision_recall(parts, parts)
    metrics.memorisation_ratio(parts, OnlyInParts(255 - images), parts)
