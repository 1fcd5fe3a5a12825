"""Principal components and the codes made from them, against numpy's singular value decomposition."""

import re
from functools import partial

import numpy as np
import pytest

from glo_lib.codes import pca as pca_module
from glo_lib.codes.pca import fit_pca, pca_codes
from glo_lib.images.pixels import flat_blocks


def smooth_images(count=60, size=6, seed=0):
    """Return uint8 images that differ mostly in eight directions of decreasing strength, as photographs do."""
    draw = np.random.default_rng(seed)
    entries = size * size * 3
    directions = np.linalg.qr(draw.standard_normal((entries, 8)))[0].T
    strengths = 2.5 * 0.75 ** np.arange(8)
    flat = draw.standard_normal((count, 8)) * strengths @ directions + 0.05 * draw.standard_normal((count, entries))
    return np.uint8(np.clip(flat.reshape(count, size, size, 3) * 127.5 + 127.5, 0, 255))


def as_floats(images):
    return images.astype(np.float32) / 127.5 - 1


def exact_pca(images, num_dims):
    """Mean, components and standard deviations by numpy's SVD in double precision."""
    flat = as_floats(images).reshape(len(images), -1).astype(np.float64)
    mean = flat.mean(axis=0)
    _, singular, components = np.linalg.svd(flat - mean, full_matrices=False)
    return mean, components[:num_dims], singular[:num_dims] / np.sqrt(len(images) - 1)


@pytest.mark.parametrize(("count", "num_dims"), [(200, 6), (30, 29), (120, 108)])
def test_pca_equals_the_singular_value_decomposition(count, num_dims):
    images = smooth_images(count)
    mean, components, scales = exact_pca(images, num_dims)
    pca = fit_pca(images, num_dims)
    np.testing.assert_allclose(pca.mean, mean, atol=1e-6)
    np.testing.assert_allclose(pca.scales, scales, rtol=1e-3)
    nearest = (as_floats(images).reshape(count, -1) - mean) @ components.T @ components + mean
    np.testing.assert_allclose(pca.inverse_transform(pca.transform(images)), nearest, atol=2e-3)
    cosines = np.abs(np.sum(pca.components * components, axis=1))
    np.testing.assert_allclose(cosines[:6], 1, atol=1e-5)  # the variances of the further components, noise, are too similar
    np.testing.assert_allclose(pca.components @ pca.components.T, np.eye(num_dims), atol=1e-5)
    assert np.all(np.diff(pca.scales) <= 0)
    assert pca.components.dtype == pca.scales.dtype == pca.mean.dtype == np.float32


@pytest.mark.parametrize(("power", "loss"), [(0.5, 1e-5), (0.0, 5e-3)])
def test_pca_captures_nearly_all_the_variance_that_so_many_components_can(power, loss):
    """The standard deviations of the data fall slowly, or not at all: white noise is the hardest case because it has no gap."""
    draw = np.random.default_rng(4)
    strengths = np.arange(1, 109) ** -power
    axes = np.linalg.qr(draw.standard_normal((108, 108)))[0]
    flat = (0.1 * draw.standard_normal((150, 108)) * strengths @ axes).astype(np.float32)
    best = np.sum(np.linalg.svd(flat - flat.mean(axis=0), compute_uv=False)[:5] ** 2) / 149
    captured = [np.sum(fit_pca(flat.reshape(150, 6, 6, 3), 5, **passes).scales ** 2) for passes in ({}, {"power_iterations": 0})]
    assert (1 - loss) * best < captured[0] <= best * (1 + 1e-5)
    assert captured[1] < captured[0]


def test_signs_are_fixed_by_the_largest_entry_whatever_the_seed_and_the_sign_of_the_data():
    images = as_floats(smooth_images(80))
    components = fit_pca(images, 6).components
    assert np.all(components.max(axis=1) >= -components.min(axis=1))
    np.testing.assert_allclose(fit_pca(-images, 6).components, components, atol=1e-3)
    np.testing.assert_allclose(fit_pca(images, 6, seed=1).components, components, atol=1e-3)


