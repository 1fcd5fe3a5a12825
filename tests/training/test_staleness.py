"""The simulation of stale gradients: its Adam is that of the library, its towers are one tower where they have to be."""

import numpy as np
import pytest

from glo_lib.codes import RowwiseAdam
from glo_lib.graph.backend import tf
from glo_lib.training import staleness
from glo_lib.training.staleness import Adam, Problem, batches_to_target, linear_problem

EASY = linear_problem(num_images=128, pixels=12, num_dims=2, noise=0.3)


def test_adam_updates_rows_as_the_library_does():
    start, rows = np.arange(6, dtype=np.float64).reshape(3, 2), np.array([0, 2])
    here = Adam(start.copy(), rate=0.1)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        codes = tf.compat.v1.get_variable("codes", initializer=start.astype(np.float32), use_resource=True)
        step = RowwiseAdam(0.1).minimize(tf.reduce_sum(tf.square(tf.gather(codes, rows)) / 2))  # the gradient is the row itself
        session.run(tf.compat.v1.global_variables_initializer())
        for _ in range(5):
            here.apply(here.values[rows].copy(), rows)
            session.run(step)
        assert np.allclose(here.values, session.run(codes), atol=1e-5)


def test_the_target_is_above_what_a_linear_decoder_can_reach():
    singular = np.linalg.svd(EASY.images, compute_uv=False)
    best = (singular[2:] ** 2).sum() / EASY.images.size
    assert best < EASY.target == pytest.approx(0.09)


def test_one_tower_is_the_same_with_and_without_synchronisation():
    assert batches_to_target(EASY, 1, False, 0.01) == batches_to_target(EASY, 1, True, 0.01) < np.inf


def gradients_and_updates(monkeypatch, towers, asynchronous):
    found = []
    monkeypatch.setattr(staleness, "_apply", lambda gradients, codes, weights: found.append([rows.tolist() for rows, *_ in gradients]))
    batches_to_target(EASY, towers, asynchronous, 0.01, batch_size=8, most_batches=16)
    return found


def test_synchronous_towers_update_together_and_asynchronous_ones_one_by_one_but_later(monkeypatch):
    together = gradients_and_updates(monkeypatch, 4, asynchronous=False)
    assert [len(update) for update in together] == [4] * 4
    assert sorted(row for update in together for rows in update for row in rows) == list(range(128))  # one epoch, every image once
    apart = gradients_and_updates(monkeypatch, 4, asynchronous=True)
    assert [len(update) for update in apart] == [1] * 13  # three gradients are still under way at the end
    assert [update[0] for update in apart] == [rows for update in together for rows in update][:13]


def test_a_rate_that_is_too_large_for_stale_gradients_ends_the_search():
    assert batches_to_target(EASY, 16, True, rate=1.0) == np.inf
    assert batches_to_target(EASY._replace(target=0.0), 1, False, rate=0.01, most_batches=128) == np.inf


def test_more_images_in_a_round_than_there_are_is_refused():
    with pytest.raises(ValueError, match="40 towers with 4 images each need 160 images; there are 128"):
        batches_to_target(Problem(EASY.images, 2, 0.1), 40, True, 0.01)
