"""The benchmark of the input, with few small files: its programs run, and leave nothing behind."""

import io
import json
import os
import subprocess
import time
from types import SimpleNamespace

import pytest

from benchmarks import pipeline, waiting
from benchmarks.turns import Measurement

SMALL = {"image_size": 32, "num_dims": 6, "num_filters": [8, 6, 4], "batch_size": 8, "precision": "float32"}


@pytest.mark.parametrize("program", [["bare"], ["first_epoch"], ["cached", "8"]])
def test_a_program_serves_images(program, small_images, monkeypatch, capsys):
    monkeypatch.setenv("GLO_CACHE_DIR", os.environ["GLO_CACHE_DIR"])  # restored after the test, because the programs change it
    monkeypatch.setattr("sys.stdin", io.StringIO("2\n16\n"))
    name, *arguments = program
    pipeline.main(["--serve", name, str(small_images), *arguments])
    turns = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(turns) == 2 and all(seconds > 0 for seconds, *_ in turns)


def test_the_share_of_waiting_is_measured_in_a_training(small_images, monkeypatch, capsys):
    monkeypatch.setattr(pipeline, "MEASURED_STEPS", 3)
    pipeline.main(["--serve", "wait", str(small_images), json.dumps(SMALL)])
    assert 0 < json.loads(capsys.readouterr().out.splitlines()[-1]) < 10


class SlowWhenTraced:
    """A session whose steps wait two of their ten milliseconds, and take much longer while they are traced."""

    def __init__(self, clock):
        self.clock = clock

    def run(self, fetches, options=None, run_metadata=None):
        self.clock.seconds += 0.01 if options is None else 0.05
        if run_metadata is not None:
            device = run_metadata.step_stats.dev_stats.add()
            for name, micros in (("IteratorGetNext", 2000), ("Conv2D", 40_000)):
                device.node_stats.add(node_name=name, op_start_rel_micros=100, op_end_rel_micros=100 + micros)


def test_the_share_of_waiting_is_that_of_a_step_without_a_trace(monkeypatch):
    clock = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(waiting, "time", SimpleNamespace(perf_counter=lambda: clock.seconds))
    assert waiting.share_of_waiting(SlowWhenTraced(clock), "step", 25) == pytest.approx(0.2)
    assert clock.seconds == pytest.approx(30 * 0.01 + 30 * 0.05)  # three turns


def test_the_first_step_is_taken_in_a_process_that_leaves_no_files(small_images, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert pipeline.printed("first_step", time.time(), json.dumps({**SMALL, "data_dir": str(small_images)})) > 0.1
    assert os.listdir(tmp_path) == []


def test_the_reason_of_a_failure_is_shown(capfd):
    with pytest.raises(subprocess.CalledProcessError):
        pipeline.printed("nothing")
    assert "there is no program 'nothing'" in capfd.readouterr().err


def test_the_rows_are_medians_and_ratios_of_the_turns(monkeypatch):
    seconds = {"bare": 0.9, "first_epoch": 1.0, "cached 128": 0.02, "cached 32": 0.04}

    def take_turns(commands, work, rounds):
        assert all(command[:2] == ["benchmarks.pipeline", "--serve"] and command[2] in pipeline.PROGRAMS for command in commands.values())
        return {name: [Measurement(seconds[name], 0, 0)] * 3 for name in commands}

    monkeypatch.setattr(pipeline, "take_turns", take_turns)
    monkeypatch.setattr(pipeline, "write_files", lambda folder: None)
    monkeypatch.setattr(pipeline, "printed", lambda *arguments: 0.125)
    monkeypatch.setattr(pipeline, "LISTED", 7)
    found = {row.name: row.value for row in pipeline.run()}
    assert found["first epoch / bare decoding"] == pytest.approx(0.9) and found["bare decode_and_crop_jpeg and resize"] == pytest.approx(
        1 / 0.9
    )
    assert found["later epochs / first epoch, batches of 32"] == pytest.approx(25)
    assert found["waiting for input, share of a step"] == 0.125 and found["listing 7 files"] > 0