def test_bytes_floats_and_memory_mapped_images_have_the_same_components_and_codes(tmp_path):
    images = smooth_images(50)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    pca = fit_pca(images, 6)
    for others in (as_floats(images), mapped):
        assert all(np.array_equal(ours, theirs) for ours, theirs in zip(fit_pca(others, 6), pca, strict=True))
        assert np.array_equal(pca_codes(others, pca), pca_codes(images, pca))


@pytest.mark.parametrize("rows", [1, 7, 50])
def test_pca_does_not_depend_on_the_size_of_a_block(rows, monkeypatch):
    """Neither on whether the images are converted once or at every pass."""
    images = smooth_images(50)
    whole = fit_pca(images, 6)
    codes = pca_codes(images, whole)
    monkeypatch.setattr(pca_module, "flat_blocks", partial(flat_blocks, block_bytes=rows * 4 * 6 * 6 * 3))
    monkeypatch.setattr(pca_module, "MAX_CONVERTED_BYTES", 0)
    parts = fit_pca(images, 6)
    for ours, theirs in zip(parts, whole, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    np.testing.assert_allclose(pca_codes(images, parts), codes, atol=1e-3)


@pytest.mark.parametrize("max_bytes", [0, 2**20])
def test_of_many_images_only_every_nth_is_used(monkeypatch, max_bytes):
    images = smooth_images(50)
    expected = fit_pca(images[::3], 6)
    monkeypatch.setattr(pca_module, "MAX_PCA_IMAGES", 20)
    monkeypatch.setattr(pca_module, "MAX_CONVERTED_BYTES", max_bytes)
    for ours, theirs in zip(fit_pca(images, 6), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize(("count", "size", "num_dims", "most"), [(10, 6, 10, 9), (10, 6, 0, 9), (50, 2, 13, 12)])
def test_more_components_than_the_images_can_have_are_refused(count, size, num_dims, most):
    message = f"num_dims is {num_dims}; {count} images of {size * size * 3} entries have 1 to {most} principal components"
    with pytest.raises(ValueError, match=re.escape(message)):
        fit_pca(np.zeros((count, size, size, 3), np.uint8), num_dims)


@pytest.mark.parametrize(("arguments", "whitening"), [({}, 0.5), ({"whitening": 0}, 0), ({"whitening": 1}, 1)])
def test_codes_are_coefficients_over_a_power_of_their_deviation_with_a_mean_variance_of_one(arguments, whitening):
    images = smooth_images(80)
    mean, components, scales = exact_pca(images, 6)
    expected = (as_floats(images).reshape(80, -1) - mean) @ components.T / scales**whitening
    expected /= np.sqrt(np.mean(expected.var(axis=0, ddof=1)))
    ours = pca_codes(images, fit_pca(images, 6), **arguments)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected * np.sign(np.sum(ours * expected, axis=0)), atol=5e-3)


@pytest.mark.parametrize("value", [np.uint8(77), np.float32(-1)])
def test_constant_images_have_zero_codes(value):
    images = np.full((30, 4, 4, 3), value)
    assert np.all(pca_codes(images, fit_pca(images, 5)) == 0)


@pytest.mark.parametrize(("num_dims", "whitening"), [(10, 0.5), (47, 0), (47, 1)])
def test_components_without_variance_have_zero_codes_and_do_not_change_the_others(num_dims, whitening):
    """Sixty copies of four images have three components with variance; the variance of some others is rounded to below zero."""
    images = smooth_images(4, size=4)[np.arange(60) % 4]
    pca = fit_pca(images, num_dims)
    assert np.all(pca.scales[3:] < 1e-5 * pca.scales[0])
    np.testing.assert_allclose(pca.components @ pca.components.T, np.eye(num_dims), atol=1e-5)
    codes = pca_codes(images, pca, whitening)
    assert np.all(codes[:, 3:] == 0)
    np.testing.assert_allclose(codes[:, :3], pca_codes(images, fit_pca(images, 3), whitening), atol=1e-3)
