"""The files of a run folder: where the folder is, who may write to it, and that nothing in it is half written or misread."""

import itertools
import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from glo_lib.config import TrainConfig
from glo_lib.graph.backend import tf
from glo_lib.runs import folder as run_folder
from glo_lib.runs.checkpoints import newest_checkpoint
from glo_lib.runs.folder import (
    SECONDS_NAME,
    HistoryRow,
    Progress,
    RunFolderInUse,
    append_history,
    default_run_dir,
    lock_run_folder,
    progress_of,
    read_config,
    read_history,
    read_json,
    run_dir_of,
    write_history,
    write_json,
)
from glo_lib.system import replace

v1 = tf.compat.v1
MANIFEST = {"num_images": 5000, "digest": "0123456789abcdef"}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GLO_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


# --------------------------------------------------------------------------------------------------------------- the default


OTHER_SETTINGS = {
    "num_samples": 7,
    "tight_crop": True,
    "image_size": 32,
    "num_dims": 7,
    "num_filters": "8-8-8-8",
    "kernel_size": 5,
    "loss": "lap1",
    "projection": "ball",
    "code_init": "normal",
    "gpus": 2,
    "batch_size": 7,
    "learning_rate": 7,
    "code_learning_rate": 7,
    "schedule": "constant",
    "average_decay": 0.5,
    "num_epochs": 7,
    "max_seconds": 7,
    "precision": "float32",
    "seed": 7,
    "model": "vae",
    "kl_weight": 7,
    "held_out": 0.7,
}


def test_settings_that_came_later_leave_the_name_of_a_run_without_them_as_it_was():
    # The defaults of that time, before there were model, kl_weight and held_out.
    config = TrainConfig(num_filters=(256, 96, 48, 24), learning_rate=0.002)
    assert default_run_dir(config, MANIFEST).name == "a34c87e251554a70"


def test_a_run_is_found_again_by_its_settings_and_data_and_by_nothing_else(monkeypatch, tmp_path, cache):
    folder = default_run_dir(TrainConfig(), MANIFEST)
    assert folder.parent == cache / "runs" and not cache.exists()
    assert default_run_dir(TrainConfig(data_dir="faces", run_dir="elsewhere"), MANIFEST) == folder
    assert default_run_dir(TrainConfig.from_parameters(json.loads(json.dumps(TrainConfig().as_dict()))), MANIFEST) == folder
    assert default_run_dir(TrainConfig(), dict(reversed(MANIFEST.items()))) == folder
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLO_CACHE_DIR", str(tmp_path / "other"))
    assert default_run_dir(TrainConfig(), MANIFEST) == tmp_path / "other" / "runs" / folder.name


def test_every_other_setting_and_other_data_give_another_folder():
    folders = {default_run_dir(TrainConfig(**{name: value}), MANIFEST) for name, value in OTHER_SETTINGS.items()}
    folders |= {
        default_run_dir(TrainConfig(), manifest) for manifest in (MANIFEST, {**MANIFEST, "num_images": 1}, {**MANIFEST, "digest": "0"})
    }
    assert len(folders) == len(OTHER_SETTINGS) + 3


# ---------------------------------------------------------------------------------------------------------------- the folder


def test_the_folder_is_the_one_asked_for_or_else_the_default(monkeypatch, tmp_path):
    assert run_dir_of(TrainConfig(run_dir=str(tmp_path / "run")), MANIFEST) == tmp_path / "run"
    assert run_dir_of(TrainConfig(), MANIFEST) == default_run_dir(TrainConfig(), MANIFEST)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run_dir_of(TrainConfig(run_dir="~/runs/1"), MANIFEST) == tmp_path / "runs" / "1"


def test_a_folder_is_made_and_locked_for_one(tmp_path):
    folder = tmp_path / "deep" / "er" / "run"
    with lock_run_folder(folder):
        assert os.listdir(folder) == [".lock"]
        with pytest.raises(RunFolderInUse, match=rf"run' is in use by process {os.getpid()} on "):
            lock_run_folder(folder)
    lock_run_folder(folder).release()


def test_a_folder_that_cannot_be_written_is_refused_with_the_reason(tmp_path):
    (tmp_path / "file").write_text("")
    for run_dir, reason in [(tmp_path / "file" / "run", "Not a directory"), (tmp_path / "file", "File exists")]:
        with pytest.raises(ValueError, match=rf"run_dir is '{re.escape(str(run_dir))}', which cannot be written \({reason}\)"):
            lock_run_folder(run_dir)


