"""Stochastic gradient descent for the table of codes, which moves only the rows of the batch and re-projects them."""

from collections.abc import Callable

from glo_lib.graph.backend import tf


class RowwiseSgd(tf.compat.v1.train.Optimizer):
    """Plain gradient descent: the rows of the batch take a step against their gradient and are then projected.

    Notes on the paper (Bojanowski et al., 2018) and the program ``minimal_glo`` use this rule, with a rate of 10 for the codes and 1 for
    the decoder.

    Args:
        learning_rate: float or scalar tensor.
        project: applied to the rows after the step, (rows, d) -> (rows, d). Default: no projection.

    Example:
        >>> with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        ...     codes = tf.compat.v1.get_variable("codes", initializer=tf.ones([3, 2]))
        ...     loss = tf.reduce_sum(tf.gather(codes, [1]))
        ...     step = RowwiseSgd(learning_rate=0.25).minimize(loss)
        ...     _ = session.run(tf.compat.v1.global_variables_initializer())
        ...     _ = session.run(step)
        ...     session.run(codes).tolist()
        [[1.0, 1.0], [0.75, 0.75], [1.0, 1.0]]
    """

    def __init__(
        self,
        learning_rate: float | tf.Tensor = 10.0,
        project: Callable[[tf.Tensor], tf.Tensor] | None = None,
        name: str = "RowwiseSgd",
    ):
        super().__init__(use_locking=False, name=name)
        self._learning_rate, self._project = learning_rate, project or tf.identity

    def _resource_apply_sparse(self, grad: tf.Tensor, handle: tf.Variable, indices: tf.Tensor) -> tf.Operation:
        rows = self._project(tf.gather(handle, indices) - self._learning_rate * grad)
        return tf.compat.v1.scatter_update(handle, indices, rows).op

    def _resource_apply_dense(self, grad: tf.Tensor, handle: tf.Variable) -> tf.Operation:
        return self._resource_apply_sparse(grad, handle, tf.range(tf.shape(grad)[0]))
