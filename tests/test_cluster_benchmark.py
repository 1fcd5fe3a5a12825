"""The benchmarks of training on several machines: what they count, and the tables that the book shows."""

import json
import random
from pathlib import Path

import pytest

from benchmarks import lost_machines
from benchmarks.cluster import RESULT, TABLE, Mark, table
from benchmarks.faults_page import cluster_rows
from benchmarks.lost_machines import TASKS, Machines, Recovery, plan, summary


def test_what_a_machine_has_sent_is_counted_from_an_earlier_moment():
    before, after = Mark({}, {"chief": 5, "ps0": 100}), Mark({}, {"chief": 9, "ps0": 400})
    assert after.sent_since(before) == {"chief": 4, "ps0": 300}


def test_the_table_gives_ranges_and_the_ratios_of_turns():
    written = {"written_by": "servers", "codes": 200_000, "seconds": 0.2, "megabytes_sent": 0.0, "chief_megabytes": 1}
    results = {
        "bytes": [{"codes": 2_000, "kilobytes": {"chief": 100.0, "ps0": 9_900.0}}],
        "speed": {"one process": [50.0, 80.0, 60.0, 60.0], "1 worker": [60.0, 96.0, 66.0, 66.0], "2 workers": [100.0, 80.0, 80.0, 80.0]},
        "checkpoints": [written, {**written, "seconds": 0.4}, {**written, "written_by": "chief", "megabytes_sent": 241.0}],
    }
    found = dict(line.strip("| \n").split(" | ") for line in table(results).splitlines())
    assert found["what a step of 2 workers sends, 2,000 codes"] == "10.0 MB"
    assert found["a step of one process, on a core"] == "60 ms, 533 images/s"
    assert found["a step of 1 worker, on a core"] == "66 ms, 485 images/s; 1.15 times that of one process (1.10 to 1.20), 8 ms more"
    assert found["a step of 2 workers, each on a core"] == "80 ms, 800 images/s; 1.33 times that of one process (1.08 to 1.83), 20 ms more"
    checkpoint = "a checkpoint of 200,000 codes of 100 dimensions, written"
    assert found[f"{checkpoint} by the servers"] == "0.2 to 0.4 s, 0 MB sent, up to 1 MB more in the chief"
    assert "241 MB sent" in found[f"{checkpoint} through the chief"]


def test_the_table_of_the_book_is_made_from_the_measurements():
    assert TABLE.read_text() == table(json.loads(RESULT.read_text()))


def test_every_task_is_killed_once_in_each_round_and_sometimes_another_one_too():
    planned = plan(random.Random(12))
    firsts = [tasks[0] for tasks in planned]
    for start in range(0, len(planned), len(TASKS)):
        assert sorted(firsts[start : start + len(TASKS)]) == sorted(TASKS)
    assert planned == plan(random.Random(12)) and sum(map(len, planned)) >= 20 and {len(tasks) for tasks in planned} == {1, 2}


RECOVERIES = [
    Recovery(("worker 0",), "between checkpoints", 12.34, 3),
    Recovery(("worker 1", "ps 0"), "while a checkpoint was written", 30.5, 0),
    Recovery(("chief 0",), "between checkpoints", 20.0, 4),
    Recovery(("chief 0", "ps 1"), "between checkpoints", 25.0, 1),
]


def test_recoveries_are_counted_by_what_had_to_come_back():
    found = summary(RECOVERIES)
    assert found["kills"] == 6 and found["recoveries"] == 4 and found["two_at_once"] == 2
    assert found["by_task"] == {"worker 0": 1, "worker 1": 1, "ps 0": 1, "ps 1": 1, "chief 0": 2}
    assert found["longest_recovery_seconds"] == {"worker": 12.3, "ps": 30.5, "chief": 25.0}
    assert found["within_limit"] == 3 and found["most_steps_repeated"] == 4
    assert found["moments"] == {"between checkpoints": 3, "while a checkpoint was written": 1}


def test_the_page_gives_the_kills_of_every_kind_of_task():
    rows = cluster_rows(summary(RECOVERIES))
    assert rows == [("worker", 2, 12.3), ("parameter server", 2, 30.5), ("chief", 2, 25.0)]


@pytest.mark.parametrize(
    "log, expected",
    [
        ("begins\n", [[], []]),
        ("begins\nstep taken 1.5 1\nstep taken 2.0 2\n", [[], [(1.5, 1), (2.0, 2)]]),
        ("begins\nstep taken 1.5 1\na machine was lost (X)\nstep taken 9.0 1\n", [[], [(1.5, 1)], [(9.0, 1)]]),
        ("begins\nstep taken 1.5 1\nbegins\n", [[], [(1.5, 1)], []]),
    ],
)
def test_steps_are_told_apart_by_sessions(tmp_path, log, expected):
    path = Path(tmp_path / "log")
    path.write_text(log)
    assert Machines({}, path, {}).steps() == expected and lost_machines.LIMIT == 30
