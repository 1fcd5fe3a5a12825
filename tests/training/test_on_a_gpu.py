"""What only a GPU can show: kernels give the right numbers there, in every precision, and towers and variables are where they should be.

`pytest -m gpu` runs these tests on the GPUs of a machine. All other runs of the tests run them on the CPU, with a GPU that is pretended, so
that a mistake in them is found before there is a GPU.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

from glo_lib import inference
from glo_lib.graph import devices
from glo_lib.graph.backend import tf
from glo_lib.graph.devices import Gpu, find_gpus
from glo_lib.graph.session import open_session
from glo_lib.inference.export import export_saved_model
from glo_lib.losses import LOSSES, get_loss
from glo_lib.runs.folder import read_hardware
from glo_lib.training import build_loss, build_model, build_train_ops, prepare, train
from glo_lib.training.train import training_graph

v1 = tf.compat.v1
A_GPU = pytest.param("a gpu", marks=pytest.mark.gpu)
PRECISIONS = ("float32", "bfloat16", "float16")
DECODE_WITHOUT_GPU = """
import sys
import numpy as np
from glo_lib import inference
from glo_lib.graph.backend import tf
run, exported, codes, out = sys.argv[1:]
codes = np.load(codes)
assert not tf.config.list_physical_devices("GPU")
by_plain_tensorflow = tf.saved_model.load(exported).signatures["decode"](codes=tf.constant(codes))["images"].numpy()
np.savez(out, by_library=inference.load(run).decode(codes), by_plain_tensorflow=by_plain_tensorflow)
"""


@pytest.fixture(params=["the cpu", A_GPU])
def is_real(request, gpus):
    """Whether there is a GPU. Otherwise one is pretended, and TensorFlow places everything on the CPU."""
    if request.param == "the cpu":
        gpus(Gpu("pretended", (8, 0)))
        return False
    if not find_gpus():
        pytest.skip("there is no GPU")
    return True


def losses(result):
    return [row.loss for row in result.history]


@pytest.mark.parametrize(
    ("is_real", "precision"),
    [("the cpu", "float16"), *(pytest.param("a gpu", precision, marks=pytest.mark.gpu) for precision in PRECISIONS)],
    indirect=["is_real"],
)
def test_a_run_in_each_precision_learns_and_goes_on(is_real, precision, small_config, small_images, tmp_path, no_figures):
    changes = {"precision": precision, "learning_rate": 0.01, "schedule": "constant"}
    train(small_config(small_images, tmp_path, num_epochs=5, **changes))
    result = train(small_config(small_images, tmp_path, num_epochs=10, **changes))
    assert result.metrics["steps"] == 60 and result.metrics["precision"] == precision
    assert np.mean(losses(result)[-6:]) < 0.8 * np.mean(losses(result)[:6])
    assert read_hardware(tmp_path)["devices"] == ["/gpu:0"]


def test_codes_on_the_gpu_and_on_the_host_learn_the_same(is_real, small_config, small_images, tmp_path, no_figures):
    results = {}
    for place, megabytes in (("/gpu:0", 100), ("/cpu:0", 0)):
        run = tmp_path / place[1:4]
        results[place] = train(small_config(small_images, run, num_epochs=1, gpu_code_megabytes=megabytes))
        assert read_hardware(run)["codes_on"] == place
    np.testing.assert_allclose(losses(results["/gpu:0"]), losses(results["/cpu:0"]), rtol=1e-3)


def test_a_deterministic_run_repeats_its_bits_and_its_model_can_be_searched(is_real, small_config, small_images, tmp_path, no_figures):
    runs = [train(small_config(small_images, tmp_path / name, num_epochs=1, deterministic="true")).run_dir for name in ("a", "b")]
    assert (runs[0] / "codes.npy").read_bytes() == (runs[1] / "codes.npy").read_bytes()
    model = inference.load(runs[0])
    found = inference.encode(model, model.decode(model.codes[:2]), restarts=1, steps=5)
    assert np.isfinite(found.codes).all()


def test_each_tower_computes_on_its_device(is_real, gpus, small_config, small_images, tmp_path):
    if not is_real:
        gpus()  # two devices of the CPU
    towers = max(2, len(find_gpus()))
    setting = prepare(small_config(small_images, tmp_path, gpus=towers, batch_size=2))
    with training_graph(setting):
        model = build_model(setting)
        step = build_train_ops(setting, model, build_loss(setting, model)).step
        with open_session(setting.devices.session_config) as session:
            session.run(v1.global_variables_initializer())
            trace = v1.RunMetadata()
            session.run(step, options=v1.RunOptions(output_partition_graphs=True), run_metadata=trace)
    placed = [(node.name, node.device.lower()) for partition in trace.partition_graphs for node in partition.node if "Conv" in node.op]
    for number, device in enumerate(setting.devices.towers):
        found = {where for name, where in placed if f"tower_{number}/" in name}
        assert len(found) == 1 and found.pop().endswith(device.replace("/", "/device:")), number


def test_images_decoded_on_the_gpu_are_those_of_a_machine_without_one(is_real, trained_run, tmp_path):
    model = inference.load(trained_run)
    codes = model.codes[:5]
    np.save(tmp_path / "codes.npy", codes)
    files = [trained_run, export_saved_model(model, tmp_path / "exported"), tmp_path / "codes.npy", tmp_path / "decoded.npz"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    subprocess.run([sys.executable, "-c", DECODE_WITHOUT_GPU, *map(str, files)], env=environment, check=True)
    decoded = model.decode(codes)
    with np.load(tmp_path / "decoded.npz") as without_gpu:
        np.testing.assert_allclose(without_gpu["by_library"], decoded, atol=1e-4)
        np.testing.assert_allclose(without_gpu["by_plain_tensorflow"], decoded, atol=1e-4)


def test_a_full_gpu_is_named(is_real, monkeypatch, small_config, small_images, tmp_path):
    """On the CPU the same step fails, but TensorFlow's own words stay. TensorFlow waits ten seconds for the memory."""

    def hungry(images, reconstructions, weight):
        size = tf.cast(2.0**60 + 0 * tf.reduce_sum(images), tf.int64)  # not known when the graph is built, so no memory is taken then
        return weight * tf.reduce_mean(reconstructions) * tf.reduce_sum(tf.random.uniform(size[tf.newaxis]))

    monkeypatch.setitem(LOSSES, "mse", hungry)
    error, words = (MemoryError, r"device:GPU:0 has no room for a tensor") if is_real else (tf.errors.ResourceExhaustedError, "OOM")
    with pytest.raises(error, match=words):
        train(small_config(small_images, tmp_path))


