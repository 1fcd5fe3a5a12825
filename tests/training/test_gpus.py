"""What can be proved of GPUs without one: kernels exist, little moves, towers may share, and the run stays the same everywhere.

GPUs are faked as entries of a list. Graphs are inspected, not run; where something is run, TensorFlow places it softly on the CPU.
"""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from glo_lib.config import TrainConfig
from glo_lib.evaluation import evaluate
from glo_lib.graph import devices
from glo_lib.graph.backend import tf
from glo_lib.graph.devices import Gpu
from glo_lib.graph.placement import bytes_between_devices, device_of, needed_by, operations_without_gpu_kernel, preferred_device
from glo_lib.images.store import DecodedImages
from glo_lib.losses import LOSSES
from glo_lib.networks import efficientnet
from glo_lib.runs.checkpoints import newest_checkpoint
from glo_lib.runs.folder import Progress, read_hardware, read_json
from glo_lib.runs.run import Run
from glo_lib.training import Setting, build_loss, build_model, build_train_ops, train
from glo_lib.training.build import TrainGraph
from glo_lib.training.loop import BeforeSave, Report, SessionLost, TrainingDiverged
from glo_lib.training.train import training_graph

ROOT = Path(__file__).parents[2]
v1 = tf.compat.v1
SMALL = {"image_size": 32, "num_dims": 100, "num_filters": (16, 12, 8), "batch_size": 4}
AMPERE = Gpu("fake", (8, 0))


def built(folder, num_images=64, replace=None, **changes):
    """A training graph on images that are not there: nothing of it is run. ``replace`` are attributes of its devices."""
    path = folder / "images.uint8"
    with open(path, "wb") as file:
        file.truncate(num_images * 32 * 32 * 3)
    config = TrainConfig(**{**SMALL, **changes})
    images = DecodedImages(path, num_images, 32, ("",) * num_images)
    chosen = devices.choose_devices(config.gpus, config.precision, config.layer_route)._replace(**(replace or {}))
    setting = Setting(config, chosen, images, Run(folder, config, None, Progress(0, 0.0)))
    with training_graph(setting) as graph:
        model = build_model(setting)
        loss = build_loss(setting, model)
        return graph, setting, TrainGraph(model, loss, build_train_ops(setting, model, loss))


EVERY_LOSS = "+".join(name for name in LOSSES if name != "perceptual" or efficientnet.is_installed())  # one graph holds them all
VARIANTS = [
    ({"loss": EVERY_LOSS, "perceptual_blocks": 3, "projection": "ball"}, "slim"),
    ({"loss": "mse", "model": "vae"}, "slim"),
    ({"loss": "mse", "optimizer": "sgd"}, "fast"),
]


PRECISIONS = ("float32", "bfloat16", "float16")


@pytest.mark.parametrize(("towers", "precision"), [*((towers, precision) for towers in (1, 2) for precision in PRECISIONS), (8, "float32")])
def test_every_operation_on_a_gpu_has_a_kernel_for_its_types(gpus, tmp_path, towers, precision):
    """All losses, both models, optimizers and routes. Kernels depend on operations and types, so one graph with eight towers is enough."""
    gpus(*[AMPERE] * towers)
    for changes, route in VARIANTS if towers < 8 else VARIANTS[2:]:
        graph, _, _ = built(tmp_path, gpus=towers, precision=precision, layer_route=route, **changes)
        on_gpus = Counter(device_of(operation) for operation in graph.get_operations())
        assert all(on_gpus[f"/gpu:{number}"] > 100 for number in range(towers))
        assert operations_without_gpu_kernel(graph) == [], (changes, route)


@pytest.mark.parametrize(("found", "precision"), [((8, 0), "bfloat16"), ((7, 5), "float16"), ((6, 1), "float32"), ((0, 0), "float32")])
def test_precision_auto_is_what_the_oldest_gpu_in_use_has_units_for(gpus, found, precision):
    gpus(AMPERE, Gpu("older", found))
    assert devices.choose_devices(2).precision == precision
    assert devices.choose_devices(1).precision == "bfloat16"  # the older one is not used


def test_float16_needs_a_gpu(gpus):
    gpus()
    with pytest.raises(ValueError, match="precision is 'float16', which needs a GPU; on CPUs give 'auto', 'bfloat16' or 'float32'"):
        devices.choose_devices(1, "float16")


