"""How long a training step waits for its batch of images."""

import time
from typing import Any

STEPS_PER_TURN = 10


def share_of_waiting(session: Any, fetches: Any, num_steps: int) -> float:
    """Return a lower bound for the share of a step that passes in the operation which fetches the batch.

    The time in the operation is read from traces. A step that is traced takes longer, so its waiting is compared with the time of as many
    steps that are not. Both kinds take turns, because other programs change the speed of the machine. The share is a lower bound, because
    the next batch has more time to become ready during the longer steps.

    Args:
        session: session in which steps have been taken before.
        fetches: what a step evaluates.
        num_steps: number of steps of each kind, rounded up to whole turns.
    """
    passed = waited = 0.0
    for _ in range(-(-num_steps // STEPS_PER_TURN)):
        began = time.perf_counter()
        for _ in range(STEPS_PER_TURN):
            session.run(fetches)
        passed += time.perf_counter() - began
        waited += sum(_seconds_waited(session, fetches) for _ in range(STEPS_PER_TURN))
    return waited / passed


def _seconds_waited(session: Any, fetches: Any) -> float:
    """Trace a step, and return the seconds between the start and the end of the operation that fetches its batch."""
    from glo_lib.graph.backend import tf

    v1 = tf.compat.v1
    trace = v1.RunMetadata()
    session.run(fetches, options=v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE), run_metadata=trace)
    nodes = [node for device in trace.step_stats.dev_stats for node in device.node_stats if "IteratorGetNext" in node.node_name]
    return sum(node.op_end_rel_micros - node.op_start_rel_micros for node in nodes) / 1e6
