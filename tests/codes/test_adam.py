"""Row-wise Adam, against TensorFlow's own and against values worked out by hand."""

import numpy as np
import pytest

from glo_lib.codes.adam import RowwiseAdam
from glo_lib.codes.table import normal_codes
from glo_lib.graph.backend import tf
from glo_lib.projection import project

v1 = tf.compat.v1


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
    # Imported here: before glo_lib.graph.backend, it would load TensorFlow without the settings made there.
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
