"""The folder of a run: to whom it belongs, and that nothing in it is half written or misread."""

import itertools
import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from glo_lib import run_folder
from glo_lib.backend import tf
from glo_lib.config import TrainConfig
from glo_lib.run_folder import (
    SECONDS_NAME,
    HistoryRow,
    Progress,
    append_history,
    data_manifest,
    default_run_dir,
    open_run_folder,
    read_config,
    read_history,
    read_json,
    read_progress,
    write_json,
)

v1 = tf.compat.v1
MANIFEST = {"num_images": 5000, "digest": "0123456789abcdef"}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GLO_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def at(folder: Path, **parameters) -> TrainConfig:
    return TrainConfig(run_dir=str(folder), **parameters)


# ----------------------------------------------------------------------------------------------------------------- the data


def files(folder: Path, sizes: dict[str, int]) -> list[str]:
    for name, size in sizes.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bytes(size))
    return [str(folder / name) for name in sizes]


SIZES = {"a.jpg": 10, "b/c.jpg": 20, "b/d.jpg": 30}


def test_a_manifest_counts_the_images_and_survives_json(tmp_path):
    manifest = data_manifest(files(tmp_path, SIZES))
    assert manifest["num_images"] == 3 and re.fullmatch("[0-9a-f]{16}", manifest["digest"])
    assert json.loads(json.dumps(manifest)) == manifest


def test_a_folder_that_moves_as_a_whole_keeps_its_manifest(monkeypatch, tmp_path):
    here = data_manifest(files(tmp_path / "here", SIZES))
    assert data_manifest(files(tmp_path / "quite" / "elsewhere", SIZES)) == here
    monkeypatch.chdir(tmp_path / "here")
    assert data_manifest(list(SIZES)) == here


@pytest.mark.parametrize(
    "sizes",
    [
        {"A.jpg": 10, "b/c.jpg": 20, "b/d.jpg": 30},
        {"a.jpg": 11, "b/c.jpg": 20, "b/d.jpg": 30},
        {"a.jpg": 20, "b/c.jpg": 10, "b/d.jpg": 30},
        {"a.jpg": 10, "b/d.jpg": 30, "b/c.jpg": 20},
        {"a.jpg": 10, "c/c.jpg": 20, "c/d.jpg": 30},
        {"a.jpg": 10, "b/c.jpg": 20},
        {**SIZES, "e.jpg": 0},
    ],
    ids=["renamed", "larger", "sizes exchanged", "another order", "folder renamed", "one less", "one more"],
)
def test_other_images_have_another_manifest(tmp_path, sizes):
    assert data_manifest(files(tmp_path / "other", sizes)) != data_manifest(files(tmp_path / "data", SIZES))


def test_a_single_image_has_a_manifest(tmp_path):
    one = data_manifest(files(tmp_path, {"a.jpg": 1}))
    assert one["num_images"] == 1 and one != data_manifest(files(tmp_path, {"b.jpg": 1}))


# --------------------------------------------------------------------------------------------------------------- its default


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


# ------------------------------------------------------------------------------------------------------------------- opening


def test_a_new_folder_is_made_with_settings_and_manifest(tmp_path, cache):
    config = at(tmp_path / "deep" / "er" / "run", gpus=2)
    folder = open_run_folder(config, MANIFEST)
    assert folder == tmp_path / "deep" / "er" / "run" and sorted(os.listdir(folder)) == ["config.json", "manifest.json"]
    assert read_config(folder) == config and read_config(str(folder)) == config
    assert read_json(folder / "manifest.json") == MANIFEST
    assert open_run_folder(TrainConfig(), MANIFEST) == default_run_dir(TrainConfig(), MANIFEST)
    assert (cache / "runs").is_dir()


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_run_folder(TrainConfig(run_dir="~/runs/1"), MANIFEST) == tmp_path / "runs" / "1"


