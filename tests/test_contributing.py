"""The example in CONTRIBUTING.md is a change that works: it is applied to a copy of the library, tested and trained with."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_loss_of_the_example_can_be_added_as_it_is_written(small_images, tmp_path):
    (example,) = re.findall(r"```diff\n(.+?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    for name in ("glo_lib", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "earlier_version"))
    applied = subprocess.run(["git", "apply", "-"], input=example, text=True, cwd=tmp_path, capture_output=True)
    assert applied.returncode == 0, applied.stderr
    (tmp_path / "train.py").write_text(
        "from glo_lib.evaluation import evaluate\nfrom glo_lib.training import TrainConfig, train\n"
        "evaluate.run_figures = lambda *_: {}\n"
        f"config = TrainConfig(data_dir={str(small_images)!r}, run_dir='run', loss='l1', image_size=32, num_filters=(8, 6, 4),\n"
        "    num_dims=5, batch_size=8, num_epochs=2, max_seconds=0)\n"
        "history = train(config).history\nprint('\\nfell:', history[-1].loss < history[0].loss)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "GLO_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_losses.py", "-k", "absolute"]
    tests = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert re.search(r"\b[1-9]\d* passed", tests.stdout), tests.stdout[-2000:]
    trained = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "fell: True" in trained.stdout, trained.stderr[-2000:]
