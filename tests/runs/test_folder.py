"""The files of a run folder: its place, its lock, and that no file is left half written or misread."""

import os
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from glo_lib.config import TrainConfig
from glo_lib.graph.backend import tf
from glo_lib.runs import folder as run_folder
from glo_lib.runs.checkpoints import newest_checkpoint
from glo_lib.runs.folder import HistoryRow, Progress, append_history, default_run_dir, lock_run_folder, read_history, read_json

v1 = tf.compat.v1
MANIFEST = {"num_images": 5000, "digest": "0123456789abcdef"}


def test_the_default_folder_depends_on_the_settings_and_the_images_and_on_nothing_else(own_cache, monkeypatch):
    settings, folder = TrainConfig().as_dict(), default_run_dir(TrainConfig(), MANIFEST)
    assert folder.parent == own_cache / "runs" and default_run_dir(TrainConfig(), dict(reversed(MANIFEST.items()))) == folder
    changed = {name: SimpleNamespace(as_dict=lambda name=name: {**settings, name: "changed"}) for name in settings}
    folders = {name: default_run_dir(config, MANIFEST) for name, config in changed.items()}
    without_effect = {name for name, other in folders.items() if other == folder}
    assert without_effect == {"run_dir", "data_dir", "held_out_by", "on_bad_image", "max_megapixels", "answer_seconds"}
    folders |= {name: default_run_dir(TrainConfig(), {**MANIFEST, name: "changed"}) for name in MANIFEST}
    assert len(set(folders.values())) == len(settings) - len(without_effect) + 2 + 1
    # With the defaults of the time before model, kl_weight and held_out were added, the name is that of that time.
    assert default_run_dir(TrainConfig(num_filters=(256, 96, 48, 24), learning_rate=0.002), MANIFEST).name == "a34c87e251554a70"
    # tight_crop was there before crop.
    assert default_run_dir(TrainConfig(crop="tight", num_filters=(256, 96, 48, 32)), MANIFEST).name == "3d2879b9fb132d14"
    assert run_folder.run_dir_of(TrainConfig(), MANIFEST) == folder
    monkeypatch.setenv("HOME", "/home/me")
    assert str(run_folder.run_dir_of(TrainConfig(run_dir="~/runs/1"), MANIFEST)) == "/home/me/runs/1"


def test_a_folder_is_created_and_locked_once_or_refused_with_the_reason(monkeypatch, tmp_path):
    folder = tmp_path / "deep" / "er" / "run"
    with lock_run_folder(folder):
        assert os.listdir(folder) == [".lock"]
        with pytest.raises(run_folder.RunFolderInUse, match=rf"run' is in use by process {os.getpid()} on "):
            lock_run_folder(folder)
    lock_run_folder(folder).release()
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=rf"run_dir is '{tmp_path}/file/run', which cannot be written \(Not a directory\)"):
        lock_run_folder(tmp_path / "file" / "run")
    monkeypatch.setattr(run_folder.tempfile, "TemporaryFile", Mock(side_effect=PermissionError(13, "Permission denied")))
    with pytest.raises(ValueError, match=r"run', which cannot be written \(Permission denied\)"):
        lock_run_folder(folder)


def test_a_file_that_is_missing_or_unreadable_or_holds_a_wrong_setting_is_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json; it is not the folder of a run"):
        run_folder.read_config(tmp_path)
    (tmp_path / "config.json").write_text('{"gpus": 0}')
    with pytest.raises(ValueError, match=r"config\.json' holds a setting that is not allowed"):
        run_folder.read_config(tmp_path)
    for content in (b"null", b"[" * 100_000):
        (tmp_path / "config.json").write_bytes(content)
        with pytest.raises(ValueError, match=r"config\.json' (cannot be read|holds a NoneType, not)"):
            read_json(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("before", "device", "advice"),
    [
        ("float16", "/cpu:0", "give change_precision=True to go on in float32"),  # float16 needs a GPU
        ("float16", "/gpu:0", "give precision='float16' to go on as before, or change_precision=True to go on in float32"),
        ("float16", "/job:worker/task:0/gpu:0", "give precision='float16' to go on as before, or"),
        ("bfloat16", "/cpu:0", "give precision='bfloat16' to go on as before, or change_precision=True to go on in float32"),
    ],
)
def test_a_run_that_would_change_its_precision_is_told_what_this_machine_can_do(tmp_path, before, device, advice):
    run_folder.record_hardware(tmp_path, {"precision": before, "devices": ["/gpu:0"]})
    with pytest.raises(ValueError, match=f"was trained in {before} so far, and would go on in float32 on this machine; {advice}"):
        run_folder.record_hardware(tmp_path, {"precision": "float32", "devices": [device]})
    run_folder.record_hardware(tmp_path, {"precision": "float32", "devices": [device]}, change_precision=True)
    assert run_folder.read_hardware(tmp_path)["precision"] == "float32"