@pytest.mark.parametrize(
    ("found", "towers", "expected", "said"),
    [
        (0, 2, ("/cpu:0", "/cpu:1"), "2 towers on 2 CPU devices (no GPU found"),
        (1, 2, ("/gpu:0", "/gpu:0"), "2 towers on 1 GPU, which they share (the result is the same as on 2), bfloat16"),
        (2, 2, ("/gpu:0", "/gpu:1"), "2 towers on 2 of 2 GPUs, bfloat16"),
        (2, 5, ("/gpu:0", "/gpu:1", "/gpu:0", "/gpu:1", "/gpu:0"), "5 towers on 2 GPUs, which they share"),
        (8, 1, ("/gpu:0",), "1 tower on 1 of 8 GPUs, bfloat16"),
    ],
)
def test_towers_take_the_gpus_that_are_there_in_turn(gpus, found, towers, expected, said):
    gpus(*[AMPERE._replace(number=number) for number in range(found)])
    chosen = devices.choose_devices(towers)
    assert chosen.parameters == ("/cpu:0" if len(set(expected)) > 1 else expected[0])
    assert chosen.towers == expected and chosen.description.startswith(said)
    visible = chosen.session_config.gpu_options.visible_device_list
    assert visible == ",".join(map(str, range(min(found, towers))))  # the other GPUs are left to others
    assert chosen.session_config.gpu_options.allow_growth


@pytest.mark.parametrize(
    ("found", "asked", "route", "deterministic"), [(0, "auto", "fast", True), (1, "auto", "slim", False), (1, "true", "slim", True)]
)
def test_the_route_of_the_layers_and_determinism_by_default(gpus, found, asked, route, deterministic):
    gpus(*[AMPERE] * found)
    chosen = devices.choose_devices(1, deterministic=asked)
    assert (chosen.route, chosen.deterministic) == (route, deterministic)


def device_of_variable(graph, name):
    return device_of(graph.get_operation_by_name(name))


@pytest.mark.parametrize("towers", [1, 2])
def test_codes_and_their_moments_sit_on_the_gpu_if_they_fit_into_the_limit_and_else_on_the_host(gpus, tmp_path, towers):
    gpus(AMPERE, AMPERE)
    for megabytes, place in ((1, "/gpu:0"), (0, "/cpu:0")):
        graph, setting, _ = built(tmp_path, gpus=towers, gpu_code_megabytes=megabytes, num_images=800)  # 0.96 MB
        assert setting.codes_device == place
        for name in ("codes", "codes/CodeAdam", "codes/CodeAdam_1", "codes/CodeAdam_2"):
            assert device_of_variable(graph, name) == place, name
    _, setting, _ = built(tmp_path, gpus=towers, gpu_code_megabytes=1, num_images=900)
    assert setting.codes_device == "/cpu:0"


def test_what_moves_between_devices_does_not_grow_with_the_number_of_images(gpus, tmp_path):
    gpus(*[AMPERE] * 8)
    for towers, megabytes in ((1, 0), (1, 100_000), (2, 0), (2, 100_000), (8, 0)):
        moved = []
        for num_images in (2_000, 2_000_000):
            graph, _, ops = built(tmp_path, num_images, gpus=towers, gpu_code_megabytes=megabytes)
            moved.append(bytes_between_devices(graph, [ops.train_ops.step]))
        assert moved[0] == moved[1]


def has_large_input(operation):
    """A condition has none: what it is given stays where it is until an operation of the branch needs it."""
    sizes = [tensor.shape.num_elements() * tensor.dtype.size for tensor in operation.inputs if tensor.shape.is_fully_defined()]
    return operation.type != "If" and max(sizes, default=0) > 1000


@pytest.mark.parametrize("towers", [1, 2])
@pytest.mark.parametrize(("precision", "model"), [("float32", "glo"), ("float16", "glo"), ("float16", "vae")])
def test_no_operation_of_a_step_on_large_tensors_leaves_its_device_to_tensorflow(gpus, tmp_path, towers, precision, model):
    """TensorFlow would choose the first GPU, even for variables on the host."""
    gpus(*[AMPERE] * towers)
    graph, _, ops = built(tmp_path, gpus=towers, precision=precision, model=model)
    assert preferred_device(graph) == "/gpu:0"
    left = [operation for operation in needed_by([ops.train_ops.step]) if device_of(operation, "/gpu:0") != device_of(operation, "/cpu:0")]
    assert left  # such as the mean of the losses
    assert [operation.name for operation in left if has_large_input(operation)] == []


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_no_gradient_travels_to_the_process_that_trains_on_several_machines(gpus, tmp_path, precision):
    """All of them would pass through one machine, twice, at every step."""
    gpus(AMPERE, AMPERE)
    servers = tuple(f"/job:ps/replica:0/task:{number}/device:CPU:0" for number in range(2))
    cluster = {
        "towers": tuple(f"/job:worker/replica:0/task:{number}/device:GPU:0" for number in range(2)),
        **{"parameters": servers[0], "servers": servers, "job": "/job:chief/replica:0/task:0", "master": "grpc://nowhere:1"},
    }
    _, _, ops = built(tmp_path, gpus=2, precision=precision, replace=cluster)
    of_chief = [operation for operation in needed_by([ops.train_ops.step]) if operation.device.startswith("/job:chief")]
    assert len(of_chief) > 10
    assert [operation.name for operation in of_chief if has_large_input(operation)] == []


