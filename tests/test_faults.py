"""Kill it, fill the disk, change the data, start it twice: the result is the same, or a message says what is wrong.

This is a fast subset of ``benchmarks/faults.py``.
"""

import ast
import errno
import json
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import glo_lib
from glo_lib import inference
from glo_lib.config import TrainConfig
from glo_lib.graph.backend import tf
from glo_lib.runs import checkpoints
from glo_lib.runs.folder import lock_run_folder, read_codes, read_config, read_history, read_json
from glo_lib.runs.run import open_run, read_run
from glo_lib.training import loop, prepare, train

CLOCK_METRICS = {"seconds", "images_per_second"}
pytestmark = pytest.mark.usefixtures("no_figures")


def outcome(run_dir: Path) -> dict[str, bytes | str]:
    """Collect everything that must be the same at the end of a run, however often it was interrupted."""
    reader = tf.train.load_checkpoint(checkpoints.newest_checkpoint(run_dir))
    tensors = {name: reader.get_tensor(name).tobytes() for name in reader.get_variable_to_shape_map() if name != "training_seconds"}
    metrics = {name: value for name, value in read_json(run_dir / "metrics.json").items() if name not in CLOCK_METRICS}
    rows = [(row.step, row.loss) for row in read_history(run_dir)]
    return {**tensors, "codes": (run_dir / "codes.npy").read_bytes(), "metrics": json.dumps(metrics), "history": json.dumps(rows)}


def names_that_differ(one: dict, other: dict) -> list[str]:
    return [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]


@pytest.fixture(scope="module")
def train_in_process(tmp_path_factory):
    """Function that trains in a process that fails as requested, and returns its exit status (minus the signal's number) and its error."""
    command = [sys.executable, str(Path(__file__).parent / "faulty_process.py")]
    folders = {"GLO_CACHE_DIR": str(tmp_path_factory.mktemp("cache")), "PYTHONPATH": str(Path(glo_lib.__file__).parents[1])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}

    def train_run(config: TrainConfig, killed: str = "", max_file_bytes: int = 0) -> tuple[int, str]:
        print(json.dumps({"config": config.as_dict(), "killed": killed, "max_file_bytes": max_file_bytes}), file=server.stdin, flush=True)
        return tuple(json.loads(server.stdout.readline()))

    with subprocess.Popen(command, **pipes, text=True, env={**os.environ, **folders}) as server:
        yield train_run  # the server ends when its standard input is closed


