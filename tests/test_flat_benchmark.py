"""The benchmark of the cost of a step by the number of codes, with few codes: its steps are taken, and its table is that of its turns."""

import io
import json

import pytest

from benchmarks import flat
from benchmarks.turns import Measurement


@pytest.mark.parametrize("case", [[50, "rowwise", True], [50, "dense", False]])
def test_a_process_serves_steps(case, monkeypatch, capsys):
    for name, value in {"NUM_DIMS": 4, "BATCH_SIZE": 2, "IMAGE_SIZE": 32, "CODES_PER_BLOCK": 32}.items():
        monkeypatch.setattr(flat, name, value)
    monkeypatch.setattr("sys.stdin", io.StringIO("2\n1\n"))
    flat.main(["--serve", json.dumps(case)])
    turns = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(turns) == 2 and all(seconds > 0 for seconds, *_ in turns)


def test_the_rows_compare_the_most_codes_with_the_fewest(monkeypatch, capsys):
    megabytes_of_codes = 12 * (flat.SIZES[-1] - flat.SIZES[0]) * flat.NUM_DIMS / 2**20

    def take_turns(commands, work, rounds):
        assert all(json.loads(command[-1]) == list(case) for case, command in commands.items())
        return {case: [Measurement(1.0 + case[0] / flat.SIZES[-1], 500.0 + megabytes_of_codes * (case[0] > 10**6), 0)] for case in commands}

    monkeypatch.setattr(flat, "take_turns", take_turns)
    flat.main([])
    steps, memory = capsys.readouterr().out.splitlines()[-2:]
    assert steps.startswith("step at N = 2,000,000 / step at N = 2,000 ") and "1.998" in steps
    assert memory.startswith("growth of memory") and "1.000" in memory
