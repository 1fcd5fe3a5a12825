"""The structure of the library: imports have no cycles, few levels, and chapters import neither training nor inference."""

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHAPTERS = ("inputs", "projection", "decoder", "losses", "vae", "codes")
PACKAGES = ("system", "graph", "networks", "images", "faces", "runs", "figures", "evaluation")


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {name_of(path): path for path in (ROOT / "glo_lib").rglob("*.py")}


@functools.cache
def imports_of(name: str) -> frozenset[str]:
    """Return the modules of the library that a module imports anywhere in its source."""
    found = set()
    for node in ast.walk(ast.parse(PATHS[name].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "glo_lib":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in PATHS else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in PATHS}
    return frozenset(found - {name, "glo_lib"})


@functools.cache
def all_imports_of(name: str, importers: tuple[str, ...] = ()) -> frozenset[str]:
    assert name not in importers, f"a cycle of imports: {' -> '.join([*importers, name])}"
    return frozenset().union(*({other} | all_imports_of(other, (*importers, name)) for other in imports_of(name)))


@functools.cache
def level(name: str) -> int:
    return 1 + max((level(other) for other in imports_of(name)), default=0)


def test_imports_have_no_cycles_and_at_most_eleven_levels():
    for name in PATHS:
        all_imports_of(name)
    assert max(level(name) for name in PATHS) <= 11


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_modules_of_the_chapters_do_not_import_training_or_inference(chapter):
    names = [name for name in PATHS if name == f"glo_lib.{chapter}" or name.startswith(f"glo_lib.{chapter}.")]
    assert names
    imported = frozenset().union(*(all_imports_of(name) for name in names))
    assert not [
        name for name in imported if name.startswith(("glo_lib.training", "glo_lib.inference", "glo_lib.evaluation", "glo_lib.runs"))
    ]


def test_only_training_imports_training_and_only_the_upper_packages_import_inference():
    for name in PATHS:
        package = name.split(".")[1] if "." in name else ""
        used = {other.split(".")[1] for other in imports_of(name)}
        assert "training" not in used or package in ("training", "__main__"), name
        assert "inference" not in used or package in ("inference", "figures", "evaluation", "training", "__main__"), name


def test_every_module_belongs_to_a_chapter_or_a_package_and_has_a_test_file_of_its_name():
    parts = {name.split(".")[1] for name in PATHS if "." in name}
    assert parts == {*CHAPTERS, *PACKAGES, "training", "inference", "config", "recipe", "__main__"}
    for name, path in PATHS.items():
        if path.name in ("__init__.py", "__main__.py") or name in ("glo_lib.faces.portrait", "glo_lib.images.crop"):
            continue  # tested through the modules that use them
        inside = path.relative_to(ROOT / "glo_lib")
        assert (ROOT / "tests" / inside.with_name(f"test_{inside.name}")).exists(), name
