"""A trained model from its folder alone."""

import shutil

import numpy as np
import pytest

from glo_lib.decoder import decoder
from glo_lib.graph.backend import tf
from glo_lib.inference import model as model_module
from glo_lib.inference.model import GRADIENT_ATTRIBUTE, TrainedModel, check_one_code_per_image, load, load_stored_codes
from glo_lib.inference.variables import from_arrays, from_checkpoint
from glo_lib.runs.run import read_run

v1 = tf.compat.v1


def test_a_model_is_loaded_from_its_folder_alone(trained_run, tmp_path):
    moved = tmp_path / "elsewhere"
    trained_run.rename(moved)
    try:
        model = load(moved)
        assert model.codes.shape == (48, 6) and model.weights == "raw"
        assert model.decode(model.codes[:3]).shape == (3, 32, 32, 3)
    finally:
        moved.rename(trained_run)


def test_decoding_is_what_training_saved(trained_run):
    """The second route: rebuild the decoder by hand from the checkpoint's arrays, with batch norm in inference mode."""
    model, checkpoint = load(trained_run), tf.train.latest_checkpoint(str(trained_run))
    weights = {
        name: tf.train.load_variable(checkpoint, name) for name, _ in tf.train.list_variables(checkpoint) if name.startswith("decoder/")
    }
    z = model.codes[:5]
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
    by_hand = np.tanh(net + weights["decoder/deconv4/biases"])
    np.testing.assert_allclose(model.decode(z), by_hand, atol=2e-5)


def test_decoding_does_not_depend_on_what_else_is_decoded(trained_run, monkeypatch):
    model = load(trained_run)
    together = model.decode(model.codes)
    monkeypatch.setattr(model_module, "DECODED_AT_ONCE", 7)
    np.testing.assert_allclose(model.decode(model.codes), together, atol=1e-5)
    np.testing.assert_allclose(model.decode(3 * model.codes[:2]), together[:2], atol=1e-5)  # projected before decoding


def test_trained_codes_reconstruct_their_own_image_better_than_others(trained_run, trained_images):
    model, images = load(trained_run), trained_images / np.float32(127.5) - 1
    decoded = model.decode(model.codes)
    distances = np.square(decoded[:, None] - images[None]).mean(axis=(2, 3, 4))  # (48 codes, 48 images)
    own = np.diag(distances)
    others = distances[~np.eye(48, dtype=bool)].reshape(48, 47)
    assert own.mean() < 0.25 * others.mean()


def test_codes_of_another_width_are_refused(trained_run):
    with pytest.raises(ValueError, match=r"codes have shape \(2, 5\); this model decodes \(n, 6\)"):
        load(trained_run).decode(np.zeros((2, 5)))


