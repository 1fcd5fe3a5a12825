"""How long a training step waits for its batch of images."""

import statistics
import time
from typing import Any


def share_of_waiting(session: Any, fetches: Any, num_steps: int, seconds: float) -> float:
    """Return a lower bound for the share of a step that passes in the operation which fetches the batch.

    The time in the operation is read from traces. A traced step takes longer, so the share is that of a step without a trace. It is a
    lower bound, because during the longer steps the images of the next batch have more time to become ready.

    Args:
        session: session in which steps have been taken before.
        fetches: what a step evaluates.
        num_steps: number of steps that are traced.
        seconds: of a step without a trace; see `seconds_of_step`.
    """
    return statistics.mean(_seconds_waited(session, fetches) for _ in range(num_steps)) / seconds


def seconds_of_step(session: Any, fetches: Any, num_steps: int) -> float:
    """Return the median of the seconds of some steps."""
    passed = []
    for _ in range(num_steps):
        began = time.perf_counter()
        session.run(fetches)
        passed.append(time.perf_counter() - began)
    return statistics.median(passed)


def _seconds_waited(session: Any, fetches: Any) -> float:
    """Trace a step, and return the seconds between the start and the end of the operation that fetches its batch."""
    from glo_lib.graph.backend import tf

    v1 = tf.compat.v1
    trace = v1.RunMetadata()
    session.run(fetches, options=v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE), run_metadata=trace)
    nodes = [node for device in trace.step_stats.dev_stats for node in device.node_stats if "IteratorGetNext" in node.node_name]
    return sum(node.op_end_rel_micros - node.op_start_rel_micros for node in nodes) / 1e6
