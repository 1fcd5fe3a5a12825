"""Row-wise Adam: an optimizer for the table of codes whose cost does not grow with the number of images."""

from collections.abc import Callable, Sequence

from glo_lib.codes.table import describe_slice, large_zeros
from glo_lib.graph.backend import tf


class RowwiseAdam(tf.compat.v1.train.Optimizer):
    """Adam that reads and writes only the rows in the batch, for variables that are looked up with ``tf.gather``.

    TensorFlow's own Adam decays both moments of *every* row at every step and also moves the rows that are not in the batch, so its cost
    grows with the number of images. Here each row has an Adam of its own (Kingma and Ba, 2015, section 2, the last form before 2.1),
    which counts the visits of this row for the bias correction. A row that is not looked up stays bit-identical. If every row is in every
    batch, the result is that of ``tf.compat.v1.train.AdamOptimizer``.

    Args:
        learning_rate: float or scalar tensor.
        beta1: decay of the first moment at each visit.
        beta2: decay of the second moment at each visit.
        epsilon: added to the square root of the second moment.
        project: applied to the rows after the step, (rows, d) -> (rows, d). `glo_lib.projection.project` re-projects them onto the
            sphere, so their norm, and with it the effective learning rate, cannot drift. Default: no projection.

    Example:
        >>> with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        ...     codes = tf.compat.v1.get_variable("codes", initializer=tf.ones([3, 2]))
        ...     loss = tf.reduce_sum(tf.gather(codes, [1]))
        ...     step = RowwiseAdam(learning_rate=0.5).minimize(loss)
        ...     _ = session.run(tf.compat.v1.global_variables_initializer())
        ...     _ = session.run(step)
        ...     session.run(codes).round(3).tolist()
        [[1.0, 1.0], [0.5, 0.5], [1.0, 1.0]]
    """

    def __init__(
        self,
        learning_rate: float | tf.Tensor = 0.1,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        project: Callable[[tf.Tensor], tf.Tensor] | None = None,
        name: str = "RowwiseAdam",
    ):
        super().__init__(use_locking=False, name=name)
        self._learning_rate = learning_rate
        self._beta1, self._beta2, self._epsilon = beta1, beta2, epsilon
        self._project = project or tf.identity

    def _create_slots(self, var_list: Sequence[tf.Variable]) -> None:
        for var in var_list:
            # The count is float32, which is exact up to 16 million visits, because TensorFlow cannot scatter integers on a GPU.
            for slot, columns in (("m", var.shape[1]), ("v", var.shape[1]), ("visits", 1)):
                shape = tf.TensorShape([var.shape[0], columns])
                table = self._get_or_make_slot_with_initializer(var, large_zeros, shape, tf.float32, slot, self._name)
                describe_slice(table, var)

    def _resource_apply_sparse(self, grad: tf.Tensor, handle: tf.Variable, indices: tf.Tensor) -> tf.Operation:
        # If a row is in the batch more than once, the base class has already summed its gradients.
        m, v, visits = (self.get_slot(handle, name) for name in ("m", "v", "visits"))
        t = tf.gather(visits, indices) + 1  # (rows, 1)
        m_t = self._beta1 * tf.gather(m, indices) + (1 - self._beta1) * grad
        v_t = self._beta2 * tf.gather(v, indices) + (1 - self._beta2) * tf.square(grad)
        rate = self._learning_rate * tf.sqrt(1 - self._beta2**t) / (1 - self._beta1**t)
        rows = self._project(tf.gather(handle, indices) - rate * m_t / (tf.sqrt(v_t) + self._epsilon))
        new_values = ((handle, rows), (m, m_t), (v, v_t), (visits, t))
        return tf.group(*(tf.compat.v1.scatter_update(table, indices, values) for table, values in new_values))

    def _resource_apply_dense(self, grad: tf.Tensor, handle: tf.Variable) -> tf.Operation:
        return self._resource_apply_sparse(grad, handle, tf.range(tf.shape(grad)[0]))
