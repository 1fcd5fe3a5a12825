"""The benchmark behind the cost model: its cases train, its summaries are those of its turns, and its two parts do not lose each other."""

import json
import os

import pytest

from benchmarks import scaling
from benchmarks.scaling import Case
from benchmarks.turns import Measurement


def test_a_case_is_a_training_whose_steps_visit_the_rows_of_their_batches(tmp_path):
    with scaling.open_training(Case(32, 2, num_codes=50, num_dims=4), tmp_path) as (session, graph):
        before = session.run(graph.model.codes)
        for _ in range(3):
            session.run(graph.train_ops.step)
        moved = (session.run(graph.model.codes) != before).any(axis=1)
        assert session.run(graph.train_ops.global_step) == 3 and moved.sum() == 3 * 2


def test_trainings_of_one_process_have_variables_of_their_own(tmp_path):
    small = Case(32, 2, num_codes=50, num_dims=4)
    with scaling.open_training(small, tmp_path / "a") as first, scaling.open_training(small, tmp_path / "b") as second:
        assert scaling.take_steps(*first, 3) > 0 and scaling.take_steps(*second, 1) > 0
        assert [session.run(graph.train_ops.global_step) for session, graph in (first, second)] == [3, 1]


def test_a_training_without_workers_starts_no_process(monkeypatch, tmp_path):
    monkeypatch.setattr(scaling.subprocess, "Popen", None)
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with scaling.cluster_of(Case(32, 2), tmp_path) as devices:
        assert devices is None and "TF_CONFIG" not in os.environ


def test_names_say_where_the_towers_are():
    assert Case(64, 8).name == "1 tower, 64 pixels, batch 8"
    assert Case(64, 8, towers=2).name == "2 towers, 64 pixels, batch 8"
    assert Case(64, 8, towers=2, workers=2).name == "2 workers, 64 pixels, batch 8"


def test_the_cost_model_has_more_points_than_prices_and_other_points_to_be_tested_with():
    fitted, held_out = ([case for case in scaling.CASES if case.fitted == wanted] for wanted in (True, False))
    assert len(fitted) >= 10 and len(held_out) >= 6 and not {case.name for case in fitted} & {case.name for case in held_out}
    for cases in (fitted, held_out):
        assert {case.workers for case in cases} == {0, 1, 2}


def test_a_summary_has_the_lower_quartile_and_the_median():
    found = scaling.summary(Case(32, 2), [1, 2, 3, 4, 5, 6, 70])
    assert (found["seconds"], found["median_seconds"], found["batch_size"]) == (2, 4, 2)


def test_sizes_of_the_table_are_compared_within_each_round(monkeypatch):
    found = {"10": (1, 10, 2), "20": (1.1, 11, 2.2)}
    turns = {size: [Measurement(seconds, 100.0, 50.0) for seconds in times] for size, times in found.items()}
    monkeypatch.setattr(scaling, "take_turns", lambda commands, work, rounds: turns)
    first, second = scaling.measure_rows([10, 20], rounds=3)
    assert second["num_codes"] == 20 and second["over_first"] == pytest.approx([1.1] * 3) and first["over_first"] == [1] * 3
    assert second["anonymous_mb"] == 50


class SlowPart:
    """Takes a tenth of a second for each step of its first training, and a second for the others."""

    asked = []  # noqa: RUF012

    def __init__(self, cases):
        self.cases = cases

    def take(self, steps):
        self.asked.append(list(steps))
        return [0.1] + [1.0] * (len(self.cases) - 1)

    def close(self):
        self.asked.append("closed")


def test_all_turns_of_a_part_take_about_the_same_time(monkeypatch):
    monkeypatch.setattr(scaling, "Part", SlowPart)
    assert scaling.measure_part([Case(32, 2), Case(64, 2)], rounds=2) == [[0.1, 1.0]] * 2
    assert SlowPart.asked == [[2, 2], [3, 3], [2, 2], [2, 2], "closed"]  # warm up, try, two rounds
    monkeypatch.setattr(scaling, "TURN_SECONDS", 1.0)
    scaling.measure_part([Case(32, 2), Case(64, 2)], rounds=1)
    assert SlowPart.asked[-2] == [10, 2]


def test_parts_have_all_cases_once_and_each_as_many_workers_as_the_others_of_its_part():
    parts = scaling.parts()
    assert sorted(case for part in parts for case in part) == sorted(scaling.CASES)
    assert all(len({case.workers for case in part}) == 1 and len(part) <= scaling.PART_CASES for part in parts)


def test_the_fastest_turn_of_each_case_counts():
    turns = [[[10 * number + place for place, _ in enumerate(part)] for number in (3, 1, 8)] for part in scaling.parts()]
    points = scaling.points_of(turns)
    assert [point["name"] for point in points] == [case.name for case in scaling.CASES]
    place = scaling.parts()[0].index(scaling.CASES[2])
    assert (points[2]["seconds"], points[2]["median_seconds"]) == (10 + place, 30 + place)


def test_each_part_keeps_the_results_of_the_others(monkeypatch, tmp_path):
    results, row = tmp_path / "scaling.json", scaling.summary(Case(32, 2), [1, 2, 3])
    monkeypatch.setattr(scaling, "measure_part", lambda cases, rounds: [[rounds] * len(cases)] * 3)
    monkeypatch.setattr(scaling, "measure_rows", lambda sizes, rounds: [row, row])
    first, *others = [str(number) for number in range(len(scaling.parts()))]
    scaling.main(["--parts", *others, "--rounds", "2", "--results", str(results)])
    assert "points" not in json.loads(results.read_text())
    scaling.main(["--parts", first, "--rounds", "1", "--results", str(results)])
    scaling.main(["--rows", "--sizes", "10", "20", "--results", str(results)])
    found = json.loads(results.read_text())
    assert {point["seconds"] for point in found["points"]} == {1, 2} and found["rows"] == [row, row] and "tensorflow" in found["machine"]
