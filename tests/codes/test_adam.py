"""Row-wise Adam, against TensorFlow's Adam and against values computed by hand."""

import numpy as np
import pytest

from glo_lib.codes.adam import RowwiseAdam
from glo_lib.codes.table import normal_codes
from glo_lib.graph.backend import tf
from glo_lib.projection import project

v1 = tf.compat.v1


class Table:
    """A table of codes with an optimizer, and a step to which rows and the gradient of each row are fed."""

    def __init__(self, optimizer, start):
        with tf.Graph().as_default():
            self.codes = v1.get_variable("codes", initializer=tf.constant(start, tf.float32), use_resource=True)
            self.rows = v1.placeholder(tf.int64, [None])
            self.gradients = v1.placeholder(tf.float32, [None, self.codes.shape[1]])
            self.optimizer = optimizer
            # The derivative of sum(g * z) with respect to z is g.
            self.step = optimizer.minimize(tf.reduce_sum(self.gradients * tf.gather(self.codes, self.rows)))
            self.session = v1.Session()
            self.session.run(v1.global_variables_initializer())

    def visit(self, rows, gradients):
        """Take a step; return the codes after it."""
        self.session.run(self.step, {self.rows: rows, self.gradients: gradients})
        return self.session.run(self.codes)

    def values(self):
        """Return the codes and every slot, by name."""
        slots = {name: self.optimizer.get_slot(self.codes, name) for name in self.optimizer.get_slot_names()}
        return self.session.run({"codes": self.codes, **slots})


def some_table(rows=6, dims=3, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, dims)).astype(np.float32)


@pytest.mark.parametrize(
    ("ours", "theirs", "magnitudes"),
    [
        ({"learning_rate": 0.05, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3}, {}, (-3, 1)),
        ({}, {"learning_rate": 0.1}, (-6, -6)),  # the defaults; gradients so small that epsilon matters
    ],
    ids=["given", "defaults"],
)
def test_rowwise_adam_equals_tensorflows_adam_when_every_row_is_in_every_batch(ours, theirs, magnitudes):
    draw = np.random.default_rng(1)
    rowwise = Table(RowwiseAdam(**ours), some_table())
    dense = Table(v1.train.AdamOptimizer(**(ours | theirs)), some_table())
    for _ in range(60):
        rows, gradients = draw.permutation(6), draw.standard_normal((6, 3)) * 10 ** draw.uniform(*magnitudes)
        np.testing.assert_allclose(rowwise.visit(rows, gradients), dense.visit(rows, gradients), atol=1e-5)
    assert np.abs(rowwise.values()["codes"] - some_table()).max() > 0.1


def test_each_row_has_an_adam_of_its_own_that_counts_its_visits():
    """A row that is visited now and then ends where a table of this row alone ends, given the same gradients."""
    draw = np.random.default_rng(2)
    visits = [(draw.choice(3, size=2, replace=False), draw.standard_normal((2, 3))) for _ in range(20)]
    table = Table(RowwiseAdam(), some_table(3))
    for rows, gradients in visits:
        table.visit(rows, gradients)
    together = table.values()
    for row in range(3):
        own = [gradients[list(rows).index(row)] for rows, gradients in visits if row in rows]
        alone = Table(v1.train.AdamOptimizer(learning_rate=0.1), some_table(3)[row : row + 1])
        for gradient in own:
            alone.visit([0], gradient[None])
        np.testing.assert_allclose(together["codes"][row], alone.values()["codes"][0], atol=1e-5)
        assert together["visits"][row, 0] == len(own)


def test_two_visits_computed_by_hand():
    # Rate 0.1, gradients 1 then 2. m: 0.1, 0.09 + 0.2 = 0.29; v: 0.001, 0.000999 + 0.004 = 0.004999.
    # Corrected: m 0.1 / 0.1 = 1, 0.29 / 0.19; v 0.001 / 0.001 = 1, 0.004999 / 0.001999.
    first = 1 - 0.1
    second = first - 0.1 * (0.29 / 0.19) / np.sqrt(0.004999 / 0.001999)
    table = Table(RowwiseAdam(), [[1.0], [1.0]])
    np.testing.assert_allclose(table.visit([1], [[1.0]]), [[1], [first]], atol=1e-5)
    np.testing.assert_allclose(table.visit([1], [[2.0]]), [[1], [second]], atol=1e-5)


