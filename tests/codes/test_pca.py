"""Principal components and the codes made of them, against numpy's singular value decomposition."""

import re

import numpy as np
import pytest

from glo_lib.codes.pca import fit_pca, pca_codes
from glo_lib.evaluation.metrics import psnr
from glo_lib.images.pixels import flat_blocks


def smooth_images(count=60, size=6, seed=0):
    """uint8 images that differ mostly in eight directions of falling strength, as photographs do."""
    draw = np.random.default_rng(seed)
    entries = size * size * 3
    directions = np.linalg.qr(draw.standard_normal((entries, 8)))[0].T
    strengths = 2.5 * 0.75 ** np.arange(8)
    flat = draw.standard_normal((count, 8)) * strengths @ directions + 0.05 * draw.standard_normal((count, entries))
    return np.uint8(np.clip(flat.reshape(count, size, size, 3) * 127.5 + 127.5, 0, 255))


def as_floats(images):
    return images.astype(np.float32) / 127.5 - 1


# ------------------------------------------------------------------------------------------------ principal components


def exact_pca(images, num_dims):
    """Mean, components and standard deviations by numpy's SVD in double precision."""
    flat = as_floats(images).reshape(len(images), -1).astype(np.float64)
    mean = flat.mean(axis=0)
    _, singular, components = np.linalg.svd(flat - mean, full_matrices=False)
    return mean, components[:num_dims], singular[:num_dims] / np.sqrt(len(images) - 1)


def subspace_error(ours, theirs):
    """Largest distance of a component from the span of the others' components."""
    return np.linalg.norm(ours - ours @ theirs.T @ theirs, axis=1).max()


@pytest.mark.parametrize(("count", "num_dims"), [(60, 5), (60, 8), (30, 29), (120, 108)])
def test_pca_equals_the_singular_value_decomposition(count, num_dims):
    images = smooth_images(count)
    mean, components, scales = exact_pca(images, num_dims)
    pca = fit_pca(images, num_dims)
    np.testing.assert_allclose(pca.mean, mean, atol=1e-6)
    np.testing.assert_allclose(pca.scales, scales, rtol=1e-3)
    assert subspace_error(pca.components, components) < 1e-3


def test_pca_finds_each_component_and_not_only_their_span():
    images = smooth_images(200)
    _, components, _ = exact_pca(images, 6)
    np.testing.assert_allclose(np.abs(np.sum(fit_pca(images, 6).components * components, axis=1)), 1, atol=1e-5)


def test_pca_reconstruction_has_the_psnr_of_the_best_linear_one():
    images = smooth_images(100)
    mean, components, _ = exact_pca(images, 5)
    flat = as_floats(images).reshape(len(images), -1)
    best = psnr(flat, (flat - mean) @ components.T @ components + mean)
    pca = fit_pca(images, 5)
    ours = psnr(flat, pca.inverse_transform(pca.transform(images)))
    assert 15 < best.mean() < 40
    np.testing.assert_allclose(ours, best, atol=1e-3)


def test_pca_of_images_within_as_many_dimensions_is_lossless():
    images = smooth_images(12)
    pca = fit_pca(images, 11)  # 12 images lie in 11 dimensions around their mean
    flat = as_floats(images).reshape(12, -1)
    np.testing.assert_allclose(pca.inverse_transform(pca.transform(images)), flat, atol=1e-4)


@pytest.mark.parametrize(("power", "loss"), [(1.0, 1e-5), (0.5, 1e-5), (0.0, 5e-3)])
def test_pca_captures_nearly_all_the_variance_that_so_many_components_can(power, loss):
    """Standard deviations that fall like 1 / k, as in photographs, to not at all, the hardest case: noise has no gap to find."""
    draw = np.random.default_rng(4)
    strengths = np.arange(1, 109) ** -power
    axes = np.linalg.qr(draw.standard_normal((108, 108)))[0]
    flat = (0.1 * draw.standard_normal((150, 108)) * strengths @ axes).astype(np.float32)
    best = np.sum(np.linalg.svd(flat - flat.mean(axis=0), compute_uv=False)[:5] ** 2) / 149
    captured = np.sum(fit_pca(flat.reshape(150, 6, 6, 3), 5).scales.astype(np.float64) ** 2)
    assert (1 - loss) * best < captured <= best * (1 + 1e-5)