def test_folders_without_a_run_or_a_checkpoint_are_refused(trained_run, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json; it is not the folder of a run"):
        load(tmp_path)
    (tmp_path / "config.json").write_text((trained_run / "config.json").read_text())
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        load(tmp_path)


def test_stored_codes_lie_in_the_direction_of_the_projected_ones(trained_run, trained_model):
    stored = load_stored_codes(trained_run)
    np.testing.assert_allclose(np.linalg.norm(stored, axis=1), np.sqrt(6), rtol=1e-3)  # training puts rows back on that sphere
    np.testing.assert_allclose(stored / np.linalg.norm(stored, axis=1, keepdims=True), trained_model.codes, atol=1e-5)


def test_without_projection_the_norm_of_a_code_matters(trained_model):
    codes = trained_model.codes[:4]
    np.testing.assert_allclose(trained_model.decode(codes, project=False), trained_model.decode(codes), atol=1e-5)
    assert np.abs(trained_model.decode(0.2 * codes, project=False) - trained_model.decode(codes)).max() > 0.1


def test_the_frozen_graph_decodes_alike_and_holds_no_variable(trained_model):
    frozen = trained_model.frozen_graph()
    assert not [node.name for node in frozen.node if "Variable" in node.op or node.op == "VarHandleOp"]
    with tf.Graph().as_default(), v1.Session() as session:
        codes = v1.placeholder(tf.float32, [None, 6])
        images = tf.import_graph_def(frozen, {"codes": codes}, ["images:0"])[0]
        decoded = session.run(images, {codes: 5 * trained_model.codes[:3]})
    np.testing.assert_allclose(decoded, trained_model.decode(trained_model.codes[:3]), atol=1e-5)


def decoder_by_slim(model, codes):
    """Codes and images of a decoder by slim's own layers, with the model's variables, in the current graph and session."""
    images = decoder(codes, model.config.num_filters, model.config.kernel_size, is_training=False)
    for variable in v1.global_variables("decoder"):
        variable.load(model.variables[variable.op.name], v1.get_default_session())
    return images


def test_the_frozen_graph_has_the_gradient_of_slims_layers_and_none_of_ours(trained_model):
    frozen, codes = trained_model.frozen_graph(), trained_model.codes[:3]
    assert not [node.name for node in frozen.node if GRADIENT_ATTRIBUTE in node.attr]
    with tf.Graph().as_default(), v1.Session() as session:
        projected = tf.constant(codes)
        ours = tf.import_graph_def(frozen, {"projected": projected}, ["images:0"])[0]
        theirs = decoder_by_slim(trained_model, projected)
        upstream = tf.constant(np.random.default_rng(0).standard_normal((3, 32, 32, 3)), tf.float32)
        gradients = [tf.gradients(images, projected, upstream)[0] for images in (ours, theirs)]
        ours, theirs, our_gradient, their_gradient = session.run([ours, theirs, *gradients])
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(our_gradient, their_gradient, rtol=1e-4, atol=1e-3)


def test_variables_are_those_of_the_checkpoint(trained_run, trained_model):
    checkpoint = tf.train.latest_checkpoint(str(trained_run))
    stored = [name for name, _ in tf.train.list_variables(checkpoint) if name.startswith("decoder/") and "Adam" not in name]
    assert sorted(trained_model.variables) == sorted(stored)
    for name, value in trained_model.variables.items():
        np.testing.assert_array_equal(value, tf.train.load_variable(checkpoint, name))


def test_a_run_that_was_read_already_is_loaded_like_its_folder(trained_run, trained_model):
    run = read_run(trained_run)
    np.testing.assert_array_equal(load(run).codes, trained_model.codes)
    np.testing.assert_array_equal(load_stored_codes(run), load_stored_codes(trained_run))


def test_weights_that_do_not_fit_the_settings_are_refused(trained_model):
    config, codes = trained_model.config, trained_model.codes
    with pytest.raises(ValueError, match="decoder/deconv1/weights is missing"):
        TrainedModel(config, codes, from_arrays({}))
    wrong = {**trained_model.variables, "decoder/deconv2/weights": np.zeros((3, 3, 2, 2), np.float32)}
    with pytest.raises(ValueError, match=r"deconv2/weights has shape \(3, 3, 2, 2\); the settings ask for \(3, 3, 12, 16\)"):
        TrainedModel(config, codes, from_arrays(wrong))


def test_a_checkpoint_of_another_decoder_is_refused(trained_run, trained_model):
    other = type(trained_model.config).from_parameters({**trained_model.config.as_dict(), "num_filters": "16-10-8"})
    with pytest.raises(ValueError, match=r"is not a checkpoint of this model: decoder/deconv2/weights is \[3, 3, 10, 16\]"):
        TrainedModel(other, trained_model.codes, from_checkpoint(read_run(trained_run).checkpoint))


def test_a_damaged_checkpoint_is_named(trained_run, tmp_path):
    broken = shutil.copytree(trained_run, tmp_path / "broken")
    for index in broken.glob("model.ckpt-*.index"):
        index.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"no checkpoint in .*broken' can be used"):
        load(broken)
    with pytest.raises(ValueError, match=r"no checkpoint in .*broken' can be used"):
        load_stored_codes(broken)


def test_codes_and_images_of_different_numbers_are_refused():
    with pytest.raises(ValueError, match="there are 3 codes and 4 images"):
        check_one_code_per_image(np.zeros((3, 2)), np.zeros((4, 8, 8, 3)))
    check_one_code_per_image(np.zeros((3, 2)), np.zeros((3, 8, 8, 3)))