def test_rows_that_are_not_in_the_batch_stay_bit_identical_and_so_do_their_slots():
    draw = np.random.default_rng(3)
    table = Table(RowwiseAdam(), some_table(6))
    table.visit(range(6), draw.standard_normal((6, 3)))  # now every row has moments that dense Adam would go on applying
    before = table.values()
    table.visit([1, 4], draw.standard_normal((2, 3)))
    after = table.values()
    absent, visited = [0, 2, 3, 5], [1, 4]
    # All are float32, because TensorFlow cannot scatter integers on a GPU, and a table on the host would take the codes along.
    assert {name: values.dtype for name, values in before.items()} == dict.fromkeys(("codes", "m", "v", "visits"), np.float32)
    for name in before:
        assert before[name][absent].tobytes() == after[name][absent].tobytes(), name
        assert np.all(before[name][visited] != after[name][visited]), name


def test_a_row_that_is_twice_in_a_batch_is_visited_once_with_the_sum_of_its_gradients():
    draw = np.random.default_rng(4)
    twice, once = Table(RowwiseAdam(), some_table()), Table(RowwiseAdam(), some_table())
    for _ in range(4):
        gradients = draw.standard_normal((4, 3))
        twice.visit([2, 0, 2, 2], gradients)
        once.visit([0, 2], [gradients[1], gradients[0] + gradients[2] + gradients[3]])
    one, other = twice.values(), once.values()
    for name in one:
        np.testing.assert_allclose(one[name], other[name], atol=1e-5)
    assert one["visits"][:, 0].tolist() == [4, 0, 4, 0, 0, 0]


def test_only_the_rows_of_the_batch_are_projected_after_the_step():
    draw = np.random.default_rng(5)
    start = 3 * some_table()
    projected = Table(RowwiseAdam(project=lambda rows: 2 * project(rows)), start)
    free = Table(RowwiseAdam(), start)
    gradients = draw.standard_normal((2, 3))
    codes, stepped = projected.visit([1, 4], gradients), free.visit([1, 4], gradients)
    expected = start.copy()
    expected[[1, 4]] = 2 * stepped[[1, 4]] / np.linalg.norm(stepped[[1, 4]], axis=1, keepdims=True)
    np.testing.assert_allclose(codes, expected, atol=1e-6)


def test_a_dense_gradient_visits_every_row():
    with tf.Graph().as_default(), v1.Session() as session:
        codes = v1.get_variable("codes", initializer=tf.ones([3, 2]))
        optimizer = RowwiseAdam(learning_rate=0.5)
        step = optimizer.minimize(tf.reduce_sum(codes * [[1.0, -2.0]]))
        session.run(v1.global_variables_initializer())
        session.run(step)
        np.testing.assert_allclose(session.run(codes), [[0.5, 1.5]] * 3, atol=1e-5)
        assert session.run(optimizer.get_slot(codes, "visits")).tolist() == [[1]] * 3


def operations_behind(operation):
    """Return every operation that runs when this one runs."""
    found, waiting = set(), [operation]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += [*one.control_inputs, *(tensor.op for tensor in one.inputs)]
    return found


@pytest.mark.parametrize("projection", [None, project])
def test_no_operation_of_a_step_has_an_output_of_the_size_of_the_table(projection):
    num_images = 1009
    with tf.Graph().as_default():
        codes = v1.get_variable("codes", [num_images, 7], use_resource=True)
        rows = v1.placeholder(tf.int64, [4])
        loss = tf.reduce_mean(tf.square(project(tf.gather(codes, rows)) - 1.0))
        optimizer = RowwiseAdam(project=projection)
        behind = operations_behind(optimizer.minimize(loss))
        assert sum(operation.type == "ResourceScatterUpdate" for operation in behind) == 4  # codes, two moments, visits
        assert {operation.type for operation in behind}.isdisjoint({"ReadVariableOp", "AssignVariableOp"})
        shapes = [output.shape for operation in behind for output in operation.outputs]
        assert not [shape for shape in shapes if shape.rank and num_images in shape.as_list()]
        assert "Empty" in {operation.type for operation in operations_behind(optimizer.get_slot(codes, "m").initializer)}  # large_zeros


def test_glo_with_a_linear_decoder_reaches_the_error_of_pca():
    """Free codes, a matrix and a bias with the mean squared error: no linear decoder of d dimensions beats d principal components."""
    num_images, entries, num_dims, batch, steps = 64, 12, 3, 32, 1000
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
        for step in range(steps):
            feed = {rows: draw.choice(num_images, batch, replace=False), scale: 0.5 * (1 + np.cos(np.pi * step / steps))}
            session.run([decoder_step, code_step], feed)
        reached = session.run(whole)
    assert start > 3 * best
    assert best * (1 - 1e-5) <= reached <= 1.01 * best
