"""The benchmark of faults: what it counts as survived, saved and explained, and the page that is written from its results.

`test_faults` causes some of these faults; the benchmark itself takes 24 minutes.
"""

import json
import resource
import signal

import pytest

from benchmarks import faults, faults_page
from glo_lib.runs import checkpoints

STORED = json.loads(faults.RESULT.read_text("utf8"))


@pytest.fixture
def place(tmp_path):
    (tmp_path / "run").mkdir()
    return faults.Place(tmp_path / "data", tmp_path / "run", tmp_path / "cache")


def save(place, step):
    (place.run / f"{checkpoints.BASENAME}-{step}{checkpoints.CHECKSUMS}").touch()


@pytest.fixture
def fake_processes(monkeypatch):
    """Function that gives the exit statuses of all processes, in their order; none of them is started."""

    def let_end(*statuses, log="", kills=lambda *_: None):
        ends = iter(statuses)
        monkeypatch.setattr(faults, "start", lambda place, work: 1)
        monkeypatch.setattr(faults, "end", lambda child: next(ends))
        monkeypatch.setattr(faults, "alive", lambda child: True)
        monkeypatch.setattr(faults, "outcome", lambda place: {"codes": b"equal"})
        monkeypatch.setattr(faults, "log_of", lambda place: log)
        monkeypatch.setattr(faults.os, "kill", kills)

    return let_end


ORIGINAL = faults.Reference({"codes": b"equal"}, 1.0)


def test_only_a_checkpoint_of_as_many_steps_counts_as_saved(place):
    assert not faults.is_saved(place, 1)
    save(place, 0)
    assert not faults.is_saved(place, 1)
    save(place, 12)
    assert faults.is_saved(place, 12) and not faults.is_saved(place, 13)


@pytest.mark.parametrize(("saves", "counted"), [(True, 6), (False, 0)])
def test_a_process_that_a_signal_ends_without_a_checkpoint_has_not_saved_its_state(saves, counted, tmp_path, monkeypatch, fake_processes):
    sent = []
    fake_processes(*[-signal.SIGTERM, 0] * 6, 0, kills=lambda child, number: sent.append(number))
    monkeypatch.setattr(faults, "reference", lambda *_: ORIGINAL)
    monkeypatch.setattr(faults, "_steps_taken", lambda place: 60)
    monkeypatch.setattr(faults, "_steps", lambda folder: [0, 60] if saves else [0])
    monkeypatch.setattr(faults, "interrupted_notebook", lambda place: "returned")
    assert faults.signals(tmp_path) == {"signals": 7, "stopped_and_saved": counted, "bytes_lost": 0}
    assert sent == [signal.SIGTERM, signal.SIGINT] * 3


@pytest.mark.parametrize(
    ("status", "said", "last", "stopped", "explained", "lost"),
    [
        (3, "OSError: nothing more can be written", 0, True, True, 0),
        (3, "KeyError: 1", 0, True, False, 0),
        (0, "", 0, False, False, 0),  # the run with too little room went on to its end
        (3, "OSError: nothing more can be written", 3, True, True, None),  # and the run with enough did not
    ],
)
def test_a_run_with_too_little_room_must_stop_and_say_why(status, said, last, stopped, explained, lost, place, fake_processes, monkeypatch):
    save(place, 10)
    fake_processes(-signal.SIGKILL, last)
    monkeypatch.setattr(faults, "resume_limited", lambda place, limit: (status, said))
    monkeypatch.setattr(faults.checkpoints, "newest_checkpoint", lambda folder: "model.ckpt-10")
    found = faults.full_disk(place, ORIGINAL, lambda: None, lambda: None)
    assert (found["stopped"], found["explained"], found["bytes_lost"]) == (stopped, explained, lost)


def test_a_run_without_room_for_any_file_can_still_say_why_it_stopped(place, monkeypatch, capsys):
    def no_training(config):
        raise OSError("nothing more can be written")

    monkeypatch.setattr(faults, "training_work", lambda config: lambda: no_training(config))
    no_files = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))  # noqa: E731
    with capsys.disabled():  # so that the forked process prints to its own standard output
        status, said = faults.resume_limited(place, no_files)
    assert status == 3 and said.startswith("OSError: nothing more can be written")


def test_a_run_that_cannot_be_resumed_does_not_make_up_for_bytes_that_others_lost(place, fake_processes, monkeypatch):
    monkeypatch.setattr(faults, "wait_for", lambda *_: None)
    fake_processes(*[-signal.SIGKILL] * len(faults.KILLS), 3, log="ValueError: damaged")
    failed = faults.killed_run(place, 1, None, ORIGINAL)
    whole = {"kills": ["between checkpoints"] * 2, "steps_repeated": [1, 4], "bytes_lost": 0, "left_behind": []}
    counted = faults.counted_kills([failed, {**whole, "bytes_lost": 1}, whole])
    assert (counted["bytes_lost"], counted["not_resumed"], counted["survived"], counted["runs"]) == (1, 1, 2, 3)
    assert counted["errors"] == ["ValueError: damaged"] and counted["kills"] == len(faults.KILLS) + 4
    disk = {"stopped": True, "explained": True, "previous_usable": True}
    disks = faults.counted_disks([{**disk, "bytes_lost": None}, {**disk, "bytes_lost": 1}, {"room": "not allowed here"}])
    assert (disks["bytes_lost"], disks["not_resumed"], disks["tried"]) == (1, 1, 2)


def test_the_page_in_the_repository_belongs_to_the_stored_results():
    assert faults.PAGE.read_text("utf8") == faults_page.page(STORED, faults.STEPS_BETWEEN_CHECKPOINTS)


def test_the_page_says_how_many_runs_could_not_be_resumed():
    results = {**STORED, "kills": {**STORED["kills"], "not_resumed": 2}, "disk": {**STORED["disk"], "not_resumed": 1}}
    page = faults_page.page(results, faults.STEPS_BETWEEN_CHECKPOINTS)
    in_the_conclusions_and_in_the_table = 2
    assert page.count("; 2 runs could not be resumed") == in_the_conclusions_and_in_the_table
    assert page.count("; 1 run could not be resumed") == in_the_conclusions_and_in_the_table


def test_the_command_runs_the_given_parts_and_keeps_the_results_of_the_others(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(faults, "RESULT", tmp_path / "faults.json")
    faults.RESULT.write_text(json.dumps({"soak": STORED["soak"]}))
    monkeypatch.setitem(faults.PARTS, "concurrent", lambda root: STORED["concurrent"])
    faults.main(["--part", "concurrent"])
    assert json.loads(faults.RESULT.read_text()).keys() == {"soak", "concurrent"}
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines if line.startswith("| ")][1:] == [
        "start a second process in a run folder",
        "build one image cache in several processes",
        "long run of small steps",
    ]