@pytest.mark.parametrize("towers", [1, 2])
def test_operations_on_variables_ask_for_the_device_of_the_variable(gpus, tmp_path, towers):
    gpus(AMPERE, AMPERE)
    for megabytes in (0, 100):
        graph, setting, _ = built(tmp_path, gpus=towers, gpu_code_megabytes=megabytes)
        gathers = [operation for operation in graph.get_operations() if operation.type == "ResourceGather" and "tower" in operation.name]
        assert [gather.device for gather in gathers] == [gather.inputs[0].device for gather in gathers] and len(gathers) == towers
        assert gathers[-1].device.lower().endswith(setting.codes_device[1:])


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_weights_and_gradients_are_all_that_moves_between_the_towers_and_the_variables(tmp_path, precision):
    """A step that is run, on parts of the CPU. The first of them takes the part of the first GPU: TensorFlow prefers it.

    float16 stands for the scaling of the loss only, because nothing is cast on CPUs.
    """
    places = {"towers": ("/cpu:0", "/cpu:2"), "parameters": "/cpu:1", "precision": precision}
    graph, setting, ops = built(tmp_path, gpus=2, precision="float32", layer_route="slim", replace=places)
    config = setting.devices.session_config
    config.device_count["CPU"] = 3
    config.graph_options.rewrite_options.disable_meta_optimizer = True  # it gives operations new names
    with graph.as_default(), v1.Session(config=config) as session:
        session.run(v1.global_variables_initializer())
        moved = bytes_moved(session, ops.train_ops.step)
    network, weights = (sum(v.shape.num_elements() * 4 for v in variables) for variables in (ops.model.network, ops.model.weights))
    for tower in ("/cpu:0", "/cpu:2"):
        assert moved["/cpu:1", tower] == pytest.approx(network, abs=200), tower
        assert moved[tower, "/cpu:1"] == pytest.approx(weights, abs=500), tower
    counted = bytes_between_devices(graph, [ops.train_ops.step])
    assert counted.keys() == moved.keys()
    for way, size in moved.items():
        assert counted[way] == pytest.approx(size, abs=50), way


def bytes_moved(session, fetched):
    """Run an operation, and sum what TensorFlow sends between devices: (from, to) -> bytes."""
    trace = v1.RunMetadata()
    options = v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE, output_partition_graphs=True)
    session.run(fetched, options=options, run_metadata=trace)
    nodes = [node for device in trace.step_stats.dev_stats for node in device.node_stats]
    sizes = {(node.node_name, output.slot): bytes_of(output.tensor_description) for node in nodes for output in node.output}
    moved = Counter()
    for node in (node for partition in trace.partition_graphs for node in partition.node if node.op in ("_Send", "_HostSend")):
        name, _, slot = node.input[0].partition(":")
        way = ("/" + node.attr[end].s.decode()[-5:].lower() for end in ("send_device", "recv_device"))
        moved[tuple(way)] += sizes[name, int(slot or 0)]
    return moved


def bytes_of(description):
    return int(np.prod([axis.size for axis in description.shape.dim], dtype=np.int64)) * (tf.as_dtype(description.dtype).size or 0)


def test_finite_checks_stay_where_the_numbers_are(gpus, tmp_path):
    """A table of two million codes would else travel at every checkpoint, and all gradients at every step."""
    gpus(AMPERE, AMPERE)
    graph, setting, ops = built(tmp_path, gpus=2)
    with graph.as_default():
        BeforeSave(setting, ops, Report(setting, ops))
    checks = [operation for operation in graph.get_operations() if operation.type == "IsFinite"]
    assert len(checks) > 10
    for check in checks:
        assert device_of(check) == device_of(check.inputs[0].op), check.name


