"""The benchmark that compares settings: how it reads them, and a line of its table for a short run."""

import importlib

import pytest

from benchmarks import compare

SMALL = "image_size=32 num_dims=6 num_filters=16-12-8 batch_size=8 num_epochs=2 precision=float32"


def test_a_value_may_contain_spaces_and_equals_signs():
    phases = "0.2 mse, 0.8 mse+0.5*perceptual"
    assert compare.parameters_of(f"max_seconds=3 phases='{phases}'") == {"max_seconds": "3", "phases": phases}
    assert compare.parameters_of("data_dir=a=b")["data_dir"] == "a=b"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: SETTINGS"),
        (["num_epochs=1", "batch_size"], "'batch_size' is not NAME=VALUE"),
        (["batch_sise=8"], "did you mean batch_size?"),
        (["phases='0.5 mse"], "No closing quotation"),
    ],
)
def test_wrong_settings_are_refused_before_the_first_training(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(compare, "train", lambda config: pytest.fail("trained"))
    with pytest.raises(SystemExit):
        compare.main(arguments)
    assert message in capsys.readouterr().err


def test_each_run_has_a_line_with_its_quality_and_its_steps(small_images, capsys):
    training = importlib.import_module("glo_lib.training.train")
    evaluate = training.evaluate
    compare.main([f"data_dir={small_images} {SMALL}"])
    heading, line = capsys.readouterr().out.splitlines()
    psnr, loss, speed, steps, _ = line.removeprefix(f"data_dir={small_images} {SMALL}").split()
    assert heading.split()[-2:] == ["steps", "seconds"] and steps == "12" and float(speed.replace(",", "")) > 0
    assert 5 < float(psnr) < 40 and 0 < float(loss) < 1
    assert training.evaluate is evaluate  # later runs of this process are evaluated again
