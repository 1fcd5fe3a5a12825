"""The small network learns a function, and begins as zero."""

import numpy as np

from glo_lib.inference.priors.network import Network, initial_weights


def test_an_untrained_network_gives_zero_and_equal_seeds_give_equal_weights():
    weights, again = initial_weights(3, 2, 4, width=8, num_blocks=2, seed=1), initial_weights(3, 2, 4, width=8, num_blocks=2, seed=1)
    assert weights["block1/told"].shape == (2, 8) and weights["output"].shape == (8, 4)
    assert all(np.array_equal(weights[name], again[name]) for name in weights)
    with Network(weights) as network:
        assert not network.predict(np.ones((5, 3)), np.ones((5, 2))).any()


def test_the_network_is_the_formula_of_its_weights():
    draw = np.random.default_rng(0)
    weights = {name: draw.normal(size=value.shape).astype(np.float32) for name, value in initial_weights(3, 2, 4, 8, 1).items()}
    inputs, features = draw.normal(size=(5, 3)), draw.normal(size=(5, 2))

    def normalise(rows):
        return (rows - rows.mean(axis=1, keepdims=True)) / np.sqrt(rows.var(axis=1, keepdims=True) + 1e-5)

    hidden = inputs @ weights["input"]
    inner = normalise(hidden) @ weights["block0/into"] + features @ weights["block0/told"] + weights["block0/bias"]
    hidden = hidden + inner / (1 + np.exp(-inner)) @ weights["block0/from"]
    with Network(weights) as network:
        np.testing.assert_allclose(network.predict(inputs, features), normalise(hidden) @ weights["output"], rtol=1e-3, atol=1e-3)


def test_training_lowers_the_error_and_is_repeatable():
    draw = np.random.default_rng(0)
    inputs = draw.normal(size=(256, 2)).astype(np.float32)
    targets = np.sin(2 * inputs[:, :1]) * inputs[:, 1:]

    def train():
        with Network(initial_weights(2, 0, 1, width=32, num_blocks=1), num_steps=150, learning_rate=0.01) as network:
            errors = [network.train(inputs, targets) for _ in range(150)]
            return errors, network.weights

    (errors, weights), (_, again) = train(), train()
    assert errors[-1] < 0.3 * errors[0]
    assert all(np.array_equal(weights[name], again[name]) for name in weights)
