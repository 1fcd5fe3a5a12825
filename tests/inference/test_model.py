"""A trained model is loaded from its folder alone, and decodes by several routes to the same images."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from glo_lib.decoder import decoder
from glo_lib.graph.backend import tf
from glo_lib.inference import model as model_module
from glo_lib.inference.model import GRADIENT_ATTRIBUTE, load, load_stored_codes
from glo_lib.runs.checkpoints import DATA
from glo_lib.runs.folder import read_json, write_json
from glo_lib.runs.run import read_run

v1 = tf.compat.v1
EVALUATED_VAE = Path(__file__).parents[1] / "runs" / "earlier_version" / "vae"


def test_a_model_and_its_stored_codes_are_loaded_from_a_moved_folder_or_a_run(trained_run, trained_model, tmp_path):
    stored = load_stored_codes(trained_run)
    np.testing.assert_allclose(np.linalg.norm(stored, axis=1), np.sqrt(6), rtol=1e-3)  # training re-projects rows to that sphere
    np.testing.assert_allclose(stored / np.linalg.norm(stored, axis=1, keepdims=True), trained_model.codes, atol=1e-5)
    moved = shutil.copytree(trained_run, tmp_path / "elsewhere")
    for run in (moved, read_run(moved)):
        np.testing.assert_array_equal(load(run).codes, trained_model.codes)
        np.testing.assert_array_equal(load_stored_codes(run), stored)


def test_decoding_is_that_of_the_checkpoint_by_hand(trained_run, trained_model):
    """Rebuild the decoder from the checkpoint's arrays, with batch normalization in inference mode."""
    checkpoint = tf.train.latest_checkpoint(str(trained_run))
    names = [name for name, _ in tf.train.list_variables(checkpoint) if name.startswith("decoder/") and "Adam" not in name]
    weights = {name: tf.train.load_variable(checkpoint, name) for name in names}
    assert trained_model.weights == "raw" and sorted(trained_model.variables) == sorted(names)
    for name, value in trained_model.variables.items():
        np.testing.assert_array_equal(value, weights[name])
    z = trained_model.codes[:5]
    net = np.einsum("bd,hwcd->bhwc", z, weights["decoder/deconv1/weights"])
    with tf.Graph().as_default(), v1.Session() as session:
        for block in (1, 2, 3):
            scope = f"decoder/deconv{block}"
            if block > 1:
                kernel = weights[f"{scope}/weights"]
                batch, height, width, _ = net.shape
                net = session.run(tf.nn.conv2d_transpose(net, kernel, [batch, 2 * height, 2 * width, kernel.shape[2]], 2))
            norm = {name: weights[f"{scope}/BatchNorm/{name}"] for name in ("gamma", "beta", "moving_mean", "moving_variance")}
            net = norm["gamma"] * (net - norm["moving_mean"]) / np.sqrt(norm["moving_variance"] + 1e-3) + norm["beta"]
            net = np.maximum(net, 0).astype(np.float32)
        net = session.run(tf.nn.conv2d_transpose(net, weights["decoder/deconv4/weights"], [5, 32, 32, 3], 2))
    np.testing.assert_allclose(trained_model.decode(z), np.tanh(net + weights["decoder/deconv4/biases"]), atol=2e-5)


def test_decoding_does_not_depend_on_the_batch_and_on_the_norm_only_without_projection(trained_model, monkeypatch):
    codes = trained_model.codes
    together = trained_model.decode(codes)
    monkeypatch.setattr(model_module, "IMAGES_PER_BATCH", 7)
    np.testing.assert_allclose(trained_model.decode(3 * codes), together, atol=1e-5)
    np.testing.assert_allclose(trained_model.decode(codes, project=False), together, atol=1e-5)
    assert np.abs(trained_model.decode(0.2 * codes, project=False) - together).max() > 0.1
    with pytest.raises(ValueError, match=r"codes have shape \(2, 5\); this model decodes \(n, 6\)"):
        trained_model.decode(np.zeros((2, 5)))


def test_the_frozen_graph_has_no_variables_and_the_images_and_gradients_of_slim(trained_model):
    frozen, codes = trained_model.frozen_graph(), trained_model.codes[:3]
    assert not [node.name for node in frozen.node if "Variable" in node.op or node.op == "VarHandleOp"]
    assert not [node.name for node in frozen.node if GRADIENT_ATTRIBUTE in node.attr]
    with tf.Graph().as_default(), v1.Session() as session:
        by_projection = tf.import_graph_def(frozen, {"codes": tf.constant(5 * codes)}, ["images:0"])[0]
        projected = tf.constant(codes)
        ours = tf.import_graph_def(frozen, {"projected": projected}, ["images:0"])[0]
        theirs = decoder(projected, trained_model.config.num_filters, trained_model.config.kernel_size, is_training=False)
        for variable in v1.global_variables("decoder"):
            variable.load(trained_model.variables[variable.op.name], session)
        upstream = tf.constant(np.random.default_rng(0).standard_normal((3, 32, 32, 3)), tf.float32)
        gradients = [tf.gradients(images, projected, upstream)[0] for images in (ours, theirs)]
        by_projection, ours, theirs, our_gradient, their_gradient = session.run([by_projection, ours, theirs, *gradients])
    np.testing.assert_allclose([ours, by_projection], [theirs, theirs], atol=1e-5)
    np.testing.assert_allclose(our_gradient, their_gradient, rtol=1e-4, atol=1e-3)


def test_missing_and_damaged_checkpoints_are_named(trained_run, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json; it is not the folder of a run"):
        load(tmp_path)
    shutil.copy(trained_run / "config.json", tmp_path)
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        load(tmp_path)
    broken = shutil.copytree(trained_run, tmp_path / "broken")
    run = read_run(broken)
    Path(run.checkpoint + DATA).write_bytes(bytes(Path(run.checkpoint + DATA).stat().st_size))
    with pytest.raises(ValueError, match=r"checkpoint .* cannot be read"):
        load_stored_codes(run)
    for index in broken.glob("model.ckpt-*.index"):
        index.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"no checkpoint in .*broken' can be used"):
        load(broken)


def test_the_codes_of_a_vae_are_not_used_with_the_decoder_of_another_step(tmp_path):
    folder = shutil.copytree(EVALUATED_VAE, tmp_path / "run")
    assert load(folder).codes.shape == (16, 4)
    metrics = read_json(folder / "metrics.json")
    write_json(folder / "metrics.json", {**metrics, "steps": 12})  # what it holds while training goes on
    with pytest.raises(ValueError, match=r"a VAE at step 16, and its codes are those of step 12; .* train with the same settings"):
        load(folder)
    (folder / "metrics.json").unlink()
    with pytest.raises(ValueError, match=r"a VAE at step 16, and its evaluation is not complete; .* wait until it ends"):
        load(folder)
