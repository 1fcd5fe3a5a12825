"""Exported models decode the same images elsewhere, and nothing is overwritten without force."""

import json
import subprocess
import sys

import numpy as np
import pytest

from glo_lib.graph.backend import tf
from glo_lib.inference.export import check_free, export_npz, export_saved_model, load_npz

DECODE_WITH_PLAIN_TENSORFLOW = """
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


def test_plain_tensorflow_decodes_the_saved_model_to_the_same_images(trained_model, tmp_path):
    folder = export_saved_model(trained_model, tmp_path / "decoder")
    np.save(tmp_path / "codes.npy", 3 * trained_model.codes[:5])
    script = tmp_path / "elsewhere" / "decode.py"
    script.parent.mkdir()
    script.write_text(DECODE_WITH_PLAIN_TENSORFLOW)
    # -S and -E hide an editable installation of glo_lib. The installed packages are added to the path again.
    site = next(path for path in sys.path if path.endswith("site-packages"))
    start = f"import sys, runpy; sys.path.append({site!r}); runpy.run_path({str(script)!r})"
    arguments = [str(folder), str(tmp_path / "codes.npy"), str(tmp_path / "images.npy")]
    done = subprocess.run([sys.executable, "-E", "-S", "-c", start, *arguments], cwd=script.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    np.testing.assert_allclose(np.load(tmp_path / "images.npy"), trained_model.decode(trained_model.codes[:5]), atol=1e-5)


def test_a_full_disk_leaves_nothing_of_a_saved_model_and_is_named(trained_model, tmp_path, monkeypatch):
    def refuse(builder):
        raise tf.errors.ResourceExhaustedError(None, None, f"{tmp_path}/.decoder-1/whole/saved_model.pb; No space left on device")

    monkeypatch.setattr(tf.compat.v1.saved_model.Builder, "save", refuse)
    with pytest.raises(OSError, match=r"^the SavedModel cannot be written: No space left on device$"):
        export_saved_model(trained_model, tmp_path / "decoder")
    assert not list(tmp_path.iterdir())


def test_an_exported_file_gives_the_same_model_without_pickle_and_names_no_folder(trained_model, tmp_path):
    file = export_npz(trained_model, tmp_path / "model.npz")
    again = load_npz(file)
    np.testing.assert_allclose(again.decode(again.codes), trained_model.decode(trained_model.codes), atol=1e-5)
    np.testing.assert_allclose(again.codes, trained_model.codes, atol=1e-6)
    assert again.config.num_filters == trained_model.config.num_filters and again.weights == trained_model.weights
    with np.load(file, allow_pickle=False) as arrays:
        config = json.loads(str(arrays["config"]))
        assert arrays["codes"].shape == (48, 6) and arrays["decoder/deconv1/weights"].shape == (4, 4, 16, 6)
    assert config["data_dir"] == config["run_dir"] == "" and config["image_size"] == 32


@pytest.mark.parametrize(
    ("export", "owner", "function"),
    [(export_npz, np, "savez_compressed"), (export_saved_model, tf.compat.v1.saved_model.Builder, "save")],
)
def test_exports_are_replaced_only_by_force_and_only_as_a_whole(export, owner, function, trained_model, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError

    target = export(trained_model, tmp_path / "model.npz")
    with pytest.raises(FileExistsError, match=r"model\.npz' exists and is left as it is"):
        export(trained_model, target)
    assert export(trained_model, target, force=True) == target
    content = target if target.is_file() else target / "saved_model.pb"
    before = content.read_bytes()
    monkeypatch.setattr(owner, function, fail)
    with pytest.raises(RuntimeError):
        export(trained_model, target, force=True)
    assert [file.name for file in tmp_path.iterdir()] == ["model.npz"] and content.read_bytes() == before


def test_other_folders_missing_folders_and_other_suffixes_are_refused_even_with_force(trained_model, tmp_path):
    (tmp_path / "chapter.txt").write_text("precious")
    with pytest.raises(FileExistsError):
        export_saved_model(trained_model, tmp_path, force=True)
    assert (tmp_path / "chapter.txt").read_text() == "precious"
    with pytest.raises(FileNotFoundError, match="is not a folder; make it first"):
        check_free(tmp_path / "no" / "model.npz", force=True)
    with pytest.raises(ValueError, match=r"does not end with \.npz"):
        export_npz(trained_model, tmp_path / "model.zip", force=True)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04half an archive", {"codes": np.zeros((2, 3))}, {"config": np.array([{}], object)}])
def test_other_files_are_refused(tmp_path, content):
    file = tmp_path / "x.npz"
    file.write_bytes(content) if isinstance(content, bytes) else np.savez(file, **content)
    with pytest.raises(ValueError, match=r"x\.npz' is not a file that export_npz wrote"):
        load_npz(file)
    with pytest.raises(FileNotFoundError, match="give a file that export_npz wrote"):
        load_npz(tmp_path / "absent.npz")