def test_the_history_has_one_line_per_row_and_is_replaced_as_a_whole(tmp_path):
    assert read_history(tmp_path) == []
    rows = [HistoryRow(100, 1.5, 0.25), HistoryRow(200, 3.0, 0.1)]
    append_history(tmp_path, rows[0])
    append_history(tmp_path, HistoryRow(200, 3.00049, 0.1))
    assert (tmp_path / "history.csv").read_bytes().split() == [b"100,1.500,0.25", b"200,3.000,0.1"]
    with open(tmp_path / "history.csv", "a") as file:
        file.write("300,4.5,0.")  # left incomplete by a killed process
    assert read_history(str(tmp_path)) == rows
    for kept in (rows[:1], []):
        run_folder.write_history(tmp_path, kept)
        assert read_history(tmp_path) == kept and os.listdir(tmp_path) == ["history.csv"]


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(allow_nan=False)), max_size=8), st.none() | st.integers(0, 9))
@example([(1, 0.1), (2, 0.2), (3, 0.3), (2, 0.4), (3, 0.5), (2, 0.6)], 2)  # resumed twice
def test_of_repeated_steps_the_last_rows_are_read_with_every_digit_up_to_a_step(tmp_path_factory, steps_and_losses, up_to_step):
    folder = tmp_path_factory.mktemp("history")
    rows = [HistoryRow(step, step / 8, loss) for step, loss in steps_and_losses]
    for row in rows:
        append_history(folder, row)
    kept = [row for number, row in enumerate(rows) if all(later.step > row.step for later in rows[number + 1 :])]
    assert read_history(folder, up_to_step) == [row for row in kept if up_to_step is None or row.step <= up_to_step]


@pytest.mark.parametrize(
    "line", [b"300,4.5", b"300,4.5,0.1,7", b"3.5,4.5,0.1", b"300,4.5,", b"\xff\xff,1,2", b"9" * 200_000], ids=lambda line: str(line)[:15]
)
def test_a_damaged_history_is_refused_by_name(tmp_path, line):
    append_history(tmp_path, HistoryRow(100, 1.5, 0.25))
    with open(tmp_path / "history.csv", "ab") as file:
        file.write(line + b"\n300,")
    with pytest.raises(ValueError, match=r"history\.csv"):
        read_history(tmp_path)


@given(st.binary(max_size=20) | st.text(st.sampled_from('{}[]:0123456789.,e-\n"'), max_size=12).map(str.encode))
def test_arbitrary_bytes_are_read_or_refused_by_name(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("arbitrary") / "history.csv"
    path.write_bytes(content)
    for read in (read_json, lambda path: read_history(path.parent)):
        try:
            assert isinstance(read(path), dict | list)
        except ValueError as error:
            assert str(path) in str(error)


def test_progress_is_that_of_the_checkpoint_and_zero_without_one(tmp_path):
    assert run_folder.progress_of(newest_checkpoint(tmp_path / "absent")) == Progress(0, 0.0)
    with tf.Graph().as_default(), v1.Session() as session:
        v1.get_variable("global_step", initializer=tf.constant(90_000, tf.int64))
        v1.get_variable(
            run_folder.SECONDS_NAME, initializer=tf.constant(1e6 + 0.125, tf.float64)
        )  # float32 would lose the eighth of a second
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(tmp_path / "model.ckpt"), global_step=90_000)
    progress = run_folder.progress_of(newest_checkpoint(tmp_path))
    assert progress == Progress(90_000, 1e6 + 0.125) and type(progress.step) is int and type(progress.seconds) is float