def test_a_folder_that_takes_no_file_is_refused(monkeypatch, tmp_path):
    def read_only(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(run_folder.tempfile, "TemporaryFile", read_only)
    with pytest.raises(ValueError, match=r"run', which cannot be written \(Permission denied\)"):
        lock_run_folder(tmp_path / "run")


def test_a_folder_without_a_run_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json; it is not the folder of a run"):
        read_config(tmp_path)


# --------------------------------------------------------------------------------------------------------------------- JSON


@pytest.mark.parametrize("name", ["config.json", "manifest.json"])
@pytest.mark.parametrize("damage", [b"", b"{", b'{"gpus": 1', b"\xff\xfe{}", b"[]", b"null", b"3", b'"text"', b"\0"])
def test_a_damaged_file_is_refused_by_name(tmp_path, name, damage):
    (tmp_path / name).write_bytes(damage)
    with pytest.raises(ValueError, match=re.escape(name)):
        read_json(tmp_path / name)
    assert (tmp_path / name).read_bytes() == damage  # nothing is repaired without the reader's knowledge


@pytest.mark.parametrize("text", ['{"gpus": 0}', '{"colour": 1}', '{"gpus": null}', '{"gpus": 1e999}'])
def test_a_setting_that_is_wrong_in_the_file_is_refused_by_the_files_name(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json"):
        read_config(tmp_path)


def test_json_that_is_nested_too_deeply_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"config\.json"):
        read_json(tmp_path / "config.json")


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path):
    (tmp_path / "config.json").mkdir()
    with pytest.raises(ValueError, match=r"config\.json' cannot be read"):
        read_json(tmp_path / "config.json")


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=20) | st.text(st.sampled_from('{}[]":,1e\\u n'), max_size=12).map(str.encode))
def test_arbitrary_bytes_are_an_object_or_are_refused_by_name(shared_folder, damage):
    (shared_folder / "config.json").write_bytes(damage)
    try:
        assert isinstance(read_json(shared_folder / "config.json"), dict)
    except ValueError as error:
        assert str(shared_folder / "config.json") in str(error)


@settings(deadline=None, max_examples=30)
@given(
    st.dictionaries(
        st.text(max_size=4), st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4), max_size=3
    )
)
def test_what_is_written_is_read_back(shared_folder, content):
    write_json(shared_folder / "metrics.json", content)
    assert read_json(shared_folder / "metrics.json") == content
    assert (shared_folder / "metrics.json").read_text().endswith("}\n")


@pytest.mark.parametrize("step", ["writing", "renaming"])
def test_a_failure_while_writing_leaves_the_old_file(monkeypatch, tmp_path, step):
    write_json(tmp_path / "config.json", {"old": 1})

    def half(path, text, *_, **__):
        path.write_bytes(text.encode()[: len(text) // 2])
        raise OSError("disk full")

    def fails(*_):
        raise OSError("disk full")

    if step == "writing":
        monkeypatch.setattr(replace.Path, "write_text", half)
    else:
        monkeypatch.setattr(replace.os, "replace", fails)
    with pytest.raises(OSError, match="disk full"):
        write_json(tmp_path / "config.json", {"new": 2})
    assert read_json(tmp_path / "config.json") == {"old": 1}


def test_what_json_cannot_hold_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "config.json", {"old": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "config.json", {"new": {1, 2}})
    assert read_json(tmp_path / "config.json") == {"old": 1} and os.listdir(tmp_path) == ["config.json"]


# ------------------------------------------------------------------------------------------------------------------- history


def test_a_run_without_a_history_has_an_empty_one(tmp_path):
    assert read_history(tmp_path) == [] and read_history(str(tmp_path / "nowhere")) == []
    (tmp_path / "history.csv").write_text("")
    assert read_history(tmp_path) == []


def test_the_history_is_a_line_for_each_row(tmp_path):
    append_history(tmp_path, HistoryRow(100, 1.5, 0.25))
    append_history(tmp_path, HistoryRow(200, 3.00049, 0.1))
    assert (tmp_path / "history.csv").read_bytes().split() == [b"100,1.500,0.25", b"200,3.000,0.1"]
    assert read_history(tmp_path) == read_history(str(tmp_path)) == [HistoryRow(100, 1.5, 0.25), HistoryRow(200, 3.0, 0.1)]


def test_a_history_is_replaced_as_a_whole(tmp_path):
    rows = [HistoryRow(100, 1.5, 0.25), HistoryRow(200, 3.0, 0.1)]
    for kept in (rows, rows[:1], []):
        write_history(tmp_path, kept)
        assert read_history(tmp_path) == kept and os.listdir(tmp_path) == ["history.csv"]


def written_history(folder: Path, steps: list[int]) -> Path:
    """A history in which the loss of line n is n."""
    (folder / "history.csv").unlink(missing_ok=True)
    for line, step in enumerate(steps):
        append_history(folder, HistoryRow(step, step / 8, float(line)))
    return folder


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(allow_nan=False), max_size=4))
def test_losses_are_kept_to_the_last_digit(shared_folder, losses):
    (shared_folder / "history.csv").unlink(missing_ok=True)
    rows = [HistoryRow(step, float(step), loss) for step, loss in enumerate(losses, start=1)]
    for row in rows:
        append_history(shared_folder, row)
    assert read_history(shared_folder) == rows


