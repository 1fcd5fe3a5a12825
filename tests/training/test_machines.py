"""Tests of training on several machines: processes of this machine stand for them, and they talk over the loopback."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack, nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from glo_lib.config import TrainConfig
from glo_lib.graph.backend import tf
from glo_lib.graph.cluster import Task, read_cluster
from glo_lib.graph.server import ClusterError, Note
from glo_lib.inference.model import load
from glo_lib.inputs import DecodedImages, images_in_file
from glo_lib.runs.folder import read_config
from glo_lib.training import machines
from glo_lib.training.machines import (
    LOST_WITHOUT_A_STEP,
    LostMachines,
    WorkerLost,
    _find_with_images,
    check_images,
    choose_devices_of,
    servers_without,
    with_all_towers,
)

PROGRAM = Path(__file__).parents[1] / "cluster_processes.py"


def free_addresses(**numbers):
    with ExitStack() as stack:
        sockets = {kind: [stack.enter_context(socket.socket()) for _ in range(number)] for kind, number in numbers.items()}
        for found in sockets.values():
            for one in found:
                one.bind(("127.0.0.1", 0))
        return {kind: [f"127.0.0.1:{one.getsockname()[1]}" for one in found] for kind, found in sockets.items()}


OTHER_MODELS = {
    "VAE": {"model": "vae"},
    "SGD": {"optimizer": "sgd", "projection": "ball", "learning_rate": 1.0, "code_learning_rate": 10.0, "phases": "0.5 mse, 0.5 lap1"},
}


@pytest.fixture(scope="module")
def all_runs(small_config, small_images, tmp_path_factory):
    """Two runs of 54 steps and 6 more: one on two workers and then on one machine, the other on one machine and then on two workers.

    Another one begins in bfloat16. Other models take six steps on two workers and on one machine.
    """
    many, one, half = (tmp_path_factory.mktemp(name) for name in ("many", "one", "half"))
    others = [
        (on_cluster, Path(f"{many if on_cluster else one} {name}"), {"gpus": gpus, "batch_size": 4, "num_epochs": 1, **settings})
        for name, settings in OTHER_MODELS.items()
        for on_cluster, gpus in ((True, 1), (False, 2))
    ]
    runs = [
        {"on_cluster": on_cluster, "settings": small_config(small_images, folder, code_init="normal", **settings).as_dict()}
        for on_cluster, folder, settings in (
            (True, many, {"gpus": 1, "batch_size": 4, "num_epochs": 9}),
            (False, one, {"gpus": 2, "batch_size": 4, "num_epochs": 9}),
            (False, many, {"gpus": 2, "batch_size": 4, "num_epochs": 10}),
            (True, one, {"gpus": 1, "batch_size": 4, "num_epochs": 10}),
            (True, half, {"gpus": 1, "batch_size": 4, "num_epochs": 1, "precision": "bfloat16"}),
            *others,
        )
    ]
    environment = {**os.environ, "GLO_CACHE_DIR": str(tmp_path_factory.mktemp("cache")), "PYTHONPATH": str(PROGRAM.parents[1])}
    for _ in range(2):
        request = json.dumps({"addresses": free_addresses(chief=1, ps=2, worker=2), "runs": runs})
        done = subprocess.run([sys.executable, PROGRAM, request], env=environment, capture_output=True, text=True, timeout=400, check=False)
        if "in use" not in done.stderr:  # else another process took a port in the meantime
            break
    assert done.returncode == 0, done.stderr[-3000:]
    return many, one, [np.array(json.loads(line)) for line in done.stdout.splitlines()]


def test_two_workers_and_two_servers_train_as_two_towers_of_one_process(all_runs):
    losses = all_runs[2]
    assert losses[0][:, 0].tolist() == list(range(1, 55))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_a_run_goes_on_from_several_machines_to_one_and_from_one_to_several(all_runs):
    many, one, losses = all_runs
    assert losses[2][:, 0].tolist() == list(range(55, 61))
    np.testing.assert_allclose(losses[2], losses[3], rtol=1e-3)
    np.testing.assert_allclose(load(many).codes, load(one).codes, atol=1e-3)


def test_workers_train_in_bfloat16(all_runs):
    in_float32, in_bfloat16 = all_runs[2][0][:6], all_runs[2][4]
    assert in_bfloat16[:, 0].tolist() == list(range(1, 7)) and not np.array_equal(in_bfloat16, in_float32)
    np.testing.assert_allclose(in_bfloat16, in_float32, rtol=0.1)


@pytest.mark.parametrize("name", OTHER_MODELS)
def test_other_models_too_train_on_two_workers_as_on_one_machine(all_runs, name):
    on_many, on_one = (tf.train.load_checkpoint(str(Path(f"{folder} {name}") / "model.ckpt-6")) for folder in all_runs[:2])
    names = on_one.get_variable_to_shape_map().keys() - {"training_seconds"}
    assert ("encoder/conv1/weights" if name == "VAE" else "codes") in names
    for variable in names:
        np.testing.assert_allclose(on_many.get_tensor(variable), on_one.get_tensor(variable), rtol=1e-3, atol=1e-4, err_msg=variable)


def test_the_checkpoint_of_a_split_table_has_the_names_and_shapes_of_one_machine(all_runs):
    many, one, _ = all_runs
    assert read_config(many).gpus == 2
    on_one, on_many = (tf.train.list_variables(str(folder / "model.ckpt-54")) for folder in (one, many))
    assert on_many == on_one and ("codes/CodeAdam_2", [48, 1]) in on_many


def test_each_server_writes_its_rows_of_a_checkpoint_and_one_machine_writes_them_all(all_runs):
    many, one, _ = all_runs
    files_of = [sorted(path.name for path in folder.glob("model.ckpt-54.data-*")) for folder in (many, one)]
    assert files_of == [[f"model.ckpt-54.data-0000{number}-of-00003" for number in range(3)], ["model.ckpt-54.data-00000-of-00001"]]
    assert not list(many.glob(".*partial"))  # with which the servers were asked whether they see the folder


def test_the_chief_writes_the_checkpoints_if_a_server_does_not_share_the_run_folder(tmp_path, monkeypatch):
    server = tf.distribute.Server.create_local_server()
    sharing = Task("localhost", 0, server.target.removeprefix("grpc://"))
    gone = Task("localhost", 1, free_addresses(ps=1)["ps"][0])
    cluster = SimpleNamespace(servers=(sharing, gone))
    assert servers_without(tmp_path, cluster, seconds=2) == [gone]
    assert servers_without(tmp_path, SimpleNamespace(servers=(sharing,)), seconds=20) == []
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(Path, "write_text", lambda *_: None)  # as if the file were in the folder of this machine only
    assert servers_without(tmp_path, cluster, seconds=2) == [sharing, gone]


ADDRESSES = {"chief": ["a:1"], "ps": ["a:2", "a:3"], "worker": ["a:4", "a:5"]}
CLUSTER = read_cluster({"TF_CONFIG": json.dumps({"cluster": ADDRESSES, "task": {"type": "chief"}})})


def notes(gpus=(0, 0), precisions=("float32", "float32")):
    of_workers = {
        task: Note(str(task), ADDRESSES, "", "", number, precision, 0.0)
        for task, number, precision in zip(CLUSTER.workers, gpus, precisions, strict=True)
    }
    return {task: Note(str(task), ADDRESSES, "", "", 0, "float32", 0.0) for task in CLUSTER.servers} | of_workers


def test_each_worker_has_as_many_towers_as_gpus_says():
    config = with_all_towers(TrainConfig(gpus=3), CLUSTER)
    assert config == dataclasses.replace(TrainConfig(), gpus=6) and with_all_towers(config, None) is config
    devices = choose_devices_of(config, CLUSTER, notes(gpus=(2, 3)), "grpc://a:1")
    assert devices.towers == tuple(f"/job:worker/task:{task}/gpu:{gpu}" for task, gpu in ((0, 0), (0, 1), (0, 0), (1, 0), (1, 1), (1, 2)))
    assert devices.on_gpus and devices.route == "slim" and not devices.deterministic


def test_towers_are_on_cpus_where_a_worker_has_no_gpu():
    devices = choose_devices_of(TrainConfig(gpus=2), CLUSTER, notes(gpus=(0, 4)), "grpc://a:1")
    assert devices.towers == ("/job:worker/task:0/cpu:0", "/job:worker/task:1/cpu:0")
    assert devices.servers == ("/job:ps/task:0/cpu:0", "/job:ps/task:1/cpu:0") and devices.job == "/job:chief/task:0"


@pytest.mark.parametrize(
    "precisions, expected", [(("bfloat16", "bfloat16"), "bfloat16"), (("bfloat16", "float32"), "float32")], ids=["agree", "differ"]
)
def test_auto_is_the_precision_that_all_workers_have(precisions, expected):
    assert choose_devices_of(TrainConfig(gpus=2), CLUSTER, notes(precisions=precisions), "").precision == expected


@pytest.mark.parametrize(
    "settings, gpus, message",
    [({"precision": "float16"}, (1, 0), "GPU on every worker"), ({"deterministic": "true"}, (1, 1), "cannot be told")],
    ids=["float16", "deterministic"],
)
def test_settings_that_the_workers_cannot_follow_are_refused(settings, gpus, message):
    with pytest.raises(ValueError, match=message):
        choose_devices_of(TrainConfig(gpus=2, **settings), CLUSTER, notes(gpus=gpus), "")


@pytest.mark.parametrize("losses", [0, 1, LOST_WITHOUT_A_STEP])
def test_a_worker_that_is_lost_while_its_images_are_compared_is_looked_for_again(monkeypatch, losses):
    found, compared = [], []

    def check(*_):
        compared.append(1)
        if len(compared) <= losses:
            raise WorkerLost("worker 1 at a:5 was lost")

    monkeypatch.setattr(machines, "find_cluster", lambda *_: found.append(1) or {"notes": len(found)})
    monkeypatch.setattr(machines, "check_images", check)
    with pytest.raises(WorkerLost, match="worker 1 at a:5") if losses == LOST_WITHOUT_A_STEP else nullcontext():
        assert _find_with_images(CLUSTER, None, 1) == {"notes": losses + 1}
    assert len(found) == len(compared) == min(losses + 1, LOST_WITHOUT_A_STEP)


def test_a_worker_that_does_not_answer_when_its_images_are_compared_is_named(tmp_path):
    images = DecodedImages(tmp_path / "images.uint8", 8, 32, ())
    images.path.write_bytes(bytes(images.num_bytes))
    gone = Task("worker", 0, free_addresses(worker=1)["worker"][0])
    with pytest.raises(ClusterError) as error:
        check_images(SimpleNamespace(workers=(gone,)), images, seconds=2)
    assert str(gone) in str(error.value)


def test_a_worker_without_the_images_or_with_others_is_named(tmp_path, monkeypatch):
    task = Task("worker", 0, tf.distribute.Server.create_local_server().target.removeprefix("grpc://"))
    images = DecodedImages(tmp_path / "images.uint8", 20, 4, ())
    content = np.random.default_rng(0).integers(0, 256, images.num_bytes).astype(np.uint8)
    images.path.write_bytes(content.tobytes())
    cluster = SimpleNamespace(workers=(task,))
    check_images(cluster, images, seconds=20)
    there = images._replace(path=tmp_path / "there.uint8")  # the worker's file of the same path
    monkeypatch.setattr(machines, "images_in_file", lambda _: images_in_file(there))
    with pytest.raises(ClusterError, match=rf"{task}: has no file {images.path}\n  copy {images.path} from this machine"):
        check_images(cluster, images, seconds=20)
    content[-1] ^= 1  # one value of the last image
    there.path.write_bytes(content.tobytes())
    with pytest.raises(ClusterError, match=f"{task}: has other images in {images.path}\n"):
        check_images(cluster, images, seconds=20)


def test_a_run_without_a_new_checkpoint_is_given_up_when_machines_are_lost_again_and_again(tmp_path, capsys):
    lost, error = LostMachines(tmp_path, num_tasks=5), tf.errors.UnavailableError(None, None, "worker 1 is gone")
    for _ in range(LOST_WITHOUT_A_STEP + 5):
        assert lost.newest_checkpoint(error) is None
    assert "UnavailableError); looking for it, to go on from step 0" in capsys.readouterr().out
    with pytest.raises(ClusterError, match="lost 9 times after step 0: worker 1 is gone"):
        lost.newest_checkpoint(error)
