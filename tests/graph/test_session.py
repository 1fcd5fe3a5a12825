"""One policy for every session: each sees few GPUs and takes little of their memory, and the library opens none by another way."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

import glo_lib
from glo_lib.evaluation import evaluate
from glo_lib.graph.backend import tf, v1
from glo_lib.graph.session import open_session, session_config
from glo_lib.inference import encode, load
from glo_lib.training import train


def test_sessions_take_memory_as_they_need_it_and_place_softly():
    config = session_config()
    assert config.gpu_options.allow_growth and config.allow_soft_placement


@pytest.mark.parametrize(
    ("found", "gpus", "visible", "count"),
    [
        ([], None, "", {}),
        ([0, 1, 2, 3], None, "0", {}),
        ([1, 3], None, "1", {}),  # GPU 0 is one that TensorFlow cannot use
        ([1, 3], [1, 3], "1,3", {}),
        ([0, 1], [], "", {"GPU": 0}),
    ],
)
def test_a_session_sees_the_first_gpu_or_those_that_it_is_given(monkeypatch, found, gpus, visible, count):
    pretend_gpus(monkeypatch, found)
    config = session_config(gpus)
    assert config.gpu_options.visible_device_list == visible and dict(config.device_count) == count


def pretend_gpus(monkeypatch, numbers):
    found = [SimpleNamespace(name=f"/physical_device:GPU:{number}") for number in numbers]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: found)


def test_training_evaluation_and_search_on_one_of_four_gpus_leave_the_others_alone(monkeypatch, small_config, small_images, tmp_path):
    """A session would start CUDA on all GPUs that it sees, and fail if one of them is full."""
    pretend_gpus(monkeypatch, range(4))
    seen, plain = [], v1.Session.__init__

    def record(self, target="", graph=None, config=None):
        seen.append((config.gpu_options.visible_device_list, config.device_count.get("GPU")))
        plain(self, target, graph, config)

    monkeypatch.setattr(v1.Session, "__init__", record)
    monkeypatch.setattr(evaluate, "run_figures", lambda *_: {})
    monkeypatch.setattr("glo_lib.training.gpu_errors.missing_devices", lambda *_: [])
    run = train(small_config(small_images, tmp_path, num_epochs=1)).run_dir
    model = load(run)
    encode(model, model.decode(model.codes[:2]), steps=1)
    assert set(seen) == {("0", None), ("", 0)}


def test_a_session_runs_on_the_current_graph():
    with tf.Graph().as_default() as graph, open_session() as session:
        assert session.graph is graph and session.run(tf.constant(3)) == 3


def test_the_library_opens_its_sessions_in_one_place():
    for path in Path(glo_lib.__file__).parent.rglob("*.py"):
        lines = [line for line in path.read_text().splitlines() if re.search(r"\bv1\.Session\(", line) and ">>>" not in line]
        assert not lines or path.name == "session.py", (path.name, lines)