def test_all_towers_take_their_part_of_one_stream(gpus, tmp_path):
    gpus(*[AMPERE] * 4)
    graph, _, ops = built(tmp_path, gpus=4)
    streams = [operation for operation in graph.get_operations() if operation.type == "IteratorGetNext"]
    assert [device_of(stream) for stream in streams] == ["/cpu:0"]
    assert len(ops.model.towers) == 4


def test_a_session_that_went_back_to_a_checkpoint_by_itself_ends_the_run(tmp_path):
    """Its stream of batches began again, so training on would give every later step a wrong batch."""
    _, setting, ops = built(tmp_path)
    report = Report(setting, ops)
    report.after_run(None, SimpleNamespace(results={"step": 1, "loss": 0.5}))
    with pytest.raises(SessionLost, match="after step 1, and TensorFlow went back to the checkpoint of step 0; the same call goes on"):
        report.after_run(None, SimpleNamespace(results={"step": 1, "loss": 0.5}))


def small_config(small_images, run_dir, **changes):
    settings = {"image_size": 32, "num_dims": 6, "num_filters": (16, 12, 8), "num_epochs": 4, "max_seconds": 0, "precision": "float32"}
    return TrainConfig(data_dir=str(small_images), run_dir=str(run_dir), **{**settings, "batch_size": 8, **changes})


@pytest.fixture
def no_figures(monkeypatch):
    monkeypatch.setattr(evaluate, "run_figures", lambda *_: {})


def test_towers_that_share_a_gpu_give_what_they_give_on_one_each(gpus, small_images, tmp_path, no_figures):
    codes = []
    for found in (1, 2):
        gpus(*[AMPERE] * found)
        run = train(small_config(small_images, tmp_path / str(found), gpus=2, batch_size=4)).run_dir
        codes.append((run / "codes.npy").read_bytes())
    assert codes[0] == codes[1]


@pytest.mark.parametrize(
    ("precision", "changes"),
    [("float16", {}), ("bfloat16", {"layer_route": "fast"}), ("float16", {"model": "vae"})],
    ids=["slim", "fast", "vae"],
)
def test_half_precision_learns_as_float32_does_and_resumes(gpus, small_images, tmp_path, no_figures, precision, changes):
    gpus(AMPERE)
    changes = {**changes, "schedule": "constant", "num_filters": (8, 6, 4)}
    plain = train(small_config(small_images, tmp_path / "plain", **changes))
    train(small_config(small_images, tmp_path / "half", precision=precision, num_epochs=2, **changes))
    half = train(small_config(small_images, tmp_path / "half", precision=precision, **changes))
    losses, expected = ([row.loss for row in result.history] for result in (half, plain))
    np.testing.assert_allclose(losses[:4], expected[:4], rtol=0.02)
    np.testing.assert_allclose(np.mean(losses[-6:]), np.mean(expected[-6:]), rtol=0.1)
    assert losses != expected
    names = [name for name, _ in tf.train.list_variables(tf.train.latest_checkpoint(str(half.run_dir)))]
    assert any("loss_scale" in name for name in names) == (precision == "float16")


def test_gradients_that_no_factor_of_float16_makes_finite_end_the_run(gpus, small_images, tmp_path, no_figures, monkeypatch):
    """The gradient of the square root of zero is not finite. The factor is halved down to 1, and the next step says what is wrong."""
    gpus(AMPERE)
    monkeypatch.setitem(LOSSES, "mse", lambda images, reconstructions, weight: tf.reduce_mean(tf.sqrt(0 * reconstructions)))
    with pytest.raises(TrainingDiverged, match=r"at step 16 the loss is 0\.0; the first tensor that is not finite is gradients"):
        train(small_config(small_images, tmp_path / "run", precision="float16"))


def test_a_run_keeps_its_precision_wherever_it_is_continued(gpus, small_images, tmp_path, no_figures):
    gpus(AMPERE)
    run = tmp_path / "run"
    train(small_config(small_images, run, precision="auto", num_epochs=2))
    assert read_hardware(run) == {
        **{"precision": "bfloat16", "devices": ["/gpu:0"], "gpus": ["fake"], "codes_on": "/gpu:0"},
        **{"layer_route": "slim", "deterministic": False},
    }
    gpus(Gpu("older", (6, 1)))
    with pytest.raises(ValueError, match="was trained in bfloat16 so far, and would go on in float32 on this machine; give"):
        train(small_config(small_images, run, precision="auto"))
    train(small_config(small_images, run, precision="auto", num_epochs=2))  # a finished run may be looked at anywhere
    train(small_config(small_images, run, precision="bfloat16", num_epochs=3))
    result = train(small_config(small_images, run, precision="auto", change_precision=True))
    assert result.metrics["precision"] == "float32" and result.metrics["steps"] == 24


