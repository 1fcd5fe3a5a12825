"""The structure of the library: imports run one way, few levels deep, and the chapters' modules know nothing of training and inference."""

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHAPTERS = ("inputs", "projection", "decoder", "losses", "vae", "codes")
WINGS = ("system", "graph", "images", "faces", "runs", "figures", "evaluation")


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {name_of(path): path for path in (ROOT / "glo_lib").rglob("*.py")}


@functools.cache
def imports_of(name: str) -> frozenset[str]:
    """Modules of the library that a module imports anywhere in its text."""
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
def everything_below(name: str, above: tuple[str, ...] = ()) -> frozenset[str]:
    assert name not in above, f"a circle of imports: {' -> '.join([*above, name])}"
    return frozenset().union(*({other} | everything_below(other, (*above, name)) for other in imports_of(name)))


@functools.cache
def level(name: str) -> int:
    return 1 + max((level(other) for other in imports_of(name)), default=0)


def test_there_are_no_circles_and_at_most_eleven_levels():
    for name in PATHS:
        everything_below(name)
    assert max(level(name) for name in PATHS) <= 11


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_modules_of_the_chapters_know_nothing_of_training_and_inference(chapter):
    names = [name for name in PATHS if name == f"glo_lib.{chapter}" or name.startswith(f"glo_lib.{chapter}.")]
    assert names
    below = frozenset().union(*(everything_below(name) for name in names))
    assert not [name for name in below if name.startswith(("glo_lib.training", "glo_lib.inference", "glo_lib.evaluation", "glo_lib.runs"))]


def test_wings_do_not_know_training_and_only_the_upper_ones_know_inference():
    for name in PATHS:
        wing = name.split(".")[1] if "." in name else ""
        used = {other.split(".")[1] for other in imports_of(name)}
        assert "training" not in used or wing in ("training", "__main__"), name
        assert "inference" not in used or wing in ("inference", "figures", "evaluation", "training", "__main__"), name


def test_every_part_of_the_library_is_a_chapter_or_a_wing_and_has_the_tests_of_its_name():
    parts = {name.split(".")[1] for name in PATHS if "." in name}
    assert parts == {*CHAPTERS, *WINGS, "training", "inference", "config", "__main__"}
    for name, path in PATHS.items():
        if path.name in ("__init__.py", "__main__.py") or name in ("glo_lib.faces.portrait", "glo_lib.images.crop"):
            continue  # drawn pictures and crops are tested through those who use them
        inside = path.relative_to(ROOT / "glo_lib")
        assert (ROOT / "tests" / inside.with_name(f"test_{inside.name}")).exists(), name
