"""A run is opened once: its folder belongs to its settings and images, and its files are locked, verified and read no more than needed."""

import os
import re
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from glo_lib.config import TrainConfig
from glo_lib.images import identity
from glo_lib.images.identity import Identity, identify, read_digests
from glo_lib.runs import checkpoints
from glo_lib.runs.folder import Progress, RunFolderInUse, default_run_dir, lock_run_folder, read_config, read_json, run_dir_of, write_json
from glo_lib.runs.run import begin_or_compare, open_run, read_run
from glo_lib.system import locks
from glo_lib.training import train

PROCESS_IO = Path("/proc/self/io")
OTHER_BYTES_READ = 2**20  # with checkpoints of 7 kB, a resumed run reads 0.86 MB in all


def identity_of(folder: Path, sizes: dict[str, int]) -> Identity:
    """Make files of these names and sizes; they need not be images, because nothing decodes them."""
    folder.mkdir()
    for name, size in sizes.items():
        (folder / name).write_bytes(bytes(size))
    return identify([str(folder / name) for name in sizes])


@pytest.fixture
def images(tmp_path) -> Identity:
    return identity_of(tmp_path / "images", {"a.jpg": 10, "b.jpg": 20})


def begin(config: TrainConfig, images: Identity) -> Path:
    """Do what `open_run` does with the folder of a run."""
    folder = run_dir_of(config, images.manifest())
    with lock_run_folder(folder):
        begin_or_compare(folder, config, images)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("run_dir", ["run", ""])
def test_a_new_folder_holds_settings_manifest_and_digests_and_can_be_opened_again(monkeypatch, tmp_path, images, run_dir):
    monkeypatch.chdir(tmp_path)
    config = TrainConfig(run_dir=run_dir, gpus=2)
    folder = begin(config, images)
    assert folder == (Path("run") if run_dir else default_run_dir(config, images.manifest()))
    assert read_config(folder) == config and read_json(folder / "manifest.json") == images.manifest()
    assert read_digests(folder / "images.csv") == images.digests([])
    before = contents(folder)
    assert begin(config, images) == folder and contents(folder) == before
    assert before.keys() == {".lock", "config.json", "images.csv", "manifest.json"}


def test_a_folder_of_another_run_is_refused_with_all_differences_and_left_unchanged(tmp_path, images):
    folder = begin(TrainConfig(run_dir=str(tmp_path / "run"), num_dims=100, loss="mse"), images)
    before, others = contents(folder), identity_of(tmp_path / "others", {"a.jpg": 11, "b.jpg": 20})
    with pytest.raises(ValueError, match=r"run' belongs to another run") as caught:
        begin(TrainConfig(run_dir=str(folder), num_dims=7, loss="lap1", num_epochs=3), others)
    assert [line.strip() for line in str(caught.value).split("\n")[1:]] == [
        "num_dims: 7, not 100",
        "loss: 'lap1', not 'mse'",
        f"images: 2 with digest {others.manifest()['digest']}, not {images.manifest()}",
        "'a.jpg' was altered (from 10 to 11 bytes)",
    ]
    assert contents(folder) == before


def test_a_run_of_an_early_version_without_digests_is_compared_by_its_manifest(tmp_path, images):
    config = TrainConfig(run_dir=str(tmp_path / "run"))
    folder = begin(config, images)
    (folder / "images.csv").unlink()
    with pytest.raises(ValueError, match=r"belongs to another run(.|\n)*images: 1 with digest") as caught:
        begin(config, identity_of(tmp_path / "others", {"a.jpg": 10}))
    assert len(str(caught.value).split("\n")) == 2 and not (folder / "images.csv").exists()
    assert read_digests(begin(config, images) / "images.csv") == images.digests([])


def test_an_open_run_has_its_images_and_is_locked_until_the_block_ends(small_config, small_images, trained_images, tmp_path):
    config = small_config(small_images, tmp_path / "run")
    with pytest.raises(ZeroDivisionError), open_run(config) as run:
        assert (run.folder, run.config, run.checkpoint, run.progress) == (tmp_path / "run", config, None, Progress(0, 0.0))
        np.testing.assert_array_equal(run.images.array(), trained_images)
        with pytest.raises(RunFolderInUse), open_run(config):
            pass
        raise ZeroDivisionError
    lock_run_folder(tmp_path / "run").release()


