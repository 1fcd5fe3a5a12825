"""A run is opened once: its folder belongs to its settings and images, and nothing is locked, looked at or read more often than needed."""

import os
import re
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from glo_lib.config import TrainConfig
from glo_lib.evaluation import evaluate as evaluation
from glo_lib.images import identity
from glo_lib.images.identity import Identity, identify, read_digests
from glo_lib.runs import checkpoints
from glo_lib.runs.folder import (
    Progress,
    RunFolderInUse,
    default_run_dir,
    lock_run_folder,
    read_config,
    read_json,
    run_dir_of,
    write_json,
)
from glo_lib.runs.run import begin_or_compare, open_run, read_run, training_images
from glo_lib.system import locks
from glo_lib.training import train

PROCESS_IO = Path("/proc/self/io")
BYTES_READ_OTHERWISE = 2**20  # all that such a call read was 0.86 MB when the checkpoints had 7 kB


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GLO_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def at(folder: Path, **parameters) -> TrainConfig:
    return TrainConfig(run_dir=str(folder), **parameters)


# --------------------------------------------------------------------------------------------------------- begin or compare


SIZES = {"a.jpg": 10, "b/c.jpg": 20, "b/d.jpg": 30}


def files(folder: Path, sizes: dict[str, int] | None = None) -> Identity:
    """Files of these names and sizes; they need not be images, because nothing decodes them."""
    sizes = SIZES if sizes is None else sizes
    for name, size in sizes.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bytes(size))
    return identify([str(folder / name) for name in sizes])


@pytest.fixture
def images(tmp_path) -> Identity:
    return files(tmp_path / "images")


def begun(config: TrainConfig, images: Identity) -> Path:
    """Do what `open_run` does with the folder of a run."""
    folder = run_dir_of(config, images.manifest())
    with lock_run_folder(folder):
        begin_or_compare(folder, config, images)
    return folder


def test_a_new_folder_is_made_with_settings_manifest_and_digests(tmp_path, cache, images):
    config = at(tmp_path / "deep" / "er" / "run", gpus=2)
    folder = begun(config, images)
    assert folder == tmp_path / "deep" / "er" / "run"
    assert sorted(os.listdir(folder)) == [".lock", "config.json", "images.csv", "manifest.json"]
    assert read_config(folder) == config and read_config(str(folder)) == config
    assert read_json(folder / "manifest.json") == images.manifest()
    assert read_digests(folder / "images.csv") == images.digests([])
    assert begun(TrainConfig(), images) == default_run_dir(TrainConfig(), images.manifest())
    assert (cache / "runs").is_dir()


@pytest.mark.parametrize("run_dir", ["run", ""])
def test_a_folder_can_be_opened_again_by_its_own_run(monkeypatch, tmp_path, cache, images, run_dir):
    monkeypatch.chdir(tmp_path)
    first = begun(TrainConfig(run_dir=run_dir), images)
    (first / "history.csv").write_text("1,2,3\n")
    assert begun(TrainConfig(run_dir=run_dir), images) == first
    assert sorted(os.listdir(first)) == [".lock", "config.json", "history.csv", "images.csv", "manifest.json"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_folder_of_another_run_is_refused_with_all_differences_and_left_as_it_was(tmp_path, images):
    folder = begun(at(tmp_path / "run", num_dims=100, loss="mse"), images)
    before = contents(folder)
    with pytest.raises(ValueError, match=r"run' belongs to another run") as caught:
        begun(at(tmp_path / "run", num_dims=7, loss="lap1", num_epochs=3), images)
    lines = [line.strip() for line in str(caught.value).split("\n")[1:]]
    assert lines == ["num_dims: 7, not 100", "loss: 'lap1', not 'mse'"]
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("sizes", "change"),
    [
        ({"a.jpg": 10, "b/x.jpg": 20, "b/d.jpg": 30}, "'b/c.jpg' is now called 'b/x.jpg'"),
        ({**SIZES, "a.jpg": 11}, "'a.jpg' was altered (from 10 to 11 bytes)"),
        ({**SIZES, "e.jpg": 1}, "'e.jpg' was added"),
    ],
    ids=["renamed", "altered", "added"],
)
def test_a_folder_of_other_images_is_refused(tmp_path, images, sizes, change):
    before, other = images.manifest(), files(tmp_path / "other", sizes)
    folder = begun(at(tmp_path / "run"), images)
    with pytest.raises(ValueError, match="belongs to another run") as caught:
        begun(at(tmp_path / "run"), other)
    of_all, of_one = str(caught.value).split("\n")[1:]
    assert "images" in of_all and before["digest"] in of_all and other.manifest()["digest"] in of_all
    assert of_one.strip() == change
    assert read_json(folder / "manifest.json") == before


