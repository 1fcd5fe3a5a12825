"""A small residual network, for the priors that are learned: a regression from rows of numbers to rows of numbers, in graph mode.

All random numbers come from NumPy with a given seed, so that equal calls give equal networks.
"""

from collections.abc import Mapping

import numpy as np

from glo_lib.graph.backend import tf, v1
from glo_lib.graph.session import open_session

Weights = dict[str, np.ndarray]
EPSILON = 1e-5  # added to the variance in the normalisation of each row
LARGEST_GRADIENT = 1.0  # norm of the gradient of all weights together; larger ones are shortened
WARM_UP_STEPS = 100


def check_num_steps(num_steps: int | None, usual: int, most: int) -> int:
    """Return the number of training steps, by default the usual number between 1 and the largest.

    Raises:
        ValueError: a number below 1 is given.

    Example:
        >>> check_num_steps(None, usual=0, most=1500), check_num_steps(7, usual=50, most=1500)
        (1, 7)
    """
    if num_steps is not None and num_steps < 1:
        raise ValueError(f"num_steps is {num_steps}; give at least 1")
    return num_steps or min(max(usual, 1), most)


def initial_weights(num_inputs: int, num_features: int, num_outputs: int, width: int, num_blocks: int, seed: int = 0) -> Weights:
    """Return the weights of a network that has not been trained, which maps everything to zero.

    Args:
        num_inputs: entries of an input.
        num_features: entries of what each block is told besides, such as the time of a flow; may be 0.
        num_outputs: entries of an output.
        width: entries of the hidden rows.
        num_blocks: number of residual blocks.
        seed: seed of the weights.

    Example:
        >>> sorted(initial_weights(2, 0, 2, width=4, num_blocks=1))
        ['block0/bias', 'block0/from', 'block0/into', 'block0/told', 'input', 'output']
    """
    numbers = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> np.ndarray:
        return (numbers.standard_normal((rows, columns)) / np.sqrt(max(rows, 1))).astype(np.float32)

    weights = {"input": matrix(num_inputs, width), "output": np.zeros((width, num_outputs), np.float32)}
    for block in range(num_blocks):
        weights |= {
            f"block{block}/into": matrix(width, width),
            f"block{block}/told": matrix(num_features, width),
            f"block{block}/bias": np.zeros(width, np.float32),
            f"block{block}/from": np.zeros((width, width), np.float32),
        }
    return weights


def residual_network(inputs: tf.Tensor, features: tf.Tensor, weights: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Build the network: a linear layer, residual blocks of two layers each (He et al., 2016), and another linear layer.

    Args:
        inputs: (n, num_inputs).
        features: (n, num_features).
        weights: as from `initial_weights`, as tensors.

    Returns:
        (n, num_outputs).
    """
    hidden = tf.matmul(inputs, weights["input"])
    for block in range(sum(name.endswith("/into") for name in weights)):
        into, told, bias, back = (weights[f"block{block}/{name}"] for name in ("into", "told", "bias", "from"))
        inner = tf.matmul(_normalise(hidden), into) + tf.matmul(features, told) + bias
        hidden += tf.matmul(tf.nn.silu(inner), back)
    return tf.matmul(_normalise(hidden), weights["output"])


def _normalise(rows: tf.Tensor) -> tf.Tensor:
    """Shift and scale each row to mean 0 and variance 1 (layer normalisation)."""
    mean, variance = tf.nn.moments(rows, axes=1, keepdims=True)
    return (rows - mean) * tf.math.rsqrt(variance + EPSILON)


class Network:
    """A residual network in a session of its own, which can be trained. Use it in a ``with`` block.

    Args:
        weights: its weights.
        num_steps: number of steps of the training, over which the rate falls to zero along a half cosine; 0: it is not trained.
        learning_rate: rate of Adam.

    Example:
        >>> with Network(initial_weights(2, 0, 1, width=8, num_blocks=1)) as network:
        ...     network.predict(np.ones((3, 2))).tolist()
        [[0.0], [0.0], [0.0]]
    """

    def __init__(self, weights: Weights, num_steps: int = 0, learning_rate: float = 1e-3):
        with tf.Graph().as_default():
            self._variables = {name: v1.get_variable(name, initializer=value, use_resource=True) for name, value in weights.items()}
            num_features = weights["block0/told"].shape[0] if "block0/told" in weights else 0
            self._inputs = v1.placeholder(tf.float32, [None, weights["input"].shape[0]])
            self._features = v1.placeholder(tf.float32, [None, num_features])
            self._outputs = residual_network(self._inputs, self._features, self._variables)
            self._targets = v1.placeholder(tf.float32, [None, weights["output"].shape[1]])
            if num_steps:
                self._loss = tf.reduce_mean(tf.square(self._outputs - self._targets))
                self._step = _step(self._loss, list(self._variables.values()), num_steps, learning_rate)
            self._session = open_session()
            self._session.run(v1.global_variables_initializer())

    def __enter__(self) -> "Network":
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def predict(self, inputs: np.ndarray, features: np.ndarray | None = None) -> np.ndarray:
        """Return the outputs (n, num_outputs) for inputs (n, num_inputs) and features (n, num_features)."""
        return self._session.run(self._outputs, self._feed(inputs, features))

    def train(self, inputs: np.ndarray, targets: np.ndarray, features: np.ndarray | None = None) -> float:
        """Take a step of Adam towards the targets (n, num_outputs); return the mean squared error before it."""
        feed = {**self._feed(inputs, features), self._targets: targets}
        return float(self._session.run([self._loss, self._step], feed)[0])

    @property
    def weights(self) -> Weights:
        """The weights as they are now."""
        return dict(zip(self._variables, self._session.run(list(self._variables.values())), strict=True))

    def _feed(self, inputs: np.ndarray, features: np.ndarray | None) -> dict[tf.Tensor, np.ndarray]:
        return {self._inputs: inputs, self._features: np.zeros((len(inputs), 0)) if features is None else features}


def _step(loss: tf.Tensor, variables: list[tf.Variable], num_steps: int, learning_rate: float) -> tf.Operation:
    step = v1.train.get_or_create_global_step()
    warm_up = tf.minimum(1.0, tf.cast(step + 1, tf.float32) / WARM_UP_STEPS)
    rate = v1.train.cosine_decay(learning_rate, step, num_steps) * warm_up
    gradients, _ = tf.clip_by_global_norm(v1.gradients(loss, variables), LARGEST_GRADIENT)
    return v1.train.AdamOptimizer(rate, beta2=0.99).apply_gradients(zip(gradients, variables, strict=True), step)