def test_power_iterations_bring_the_components_nearer_to_the_exact_ones():
    images = np.random.default_rng(4).integers(0, 256, (150, 6, 6, 3)).astype(np.uint8)
    captured = [np.sum(fit_pca(images, 5, power_iterations=passes).scales ** 2) for passes in (0, 2, 8)]
    assert captured[0] < captured[1] < captured[2]


def test_components_are_orthonormal_and_fall_in_variance():
    pca = fit_pca(smooth_images(80), 20)
    np.testing.assert_allclose(pca.components @ pca.components.T, np.eye(20), atol=1e-5)
    assert np.all(np.diff(pca.scales) <= 0)
    assert pca.components.dtype == pca.scales.dtype == pca.mean.dtype == np.float32


def test_largest_entry_of_each_component_is_positive():
    components = fit_pca(smooth_images(80), 20).components
    assert np.all(components.max(axis=1) >= -components.min(axis=1))


def test_sign_does_not_depend_on_the_sign_of_the_data():
    """Mirrored grey values have the same components; without the convention their signs would be a matter of chance."""
    images = as_floats(smooth_images(80))
    np.testing.assert_allclose(fit_pca(images, 6).components, fit_pca(-images, 6).components, atol=1e-3)


@pytest.mark.parametrize("seed", [1, 2])
def test_seed_of_the_random_start_does_not_show_in_the_result(seed):
    images = smooth_images(80)
    np.testing.assert_allclose(fit_pca(images, 6, seed=seed).components, fit_pca(images, 6).components, atol=1e-3)


def test_pca_is_the_same_for_bytes_and_for_floats():
    images = smooth_images(50)
    of_bytes, of_floats = fit_pca(images, 6), fit_pca(as_floats(images), 6)
    for ours, theirs in zip(of_bytes, of_floats, strict=True):
        assert np.array_equal(ours, theirs)
    assert np.array_equal(pca_codes(images, of_bytes), pca_codes(as_floats(images), of_bytes))


def test_pca_takes_memory_mapped_images(tmp_path):
    images = smooth_images(50)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    pca = fit_pca(mapped, 6)
    assert np.array_equal(pca.components, fit_pca(images, 6).components)
    assert np.array_equal(pca_codes(mapped, pca), pca_codes(images, pca))
    assert type(pca_codes(mapped, pca)) is np.ndarray


