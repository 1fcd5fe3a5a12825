"""A damaged checkpoint is named and the one before is used; nothing outside the run folder is ever touched."""

import errno
import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glo_lib.graph.backend import tf
from glo_lib.runs import checkpoints
from glo_lib.runs.checkpoints import (
    CHECKSUMS,
    DATA,
    VerifiedSaver,
    check_fits,
    disk_full_explained,
    find_damage,
    newest_checkpoint,
    read_values,
    repair_checkpoints,
)

v1 = tf.compat.v1
ENDINGS = (".index", DATA)


def saved(folder: Path, steps: list[int], restored: str | None = None) -> dict[int, str]:
    """Checkpoints in which ``codes`` is the step, everywhere."""
    folder.mkdir(exist_ok=True)
    with tf.Graph().as_default(), v1.Session() as session:
        codes = v1.get_variable("codes", [40, 30], initializer=v1.zeros_initializer(), use_resource=True)
        saver = VerifiedSaver(restored)
        session.run(v1.global_variables_initializer())
        for step in steps:
            codes.load(np.full([40, 30], step, np.float32), session)
            saver.save(session, str(folder / "model.ckpt"), global_step=step, write_meta_graph=False)
    return {step: str(folder / f"model.ckpt-{step}") for step in steps}


def value_in(prefix: str) -> float:
    (value,) = np.unique(tf.train.load_variable(prefix, "codes"))
    return float(value)


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    saved(folder, [0, 10, 20])
    return folder


@pytest.fixture
def folder(original, tmp_path) -> Path:
    """A copy with checkpoints of the steps 0, 10 and 20."""
    for path in original.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def flip(path: str | Path, position: int, bits: int = 1) -> None:
    contents = bytearray(Path(path).read_bytes())
    contents[position] ^= bits
    Path(path).write_bytes(contents)


def test_a_whole_folder_gives_its_newest_checkpoint_without_a_word(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert newest_checkpoint(folder) == newest_checkpoint(str(folder)) == repair_checkpoints(folder) == str(folder / "model.ckpt-20")
    assert tf.train.latest_checkpoint(str(folder)) == str(folder / "model.ckpt-20")


def test_three_checkpoints_are_kept_with_their_sums(tmp_path):
    saved(tmp_path, [0, 1, 2, 3, 4])
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"checkpoint", *(f"model.ckpt-{step}{ending}" for step in (2, 3, 4) for ending in (*ENDINGS, CHECKSUMS))}


