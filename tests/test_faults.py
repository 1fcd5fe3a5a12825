"""Kill it, fill the disk, change the data, start it twice: the result is the same, or a message says what is wrong.

A fast part of what ``benchmarks/faults.py`` does at length.
"""

import ast
import errno
import importlib
import json
import os
import pickle
import resource
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import glo_lib
from glo_lib import inference
from glo_lib.config import TrainConfig
from glo_lib.evaluation import evaluate as evaluation
from glo_lib.graph.backend import tf
from glo_lib.runs import checkpoints
from glo_lib.runs.folder import RunFolderInUse, lock_run_folder, read_codes, read_history, read_json
from glo_lib.runs.run import read_run
from glo_lib.training import loop, prepare, train

train_module = importlib.import_module("glo_lib.training.train")  # the attribute of the package is the function
CLOCK = {"seconds", "images_per_second"}


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    monkeypatch.setattr(evaluation, "write_figures", lambda folder, figures: None)
    monkeypatch.setattr(evaluation, "run_figures", lambda *_: {})


def settings(data_dir, run_dir, **changes) -> dict:
    """24 steps."""
    return {
        "data_dir": str(data_dir), "run_dir": str(run_dir), "image_size": 32, "num_dims": 4, "num_filters": (3, 2, 2), "batch_size": 8,
        "num_epochs": 4, "max_seconds": 0, "precision": "float32", **changes,
    }  # fmt: skip


def outcome(run_dir: Path) -> dict[str, bytes | str]:
    """Everything that has to be the same in the end."""
    reader = tf.train.load_checkpoint(checkpoints.newest_checkpoint(run_dir))
    made = {name: reader.get_tensor(name).tobytes() for name in reader.get_variable_to_shape_map() if name != "training_seconds"}
    metrics = {name: value for name, value in read_json(run_dir / "metrics.json").items() if name not in CLOCK}
    rows = [(row.step, row.loss) for row in read_history(run_dir)]
    return {**made, "codes": (run_dir / "codes.npy").read_bytes(), "metrics": json.dumps(metrics), "history": json.dumps(rows)}


def names_that_differ(one: dict, other: dict) -> list[str]:
    return [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]


