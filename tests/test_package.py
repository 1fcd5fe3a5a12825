"""The package as others get it: built from a copy of the tree, it holds the library and nothing else, and installs the command ``glo``.

Nothing is downloaded. The build uses the setuptools that is installed, and the fresh environment borrows the dependencies of this one.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILD = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
MODEL = "glo_lib/pretrained/arrays.bin"


def run(*command, **settings):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build the source distribution from a copy of the tree in which a model has been trained, and the wheel from that distribution."""
    tree, dist = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, tree)
    for name in ("glo_lib", "tests"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "pretrained", "earlier_version"))
    (tree / MODEL).parent.mkdir()
    (tree / MODEL).write_bytes(b"weights")
    run(sys.executable, "-c", BUILD, dist, cwd=tree)
    (source,) = dist.glob("*.tar.gz")
    run(*PIP, "wheel", "--no-index", "--no-build-isolation", "--no-deps", "--wheel-dir", dist, source)
    (wheel,) = dist.glob("*.whl")
    return source, wheel


def test_the_wheel_holds_every_module_and_the_model_and_no_tests(built):
    with zipfile.ZipFile(built[1]) as wheel:
        names = set(wheel.namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "glo_lib").rglob("*.py")}
    assert {name for name in names if ".dist-info/" not in name} == {*modules, MODEL, "glo_lib/py.typed"}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_source_distribution_holds_what_the_wheel_is_built_from(built):
    with tarfile.open(built[0]) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "glo_lib/__init__.py", MODEL} <= names
    assert not [name for name in names if name.startswith("tests")]


def test_the_wheel_installs_a_command_that_names_itself_in_its_help(built, tmp_path):
    venv.create(tmp_path / "fresh", with_pip=False)
    programs = tmp_path / "fresh" / ("Scripts" if os.name == "nt" else "bin")
    run(*PIP, "--python", tmp_path / "fresh", "install", "--no-index", "--no-deps", built[1])
    # Of the folder with the dependencies only packages are seen; links to a project under development do not work from there.
    borrowed = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")}
    printed = run(programs / "glo", "--help", cwd=tmp_path, env=borrowed)
    assert printed.startswith("usage: glo [-h] COMMAND") and "Example: glo sample --run my_run" in printed
    assert run(programs / "python", "-m", "glo_lib", "--help", cwd=tmp_path, env=borrowed).startswith("usage: python -m glo_lib [-h]")
    found = run(programs / "python", "-c", "import glo_lib; print(glo_lib.__file__)", cwd=tmp_path, env=borrowed)
    assert Path(found.strip()).is_relative_to(tmp_path / "fresh")
    refused = subprocess.run([programs / "glo", "data", "nowhere"], cwd=tmp_path, env=borrowed, capture_output=True, text=True)
    assert refused.returncode == 2 and refused.stderr.startswith("glo data: 'nowhere' does not exist")
