"""The table of codes: principal components against numpy's SVD, and the row-wise Adam against TensorFlow's own and against hand values."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glo_lib import codes as latent_codes
from glo_lib.backend import tf
from glo_lib.codes import RowwiseAdam, blocks, fit_pca, normal_codes, pca_codes
from glo_lib.metrics import psnr
from glo_lib.projection import project

v1 = tf.compat.v1


# ------------------------------------------------------------------------------------------------------------- blocks


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


def test_blocks_map_bytes_to_the_range_from_minus_one_to_one():
    images = np.uint8([[0, 255], [51, 204]]).reshape(2, 1, 2, 1)
    (block,) = blocks(images)
    # 51 / 127.5 = 0.4, 204 / 127.5 = 1.6.
    np.testing.assert_allclose(block, [[-1, 1], [-0.6, 0.6]], atol=1e-6)
    assert block.dtype == np.float32
    assert block[0].tolist() == [-1, 1]  # the ends exactly


def test_blocks_leave_float_images_as_they_are():
    images = np.float32([[-1, 0.5], [0.25, 1]]).reshape(2, 2, 1, 1)
    (block,) = blocks(images)
    assert np.array_equal(block, images.reshape(2, 2))


@settings(deadline=None, max_examples=40)
@given(count=st.integers(1, 20), rows=st.integers(1, 25))
def test_blocks_put_together_are_all_images_in_order_whatever_their_size(count, rows):
    images = smooth_images(20)[:count]
    parts = list(blocks(images, block_bytes=rows * 4 * 6 * 6 * 3))
    assert [len(part) for part in parts[:-1]] == [rows] * (len(parts) - 1)
    assert 1 <= len(parts[-1]) <= rows
    assert np.array_equal(np.concatenate(parts), as_floats(images).reshape(count, -1))


def test_blocks_hold_at_least_one_image_when_an_image_is_larger_than_a_block():
    assert [len(part) for part in blocks(smooth_images(3), block_bytes=1)] == [1, 1, 1]


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
    monkeypatch.setattr(blocks, "__defaults__", (1, rows * 4 * 6 * 6 * 3))
    assert len(next(blocks(images))) == min(rows, 50)
    parts = fit_pca(images, 6)
    for ours, theirs in zip(parts, whole, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    np.testing.assert_allclose(pca_codes(images, parts), pca_codes(images, whole), atol=1e-3)


def test_above_the_limit_rows_spread_evenly_over_the_set_are_used(monkeypatch):
    images = smooth_images(50)
    monkeypatch.setattr(latent_codes, "PCA_IMAGES", 20)
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


def test_normal_codes_are_set_by_their_seed():
    codes = normal_codes(50, 4, seed=3)
    assert codes.shape == (50, 4) and codes.dtype == np.float32
    assert np.array_equal(codes, normal_codes(50, 4, seed=3))
    assert not np.array_equal(codes, normal_codes(50, 4, seed=4))
    assert not np.array_equal(normal_codes(50, 4, seed=[3, 0]), normal_codes(50, 4, seed=[3, 50]))


def test_normal_codes_are_unit_gaussian():
    codes = normal_codes(20_000, 5)  # standard error of the means 0.007, of the variances 0.01
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=0.035)
    np.testing.assert_allclose(np.cov(codes.T), np.eye(5), atol=0.05)


# ------------------------------------------------------------------------------------------------------- row-wise Adam


class Table:
    """A table of codes, an optimizer, and a step whose rows and gradient of each row are fed."""

    def __init__(self, optimizer, start):
        self.graph = tf.Graph()
        with self.graph.as_default():
            self.codes = v1.get_variable("codes", initializer=tf.constant(start, tf.float32), use_resource=True)
            self.rows = v1.placeholder(tf.int64, [None])
            self.gradients = v1.placeholder(tf.float32, [None, self.codes.shape[1]])
            self.optimizer = optimizer()
            # The derivative of sum(g * z) by z is g.
            self.step = self.optimizer.minimize(tf.reduce_sum(self.gradients * tf.gather(self.codes, self.rows)))
            self.session = v1.Session()
            self.session.run(v1.global_variables_initializer())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.session.close()

    def visit(self, rows, gradients):
        """Take a step; return the codes after it."""
        self.session.run(self.step, {self.rows: rows, self.gradients: gradients})
        return self.session.run(self.codes)

    def everything(self):
        """The codes and every slot, by name."""
        slots = {name: self.optimizer.get_slot(self.codes, name) for name in self.optimizer.get_slot_names()}
        return self.session.run({"codes": self.codes, **slots})


def some_table(rows=6, dims=3, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, dims)).astype(np.float32)


def test_rowwise_adam_equals_tensorflows_adam_when_every_row_is_in_every_batch():
    hyper = {"learning_rate": 0.05, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3}
    draw = np.random.default_rng(1)
    with (
        Table(lambda: RowwiseAdam(**hyper), some_table()) as ours,
        Table(lambda: v1.train.AdamOptimizer(**hyper), some_table()) as theirs,
    ):
        for _ in range(100):
            rows, gradients = draw.permutation(6), draw.standard_normal((6, 3)) * 10 ** draw.uniform(-3, 1)
            np.testing.assert_allclose(ours.visit(rows, gradients), theirs.visit(rows, gradients), atol=1e-6)
        assert np.abs(ours.everything()["codes"] - some_table()).max() > 0.1


def test_defaults_are_those_of_adam_but_for_the_rate_of_codes():
    draw = np.random.default_rng(1)
    with (
        Table(RowwiseAdam, some_table()) as ours,
        Table(lambda: v1.train.AdamOptimizer(learning_rate=0.1), some_table()) as theirs,
    ):
        for _ in range(20):
            gradients = draw.standard_normal((6, 3)) * 1e-6  # small enough for epsilon to show
            np.testing.assert_allclose(ours.visit(range(6), gradients), theirs.visit(range(6), gradients), atol=1e-5)


def test_each_row_is_an_adam_of_its_own_that_counts_its_visits():
    """Rows visited now and then do what a table of one row does, that sees those gradients and no others."""
    draw = np.random.default_rng(2)
    visits = [(draw.choice(5, size=2, replace=False), draw.standard_normal((2, 3))) for _ in range(30)]
    with Table(RowwiseAdam, some_table(5)) as table:
        for rows, gradients in visits:
            table.visit(rows, gradients)
        together = table.everything()
    for row in range(5):
        own = [gradients[list(rows).index(row)] for rows, gradients in visits if row in rows]
        with Table(lambda: v1.train.AdamOptimizer(learning_rate=0.1), some_table(5)[row : row + 1]) as alone:
            for gradient in own:
                alone.visit([0], gradient[None])
            np.testing.assert_allclose(together["codes"][row], alone.everything()["codes"][0], atol=1e-5)
        assert together["visits"][row, 0] == len(own)


def test_two_visits_worked_out_by_hand():
    # Rate 0.1, gradients 1 then 2. m: 0.1, 0.09 + 0.2 = 0.29; v: 0.001, 0.000999 + 0.004 = 0.004999.
    # Corrected: m 0.1 / 0.1 = 1, 0.29 / 0.19; v 0.001 / 0.001 = 1, 0.004999 / 0.001999.
    first = 1 - 0.1
    second = first - 0.1 * (0.29 / 0.19) / np.sqrt(0.004999 / 0.001999)
    with Table(RowwiseAdam, [[1.0], [1.0]]) as table:
        np.testing.assert_allclose(table.visit([1], [[1.0]]), [[1], [first]], atol=1e-5)
        np.testing.assert_allclose(table.visit([1], [[2.0]]), [[1], [second]], atol=1e-5)


def test_rows_that_are_not_in_the_batch_stay_bit_identical_and_so_do_their_slots():
    draw = np.random.default_rng(3)
    with Table(RowwiseAdam, some_table(6)) as table:
        table.visit(range(6), draw.standard_normal((6, 3)))  # every row has moments that would go on moving it
        before = table.everything()
        for _ in range(5):
            table.visit([1, 4], draw.standard_normal((2, 3)))
        after = table.everything()
    absent, visited = [0, 2, 3, 5], [1, 4]
    assert set(before) == {"codes", "m", "v", "visits"}
    for name in before:
        assert before[name][absent].tobytes() == after[name][absent].tobytes(), name
        assert np.all(before[name][visited] != after[name][visited]), name


def test_row_twice_in_a_batch_is_visited_once_with_the_sum_of_its_gradients():
    draw = np.random.default_rng(4)
    with Table(RowwiseAdam, some_table()) as twice, Table(RowwiseAdam, some_table()) as once:
        for _ in range(4):
            gradients = draw.standard_normal((4, 3))
            twice.visit([2, 0, 2, 2], gradients)
            once.visit([0, 2], [gradients[1], gradients[0] + gradients[2] + gradients[3]])
        one, other = twice.everything(), once.everything()
    for name in one:
        np.testing.assert_allclose(one[name], other[name], atol=1e-5)
    assert one["visits"][:, 0].tolist() == [4, 0, 4, 0, 0, 0]


def test_first_step_of_a_row_visited_late_has_the_size_of_the_learning_rate():
    """With one count for the whole table, the correction of the start would be over, and the step too short."""
    with Table(lambda: RowwiseAdam(learning_rate=0.25), np.zeros((2, 2))) as table:
        for _ in range(50):
            table.visit([0], [[1.0, 1.0]])
        np.testing.assert_allclose(table.visit([1], [[0.3, -70.0]])[1], [-0.25, 0.25], rtol=1e-4)


def test_learning_rate_may_be_a_tensor_that_changes():
    with tf.Graph().as_default(), v1.Session() as session:
        rate = v1.placeholder(tf.float32, [])
        codes = v1.get_variable("codes", initializer=tf.zeros([2, 1]))
        step = RowwiseAdam(rate).minimize(tf.reduce_sum(tf.gather(codes, [1])))
        session.run(v1.global_variables_initializer())
        # With a constant gradient the corrected moments are 1: every step is as long as its rate.
        for value, expected in ((0.5, -0.5), (0.25, -0.75), (0.0, -0.75)):
            session.run(step, {rate: value})
            np.testing.assert_allclose(session.run(codes), [[0], [expected]], atol=1e-5)


def test_rows_are_projected_after_the_step_and_no_others():
    draw = np.random.default_rng(5)
    start = 3 * some_table()
    with (
        Table(lambda: RowwiseAdam(project=lambda rows: 2 * project(rows)), start) as projected,
        Table(RowwiseAdam, start) as free,
    ):
        gradients = draw.standard_normal((2, 3))
        codes, stepped = projected.visit([1, 4], gradients), free.visit([1, 4], gradients)
    expected = start.copy()
    expected[[1, 4]] = 2 * stepped[[1, 4]] / np.linalg.norm(stepped[[1, 4]], axis=1, keepdims=True)
    np.testing.assert_allclose(codes, expected, atol=1e-6)
    assert np.array_equal(codes[[0, 2, 3, 5]], start[[0, 2, 3, 5]])


def test_gathers_of_several_towers_are_one_step_with_their_gradients_added_up():
    start, draw = some_table(), np.random.default_rng(6)
    parts = [([0, 2], draw.standard_normal((2, 3))), ([2, 5], draw.standard_normal((2, 3)))]
    with tf.Graph().as_default(), v1.Session() as session:
        codes = v1.get_variable("codes", initializer=tf.constant(start))
        losses = [tf.reduce_sum(tf.gather(codes, rows) * tf.constant(gradients, tf.float32)) for rows, gradients in parts]
        step = RowwiseAdam().minimize(tf.add_n(losses) / 2)
        session.run(v1.global_variables_initializer())
        for _ in range(3):
            session.run(step)
        towers = session.run(codes)
    total = np.zeros((6, 3))
    for rows, gradients in parts:
        total[rows] += gradients / 2
    with Table(RowwiseAdam, start) as table:
        for _ in range(3):
            single = table.visit([0, 2, 5], total[[0, 2, 5]])
    np.testing.assert_allclose(towers, single, atol=1e-6)


def test_dense_gradient_visits_every_row():
    with tf.Graph().as_default(), v1.Session() as session:
        codes = v1.get_variable("codes", initializer=tf.ones([3, 2]))
        optimizer = RowwiseAdam(learning_rate=0.5)
        step = optimizer.minimize(tf.reduce_sum(codes * [[1.0, -2.0]]))
        session.run(v1.global_variables_initializer())
        session.run(step)
        np.testing.assert_allclose(session.run(codes), [[0.5, 1.5]] * 3, atol=1e-5)
        assert session.run(optimizer.get_slot(codes, "visits")).tolist() == [[1]] * 3


def operations_behind(operation):
    """Every operation that runs when that one does."""
    found, waiting = set(), [operation]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += [*one.control_inputs, *(tensor.op for tensor in one.inputs)]
    return found


@pytest.mark.parametrize("put_back", [None, project])
def test_no_operation_of_a_step_makes_anything_of_the_size_of_the_table(put_back):
    num_images = 1009
    with tf.Graph().as_default():
        codes = v1.get_variable("codes", [num_images, 7], use_resource=True)
        rows = v1.placeholder(tf.int64, [4])
        loss = tf.reduce_mean(tf.square(project(tf.gather(codes, rows)) - 1.0))
        step = RowwiseAdam(project=put_back).minimize(loss)
        behind = operations_behind(step)
        assert sum(operation.type == "ResourceScatterUpdate" for operation in behind) == 4  # codes, two moments, visits
        assert {operation.type for operation in behind}.isdisjoint({"ReadVariableOp", "AssignVariableOp"})
        large = [op.name for op in behind for output in op.outputs if num_images in (output.shape.as_list() if output.shape.rank else [])]
        assert large == []


def test_every_table_is_of_a_type_that_gpus_can_gather_from_and_scatter_to():
    """A table without such kernels is placed on the host, and takes the codes, with which it is colocated, along."""
    with Table(RowwiseAdam, some_table()) as table:
        types = {value.dtype.name for value in table.everything().values()}
    # Imported here: before glo_lib.backend, it would load TensorFlow without the settings made there.
    from tensorflow.python.framework import kernels

    for operation in ("ResourceGather", "ResourceScatterUpdate"):
        of_gpus = [kernel for kernel in kernels.get_registered_kernels_for_op(operation).kernel if kernel.device_type == "GPU"]
        if not of_gpus:
            pytest.skip("this TensorFlow was built without GPU kernels")
        supported = {
            tf.as_dtype(number).name
            for kernel in of_gpus
            for constraint in kernel.constraint
            if constraint.name == "dtype"
            for number in constraint.allowed_values.list.type
        }
        assert types <= supported, operation


# ------------------------------------------------------------------------------- GLO with a linear decoder is PCA


def test_glo_with_a_linear_decoder_reaches_the_error_of_pca():
    """Free codes, a matrix and a bias, mean squared error: no decoder of d dimensions can do better than d principal components."""
    num_images, entries, num_dims, batch = 64, 12, 3, 32
    draw = np.random.default_rng(0)
    points = draw.standard_normal((num_images, entries)) @ draw.standard_normal((entries, entries)) / 4 + draw.standard_normal(entries)
    best = np.sum(np.linalg.svd(points - points.mean(axis=0), compute_uv=False)[num_dims:] ** 2) / points.size

    with tf.Graph().as_default(), v1.Session() as session:
        data = tf.constant(points, tf.float32)
        codes = v1.get_variable("codes", initializer=tf.constant(normal_codes(num_images, num_dims)))
        matrix = v1.get_variable("matrix", initializer=tf.constant(0.1 * normal_codes(num_dims, entries, seed=1)))
        bias = v1.get_variable("bias", [entries], initializer=v1.zeros_initializer())
        rows, scale = v1.placeholder(tf.int64, [None]), v1.placeholder(tf.float32, [])

        def error(of_rows):
            reconstructions = tf.matmul(tf.gather(codes, of_rows), matrix) + bias
            return tf.reduce_mean(tf.square(tf.gather(data, of_rows) - reconstructions))

        decoder_step = v1.train.AdamOptimizer(0.05 * scale).minimize(error(rows), var_list=[matrix, bias])
        code_step = RowwiseAdam(0.1 * scale).minimize(error(rows), var_list=[codes])
        whole = error(tf.range(num_images))
        session.run(v1.global_variables_initializer())
        start = session.run(whole)
        steps = 1000
        for step in range(steps):
            feed = {rows: draw.choice(num_images, batch, replace=False), scale: 0.5 * (1 + np.cos(np.pi * step / steps))}
            session.run([decoder_step, code_step], feed)
        reached = session.run(whole)
    assert start > 3 * best
    assert best * (1 - 1e-5) <= reached <= 1.01 * best