@pytest.mark.parametrize(("before", "after"), [("float32", "float16"), ("float16", "bfloat16")])
def test_a_run_may_change_to_a_precision_with_more_or_with_fewer_variables(gpus, before, after, small_images, tmp_path, no_figures):
    gpus(AMPERE)
    run = tmp_path / "run"
    train(small_config(small_images, run, precision=before, num_epochs=2))
    result = train(small_config(small_images, run, precision=after, change_precision=True))
    assert result.metrics["precision"] == after and result.metrics["steps"] == 24
    assert ("current_loss_scale" in checkpoint_names(run)) == (after == "float16")
    again = train(small_config(small_images, run, precision=after, num_epochs=5, change_precision=True))  # restores what it has saved
    assert again.metrics["steps"] == 30


def checkpoint_names(run):
    return [name for name, _ in tf.train.list_variables(newest_checkpoint(run))]


def test_a_finished_run_is_evaluated_without_the_gpus_that_it_was_trained_on(gpus, small_images, tmp_path, no_figures):
    gpus(AMPERE, AMPERE)
    config = small_config(small_images, tmp_path / "run", gpus=2, batch_size=4, precision="float16")
    trained = train(config)
    (trained.run_dir / "metrics.json").unlink()
    gpus()
    again = train(config)
    assert again.metrics["psnr_db"] == pytest.approx(trained.metrics["psnr_db"], abs=1e-3)
    assert again.metrics["precision"] == "float16" and again.metrics["devices"] == ["/gpu:0", "/gpu:1"]


def test_a_step_that_is_refused_leaves_the_moving_averages_alone(small_images, tmp_path):
    from glo_lib.training import prepare

    setting = prepare(small_config(small_images, tmp_path / "run"))
    with tf.Graph().as_default():
        model = build_model(setting)
        loss = build_loss(setting, model) + v1.placeholder_with_default(0.0, [], name="added")
        ops = build_train_ops(setting, model, loss)
        averages = [variable for variable in model.decoder_variables if "moving" in variable.op.name]
        with v1.Session(config=setting.devices.session_config) as session:
            session.run(v1.global_variables_initializer())
            model.codes.load(np.random.default_rng(0).normal(size=(48, 6)).astype(np.float32), session)
            before = session.run(averages)
            with pytest.raises(tf.errors.InvalidArgumentError, match="not finite"):
                session.run(ops.step, {"added:0": np.nan})
            for was, now in zip(before, session.run(averages), strict=True):
                np.testing.assert_array_equal(was, now)
            assert session.run(ops.global_step) == 0
            session.run(ops.step)
            assert all((was != now).any() for was, now in zip(before, session.run(averages), strict=True))


def test_the_command_of_the_readme_works_on_a_machine_with_one_gpu(tmp_path):
    """papermill book/train.ipynb -p gpus 2, in a kernel that finds a single (faked) GPU, and nine images: fewer than can be judged."""
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "one_gpu.py").write_text("from glo_lib.graph import devices\ndevices.find_gpus = lambda: [devices.Gpu('fake', (8, 0))]\n")
    parameters = {"gpus": 2, "num_samples": 9, "image_size": 32, "num_dims": 8, "num_filters": "8-8-8", "batch_size": 4, "num_epochs": 2}
    arguments = [part for name, value in {**parameters, "run_dir": str(tmp_path / "run")}.items() for part in ("-p", name, str(value))]
    environment = {
        **os.environ,
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "GLO_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    out = tmp_path / "out.ipynb"
    command = [sys.executable, "-m", "papermill", str(ROOT / "book" / "train.ipynb"), str(out), *arguments]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    assert process.returncode == 0, process.stderr[-2000:]
    printed = "".join("".join(o.get("text", "")) for cell in json.loads(out.read_text())["cells"] for o in cell.get("outputs", []))
    assert re.search(r"2 towers on 1 GPU, which they share", printed)
    assert read_json(tmp_path / "run" / "hardware.json")["devices"] == ["/gpu:0", "/gpu:0"]
