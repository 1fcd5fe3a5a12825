"""The benchmark at CelebA's size: what a run takes is computed from its graph, and the table says what was measured and what was not."""

import json

import pytest

from benchmarks import celeba, plan
from glo_lib.config import TrainConfig

PRESET_FLOPS = 2 * (
    100 * 16 * 256  # a code to 4x4 pixels
    + 9 * (16 * 256 * 128 + 64 * 128 * 64 + 256 * 64 * 64 + 1024 * 64 * 32 + 4096 * 32 * 3)  # kernels of 3x3 at each pixel of the input
)


def test_operations_and_bytes_of_the_original_experiment_are_those_counted_by_hand():
    found, speeds = plan.read_plan(["gpus=4", "image_size=128", "tflops=2-10"])
    kernels = 16 * 100 * 256 + 9 * (256 * 128 + 128 * 64 + 64 * 64 + 64 * 32 + 32 * 3)
    assert found.work.flops_per_image == 3 * PRESET_FLOPS and speeds == (2e12, 10e12)
    assert kernels < found.parameters < 1.01 * kernels
    assert found.steps == -(-64 * 162_770 // 128) and found.images == found.steps * 128 and found.flops == found.images * 3 * PRESET_FLOPS
    assert (
        found.code_bytes == 4 * 162_770 * 301 and found.cache_bytes == 162_770 * 128 * 128 * 3 and found.batch_bytes == 128 * 128 * 128 * 3
    )
    assert found.row_bytes == 2 * 3 * 4 * 128 * 100 and found.checkpoint_bytes == found.code_bytes + 16 * found.parameters
    assert found.seconds(2e12) == pytest.approx(found.flops / 8e12)  # four towers
    text = plan.describe(found, speeds, "as given")
    assert "162,770 images at 128 pixels, 4 tower(s) of 32" in text and "196 MB for the codes" in text and "10 to 2 TFLOP/s" in text


def test_a_number_of_images_and_another_size_may_be_given():
    found, speeds = plan.read_plan(["image_size=32", "num_images=202_599", "num_epochs=1"])
    assert found.config.num_filters == TrainConfig(image_size=32).num_filters and found.num_images == 202_599 and speeds is None
    assert found.decoder_bytes == 12 * found.parameters and plan.read_plan(["gpus=2"])[0].decoder_bytes > found.decoder_bytes


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("gpus", "'gpus' is not of the form NAME=VALUE"),
        ("gpu=4", "unknown parameter 'gpu'; did you mean gpus"),
        ("num_images=many", "num_images is 'many'; give a whole number"),
        ("tflops=10-2", "tflops is '10-2'; give a speed or a range"),
        ("tflops=fast", "tflops is 'fast'"),
        ("model=vae", "only the costs of glo are known"),
        ("num_images=7", "the settings do not fit the images"),
    ],
)
def test_impossible_plans_are_refused(argument, message, tmp_path):
    with pytest.raises(SystemExit, match=message):
        celeba.main(["--results", str(tmp_path / "none.json"), "--plan", argument])


def test_a_plan_without_a_speed_needs_measured_ones(tmp_path, capsys):
    results = tmp_path / "celeba.json"
    with pytest.raises(SystemExit, match="no speed was measured here yet; give tflops"):
        celeba.main(["--results", str(results), "--plan"])
    rows = [{"flops_per_second": speed * 1e9} for speed in (50, 100)]
    results.write_text(json.dumps({"steps": {"speeds": {"notes": "two sizes", "facts": {"rows": rows}}}}))
    celeba.main(["--results", str(results), "--plan", "gpus=2"])
    text = capsys.readouterr().out
    assert "at 0.1 to 0.05 TFLOP/s for each tower (as measured here" in text and "checked     two sizes" in text


def test_the_plan_is_compared_with_each_training_by_the_speeds_of_the_others():
    rows = [{"flops_per_second": speed} for speed in (10, 20, 40)]
    assert celeba.compare_with_plan(rows)["predicted_over_measured"] == [[0.25, 0.5], [0.5, 2.0], [2.0, 4.0]]


def test_the_table_has_time_and_memory_of_each_step_and_says_if_only_a_part_was_measured():
    facts = {"steps": 100, "steps_of_epoch": 400, "training_seconds": 50.0, "images_per_second": 64.0, "precision": "float32"}
    steps = {
        "check": celeba.Step("check", 12.3, 456.7, "all well", {})._asdict(),
        "epoch": celeba.Step("an epoch", 180, 1234.5, celeba.describe("epoch", facts), facts)._asdict(),
    }
    table = celeba.as_markdown({"images": 5000, "date": "2026-01-02", "machine": {"cores": 2}, "steps": steps})
    assert "| check | 12.3 s | 457 MB | all well |" in table and "| an epoch | 3.0 min | 1,234 MB |" in table
    assert "100 of 400 steps in 50 s, 64 images/s, float32; the whole epoch would take 200 s" in table and "5,000 images, measured" in table
    assert "whole epoch" not in celeba.describe("epoch", {**facts, "steps": 400})