@pytest.mark.parametrize(
    ("steps", "kept"),
    [
        ([100, 200, 300], [0, 1, 2]),
        ([100, 200, 300, 200, 300, 400], [0, 3, 4, 5]),  # resumed at 100
        ([100, 200, 300, 150, 250], [0, 3, 4]),  # resumed between two rows
        ([100, 200, 300, 50], [3]),  # begun anew
        ([100, 100], [1]),
        ([100, 200, 300, 200, 300, 200], [0, 5]),  # resumed twice
    ],
)
def test_rows_repeated_after_a_resume_count_once_and_the_later_ones_count(tmp_path, steps, kept):
    rows = read_history(written_history(tmp_path, steps))
    assert [row.loss for row in rows] == kept and [row.step for row in rows] == [steps[line] for line in kept]


@pytest.mark.parametrize(
    ("up_to_step", "kept"), [(0, []), (99, []), (100, [0]), (250, [0, 1]), (300, [0, 1, 2]), (999, [0, 1, 2]), (None, [0, 1, 2])]
)
def test_the_history_can_be_read_up_to_a_step(tmp_path, up_to_step, kept):
    assert [row.loss for row in read_history(written_history(tmp_path, [100, 200, 300]), up_to_step)] == kept


@pytest.mark.parametrize(
    "damage",
    [
        b"300,4.5",
        b"300,4.5,0.1,7",
        b"three,4.5,0.1",
        b"300,4.5,",
        b"3.5,4.5,0.1",
        b"\xff\xff,1,2",
        b"300,4.5,\0",
        b'"300,4.5,0.1',
        b"9" * 200_000,
    ],
    ids=["half", "too long", "text", "no loss", "step 3.5", "not text", "NUL", "open quote", "endless"],
)
def test_a_damaged_history_is_refused_by_name(tmp_path, damage):
    path = written_history(tmp_path, [100, 200]) / "history.csv"
    path.write_bytes(path.read_bytes() + damage + b"\n")
    with pytest.raises(ValueError, match=r"history\.csv"):
        read_history(tmp_path)


@settings(deadline=None, max_examples=50)
@example(damage=b"1")
@given(st.binary(max_size=20) | st.text(st.sampled_from('0123456789.,e-\n"'), max_size=12).map(str.encode))
def test_an_arbitrary_history_is_read_or_refused_by_name(shared_folder, damage):
    (shared_folder / "history.csv").write_bytes(damage)
    try:
        rows = read_history(shared_folder)
    except ValueError as error:
        assert "history.csv" in str(error)
    else:
        assert all(earlier.step < later.step for earlier, later in itertools.pairwise(rows))


# ------------------------------------------------------------------------------------------------------------------ progress


def test_without_a_checkpoint_there_is_no_progress(tmp_path):
    for folder in (tmp_path, str(tmp_path / "nowhere")):
        assert progress_of(newest_checkpoint(folder)) == Progress(0, 0.0)


def test_progress_is_that_of_a_checkpoint(tmp_path):
    with tf.Graph().as_default(), v1.Session() as session:
        step = v1.get_variable("global_step", initializer=tf.constant(0, tf.int64))
        seconds = v1.get_variable(SECONDS_NAME, initializer=tf.constant(0.0, tf.float64))
        session.run(v1.global_variables_initializer())
        saver = v1.train.Saver()
        for steps, time in [(100, 12.5), (90_000, 1e6 + 0.125)]:  # float32 would lose the eighth of a second
            step.load(steps, session)
            seconds.load(time, session)
            saver.save(session, str(tmp_path / "model.ckpt"), global_step=steps)
            progress = progress_of(newest_checkpoint(tmp_path))
            assert progress == Progress(steps, time) and type(progress.step) is int and type(progress.seconds) is float