def test_a_run_of_an_early_version_without_digests_is_compared_by_its_manifest(tmp_path, images):
    folder = begun(at(tmp_path / "run"), images)
    (folder / "images.csv").unlink()
    with pytest.raises(ValueError, match=r"belongs to another run(.|\n)*images: 1 with digest") as caught:
        begun(at(tmp_path / "run"), files(tmp_path / "other", {"a.jpg": 10}))
    assert len(str(caught.value).split("\n")) == 2 and not (folder / "images.csv").exists()
    assert read_digests(begun(at(tmp_path / "run"), images) / "images.csv") == images.digests([])


def test_what_may_change_may_change_and_is_written_down(tmp_path, images):
    begun(at(tmp_path / "run"), images)
    later = at(tmp_path / "run", num_epochs=7, max_seconds=7, summary_steps=7, checkpoint_seconds=7, data_dir="moved")
    assert read_config(begun(later, images)) == later
    os.rename(tmp_path / "run", tmp_path / "moved")
    assert read_config(begun(at(tmp_path / "moved"), images)) == at(tmp_path / "moved")


def test_a_folder_without_a_manifest_says_so(tmp_path, images):
    (begun(at(tmp_path / "run"), images) / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"run' holds no manifest\.json"):
        begun(at(tmp_path / "run"), images)


@pytest.mark.parametrize("name", ["config.json", "manifest.json"])
@pytest.mark.parametrize("damage", [b"", b"{", b'{"gpus": 1', b"\xff\xfe{}", b"[]", b"null", b"3", b'"text"', b"\0"])
def test_a_damaged_file_is_refused_by_name_and_left_as_it_is(tmp_path, images, name, damage):
    folder = begun(at(tmp_path / "run"), images)
    (folder / name).write_bytes(damage)
    with pytest.raises(ValueError, match=re.escape(name)):
        begun(at(tmp_path / "run"), images)
    assert (folder / name).read_bytes() == damage  # nothing is repaired without the reader's knowledge


# ------------------------------------------------------------------------------------------------------------------ open, read


def small_config(data_dir: Path, run_dir: Path, **changes) -> TrainConfig:
    settings = {
        "data_dir": str(data_dir), "run_dir": str(run_dir), "image_size": 32, "num_dims": 4, "num_filters": (3, 2, 2), "batch_size": 8,
        "max_seconds": 0, "precision": "float32",
    }  # fmt: skip
    return TrainConfig(**{**settings, **changes})


def test_an_open_run_has_its_images_and_is_locked_until_the_block_is_left(small_images, trained_images, tmp_path):
    config = small_config(small_images, tmp_path / "run")
    with pytest.raises(ZeroDivisionError), open_run(config) as run:
        assert (run.folder, run.config, run.checkpoint, run.progress) == (tmp_path / "run", config, None, Progress(0, 0.0))
        np.testing.assert_array_equal(run.images.array(), trained_images)
        with pytest.raises(RunFolderInUse), open_run(config):
            pass
        raise ZeroDivisionError
    with open_run(config) as again:
        assert again.folder == run.folder


def test_an_open_run_is_at_its_newest_checkpoint(trained_run, small_images, tmp_path):
    folder = shutil.copytree(trained_run, tmp_path / "run")
    with open_run(TrainConfig.from_parameters({**read_config(folder).as_dict(), "run_dir": str(folder)})) as run:
        assert run.checkpoint == str(folder / "model.ckpt-360") and run.progress.step == 360 and run.progress.seconds > 0
        earlier = run.at(str(folder / "model.ckpt-0"))
        assert earlier.progress.step == 0 and earlier.checkpoint == str(folder / "model.ckpt-0") and earlier.images is run.images


def test_a_run_is_read_without_writing_to_its_folder(trained_run):
    with lock_run_folder(trained_run):  # as while another process is training there
        before = contents(trained_run)
        run = read_run(trained_run)
        assert read_run(str(trained_run)) == run
        assert contents(trained_run) == before
    assert (run.folder, run.config) == (trained_run, read_config(trained_run))
    assert run.checkpoint == str(trained_run / "model.ckpt-360") and run.progress.step == 360


