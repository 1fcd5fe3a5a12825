import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from glo_lib import inference, training
from glo_lib.backend import tf
from glo_lib.config import TrainConfig
from glo_lib.inference import (
    fit_diagonal_gaussian,
    fit_unit_gaussian,
    interpolate,
    load,
    nearest_neighbours,
    project_array,
)

v1 = tf.compat.v1


@pytest.fixture(scope="module")
def run_dir(small_images, tmp_path_factory):
    """A short run with one tower; metrics and figures are left out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLO_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(training, "evaluate", lambda *_: {})
        folder = tmp_path_factory.mktemp("run")
        config = TrainConfig(
            data_dir=str(small_images), run_dir=str(folder), image_size=32, num_dims=6, num_filters=(16, 12, 8), batch_size=8,
            num_epochs=60, max_seconds=0, learning_rate=0.01, precision="float32",
        )  # fmt: skip
        return training.train(config).run_dir


def test_a_model_is_loaded_from_its_folder_alone(run_dir, tmp_path):
    moved = tmp_path / "elsewhere"
    run_dir.rename(moved)
    try:
        model = load(moved)
        assert model.codes.shape == (48, 6) and model.weights == "raw"
        assert model.decode(model.codes[:3]).shape == (3, 32, 32, 3)
    finally:
        moved.rename(run_dir)


def test_decoding_is_what_training_saved(run_dir):
    """The second route: rebuild the decoder by hand from the checkpoint's arrays, with batch norm as in use."""
    model, checkpoint = load(run_dir), tf.train.latest_checkpoint(str(run_dir))
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


def test_decoding_does_not_depend_on_what_else_is_decoded(run_dir, monkeypatch):
    model = load(run_dir)
    together = model.decode(model.codes)
    monkeypatch.setattr(inference, "DECODED_AT_ONCE", 7)
    np.testing.assert_allclose(model.decode(model.codes), together, atol=1e-5)
    np.testing.assert_allclose(model.decode(3 * model.codes[:2]), together[:2], atol=1e-5)  # projected before decoding


def test_trained_codes_reconstruct_their_own_image_better_than_others(run_dir, small_images):
    from glo_lib.inputs import decode_images, list_images

    model, images = load(run_dir), decode_images(list_images(small_images), 32).array() / np.float32(127.5) - 1
    decoded = model.decode(model.codes)
    distances = np.square(decoded[:, None] - images[None]).mean(axis=(2, 3, 4))  # (48 codes, 48 images)
    own = np.diag(distances)
    others = distances[~np.eye(48, dtype=bool)].reshape(48, 47)
    assert own.mean() < 0.25 * others.mean()


def test_codes_of_another_width_are_refused(run_dir):
    with pytest.raises(ValueError, match=r"codes have shape \(2, 5\); this model decodes \(n, 6\)"):
        load(run_dir).decode(np.zeros((2, 5)))