def test_a_folder_without_checkpoints_has_none(tmp_path):
    assert newest_checkpoint(tmp_path) is newest_checkpoint(tmp_path / "nowhere") is repair_checkpoints(tmp_path) is None


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("damage", ["first", "middle", "last", "short", "empty", "long", "missing"])
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used(folder, ending, damage):
    path = folder / f"model.ckpt-20{ending}"
    size = path.stat().st_size
    if damage in ("first", "middle", "last"):
        flip(path, {"first": 0, "middle": size // 2, "last": -1}[damage])
    elif damage == "missing":
        path.unlink()
    elif damage == "long":
        path.write_bytes(path.read_bytes() + b"\0")
    else:
        os.truncate(path, 0 if damage == "empty" else size - 1)
    assert path.name in find_damage(str(folder / "model.ckpt-20"))
    for act in (newest_checkpoint, repair_checkpoints):  # the first changes nothing, the second sets the damaged files aside
        with pytest.warns(UserWarning, match=r"model\.ckpt-20\S* (has|is) .*model\.ckpt-10"):
            assert act(folder) == str(folder / "model.ckpt-10")
    assert tf.train.latest_checkpoint(str(folder)) == str(folder / "model.ckpt-10") and value_in(newest_checkpoint(folder)) == 10
    assert (folder / f"damaged-{path.name}").exists() == (damage != "missing") and not path.exists()


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_no_flipped_bit_and_no_length_goes_unnoticed_with_sums_or_without(original, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("flipped")
    for path in original.glob("model.ckpt-20.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    path = folder / f"model.ckpt-20{data.draw(st.sampled_from(ENDINGS))}"
    size = path.stat().st_size
    if data.draw(st.booleans()):
        flip(path, data.draw(st.integers(0, size - 1)), 1 << data.draw(st.integers(0, 7)))
    else:
        os.truncate(path, data.draw(st.integers(0, size - 1)))
        if data.draw(st.booleans()):
            (folder / f"model.ckpt-20{CHECKSUMS}").unlink()  # as a process killed while writing leaves it
    assert path.name in find_damage(str(folder / "model.ckpt-20")) or not (folder / f"model.ckpt-20{CHECKSUMS}").exists()
    assert find_damage(str(folder / "model.ckpt-20"))


def test_a_checkpoint_of_an_earlier_version_without_sums_is_read_to_the_end(folder):
    (folder / f"model.ckpt-20{CHECKSUMS}").unlink()
    assert newest_checkpoint(folder) == str(folder / "model.ckpt-20")
    flip(folder / f"model.ckpt-20{DATA}", 100)
    with pytest.warns(UserWarning, match=r"model\.ckpt-20 cannot be read \(.*hecksum"):
        assert newest_checkpoint(folder) == str(folder / "model.ckpt-10")


@pytest.mark.parametrize(
    "sums", [b"", b"{", b"[]", b"null", b'{"model.ckpt-20.index": 3}', b"\xff", b"[" * 100_000, b'{"model.ckpt-20.index": [1e999, 1]}']
)
def test_damaged_sums_cost_nothing_when_the_checkpoint_is_whole(folder, sums):
    (folder / f"model.ckpt-20{CHECKSUMS}").write_bytes(sums)
    assert newest_checkpoint(folder) == str(folder / "model.ckpt-20")


def test_what_a_killed_process_left_half_written_is_removed(folder):
    (folder / "model.ckpt-30_temp").mkdir()
    (folder / "model.ckpt-30_temp" / "part-00000-of-00001.data-00000-of-00001").write_bytes(b"half")
    (folder / f"model.ckpt-25{DATA}").write_bytes(b"half")
    (folder / f"model.ckpt-20_temp{CHECKSUMS}").write_text("{")  # so an earlier version called it
    (folder / ".model.ckpt-20.sums.partial.json").write_text("{")
    with pytest.warns(UserWarning, match=r"model\.ckpt-25\.index is missing; the run goes on from model\.ckpt-20"):
        assert repair_checkpoints(folder) == str(folder / "model.ckpt-20")
    left = {f"model.ckpt-{step}{ending}" for step in (0, 10, 20) for ending in (*ENDINGS, CHECKSUMS)}
    assert {path.name for path in folder.iterdir()} == {"checkpoint", *left}


@pytest.mark.parametrize("gone", [(".index", DATA), (DATA,), (".index",)])
def test_an_old_checkpoint_that_was_being_removed_is_removed_without_a_word(folder, gone):
    for ending in gone:
        (folder / f"model.ckpt-10{ending}").unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert repair_checkpoints(folder) == str(folder / "model.ckpt-20")
    left = {f"model.ckpt-{step}{ending}" for step in (0, 20) for ending in (*ENDINGS, CHECKSUMS)}
    assert {path.name for path in folder.iterdir()} == {"checkpoint", *left}


def test_a_first_checkpoint_that_was_never_finished_begins_the_run_anew(tmp_path):
    (tmp_path / "model.ckpt-0.index").write_bytes(b"half")
    assert newest_checkpoint(tmp_path) is None
    with pytest.warns(UserWarning, match="the run begins anew"):
        assert repair_checkpoints(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_training_is_never_begun_anew_over_checkpoints_that_are_all_damaged(folder):
    for step in (0, 10, 20):
        flip(folder / f"model.ckpt-{step}{DATA}", 5)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for act in (newest_checkpoint, repair_checkpoints):
        with pytest.raises(
            ValueError, match=r"no checkpoint in .* can be used(.|\n)*model\.ckpt-20.*\n.*model\.ckpt-10.*\n.*model\.ckpt-0"
        ):
            act(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("contents", [b"", b"\xff\0", b"nonsense {{{", b'model_checkpoint_path: "model.ckpt-0"', None])
def test_tensorflows_own_list_is_not_believed(folder, contents):
    (folder / "checkpoint").unlink() if contents is None else (folder / "checkpoint").write_bytes(contents)
    assert newest_checkpoint(folder) == repair_checkpoints(folder) == str(folder / "model.ckpt-20")
    assert tf.train.latest_checkpoint(str(folder)) == str(folder / "model.ckpt-20")


def test_a_hostile_list_cannot_make_the_saver_remove_files_elsewhere(folder, tmp_path_factory):
    victim = tmp_path_factory.mktemp("victim")
    for ending in (".index", DATA, ".meta"):
        (victim / f"a{ending}").write_text("precious")
    state = v1.train.generate_checkpoint_state_proto(str(folder), str(victim / "a"), [str(victim / "a")] * 3)
    (folder / "checkpoint").write_text(str(state))
    repair_checkpoints(folder)
    with tf.Graph().as_default(), v1.Session() as session:
        v1.get_variable("codes", [40, 30], initializer=v1.zeros_initializer(), use_resource=True)
        saver = VerifiedSaver()
        saver.build()
        v1.train.SessionManager(graph=v1.get_default_graph())
        saver.restore(session, tf.train.latest_checkpoint(str(folder)))
        saver.recover_last_checkpoints(tf.train.get_checkpoint_state(str(folder)).all_model_checkpoint_paths)
        for step in range(30, 70, 10):
            saver.save(session, str(folder / "model.ckpt"), global_step=step, write_meta_graph=False)
    assert len(list(victim.iterdir())) == 3 and newest_checkpoint(folder) == str(folder / "model.ckpt-60")


def test_other_names_are_not_taken_for_checkpoints(folder):
    for name in ("model.ckpt-.index", "model.ckpt-x.index", "model.ckpt-99", "other.ckpt-99.index", "model.ckpt-" + "9" * 40 + ".index"):
        (folder / name).write_text("")
    assert newest_checkpoint(folder) == repair_checkpoints(folder) == str(folder / "model.ckpt-20")


def test_the_checkpoint_that_was_restored_is_not_written_again(folder):
    prefix = str(folder / "model.ckpt-20")
    before = Path(prefix + DATA).stat().st_mtime_ns
    saved(folder, [20], restored=prefix)
    assert Path(prefix + DATA).stat().st_mtime_ns == before
    saved(folder, [20])
    assert Path(prefix + DATA).stat().st_mtime_ns != before and newest_checkpoint(folder) == prefix


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [([40, 31], tf.float32, r"codes is \[40, 31\], and there it is float32 \[40, 30\]"), ([40], tf.float32, r"codes is \[40\]")],
)
def test_a_checkpoint_of_another_model_is_refused_before_it_is_read(folder, shape, dtype, message):
    with tf.Graph().as_default(), v1.Session() as session:
        v1.get_variable("codes", shape, dtype, initializer=v1.zeros_initializer(), use_resource=True)
        saver = VerifiedSaver()
        saver.build()
        with pytest.raises(ValueError, match=message):
            saver.restore(session, str(folder / "model.ckpt-20"))


def test_missing_variables_and_text_in_their_place_are_refused(tmp_path):
    with tf.Graph().as_default(), v1.Session() as session:
        v1.get_variable("codes", initializer=tf.constant(["text"]), use_resource=True)
        session.run(v1.global_variables_initializer())
        VerifiedSaver().save(session, str(tmp_path / "model.ckpt"), global_step=1, write_meta_graph=False)
    prefix = newest_checkpoint(tmp_path)
    check_fits(str(prefix), {})
    with pytest.raises(ValueError, match=r"decoder/w is \[2, 3\], and there it is missing"):
        check_fits(prefix, {"decoder/w": (2, 3)})
    with pytest.raises(ValueError, match=r"codes is \[None\], and there it is string \[1\]"):
        check_fits(prefix, {"codes": (None,)})


def test_a_full_disk_names_the_checkpoint_that_is_left(folder, monkeypatch):
    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints, "write_checksums", full)
    with pytest.raises(
        OSError, match=r"nothing more can be written .*No space left on device\); the checkpoint before, model\.ckpt-\d+, is whole"
    ) as caught:
        saved(folder, [30])
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize("number", checkpoints.DISK_FULL_ERRORS)
def test_tensorflows_words_for_a_full_disk_are_understood(tmp_path, number):
    with pytest.raises(OSError, match="there was no checkpoint yet: make room") as caught, disk_full_explained(tmp_path):
        raise tf.errors.ResourceExhaustedError(None, None, f"{tmp_path}/model.ckpt-0; {os.strerror(number)}")
    assert caught.value.errno == number


def test_other_errors_pass_unchanged(tmp_path):
    for error in (PermissionError(errno.EACCES, "no"), tf.errors.NotFoundError(None, None, "gone"), KeyError("a")):
        with pytest.raises(type(error)), disk_full_explained(tmp_path):
            raise error


def test_small_values_are_read_with_a_default(folder):
    assert read_values(None, "seconds", default=(0, 0)).tolist() == [0, 0]
    assert read_values(str(folder / "model.ckpt-20"), "seconds", default=(1, 2)).tolist() == [1, 2]
    assert read_values(str(folder / "model.ckpt-20"), "codes", default=()).shape == (40, 30)


def test_sums_are_those_of_the_files(folder):
    noted = json.loads((folder / f"model.ckpt-20{CHECKSUMS}").read_text())
    assert noted.keys() == {f"model.ckpt-20{ending}" for ending in ENDINGS}
    assert all((folder / name).stat().st_size == size for name, (size, _) in noted.items())