class Processes:
    """Processes that train, and end as they are asked to."""

    def __init__(self, cache: Path):
        command = [sys.executable, str(Path(__file__).parent / "faulty_process.py")]
        folder = str(Path(glo_lib.__file__).parents[1])
        environment = {**os.environ, "GLO_CACHE_DIR": str(cache), "PYTHONPATH": folder}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )

    def train(self, config: dict, killed: str = "", most_bytes: int = 0) -> tuple[int, str]:
        """Exit status (minus the signal's number) and what was raised."""
        self._process.stdin.write(json.dumps({"config": config, "killed": killed, "most_bytes": most_bytes}) + "\n")
        self._process.stdin.flush()
        return tuple(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    server = Processes(tmp_path_factory.mktemp("cache"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def uninterrupted(processes, small_images, tmp_path_factory):
    """Outcomes of runs that were left alone, by number of towers."""
    made = {}
    for gpus in (1, 2):
        run_dir = tmp_path_factory.mktemp("uninterrupted")
        assert processes.train(settings(small_images, run_dir, gpus=gpus, batch_size=8 // gpus)) == (0, "")
        made[gpus] = outcome(run_dir)
    return made


KILLS = ["while the image cache is renamed", "before a checkpoint has its sums", "while a row is written", "before the metrics are written"]


@pytest.mark.parametrize(("gpus", "kills"), [(1, KILLS), (2, KILLS[1:2])], ids=["one tower", "two towers"])
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bits(processes, uninterrupted, small_images, tmp_path, gpus, kills):
    data = tmp_path / "data"  # of its own: the cache of these files is not there yet
    data.mkdir()
    for path in small_images.iterdir():
        (data / path.name).write_bytes(path.read_bytes())
    config = settings(data, tmp_path / "run", gpus=gpus, batch_size=8 // gpus)
    for killed in kills:
        assert processes.train(config, killed) == (-9, ""), killed
    assert processes.train(config) == (0, "")
    assert names_that_differ(outcome(tmp_path / "run"), uninterrupted[gpus]) == []
    assert not [path for path in (tmp_path / "run").iterdir() if "temp" in path.name or "partial" in path.name]


def test_a_full_disk_leaves_the_checkpoint_before_and_says_so(processes, uninterrupted, small_images, tmp_path):
    config = settings(small_images, tmp_path)
    assert processes.train(config, "before a checkpoint has its sums")[0] == -9
    before = read_run(tmp_path).progress
    data = Path(f"{checkpoints.newest_checkpoint(tmp_path)}{checkpoints.DATA}")
    _, said = processes.train(config, most_bytes=data.stat().st_size - 100)
    assert said.startswith("OSError") and os.strerror(errno.EFBIG) in said and f"model.ckpt-{before.step}, is whole" in said
    assert read_run(tmp_path).progress == before
    assert processes.train(config) == (0, "")
    assert names_that_differ(outcome(tmp_path), uninterrupted[1]) == []


# --------------------------------------------------------------------------------------------------- in this process


def often(monkeypatch, every_steps: int) -> None:
    hook = loop.v1.train.CheckpointSaverHook
    monkeypatch.setattr(
        loop.v1.train, "CheckpointSaverHook", lambda folder, save_secs, **rest: hook(folder, save_steps=every_steps, **rest)
    )


def test_a_damaged_newest_checkpoint_is_named_and_the_run_goes_on_from_the_one_before(small_images, tmp_path, monkeypatch):
    often(monkeypatch, 5)
    straight = settings(small_images, tmp_path / "straight", schedule="constant")
    train(TrainConfig(**straight))
    train(TrainConfig(**settings(small_images, tmp_path / "run", schedule="constant", num_epochs=2)))
    newest = tmp_path / "run" / f"model.ckpt-12{checkpoints.DATA}"
    newest.write_bytes(newest.read_bytes()[:-7])
    with pytest.warns(UserWarning, match=r"model\.ckpt-12\.data\S+ has .* bytes, not .*; model\.ckpt-10 is used"):
        assert inference.load(tmp_path / "run").codes.shape == (48, 4)
    with pytest.warns(UserWarning, match=r"model\.ckpt-12\.data\S+ has .*; the run goes on from model\.ckpt-10"):
        train(TrainConfig(**{**straight, "run_dir": str(tmp_path / "run")}))
    assert names_that_differ(outcome(tmp_path / "run"), outcome(tmp_path / "straight")) == []


def test_rows_of_the_history_that_cover_several_steps_are_the_same_after_a_stop(small_images, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "HISTORY_ROWS", 3)  # every eighth step

    def stopping(progress, loss):
        if progress.step == 13:
            os.kill(os.getpid(), 2)

    train(TrainConfig(**settings(small_images, tmp_path / "straight")))
    assert train(TrainConfig(**settings(small_images, tmp_path / "run")), stopping).metrics["steps"] == 13
    train(TrainConfig(**settings(small_images, tmp_path / "run")))
    assert [row.step for row in read_history(tmp_path / "run")] == [8, 16, 24]
    assert names_that_differ(outcome(tmp_path / "run"), outcome(tmp_path / "straight")) == []


def copied(folder: Path, small_images: Path) -> Path:
    folder.mkdir()
    for path in sorted(small_images.iterdir())[:16]:
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def rename(data):
    os.rename(data / "003.jpg", data / "003b.jpg")


def alter(data):
    """As many bytes as before, and the time of the last change set back."""
    path, facts = data / "003.jpg", os.stat(data / "003.jpg")
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


CHANGES = {
    "'003.jpg' was removed": lambda data: (data / "003.jpg").unlink(),
    "'003b.jpg' was added": lambda data: (data / "003b.jpg").write_bytes((data / "001.jpg").read_bytes()),
    "'003.jpg' is now called '003b.jpg'": rename,
    "'003.jpg' was altered (still": alter,
}


def test_changed_data_are_refused_by_name_and_safe_changes_are_allowed(small_images, tmp_path, monkeypatch):
    monkeypatch.setattr(train_module, "evaluate", lambda *_: {})
    for step in ("build_model", "build_loss", "build_train_ops", "run_loop"):
        monkeypatch.setattr(train_module, step, lambda *_: None)
    train(TrainConfig(**settings(copied(tmp_path / "data", small_images), tmp_path / "run")))
    for number, (line, change) in enumerate(CHANGES.items()):
        data = copied(tmp_path / str(number), small_images)
        change(data)
        with pytest.raises(ValueError, match="belongs to another run") as caught:
            train(TrainConfig(**settings(data, tmp_path / "run")))
        assert line in str(caught.value)
    moved = copied(tmp_path / "moved", small_images)
    train(TrainConfig(**settings(moved, tmp_path / "run", num_epochs=9, summary_steps=3, on_bad_image="skip")))
    with pytest.raises(ValueError, match=r"gpus: 2, not 1"):
        train(TrainConfig(**settings(moved, tmp_path / "run", gpus=2)))


def test_a_second_run_in_the_same_folder_is_refused_and_changes_nothing(small_images, tmp_path, monkeypatch):
    started, go_on, results = threading.Event(), threading.Event(), []

    def waiting(*_):
        started.set()
        assert go_on.wait(600)

    monkeypatch.setattr(train_module, "run_loop", waiting)
    monkeypatch.setattr(train_module, "evaluate", lambda *_: {})
    config = TrainConfig(**settings(small_images, tmp_path / "run"))
    thread = threading.Thread(target=lambda: results.append(train(config)))
    thread.start()
    try:
        assert started.wait(600)
        before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
        with pytest.raises(
            RunFolderInUse, match=rf"run' is in use by process {os.getpid()} on .*wait until it ends, stop it, or give another"
        ):
            train(TrainConfig(**settings(small_images, tmp_path / "run", num_epochs=9)))
        assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    finally:
        go_on.set()
        thread.join()
    assert len(results) == 1
    lock_run_folder(tmp_path / "run").release()


def test_a_run_that_is_refused_leaves_no_lock(small_images, tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json"):
        train(TrainConfig(**settings(small_images, tmp_path)))
    lock_run_folder(tmp_path).release()


def test_bad_images_are_refused_or_skipped_and_listed(small_images, tmp_path, capsys):
    data = copied(tmp_path / "data", small_images)
    (data / "002.jpg").write_bytes(b"no image")
    (data / "009b.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"^2 image file\(s\) cannot be read(.|\n)*002\.jpg(.|\n)*009b\.png"):
        train(TrainConfig(**settings(data, tmp_path / "run")))
    assert not (tmp_path / "run").exists()
    result = train(TrainConfig(**settings(data, tmp_path / "run", on_bad_image="skip", num_epochs=1)))
    assert result.metrics["num_images"] == 15 and "2 image file(s) cannot be read and are skipped" in capsys.readouterr().out
    listed = read_json(tmp_path / "run" / "skipped.json")
    assert listed["num_skipped"] == 2 and [Path(name).name for name in listed["files"]] == ["002.jpg", "009b.png"]
    assert all(listed["files"].values())
    images = prepare(TrainConfig(**settings(data, tmp_path / "run", on_bad_image="skip"))).images
    assert [Path(name).name for name in images.filenames] == [
        path.name for path in sorted(data.iterdir()) if path.name[:4] not in ("002.", "009b")
    ]
    assert read_codes(tmp_path / "run").shape == (15, 4)


def test_open_files_and_memory_do_not_grow_with_the_steps(small_images, tmp_path, monkeypatch):
    measured = []

    def measuring(progress, loss):
        if progress.step % 100 == 0:
            measured.append((len(os.listdir("/proc/self/fd")), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("no /proc on this system")
    often(monkeypatch, 50)
    train(TrainConfig(**settings(small_images, tmp_path, num_epochs=100, summary_steps=50)), measuring)
    files, kilobytes = zip(*measured, strict=True)
    assert len(measured) == 6 and len(set(files[1:])) == 1 and kilobytes[-1] - kilobytes[2] < 20_000


# ---------------------------------------------------------------------------------------------------------- nothing is executed


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("content", ["pickle", "object array", "empty", "header", "other shape", "other type", "text"])
def test_codes_that_are_not_codes_are_refused_and_nothing_is_executed(tmp_path, content):
    path, sentinel = tmp_path / "codes.npy", tmp_path / "executed"
    if content == "pickle":
        path.write_bytes(pickle.dumps(Bomb(sentinel)))
    elif content == "object array":
        np.save(path, np.array([Bomb(sentinel)], dtype=object), allow_pickle=True)
    elif content in ("empty", "text"):
        path.write_text("" if content == "empty" else "1 2 3")
    elif content == "header":
        np.save(path, np.zeros((4, 3), np.float32))
        path.write_bytes(path.read_bytes().replace(b"(4, 3)", b"(9**9)"))
    else:
        np.save(path, np.zeros(4, np.float32) if content == "other shape" else np.zeros((4, 3), np.int64))
    with pytest.raises(ValueError, match=r"codes\.npy'.* remove it, and it is made again"):
        read_codes(tmp_path)
    assert not sentinel.exists()


def test_codes_that_are_missing_are_missed_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no codes\.npy"):
        read_codes(tmp_path)


def test_no_module_of_the_library_starts_programs_or_unpickles():
    """A parameter cannot reach a shell where there is none."""
    forbidden = {"subprocess", "pickle", "marshal", "shelve", "dill", "joblib", "pty", "ctypes"}
    calls = {"eval", "exec", "system", "popen", "execv", "execvp", "spawnv", "posix_spawn"}
    library = Path(glo_lib.__file__).parent
    for path in library.rglob("*.py"):
        module = path.relative_to(library).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name.partition(".")[0] for alias in node.names} | {(getattr(node, "module", "") or "").partition(".")[0]}
                # faces/dataset.py draws in processes of this Python, with a count and a seed for arguments.
                assert not names & (forbidden - ({"subprocess"} if module == "faces/dataset.py" else set())), (module, node.lineno)
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                assert called not in calls, (module, node.lineno)
                assert not any(word.arg == "shell" for word in node.keywords), (module, node.lineno)
                assert not any(word.arg == "allow_pickle" and getattr(word.value, "value", 1) for word in node.keywords), module


def test_looking_at_a_run_first_does_not_lock_it(small_images, tmp_path):
    config = TrainConfig(**settings(small_images, tmp_path / "run"))
    setting = prepare(config)
    assert train(config).run_dir == setting.run.folder