def test_folders_without_a_run_or_a_checkpoint_are_refused(run_dir, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json; it is not the folder of a run"):
        load(tmp_path)
    (tmp_path / "config.json").write_text((run_dir / "config.json").read_text())
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        load(tmp_path)


def test_project_array_is_the_projection_in_blocks():
    codes = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    expected = codes / np.linalg.norm(codes, axis=1, keepdims=True)
    np.testing.assert_allclose(project_array(codes, "sphere", block=4), expected, rtol=1e-5)
    inside = 0.1 * expected
    np.testing.assert_allclose(project_array(inside, "ball", block=4), inside, rtol=1e-5)


def test_priors_reproduce_mean_and_variance():
    codes = np.random.default_rng(1).normal([1, -2, 0], [0.5, 2, 0.1], (500, 3)).astype(np.float32)
    drawn = fit_diagonal_gaussian(codes).sample(200_000, seed=2)
    np.testing.assert_allclose(drawn.mean(axis=0), codes.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(drawn.std(axis=0), codes.std(axis=0), rtol=0.01)
    unit = fit_unit_gaussian(codes).sample(200_000, seed=2)
    np.testing.assert_allclose(np.cov(unit.T), np.eye(3), atol=0.01)


def test_samples_depend_on_the_seed_alone():
    prior = fit_unit_gaussian(np.zeros((1, 4)))
    assert np.array_equal(prior.sample(5, seed=3), prior.sample(5, seed=3))
    assert not np.array_equal(prior.sample(5, seed=3), prior.sample(5, seed=4))
    with pytest.raises(ValueError, match="num_samples is 0; give at least 1"):
        prior.sample(0)


codes_of_norm_one = (
    arrays.arrays(np.float64, 5, elements=st.floats(-1, 1)).filter(lambda z: np.linalg.norm(z) > 0.1).map(lambda z: z / np.linalg.norm(z))
)


@settings(deadline=None, max_examples=50)
@given(codes_of_norm_one, codes_of_norm_one, st.integers(2, 12))
def test_great_circle_points_have_norm_one_and_even_steps(start, end, num_steps):
    if np.pi - np.arccos(np.clip(start @ end, -1, 1)) < 1e-3:
        return
    path = interpolate(start, end, num_steps)
    np.testing.assert_allclose(path[[0, -1]], [start, end], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(path, axis=1), 1, atol=1e-6)
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    np.testing.assert_allclose(steps, steps.mean(), atol=1e-6)


def test_great_circle_passes_the_known_point_and_linear_does_not():
    start, end = np.array([1.0, 0.0]), np.array([0.0, 2.0])
    third = interpolate(start, end, 4)[1]
    np.testing.assert_allclose(
        third, (4 / 3) * np.array([np.cos(np.pi / 6), np.sin(np.pi / 6)]), atol=1e-12
    )  # 30 degrees, a third of the norm
    np.testing.assert_allclose(interpolate(start, end, 3, "linear")[1], [0.5, 1.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((1, "linear"), "num_steps is 1"), ((3, "spline"), "path is 'spline'; allowed are")],
)
def test_bad_interpolations_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        interpolate(np.ones(2), np.zeros(2), *arguments)


def test_opposite_ends_are_refused():
    with pytest.raises(ValueError, match="opposite"):
        interpolate(np.array([1.0, 0.0]), np.array([-1.0, 0.0]), 5)


@pytest.mark.parametrize("as_bytes", [False, True])
def test_neighbours_are_those_of_brute_force(as_bytes, monkeypatch):
    numbers = np.random.default_rng(5)
    images = numbers.integers(0, 256, (83, 4, 4, 3)).astype(np.uint8)
    floats = images / np.float32(127.5) - 1
    queries = floats[[7, 30]] + numbers.normal(0, 0.3, (2, 4, 4, 3)).astype(np.float32)
    brute = np.square(queries[:, None] - floats[None]).mean(axis=(2, 3, 4))
    plain = inference.blocks
    monkeypatch.setattr(inference, "blocks", lambda array: plain(array, block_bytes=10 * 4 * 48))  # ten images at a time
    index, distance = nearest_neighbours(queries, images if as_bytes else floats, 5)
    np.testing.assert_array_equal(index, np.argsort(brute, axis=1)[:, :5])
    np.testing.assert_allclose(distance, np.sort(brute, axis=1)[:, :5], rtol=1e-3)
    assert index[0, 0] == 7 and index[1, 0] == 30


def test_impossible_neighbours_are_refused():
    with pytest.raises(ValueError, match="num_neighbours is 4; with 3 images it can be 1 to 3"):
        nearest_neighbours(np.zeros((1, 2, 2, 3)), np.zeros((3, 2, 2, 3)), 4)
    with pytest.raises(ValueError, match="must be alike"):
        nearest_neighbours(np.zeros((1, 2, 2, 3)), np.zeros((3, 4, 4, 3)))