@pytest.mark.parametrize("rows", [1, 7, 49, 50, 51])
def test_pca_does_not_depend_on_where_blocks_end(rows, monkeypatch):
    images = smooth_images(50)
    whole = fit_pca(images, 6)
    monkeypatch.setattr(flat_blocks, "__defaults__", (1, rows * 4 * 6 * 6 * 3))
    assert len(next(flat_blocks(images))) == min(rows, 50)
    parts = fit_pca(images, 6)
    for ours, theirs in zip(parts, whole, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    np.testing.assert_allclose(pca_codes(images, parts), pca_codes(images, whole), atol=1e-3)


def test_above_the_limit_rows_spread_evenly_over_the_set_are_used(monkeypatch):
    images = smooth_images(50)
    monkeypatch.setattr("glo_lib.codes.pca.PCA_IMAGES", 20)
    for ours, theirs in zip(fit_pca(images, 6), fit_pca(images[::3], 6), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("count", "size", "num_dims", "most"), [(10, 6, 10, 9), (10, 6, 0, 9), (10, 6, -1, 9), (50, 2, 13, 12), (1, 6, 1, 0)]
)
def test_more_components_than_the_images_can_have_are_refused(count, size, num_dims, most):
    message = f"num_dims is {num_dims}; {count} images of {size * size * 3} entries have 1 to {most} principal components"
    with pytest.raises(ValueError, match=re.escape(message)):
        fit_pca(np.zeros((count, size, size, 3), np.uint8), num_dims)


# ------------------------------------------------------------------------------------------------------ initial codes


def test_whitened_pca_codes_have_unit_variance_and_zero_mean_in_each_column():
    images = smooth_images(80)
    codes = pca_codes(images, fit_pca(images, 20), whitening=1)
    assert codes.shape == (80, 20) and codes.dtype == np.float32
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(codes.std(axis=0, ddof=1), 1, rtol=1e-4)
    np.testing.assert_allclose(np.corrcoef(codes.T), np.eye(20), atol=1e-2)


@pytest.mark.parametrize("whitening", [0, 0.5, 1])
def test_pca_codes_are_coefficients_over_a_power_of_their_deviation_with_unit_variance_on_average(whitening):
    images = smooth_images(80)
    mean, components, scales = exact_pca(images, 6)
    expected = (as_floats(images).reshape(80, -1) - mean) @ components.T / scales**whitening
    expected /= np.sqrt(np.mean(expected.var(axis=0, ddof=1)))
    ours = pca_codes(images, fit_pca(images, 6), whitening)
    signs = np.sign(np.sum(ours * expected, axis=0))
    np.testing.assert_allclose(ours, expected * signs, atol=5e-3)


def test_by_default_the_variance_of_codes_falls_like_the_deviation_of_the_images():
    images = smooth_images(80)
    pca = fit_pca(images, 20)
    np.testing.assert_allclose(pca_codes(images, pca).var(axis=0, ddof=1), pca.scales / pca.scales.mean(), rtol=1e-3)


@pytest.mark.parametrize("whitening", [0, 0.5, 1])
def test_whitening_keeps_that_much_of_the_order_of_importance(whitening):
    images = smooth_images(80)
    pca = fit_pca(images, 6)
    deviations = pca_codes(images, pca, whitening).std(axis=0, ddof=1)
    np.testing.assert_allclose(deviations / deviations[0], (pca.scales / pca.scales[0]) ** (1 - whitening), rtol=1e-3)
    assert np.mean(deviations**2) == pytest.approx(1, rel=1e-3)


def test_codes_of_some_images_are_rows_of_the_codes_of_all():
    """What lets the table be filled block by block."""
    images = smooth_images(80)
    pca = fit_pca(images, 6)
    np.testing.assert_allclose(pca_codes(images[30:40], pca), pca_codes(images, pca)[30:40], atol=1e-5)


@pytest.mark.parametrize("value", [np.uint8(0), np.uint8(77), np.float32(0.1), np.float32(-1)])
def test_constant_images_have_zero_codes(value):
    images = np.full((30, 4, 4, 3), value)
    pca = fit_pca(images, 5)
    assert np.all(pca.scales == 0)
    assert np.all(pca_codes(images, pca) == 0)


@pytest.mark.parametrize("whitening", [0, 0.5, 1])
@pytest.mark.parametrize("num_dims", [10, 47])
def test_components_without_variance_have_zero_codes_and_leave_the_others_alone(num_dims, whitening):
    """Sixty copies of four images: three components with variance, and the others without, some of which round to below zero."""
    images = smooth_images(4, size=4)[np.arange(60) % 4]
    pca = fit_pca(images, num_dims)
    assert np.all(pca.scales[3:] < 1e-5 * pca.scales[0])
    np.testing.assert_allclose(pca.components @ pca.components.T, np.eye(num_dims), atol=1e-5)
    codes = pca_codes(images, pca, whitening)
    assert np.all(codes[:, 3:] == 0)
    np.testing.assert_allclose(codes[:, :3], pca_codes(images, fit_pca(images, 3), whitening), atol=1e-3)
