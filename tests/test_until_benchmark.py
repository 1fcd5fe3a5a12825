"""The benchmark of the seconds until a PSNR is reached: its arithmetic, and our training in it, with small images."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import throughput, turns, until
from benchmarks.turns import Measurement
from glo_lib.codes import RowwiseAdam
from glo_lib.graph.backend import tf, v1

ROOT = Path(__file__).parents[1]
SMALL = {
    "image_size": "32",
    "num_dims": "6",
    "num_filters": "16-12-8",
    "batch_size": "8",
    "precision": "float32",
    "held_out": "0",
    "learning_rate": "0.01",
}


def turns_of(*decibels, seconds=0.1):
    return [Measurement(seconds, 0, 0, value) for value in decibels]


def test_the_seconds_are_those_of_straight_lines_between_the_turns():
    curve = turns_of(20.0, 22.0, 21.0)  # 10 seconds a turn
    assert [until.seconds_until(curve, 100, db) for db in (19, 20.5, 22, 23)] == [10, pytest.approx(12.5), 20, float("inf")]


def test_ours_is_compared_with_the_best_in_pytorch():
    results = {
        "ours auto": turns_of(24, 25),
        "PyTorch plain": turns_of(24, 25, seconds=0.3),
        "PyTorch compiled": turns_of(23, 25, seconds=0.1),
    }
    found = {row.name: row.value for row in until.rows(results, 100, 24.0)}
    assert found["ours auto: until 24 dB"] == 10 and found["PyTorch plain: until 24 dB"] == 30
    assert found["PyTorch compiled: all steps"] == 20 and found["PyTorch compiled: after all steps"] == 25
    assert found["seconds until 24 dB, the best PyTorch / ours auto"] == pytest.approx(1.5)
    results["ours auto"] = turns_of(23, 23)
    assert not any("best" in row.name for row in until.rows(results, 100, 24.0))


def test_our_training_improves_and_is_measured_in_inference_mode(tmp_path, small_images):
    until.prepare(tmp_path, {**SMALL, "data_dir": str(small_images), "held_out_by": "auto"}, num_steps=300)
    recipe = json.loads((tmp_path / "recipe.json").read_text())
    assert recipe["num_filters"] == [16, 12, 8] and len(recipe["measured"]) == 48 and str(small_images) not in json.dumps(recipe)
    codes = np.load(tmp_path / "codes.npy")
    assert codes.shape == (48, 6) and np.load(tmp_path / "images.npy").shape == (48, 32, 32, 3)
    training = until.OurTraining(tmp_path)
    before = training.psnr()
    training.steps(300)
    assert training.psnr() > before + 2


def test_the_seconds_that_the_pages_name_are_those_of_the_stored_curves():
    stored = json.loads((ROOT / "benchmarks/until.json").read_text("utf8"))
    turns, seconds = stored["steps_per_turn"], {}
    for name, curve in stored["seconds and dB of each turn"].items():
        seconds[name] = until.seconds_until([Measurement(passed / turns, 0, 0, db) for passed, db in curve], turns, stored["db"])
    best, ours = seconds["PyTorch compiled"], seconds["ours auto"]
    assert best == min(value for name, value in seconds.items() if name.startswith("PyTorch"))
    page, table = (" ".join((ROOT / name).read_text("utf8").split()) for name in ("book/speed.md", "benchmarks/README.md"))
    assert f"takes {best:.0f} s until 24 dB, and ours takes {ours:.0f} s" in page
    assert (
        f"decoder | {best:.1f} | " in table
        and f"(bfloat16) | {ours:.1f} | " in table
        and f"ours is {best / ours:.2f} times as fast" in table
    )


@pytest.fixture
def pytorch():
    pytest.importorskip("torch")
    from benchmarks import pytorch_glo

    return pytorch_glo


def test_pytorchs_training_improves_too(tmp_path, small_images, pytorch):
    until.prepare(tmp_path, {**SMALL, "data_dir": str(small_images), "held_out_by": "auto"}, num_steps=300)
    training = pytorch.RecipeTraining(tmp_path, "channels_last")
    before = training.psnr()
    training.steps(300)
    assert training.psnr() > before + 2
    np.testing.assert_allclose(training.codes.norm(dim=1), np.sqrt(6), rtol=0.3)


def test_pytorchs_adam_of_the_codes_is_ours(pytorch):
    import torch

    draw = np.random.default_rng(0)
    start = draw.normal(size=(5, 3)).astype(np.float32)
    visits = [(rows, draw.normal(size=(2, 3)).astype(np.float32)) for rows in ([0, 1], [1, 2], [1, 4], [0, 1])]
    with tf.Graph().as_default(), v1.Session() as session:
        table = v1.get_variable("codes", initializer=start, use_resource=True)
        rows, gradient = v1.placeholder(tf.int64, [2]), v1.placeholder(tf.float32, [2, 3])
        step = RowwiseAdam(0.1).apply_gradients([(tf.IndexedSlices(gradient, rows, [5, 3]), table)])
        session.run(v1.global_variables_initializer())
        for visited, values in visits:
            session.run(step, {rows: visited, gradient: values})
        ours = session.run(table)
    codes = torch.from_numpy(start.copy())
    adam = pytorch.RowwiseAdam(codes)
    for visited, values in visits:
        codes[visited] = adam.moved(codes[visited], torch.tensor(visited), torch.from_numpy(values), 0.1)
    np.testing.assert_allclose(codes, ours, rtol=1e-5)
    assert np.abs(ours - start).max() > 0.1


def test_pytorchs_pyramid_of_the_difference_is_the_difference_of_the_pyramids(pytorch):
    import torch

    images, reconstructions = torch.rand(2, 2, 3, 32, 32)
    both = pytorch.Lap1Loss("reflect")(images, reconstructions)
    assert pytorch.DifferenceLap1Loss()(images, reconstructions).item() == pytest.approx(both.item(), rel=1e-5)


@pytest.mark.parametrize("variant", [None, "channels_last", "bfloat16"])
def test_pytorchs_loops_of_the_throughput_lower_the_loss(pytorch, variant, monkeypatch):
    monkeypatch.setattr(pytorch, "BATCH_SIZE", 4)
    rows = np.linspace(0, 255, 64).astype(np.uint8)
    images = np.broadcast_to(rows[:, None, None], (8, 64, 64, 3)).copy()
    training = pytorch.FastTraining(images, variant) if variant else pytorch.PlainTraining(images)
    before = training.step()
    training.steps(12)
    assert training.step() < 0.8 * before


def test_the_table_of_the_throughput_names_the_best_pytorch():
    seconds = {
        **{"product": 1, "product, bfloat16": 1, "product, PyTorch": 1, "ours float32, MSE": 1, "ours float32, Lap1, two towers": 1},
        **{"ours float32, Lap1": 2, "ours auto, Lap1": 1, "PyTorch, Lap1": 4, "PyTorch channels-last, Lap1": 3},
        "PyTorch channels-last bfloat16, Lap1": 1.5,
    }
    found = {
        (row.name, row.unit): row.value for row in throughput.rows({name: turns_of(0, seconds=value) for name, value in seconds.items()})
    }
    assert found["ours auto, Lap1 / PyTorch", ""] == 4 and found["ours float32, Lap1 / PyTorch", ""] == 2
    assert found["ours auto, Lap1 / the best PyTorch", ""] == 1.5
    assert found["training step, PyTorch channels-last, Lap1", "images/s"] == pytest.approx(128 / 3)


def test_pytorch_may_have_an_environment_of_its_own(monkeypatch):
    monkeypatch.delenv("TORCH_PYTHON", raising=False)
    assert turns.torch_python() == turns.sys.executable
    monkeypatch.setenv("TORCH_PYTHON", "/usr/bin/false")
    assert turns.torch_python() == "/usr/bin/false" and not turns.has_torch()