@pytest.fixture(scope="module")
def uninterrupted(train_in_process, small_config, small_images, tmp_path_factory):
    """Outcomes of uninterrupted runs, by number of towers."""
    outcomes = {}
    for gpus in (1, 2):
        run_dir = tmp_path_factory.mktemp("uninterrupted")
        assert train_in_process(small_config(small_images, run_dir, gpus=gpus, batch_size=8 // gpus)) == (0, "")
        outcomes[gpus] = outcome(run_dir)
    return outcomes


KILLS = ["while the image cache is renamed", "before the checksums are written", "while a row is written", "before the metrics are written"]


@pytest.mark.parametrize(("gpus", "kills"), [(1, KILLS), (2, KILLS[1:2])], ids=["one tower", "two towers"])
def test_a_run_that_is_killed_repeatedly_ends_with_the_same_bits(
    train_in_process, uninterrupted, small_config, small_images, tmp_path, gpus, kills
):
    data = shutil.copytree(small_images, tmp_path / "data")  # a copy, because it has no cache of decoded images yet
    config = small_config(data, tmp_path / "run", gpus=gpus, batch_size=8 // gpus)
    for killed in kills:
        assert train_in_process(config, killed) == (-signal.SIGKILL, ""), killed
    assert train_in_process(config) == (0, "")
    assert names_that_differ(outcome(tmp_path / "run"), uninterrupted[gpus]) == []
    assert not [path for path in (tmp_path / "run").iterdir() if "temp" in path.name or "partial" in path.name]


def test_a_full_disk_leaves_the_previous_checkpoint_and_is_explained(train_in_process, uninterrupted, small_config, small_images, tmp_path):
    config = small_config(small_images, tmp_path)
    assert train_in_process(config, "before the checksums are written")[0] == -signal.SIGKILL
    before = read_run(tmp_path).progress
    data = Path(f"{checkpoints.newest_checkpoint(tmp_path)}{checkpoints.DATA}")
    _, error = train_in_process(config, max_file_bytes=data.stat().st_size - 100)
    assert error.startswith("OSError") and os.strerror(errno.EFBIG) in error and f"model.ckpt-{before.step}, is whole" in error
    assert read_run(tmp_path).progress == before
    assert train_in_process(config) == (0, "")
    assert names_that_differ(outcome(tmp_path), uninterrupted[1]) == []


def test_a_second_process_in_the_same_folder_is_refused_and_changes_nothing(train_in_process, small_config, small_images, tmp_path):
    with open_run(small_config(small_images, tmp_path / "run")):
        before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
        _, error = train_in_process(small_config(small_images, tmp_path / "run", num_epochs=9))
        assert re.match(rf"RunFolderInUse.* in use by process {os.getpid()} on .*; wait until it ends, stop it, or give", error)
        assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def save_every(steps: int, monkeypatch) -> None:
    """Save a checkpoint every few steps instead of every few minutes."""
    hook = loop.v1.train.CheckpointSaverHook
    monkeypatch.setattr(loop.v1.train, "CheckpointSaverHook", lambda folder, save_secs, **rest: hook(folder, save_steps=steps, **rest))


def test_a_run_continues_before_a_damaged_checkpoint_and_its_history_covers_the_same_steps(
    small_config, small_images, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "HISTORY_ROWS", 3)  # a row for every eighth step
    save_every(5, monkeypatch)
    stop = lambda progress, loss: os.kill(os.getpid(), signal.SIGINT) if progress.step == 13 else None  # noqa: E731
    train(small_config(small_images, tmp_path / "uninterrupted"))
    assert train(small_config(small_images, tmp_path / "run"), stop).metrics["steps"] == 13
    newest = tmp_path / "run" / f"model.ckpt-13{checkpoints.DATA}"
    newest.write_bytes(newest.read_bytes()[:-7])
    with pytest.warns(UserWarning, match=r"model\.ckpt-13\.data\S+ has .* bytes, not .*; model\.ckpt-10 is used"):
        assert inference.load(tmp_path / "run").codes.shape == (48, 6)
    with pytest.warns(UserWarning, match=r"model\.ckpt-13\.data\S+ has .*; the run goes on from model\.ckpt-10"):
        train(small_config(small_images, tmp_path / "run"))
    assert [row.step for row in read_history(tmp_path / "run")] == [8, 16, 24]
    assert names_that_differ(outcome(tmp_path / "run"), outcome(tmp_path / "uninterrupted")) == []


def test_changed_data_are_refused_by_name_and_safe_changes_are_allowed(small_config, small_images, tmp_path):
    data = shutil.copytree(small_images, tmp_path / "data")
    run_dir = prepare(small_config(data, tmp_path / "run")).run.folder
    moved = shutil.copytree(data, tmp_path / "moved")
    later = small_config(moved, run_dir, num_epochs=9, summary_steps=3, on_bad_image="skip")
    assert prepare(later).config == read_config(run_dir) == later
    with pytest.raises(ValueError, match=r"gpus: 2, not 1"):
        prepare(small_config(moved, run_dir, gpus=2))
    path, facts = data / "003.jpg", os.stat(data / "003.jpg")
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # neither the size nor the time of the last change tells
    (data / "004.jpg").rename(data / "004b.jpg")
    with pytest.raises(ValueError, match=r"another run(.|\n)*'003.jpg' was altered \(still(.|\n)*'004.jpg' is now called '004b.jpg'"):
        prepare(small_config(data, run_dir))
    lock_run_folder(run_dir).release()  # neither a prepared run nor a refused one leaves a lock


def test_bad_images_are_refused_or_skipped_and_listed(small_config, small_images, tmp_path, capsys):
    data = shutil.copytree(small_images, tmp_path / "data")
    (data / "002.jpg").write_bytes(b"no image")
    (data / "009b.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"^2 image file\(s\) cannot be read(.|\n)*002\.jpg(.|\n)*009b\.png"):
        prepare(small_config(data, tmp_path / "run"))
    with pytest.raises(ValueError, match="num_dims is 47, and there are 47 images, with 46 principal components"):
        prepare(small_config(data, tmp_path / "run", on_bad_image="skip", num_dims=47))
    assert not (tmp_path / "run").exists()
    setting = prepare(small_config(data, tmp_path / "run", on_bad_image="skip"))
    assert "2 image file(s) cannot be read and are skipped" in capsys.readouterr().out
    assert [Path(name).name for name in setting.images.filenames] == [f"{number:03d}.jpg" for number in range(48) if number != 2]
    listed = read_json(setting.run.folder / "skipped.json")
    assert listed["num_skipped"] == 2 and [Path(name).name for name in listed["files"]] == ["002.jpg", "009b.png"]
    assert all(listed["files"].values()) and read_json(setting.run.folder / "manifest.json")["num_images"] == 47


def test_open_files_and_memory_do_not_grow_with_the_steps(small_config, small_images, tmp_path, monkeypatch):
    measured = []

    def measure(progress, loss):
        if progress.step % 100 == 0:
            resident_pages = int(Path("/proc/self/statm").read_text().split()[1])
            measured.append((len(os.listdir("/proc/self/fd")), resident_pages * resource.getpagesize()))

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("no /proc on this system")
    save_every(50, monkeypatch)
    train(small_config(small_images, tmp_path, num_filters=(3, 2, 2), num_epochs=100, summary_steps=50), measure)
    files, resident_bytes = zip(*measured, strict=True)
    assert len(measured) == 6 and files[-1] <= files[1] and resident_bytes[-1] - resident_bytes[2] < 20_000_000


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("content", ["pickle", "object array", "other shape", "other type"])
def test_a_file_that_does_not_hold_codes_is_refused_and_nothing_is_executed(tmp_path, content):
    path, executed = tmp_path / "codes.npy", tmp_path / "executed"
    with pytest.raises(FileNotFoundError, match=r"holds no codes\.npy; train first"):
        read_codes(tmp_path)
    arrays = {"object array": np.array([Bomb(executed)], dtype=object), "other shape": np.zeros(4, np.float32)}
    np.save(path, arrays.get(content, np.zeros((4, 3), np.int64)), allow_pickle=True)
    if content == "pickle":
        path.write_bytes(pickle.dumps(Bomb(executed)))
    with pytest.raises(ValueError, match=r"codes\.npy'.* remove it, and it is made again"):
        read_codes(tmp_path)
    assert not executed.exists()


ALLOWED = {
    "faces/dataset.py": {"subprocess"},  # both start processes of this Python, with numbers or with a fixed text as arguments
    "graph/devices.py": {"subprocess"},
    "graph/server.py": {"ctypes"},  # the address of a buffer for a socket's packet filter
    "networks/torch_file.py": {"pickle"},  # an unpickler that builds tensors and refuses every other name
}


def test_no_module_of_the_library_starts_programs_or_unpickles():
    """No setting can reach a shell, because the library calls none."""
    forbidden = {"subprocess", "pickle", "marshal", "shelve", "dill", "joblib", "pty", "ctypes"}
    calls = {"eval", "exec", "system", "popen", "execv", "execvp", "spawnv", "posix_spawn"}
    library = Path(glo_lib.__file__).parent
    for path in library.rglob("*.py"):
        module = path.relative_to(library).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name.partition(".")[0] for alias in node.names} | {(getattr(node, "module", "") or "").partition(".")[0]}
                assert not names & (forbidden - ALLOWED.get(module, set())), (module, node.lineno)
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                assert called not in calls, (module, node.lineno)
                assert not any(word.arg == "shell" for word in node.keywords), (module, node.lineno)
                assert not any(word.arg == "allow_pickle" and getattr(word.value, "value", 1) for word in node.keywords), module
