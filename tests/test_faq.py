"""The Python examples on the page of questions work: each is run as it stands, or with the names and settings of a short run."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PAGE = (Path(__file__).parents[1] / "book/faq.md").read_text("utf8")
EXAMPLES = re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL)


def run_example(containing: str, **replaced: str) -> dict:
    """Run the one example that contains a text, with other texts replaced, and return its variables."""
    (example,) = [text for text in EXAMPLES if containing in text]
    for old, new in replaced.items():
        assert old in example
        example = example.replace(old, new)
    variables = {}
    exec(example, variables)
    return variables


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Run each example in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_photographs_are_padded_to_squares(own_folder):
    (own_folder / "photos").mkdir()
    Image.new("RGB", (30, 20), "white").save("photos/a.jpg")
    run_example("ImageOps.pad")
    padded = np.asarray(Image.open("padded/a.jpg"))
    assert padded.shape == (30, 30, 3) and padded[15].min() > 250 and padded[0].max() < 5


def test_the_eyes_of_an_aligned_photograph_lie_where_those_of_celeba_lie():
    photo = np.zeros((500, 700, 3), np.uint8)
    for column, row in ((412, 300), (528, 316)):  # bright eyes, at the places that the example names
        photo[row - 6 : row + 7, column - 6 : column + 7] = 255
    Image.fromarray(photo).save("photo.jpg")
    from_page = {"Image": Image}
    (example,) = [text for text in EXAMPLES if "def align" in text]
    exec(example, from_page)
    aligned = np.asarray(Image.open("aligned.jpg").convert("L")).astype(float)
    assert aligned.shape == (218, 178)
    for left, right, eye in ((0, 89, (69, 111)), (89, 178, (109, 111))):
        weights = aligned[:, left:right] * (aligned[:, left:right] > 100)
        rows, columns = np.indices(weights.shape)
        centre = (columns * weights).sum() / weights.sum() + left, (rows * weights).sum() / weights.sum()
        assert centre == pytest.approx(eye, abs=1)


def test_samples_of_one_class(own_folder, trained_run):
    (own_folder / "my_run").symlink_to(trained_run)
    images = run_example("chosen = ", smiling="1")["images"]  # images whose names contain a 1 instead of those that are called smiling
    assert images.shape == (16, 32, 32, 3) and np.abs(images).max() <= 1


@pytest.mark.usefixtures("no_figures")
def test_every_hundredth_step_is_logged(small_images, small_config):
    settings = small_config(small_images, "my_run", num_epochs=34)  # six steps in an epoch
    variables = run_example("def log", **{'TrainConfig(run_dir="my_run")': f"TrainConfig(**{settings.as_dict()!r})"})
    logged = [json.loads(line) for line in Path("log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in logged] == [100, 200] and all(line["loss"] > 0 for line in logged)
    assert variables["result"].metrics["steps"] == 204


def test_the_results_of_a_sweep_are_listed(own_folder, capsys):
    for name, decibels in (("16", 20.5), ("32", 22.5)):
        (own_folder / "sweep" / name).mkdir(parents=True)
        (own_folder / "sweep" / name / "metrics.json").write_text(json.dumps({"psnr_db": decibels}))
    run_example('glob("*/metrics.json")')
    assert sorted(capsys.readouterr().out.splitlines()) == ["16 20.5", "32 22.5"]