@pytest.mark.parametrize("run_dir", ["run", ""])
def test_a_folder_can_be_opened_again_by_its_own_run(monkeypatch, tmp_path, run_dir):
    monkeypatch.chdir(tmp_path)
    first = open_run_folder(TrainConfig(run_dir=run_dir), MANIFEST)
    (first / "history.csv").write_text("1,2,3\n")
    assert open_run_folder(TrainConfig(run_dir=run_dir), MANIFEST) == first
    assert sorted(os.listdir(first)) == ["config.json", "history.csv", "manifest.json"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_of_another_run_is_refused_with_all_differences_and_left_as_it_was(tmp_path):
    folder = open_run_folder(at(tmp_path / "run", num_dims=100, loss="mse"), MANIFEST)
    before = contents(folder)
    with pytest.raises(ValueError, match=r"run' belongs to another run") as caught:
        open_run_folder(at(tmp_path / "run", num_dims=7, loss="lap1", num_epochs=3), MANIFEST)
    lines = [line.strip() for line in str(caught.value).split("\n")[1:]]
    assert lines == ["num_dims: 7, not 100", "loss: 'lap1', not 'mse'"]
    assert contents(folder) == before


@pytest.mark.parametrize(
    "sizes",
    [{"a.jpg": 10, "b/x.jpg": 20, "b/d.jpg": 30}, {**SIZES, "a.jpg": 11}, {**SIZES, "e.jpg": 1}],
    ids=["renamed", "altered", "added"],
)
def test_a_folder_of_other_images_is_refused(tmp_path, sizes):
    before, after = (data_manifest(files(tmp_path / name, these)) for name, these in (("data", SIZES), ("other", sizes)))
    folder = open_run_folder(at(tmp_path / "run"), before)
    with pytest.raises(ValueError, match="belongs to another run") as caught:
        open_run_folder(at(tmp_path / "run"), after)
    difference = str(caught.value).split("\n")[-1]
    assert "images" in difference and before["digest"] in difference and after["digest"] in difference
    assert read_json(folder / "manifest.json") == before


def test_what_may_change_may_change_and_is_written_down(tmp_path):
    open_run_folder(at(tmp_path / "run"), MANIFEST)
    later = at(tmp_path / "run", num_epochs=7, max_seconds=7, summary_steps=7, checkpoint_seconds=7, data_dir="moved")
    assert read_config(open_run_folder(later, MANIFEST)) == later
    os.rename(tmp_path / "run", tmp_path / "moved")
    assert read_config(open_run_folder(at(tmp_path / "moved"), MANIFEST)) == at(tmp_path / "moved")


def test_a_folder_that_cannot_be_written_is_refused_with_the_reason(tmp_path):
    (tmp_path / "file").write_text("")
    for run_dir, reason in [(tmp_path / "file" / "run", "Not a directory"), (tmp_path / "file", "File exists")]:
        with pytest.raises(ValueError, match=rf"run_dir is '{re.escape(str(run_dir))}', which cannot be written \({reason}\)"):
            open_run_folder(at(run_dir), MANIFEST)


def test_a_folder_that_takes_no_file_is_refused(monkeypatch, tmp_path):
    def read_only(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(run_folder.tempfile, "TemporaryFile", read_only)
    with pytest.raises(ValueError, match=r"run', which cannot be written \(Permission denied\)"):
        open_run_folder(at(tmp_path / "run"), MANIFEST)


def test_a_folder_without_a_run_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json; it is not the folder of a run"):
        read_config(tmp_path)
    open_run_folder(at(tmp_path / "run"), MANIFEST)
    (tmp_path / "run" / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"run' holds no manifest\.json"):
        open_run_folder(at(tmp_path / "run"), MANIFEST)


# --------------------------------------------------------------------------------------------------------------------- JSON


@pytest.mark.parametrize("name", ["config.json", "manifest.json"])
@pytest.mark.parametrize("damage", [b"", b"{", b'{"gpus": 1', b"\xff\xfe{}", b"[]", b"null", b"3", b'"text"', b"\0"])
def test_a_damaged_file_is_refused_by_name(tmp_path, name, damage):
    folder = open_run_folder(at(tmp_path / "run"), MANIFEST)
    (folder / name).write_bytes(damage)
    for act in (lambda: open_run_folder(at(tmp_path / "run"), MANIFEST), lambda: read_json(folder / name)):
        with pytest.raises(ValueError, match=re.escape(name)):
            act()
    assert (folder / name).read_bytes() == damage  # nothing is put right behind the reader's back


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
        monkeypatch.setattr(run_folder.Path, "write_text", half)
    else:
        monkeypatch.setattr(run_folder.os, "replace", fails)
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
    assert read_progress(tmp_path) == Progress(0, 0.0) == read_progress(str(tmp_path / "nowhere"))


def test_progress_is_that_of_the_newest_checkpoint(tmp_path):
    with tf.Graph().as_default(), v1.Session() as session:
        step = v1.get_variable("global_step", initializer=tf.constant(0, tf.int64))
        seconds = v1.get_variable(SECONDS_NAME, initializer=tf.constant(0.0, tf.float64))
        session.run(v1.global_variables_initializer())
        saver = v1.train.Saver()
        for steps, time in [(100, 12.5), (90_000, 1e6 + 0.125)]:  # float32 would lose the eighth of a second
            step.load(steps, session)
            seconds.load(time, session)
            saver.save(session, str(tmp_path / "model.ckpt"), global_step=steps)
            progress = read_progress(tmp_path)
            assert progress == Progress(steps, time) and type(progress.step) is int and type(progress.seconds) is float