@pytest.mark.parametrize("name", ["mse", "lap1"])
def test_a_loss_and_its_gradient_are_the_same_on_the_gpu_and_on_the_cpu(is_real, name):
    draw = np.random.default_rng(0)
    images, others = (draw.uniform(-1, 1, (4, 32, 32, 3)).astype(np.float32) for _ in range(2))
    found = []
    for device in ("/gpu:0", "/cpu:0"):
        with tf.Graph().as_default(), open_session() as session:
            with tf.device(device):
                compared = tf.constant(others)
                loss = get_loss(name)(tf.constant(images), compared)
                gradient = tf.gradients(loss, compared)[0]
            found.append(session.run([loss, gradient]))
    (on_gpu, its_gradient), (on_cpu, expected) = found
    assert on_gpu == pytest.approx(on_cpu, rel=1e-5)
    assert np.abs(its_gradient - expected).mean() < 1e-4 * np.abs(expected).mean()


def test_the_library_uses_the_gpu_that_it_finds(is_real):
    """A GPU that TensorFlow leaves out without a word would make all tests of this file pass on the CPU."""
    with open_session() as session:
        on_gpus = [device.name for device in session.list_devices() if "GPU" in device.name]
    assert len(on_gpus) == is_real and (devices.find_gpus()[0].name != "pretended") == is_real