def test_a_run_whose_crop_follows_landmarks_is_not_continued_with_others(small_config, small_images, tmp_path):
    images = Path(shutil.copytree(small_images, tmp_path / "images"))
    config = small_config(images, tmp_path / "run", crop="landmarks")
    with pytest.raises(ValueError, match=r"nothing says where the eyes of '000.jpg' are"), open_run(config):
        pass
    points = "12 20 24 20 18 26 13 31 23 31"
    write_landmarks = (images / "list_landmarks_align_celeba.txt").write_text
    write_landmarks("".join(f"{path.name} {points}\n" for path in sorted(small_images.iterdir())))
    with open_run(config) as run:
        first = run.images.array()[:]
    with open_run(config) as run:
        np.testing.assert_array_equal(run.images.array()[:], first)
    write_landmarks("".join(f"{path.name} {points.replace('12', '10')}\n" for path in sorted(small_images.iterdir())))
    with pytest.raises(ValueError, match="belongs to a run with other landmarks"), open_run(config):
        pass
    assert read_json(tmp_path / "run" / "landmarks.json").keys() == {"digest"} and read_config(tmp_path / "run").crop == "landmarks"


def test_a_run_is_read_without_writing_to_its_folder_and_opened_at_its_newest_checkpoint(trained_run, tmp_path):
    with lock_run_folder(trained_run):  # as while another process is training there
        before = contents(trained_run)
        run = read_run(str(trained_run))
        assert contents(trained_run) == before
    assert (run.folder, run.config) == (trained_run, read_config(trained_run))
    assert run.checkpoint == str(trained_run / "model.ckpt-360") and run.progress.step == 360 and run.progress.seconds > 0
    folder = shutil.copytree(trained_run, tmp_path / "run")
    with open_run(TrainConfig.from_parameters({**run.config.as_dict(), "run_dir": str(folder)})) as opened:
        assert opened.checkpoint == str(folder / "model.ckpt-360") and opened.progress == run.progress
        earlier = opened.at(str(folder / "model.ckpt-0"))
        assert earlier.progress.step == 0 and earlier.checkpoint == str(folder / "model.ckpt-0") and earlier.images is opened.images
    write_json(tmp_path / "config.json", run.config.as_dict())
    with pytest.raises(FileNotFoundError, match="holds no checkpoint; train first"):
        read_run(tmp_path)


def bytes_read() -> int:
    """Count the bytes that this process has read, from the disk or from the page cache; 0 where the system does not count them."""
    return int(re.search(r"rchar: (\d+)", PROCESS_IO.read_text())[1]) if PROCESS_IO.exists() else 0


@pytest.mark.usefixtures("no_figures")
def test_a_resumed_run_locks_repairs_verifies_and_looks_once_and_reads_no_more_than_needed(
    small_config, small_images, tmp_path, monkeypatch
):
    changes = {"num_dims": 1024, "num_filters": (32, 2, 2), "code_init": "normal"}  # checkpoints of 7 MB
    train(small_config(small_images, tmp_path, num_epochs=1, **changes))
    locked, repaired, verified, looked_at = [], [], Counter(), Counter()
    acquire, repair, find_damage = locks.acquire, checkpoints.repair_checkpoints, checkpoints.find_damage
    monkeypatch.setattr(locks, "acquire", lambda path: locked.append(path) or acquire(path))
    monkeypatch.setattr(checkpoints, "repair_checkpoints", lambda folder: repaired.append(folder) or repair(folder))
    monkeypatch.setattr(checkpoints, "find_damage", lambda prefix: verified.update([Path(prefix).name]) or find_damage(prefix))
    stat = {"stat": lambda path: looked_at.update([str(path)]) or os.stat(path)}
    monkeypatch.setattr(identity, "os", SimpleNamespace(**{**vars(os), **stat}))
    before = bytes_read()
    assert train(small_config(small_images, tmp_path, num_epochs=2, **changes)).metrics["steps"] == 12
    read = bytes_read() - before
    assert (locked, repaired) == ([tmp_path / ".lock"], [tmp_path])
    assert verified == {"model.ckpt-0": 1, "model.ckpt-6": 1}
    assert looked_at == {str(path): 1 for path in small_images.iterdir()}  # cache key, manifest and digests come from one look
    size = {step: sum(path.stat().st_size for path in tmp_path.glob(f"model.ckpt-{step}.*")) for step in (0, 6, 12)}
    needed = size[0] + 2 * size[6] + 2 * size[12]  # verify 0 and 6, restore 6, compute the checksums of 12, load 12 to evaluate it
    assert min(size.values()) > 4 * OTHER_BYTES_READ and read < needed + OTHER_BYTES_READ
