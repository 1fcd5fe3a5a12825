"""Of the files that install and build the project: that they agree with each other."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def read(name):
    return (ROOT / name).read_text()


def test_requirements_name_exact_versions_and_no_address():
    lines = read("requirements.txt").splitlines()
    assert len(lines) > 100
    assert not [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.\[\]-]+==\S+( ; .+)?", line)]


def test_every_direct_pin_is_in_the_requirements_and_the_readme():
    def normal(name):
        return re.sub(r"[-_.]+", "-", name).lower()

    installed = {tuple(line.split(" ;")[0].split("==")) for line in read("requirements.txt").splitlines()}
    installed = {(normal(name), version) for name, version in installed}
    pins = re.findall(r'"([A-Za-z0-9_-]+)(?:\[[a-z-]+\])?==([^";]+)', read("pyproject.toml"))
    assert len(pins) > 15
    for name, version in pins:
        assert re.search(rf"\b{re.escape(name)}\b", read("README.md")), name
        if name != "setuptools":  # builds the package, and is installed nowhere
            assert (normal(name), version) in installed, name


def test_conda_installs_the_same_requirements():
    assert "- -r requirements.txt" in read("environment.yml")


def test_presets_and_notebook_name_only_settings_that_exist():
    from glo_lib.config import TrainConfig, describe

    known = {name for name, _, _ in describe(TrainConfig())}
    for preset in (ROOT / "book" / "params").glob("*.yaml"):
        named = set(re.findall(r"^([a-z_]+):", preset.read_text(), re.MULTILINE))
        assert named and named <= known, preset.name


@pytest.mark.parametrize("command", ["jupyter-book build book/", "papermill book/train.ipynb out.ipynb -p gpus 2", "pytest --nbval"])
def test_the_three_commands_stand_in_the_readme_as_they_are_run(command):
    assert command in read("README.md") and command in read("Makefile")
