"""A damaged checkpoint is named and the previous one is used; no file outside the run folder is ever changed."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glo_lib.graph.backend import tf
from glo_lib.runs import checkpoints
from glo_lib.runs.checkpoints import CHECKSUMS, DATA, VerifiedSaver, check_fits, find_damage, newest_checkpoint, repair_checkpoints

v1 = tf.compat.v1
ENDINGS = (".index", DATA)


def save_checkpoints(folder: Path, steps: list[int], restored: str | None = None) -> None:
    """Save checkpoints with ``text``, and with ``codes`` in which every entry is the step."""
    with tf.Graph().as_default(), v1.Session() as session:
        codes = v1.get_variable("codes", [40, 30], initializer=v1.zeros_initializer(), use_resource=True)
        v1.get_variable("text", initializer=tf.constant(["text"]), use_resource=True)
        saver = VerifiedSaver(restored)
        session.run(v1.global_variables_initializer())
        for step in steps:
            codes.load(np.full([40, 30], step, np.float32), session)
            saver.save(session, str(folder / "model.ckpt"), global_step=step, write_meta_graph=False)


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    save_checkpoints(folder, [5, 0, 10, 20])  # the first of the four is removed
    return folder


@pytest.fixture
def folder(original, tmp_path) -> Path:
    """A copy with checkpoints of the steps 0, 10 and 20."""
    for path in original.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def names_of(steps) -> set[str]:
    """Names of the files that a folder with complete checkpoints of these steps holds."""
    return {"checkpoint", *(f"model.ckpt-{step}{ending}" for step in steps for ending in (*ENDINGS, CHECKSUMS))}


def flip(path: str | Path, position: int, bits: int = 1) -> None:
    content = bytearray(Path(path).read_bytes())
    content[position] ^= bits
    Path(path).write_bytes(content)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("listed", [b"\xff\0 {{", b'model_checkpoint_path: "model.ckpt-0"', b'model_checkpoint_path: "/else/where"'])
def test_the_newest_checkpoint_is_found_and_tensorflows_list_is_rewritten_from_the_files(folder, listed):
    """TensorFlow's saver deletes the checkpoints of its list, so the list may only name files of the folder."""
    prefixes = [str(folder / f"model.ckpt-{step}") for step in (0, 10, 20)]
    (folder / "checkpoint").write_bytes(listed)
    similar = {"model.ckpt-.index", "model.ckpt-x.index", "model.ckpt-99", "other.ckpt-99.index", f"model.ckpt-{'9' * 40}.index"}
    for name in similar:
        (folder / name).write_text("")
    assert newest_checkpoint(folder) == newest_checkpoint(str(folder)) == repair_checkpoints(folder) == prefixes[-1]
    state = tf.train.get_checkpoint_state(str(folder))
    assert state.model_checkpoint_path == prefixes[-1] and [*state.all_model_checkpoint_paths] == prefixes
    assert contents(folder).keys() == names_of([0, 10, 20]) | similar


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("damage", ["flipped", "short", "long", "missing"])
def test_a_damaged_newest_checkpoint_is_named_and_the_previous_one_is_used(folder, ending, damage):
    path = folder / f"model.ckpt-20{ending}"
    content = path.read_bytes()
    path.write_bytes({"flipped": content[:-1] + b"?", "short": content[:-1], "long": content + b"\0"}.get(damage, b""))
    if damage == "missing":
        path.unlink()
    assert path.name in find_damage(str(folder / "model.ckpt-20"))
    for act in (newest_checkpoint, repair_checkpoints):  # the first changes nothing, the second renames the damaged files
        with pytest.warns(UserWarning, match=r"model\.ckpt-20\S* (has|is) .*model\.ckpt-10"):
            assert act(folder) == str(folder / "model.ckpt-10")
    assert tf.train.latest_checkpoint(str(folder)) == newest_checkpoint(folder)
    assert (checkpoints.read_values(newest_checkpoint(folder), "codes", default=()) == 10).all()
    assert checkpoints.read_values(newest_checkpoint(folder), "absent", default=(1, 2)).tolist() == [1, 2]
    assert (folder / f"damaged-{path.name}").exists() == (damage != "missing") and not path.exists()


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_every_flipped_bit_and_every_truncation_is_noticed_with_and_without_checksums(original, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("flipped")
    for path in original.glob("model.ckpt-20.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    path, checksums = folder / f"model.ckpt-20{data.draw(st.sampled_from(ENDINGS))}", folder / f"model.ckpt-20{CHECKSUMS}"
    size = path.stat().st_size
    if data.draw(st.booleans()):
        flip(path, data.draw(st.integers(0, size - 1)), 1 << data.draw(st.integers(0, 7)))
    else:
        os.truncate(path, data.draw(st.integers(0, size - 1)))
        if data.draw(st.booleans()):
            checksums.unlink()  # as if the process had been killed while writing
    damage = find_damage(str(folder / "model.ckpt-20"))
    assert damage and (path.name in damage or not checksums.exists())


@pytest.mark.parametrize(
    "checksums",
    [None, b"{", b"null", b"{}", b"\xff", b"[" * 100_000, b'{"model.ckpt-20.index": [1e999, 1]}'],
    ids=lambda sums: str(sums)[:9],
)
def test_without_usable_checksums_the_tensors_are_read(folder, checksums):
    path = folder / f"model.ckpt-20{CHECKSUMS}"
    path.unlink() if checksums is None else path.write_bytes(checksums)
    assert newest_checkpoint(folder) == str(folder / "model.ckpt-20")
    flip(folder / f"model.ckpt-20{DATA}", 100)
    with pytest.warns(UserWarning, match=r"model\.ckpt-20 cannot be read \(.*hecksum"):
        assert newest_checkpoint(folder) == str(folder / "model.ckpt-10")


PARTS = (".index", ".data-00000-of-00002", ".data-00001-of-00002")


@pytest.fixture
def folder_in_parts(tmp_path) -> Path:
    """Checkpoints of the steps 10 and 20 whose variables two devices have written, as two servers do."""
    with tf.Graph().as_default(), v1.Session(config=v1.ConfigProto(device_count={"CPU": 2})) as session:
        for number in (0, 1):
            with tf.device(f"/cpu:{number}"):
                v1.get_variable(f"codes{number}", initializer=tf.ones([40, 30]), use_resource=True)
        saver = VerifiedSaver(sharded=True)
        session.run(v1.global_variables_initializer())
        for step in (10, 20):
            saver.save(session, str(tmp_path / "model.ckpt"), global_step=step, write_meta_graph=False)
    return tmp_path


def test_a_checkpoint_in_parts_is_whole_with_all_of_them(folder_in_parts):
    expected = {"checkpoint", *(f"model.ckpt-{step}{ending}" for step in (10, 20) for ending in (*PARTS, CHECKSUMS))}
    assert contents(folder_in_parts).keys() == expected
    assert repair_checkpoints(folder_in_parts) == str(folder_in_parts / "model.ckpt-20")
    check_fits(str(folder_in_parts / "model.ckpt-20"), {"codes0": (None, 30), "codes1": (40, 30)})
    (folder_in_parts / f"model.ckpt-20{CHECKSUMS}").unlink()
    assert find_damage(str(folder_in_parts / "model.ckpt-20")) == ""


@pytest.mark.parametrize("ending", PARTS)
@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_each_damaged_part_of_a_checkpoint_is_named_and_all_are_set_aside(folder_in_parts, ending, damage):
    path = folder_in_parts / f"model.ckpt-20{ending}"
    flip(path, 30) if damage == "flipped" else path.unlink()
    with pytest.warns(UserWarning, match=rf"{path.name} is .*model\.ckpt-10"):
        assert repair_checkpoints(folder_in_parts) == str(folder_in_parts / "model.ckpt-10")
    left = {name for name in contents(folder_in_parts) if "ckpt-20" in name}
    assert left == ({f"damaged-model.ckpt-20{ending}" for ending in (*PARTS, CHECKSUMS)} if damage == "flipped" else set())


@pytest.mark.parametrize("ending", ENDINGS)
def test_partial_files_of_a_killed_process_are_removed(folder, ending):
    (folder / "model.ckpt-30_temp").mkdir()
    (folder / "model.ckpt-30_temp" / "part-00000-of-00001.data-00000-of-00001").write_bytes(b"half")
    (folder / f"model.ckpt-25{DATA}").write_bytes(b"half")
    (folder / f"model.ckpt-20_temp{CHECKSUMS}").write_text("{")  # the temporary name in an earlier version
    (folder / ".model.ckpt-20.sums.partial.json").write_text("{")
    (folder / f"model.ckpt-10{ending}").unlink()  # older than the one used, so no warning names it
    with pytest.warns(UserWarning, match=r"^model\.ckpt-25\.index is missing; the run goes on from model\.ckpt-20$"):
        assert repair_checkpoints(folder) == str(folder / "model.ckpt-20")
    assert contents(folder).keys() == names_of([0, 20])


def test_a_run_whose_first_checkpoint_is_incomplete_begins_again(tmp_path):
    (tmp_path / "model.ckpt-0.index").write_bytes(b"half")
    assert newest_checkpoint(tmp_path) is None
    with pytest.warns(UserWarning, match="the run begins anew"):
        assert repair_checkpoints(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_folder_whose_checkpoints_are_all_damaged_is_refused_and_left_unchanged(folder):
    for step in (0, 10, 20):
        flip(folder / f"model.ckpt-{step}{DATA}", 5)
    before = contents(folder)
    message = r"no checkpoint in .* can be used(.|\n)*model\.ckpt-20.*\n.*model\.ckpt-10.*\n.*model\.ckpt-0"
    for act in (newest_checkpoint, repair_checkpoints):
        with pytest.raises(ValueError, match=message):
            act(folder)
    assert contents(folder) == before


def test_the_restored_checkpoint_is_not_written_again(folder):
    prefix = str(folder / "model.ckpt-20")
    times = [Path(prefix + DATA).stat().st_mtime_ns]
    for restored in (prefix, None):
        save_checkpoints(folder, [20], restored=restored)
        times.append(Path(prefix + DATA).stat().st_mtime_ns)
    assert times[0] == times[1] < times[2] and newest_checkpoint(folder) == prefix


def test_a_checkpoint_of_another_model_is_refused_before_it_is_read(folder):
    prefix = newest_checkpoint(folder)
    with tf.Graph().as_default(), v1.Session() as session:
        v1.get_variable("codes", [40, 31], initializer=v1.zeros_initializer(), use_resource=True)
        with pytest.raises(ValueError, match=r"codes is \[40, 31\], and there it is float32 \[40, 30\]"):
            VerifiedSaver().restore(session, prefix)
    check_fits(prefix, {"codes": (None, 30)})
    for name, shape, found in [("codes", (40,), r"float32 \[40, 30\]"), ("w", (2, 3), "missing"), ("text", (None,), r"string \[1\]")]:
        with pytest.raises(ValueError, match=rf"{name} is .*{shape[-1]}\], and there it is {found}"):
            check_fits(prefix, {name: shape})


@pytest.mark.parametrize("number", checkpoints.DISK_FULL_ERRORS)
def test_a_full_disk_is_explained_with_the_checkpoint_that_can_be_used_and_other_errors_pass(folder, tmp_path_factory, number):
    reason = os.strerror(number)
    for place, left in (
        (folder, "the checkpoint before, model.ckpt-20, is whole"),
        (tmp_path_factory.mktemp("a"), "there was no checkpoint yet"),
    ):
        for error in (OSError(number, reason), tf.errors.ResourceExhaustedError(None, None, f"{place}/model.ckpt-30; {reason}")):
            with pytest.raises(OSError, match="nothing more can be written") as caught, checkpoints.disk_full_explained(place):
                raise error
            assert caught.value.errno == number and f"({reason}); {left}: make room" in str(caught.value)
    for error in (PermissionError(errno.EACCES, "no"), tf.errors.NotFoundError(None, None, "gone")):
        with pytest.raises(type(error)), checkpoints.disk_full_explained(folder):
            raise error