def test_without_a_run_or_a_checkpoint_there_is_nothing_to_read(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json; it is not the folder of a run"):
        read_run(tmp_path)
    write_json(tmp_path / "config.json", TrainConfig().as_dict())
    with pytest.raises(FileNotFoundError, match="holds no checkpoint; train first"):
        read_run(tmp_path)


# --------------------------------------------------------------------------------------------------------- the training images


def test_the_images_of_the_training_are_found(trained_run, trained_images):
    np.testing.assert_array_equal(training_images(trained_run).array(), trained_images)


def test_images_that_moved_are_found_where_one_says(trained_run, trained_images, small_images, tmp_path):
    moved = shutil.copytree(small_images, tmp_path / "moved")
    np.testing.assert_array_equal(training_images(trained_run, str(moved)).array(), trained_images)


def test_another_number_of_images_is_refused(trained_run, small_images, tmp_path):
    fewer = shutil.copytree(small_images, tmp_path / "fewer")
    (fewer / "005.jpg").unlink()
    with pytest.raises(ValueError, match="the run has 48 codes, and there are 47 images; row i of the codes belongs to image i"):
        training_images(trained_run, str(fewer))


def test_other_images_of_the_same_number_are_refused(trained_run, small_images, tmp_path):
    others = shutil.copytree(small_images, tmp_path / "others")
    Image.new("RGB", (40, 36)).save(others / "005.jpg")
    with pytest.raises(ValueError, match="other names or sizes than those of the training"):
        training_images(trained_run, str(others))


def test_no_run_and_no_images_are_refused(trained_run, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json"):
        training_images(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"data_dir is .*absent'"):
        training_images(trained_run, str(tmp_path / "absent"))


# ------------------------------------------------------------------------------------------------------ what a resumed run costs


class Resumed(NamedTuple):
    """What one `train` that continues a run did: the files it locked, repaired, verified and looked at, and the bytes it read."""

    locked: list[Path]
    repaired: list[Path]
    verified: Counter
    looked_at: Counter
    checkpoint_bytes: int
    bytes_read: int | None


def bytes_read_so_far() -> int | None:
    """Bytes that this process has read, from the disk or from the system's memory; None where the system does not count them."""
    try:
        counts = dict(line.split(": ") for line in PROCESS_IO.read_text().splitlines())
    except OSError:
        return None
    return int(counts["rchar"])


@pytest.fixture(scope="module")
def resumed(small_images, tmp_path_factory) -> Resumed:
    """A run with three checkpoints of 26 MB, of the steps 0, 6 and 12, goes on to step 18; figures are left out."""
    folder = tmp_path_factory.mktemp("resumed")
    config = {"num_dims": 1024, "num_filters": (128, 2, 2), "code_init": "normal"}
    locked, repaired, verified, looked_at = [], [], Counter(), Counter()
    acquire, repair, find_damage = locks.acquire, checkpoints.repair_checkpoints, checkpoints.find_damage

    def stat(path):
        looked_at.update([str(path)])
        return os.stat(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLO_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(evaluation, "run_figures", lambda *_: {})
        for num_epochs in (1, 2):
            train(small_config(small_images, folder, num_epochs=num_epochs, **config))
        assert {path.stem for path in folder.glob("model.ckpt-*.index")} == {"model.ckpt-0", "model.ckpt-6", "model.ckpt-12"}
        patch.setattr(locks, "acquire", lambda path: locked.append(Path(path)) or acquire(path))
        patch.setattr(checkpoints, "repair_checkpoints", lambda folder: repaired.append(folder) or repair(folder))
        patch.setattr(checkpoints, "find_damage", lambda prefix: verified.update([Path(prefix).name]) or find_damage(prefix))
        patch.setattr(identity, "os", SimpleNamespace(**{**vars(os), "stat": stat}))
        before = bytes_read_so_far()
        assert train(small_config(small_images, folder, num_epochs=3, **config)).metrics["steps"] == 18
        after = bytes_read_so_far()
    kept = sum(path.stat().st_size for path in folder.glob("model.ckpt-*"))
    return Resumed(locked, repaired, verified, looked_at, kept, None if before is None else after - before)


def test_a_resumed_run_locks_its_folder_once_and_repairs_its_checkpoints_once(resumed):
    (lock,), (folder,) = resumed.locked, resumed.repaired
    assert lock == folder / ".lock"


def test_a_resumed_run_verifies_every_checkpoint_once(resumed):
    assert resumed.verified == {"model.ckpt-0": 1, "model.ckpt-6": 1, "model.ckpt-12": 1}


def test_a_resumed_run_looks_at_every_image_file_once(resumed, small_images):
    """Cache key, manifest and digests come from one look."""
    assert resumed.looked_at == {str(path): 1 for path in small_images.iterdir()}


def test_a_resumed_run_reads_its_checkpoints_at_most_twice(resumed):
    """Once to verify it, whether found or written, and once to restore it or to load from it."""
    if resumed.bytes_read is None:
        pytest.skip("this system does not count the bytes that a process reads")
    assert resumed.bytes_read < 2 * resumed.checkpoint_bytes + BYTES_READ_OTHERWISE
