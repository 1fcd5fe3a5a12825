"""Exports are read back elsewhere, and nothing is overwritten."""

import json
import subprocess
import sys

import numpy as np
import pytest

from glo_lib.graph.backend import tf
from glo_lib.inference.export import check_free, export_npz, export_saved_model, load_npz

WITHOUT_US = """
import sys
import numpy as np
import tensorflow as tf
assert not any(name.startswith(("glo_lib", "tf_slim")) for name in sys.modules)
try:
    import glo_lib
except ImportError:
    pass
else:
    raise SystemExit("glo_lib can be imported here: the test proves nothing")
decode = tf.saved_model.load(sys.argv[1]).signatures["decode"]
codes = tf.constant(np.load(sys.argv[2]))
with tf.GradientTape() as tape:
    tape.watch(codes)
    images = decode(codes=codes)["images"]
assert np.isfinite(tape.gradient(images, codes)).all()
np.save(sys.argv[3], images)
"""


def test_plain_tensorflow_loads_the_saved_model_and_decodes_alike(trained_model, tmp_path):
    folder = export_saved_model(trained_model, tmp_path / "decoder")
    np.save(tmp_path / "codes.npy", 3 * trained_model.codes[:5])
    script = tmp_path / "elsewhere" / "decode.py"
    script.parent.mkdir()
    script.write_text(WITHOUT_US)
    # -S and -E hide an editable installation; the packages themselves are put back on the path, without ours.
    site = next(path for path in sys.path if path.endswith("site-packages"))
    start = f"import sys, runpy; sys.path.append({site!r}); runpy.run_path({str(script)!r})"
    arguments = [str(folder), str(tmp_path / "codes.npy"), str(tmp_path / "images.npy")]
    done = subprocess.run([sys.executable, "-E", "-S", "-c", start, *arguments], cwd=script.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    np.testing.assert_allclose(np.load(tmp_path / "images.npy"), trained_model.decode(trained_model.codes[:5]), atol=1e-5)


def test_arrays_are_read_back_to_the_same_images(trained_model, tmp_path):
    file = export_npz(trained_model, tmp_path / "model.npz")
    again = load_npz(file)
    np.testing.assert_allclose(again.decode(again.codes), trained_model.decode(trained_model.codes), atol=1e-5)
    np.testing.assert_allclose(again.codes, trained_model.codes, atol=1e-6)
    assert again.config.num_filters == trained_model.config.num_filters and again.weights == trained_model.weights


def test_the_arrays_need_no_pickle_and_tell_no_folder(trained_model, tmp_path):
    with np.load(export_npz(trained_model, tmp_path / "model.npz"), allow_pickle=False) as arrays:
        content = {name: arrays[name] for name in arrays.files}
    assert content["codes"].shape == (48, 6) and content["decoder/deconv1/weights"].shape == (4, 4, 16, 6)
    config = json.loads(str(content["config"]))
    assert config["data_dir"] == config["run_dir"] == "" and config["image_size"] == 32


def test_nothing_is_overwritten_unless_told(trained_model, tmp_path):
    file, folder = tmp_path / "model.npz", tmp_path / "decoder"
    file.write_text("precious")
    with pytest.raises(FileExistsError, match=r"model\.npz' exists and is left as it is"):
        export_npz(trained_model, file)
    assert file.read_text() == "precious"
    export_npz(trained_model, file, force=True)
    assert load_npz(file).codes.shape == (48, 6)
    export_saved_model(trained_model, folder)
    with pytest.raises(FileExistsError):
        export_saved_model(trained_model, folder)
    export_saved_model(trained_model, folder, force=True)


def test_even_force_replaces_no_folder_that_is_not_a_saved_model(trained_model, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious")
    with pytest.raises(FileExistsError):
        export_saved_model(trained_model, tmp_path / "thesis", force=True)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "precious"


def test_impossible_places_are_refused(trained_model, tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a folder; make it first"):
        export_npz(trained_model, tmp_path / "no" / "model.npz")
    with pytest.raises(ValueError, match=r"does not end with \.npz"):
        export_npz(trained_model, tmp_path / "model.zip")
    with pytest.raises(FileNotFoundError):
        check_free(tmp_path / "no" / "decoder")


def test_a_failure_while_writing_leaves_the_old_file_and_no_rest(trained_model, tmp_path, monkeypatch):
    def fail(file, **_):
        file.write(b"half")
        raise RuntimeError

    (tmp_path / "model.npz").write_text("old")
    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(RuntimeError):
        export_npz(trained_model, tmp_path / "model.npz", force=True)
    assert [file.name for file in tmp_path.iterdir()] == ["model.npz"] and (tmp_path / "model.npz").read_text() == "old"


def test_a_failure_while_writing_leaves_the_old_saved_model_and_no_rest(trained_model, tmp_path, monkeypatch):
    def fail(self):
        raise RuntimeError

    folder = export_saved_model(trained_model, tmp_path / "decoder")
    before = (folder / "saved_model.pb").read_bytes()
    monkeypatch.setattr(tf.compat.v1.saved_model.Builder, "save", fail)
    with pytest.raises(RuntimeError):
        export_saved_model(trained_model, folder, force=True)
    assert [file.name for file in tmp_path.iterdir()] == ["decoder"] and (folder / "saved_model.pb").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"PK\x03\x04half an archive"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.npz' is not a file that export_npz wrote"):
        load_npz(tmp_path / "x.npz")


def test_archives_of_other_arrays_and_absent_files_are_refused(tmp_path):
    np.savez(tmp_path / "y.npz", codes=np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"y\.npz' is not a file that export_npz wrote"):
        load_npz(tmp_path / "y.npz")
    np.savez(tmp_path / "z.npz", config=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match=r"z\.npz' is not a file that export_npz wrote"):
        load_npz(tmp_path / "z.npz")
    with pytest.raises(FileNotFoundError):
        load_npz(tmp_path / "absent.npz")
