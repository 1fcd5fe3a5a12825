"""The first cell of every notebook fetches the book on Colab, from the address in ``_config.yml``, and does nothing elsewhere."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import head_cell
import pytest
import yaml

ROOT = Path(__file__).parents[1]
REPOSITORY = yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))["repository"]
NOTEBOOKS = sorted(path for path in (ROOT / "book").glob("*.ipynb") if not path.stem.startswith("out"))

# What IPython does with the cell, in a process of its own; the option "colab" makes it look like a notebook on Colab.
RUN_CELL = """
import sys, types
sys.modules.update({"google.colab": types.ModuleType("google.colab")} if sys.argv[2] == "colab" else {})
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for _ in range(2):  # a reader may run it again
    shell.run_cell(sys.argv[1]).raise_error()
if sys.argv[2] == "colab":
    print(open("params/quick.yaml").readline(), end="")
"""


def run_cell(place, cwd=None, **environment):
    command = [sys.executable, "-c", RUN_CELL, head_cell.source(REPOSITORY), place]
    return subprocess.run(command, env={**os.environ, **environment}, cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_begins_with_the_cell_and_its_address_is_that_of_the_configuration(path):
    notebook = json.loads(path.read_text("utf8"))
    head = notebook["cells"][0]
    assert head["id"] == head_cell.CELL_ID and head["outputs"] == []
    assert "".join(head["source"]) == head_cell.source(REPOSITORY)
    assert head["metadata"]["tags"] == ["remove-cell"] and head["metadata"]["jupyter"]["source_hidden"]
    assert [cell.get("id") for cell in notebook["cells"]].count(head_cell.CELL_ID) == 1


def test_the_cell_is_put_first_and_replaced_when_the_address_changes():
    text = {"cell_type": "markdown", "id": "a", "source": ["# Title"], "metadata": {}}
    old = head_cell.with_head_cell({"cells": [text], "nbformat": 4}, "old")
    assert [cell["id"] for cell in old["cells"]] == [head_cell.CELL_ID, "a"] and old["nbformat"] == 4
    executed = {**old, "cells": [text, {**old["cells"][0], "execution_count": 1}]}  # a cell that somebody moved
    assert [cell.get("execution_count") for cell in head_cell.with_head_cell(executed, "old")["cells"]] == [1, None]
    new = head_cell.with_head_cell(executed, "new")
    assert [(cell["id"], cell["source"]) for cell in new["cells"]] == [(head_cell.CELL_ID, ["new"]), ("a", ["# Title"])]


def test_elsewhere_than_on_colab_the_cell_does_nothing(tmp_path):
    done = run_cell("elsewhere", PIP_TARGET=str(tmp_path / "installed"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (tmp_path / "installed").exists()


@pytest.mark.skipif(not shutil.which("git"), reason="the cell fetches the repository with git, which is not installed")
def test_on_colab_the_cell_installs_the_library_and_goes_to_the_folder_of_the_book(tmp_path):
    """git takes the address for a repository on this machine, made from the tree; pip installs into a folder, without dependencies."""
    repository, installed, colab = tmp_path / "repository", tmp_path / "installed", tmp_path / "content"
    for folder in (repository / "book" / "params", colab):
        folder.mkdir(parents=True)
    shutil.copy(ROOT / "book" / "params" / "quick.yaml", repository / "book" / "params")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, repository)
    shutil.copytree(ROOT / "glo_lib", repository / "glo_lib", ignore=shutil.ignore_patterns("__pycache__"))
    me = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    for command in (["init", "-q", "-b", REPOSITORY["branch"]], ["add", "."], ["commit", "-q", "-m", "The tree"]):
        subprocess.run(["git", *command], cwd=repository, env={**os.environ, **me}, check=True)
    redirected = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{repository.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": REPOSITORY["url"],
    }
    offline = {"PIP_TARGET": str(installed), "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = run_cell("colab", colab, **redirected, **offline)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1:] == (ROOT / "book" / "params" / "quick.yaml").read_text().splitlines()[:1]
    assert [path.name for path in colab.iterdir()] == ["glo-book"] and not (colab / "glo-book" / "book" / "glo-book").exists()
    check = "import glo_lib.config, glo_lib.figures.schematic; print(glo_lib.__path__[0], glo_lib.config.TrainConfig().loss)"
    found = subprocess.run(
        [sys.executable, "-S", "-c", check], cwd=tmp_path, env={"PYTHONPATH": str(installed)}, capture_output=True, text=True
    )
    assert found.stdout.split() == [str(installed / "glo_lib"), "mse"], done.stdout + done.stderr + found.stderr
