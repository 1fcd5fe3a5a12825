"""The benchmark of the tests, on a library of a few lines: which of its mutants count as killed."""

import ast
import json

import pytest

from benchmarks import mutants

FILES = {
    "glo_lib/__init__.py": "",
    "glo_lib/numbers.py": '''
        """Numbers."""

        LIMIT = 3
        TWICE = max(2 * LIMIT, 0)


        def small(x):
            """Return whether x is small."""
            return x < TWICE


        def large(x):  # no test notices what it does
            return x > TWICE
    ''',
    "glo_lib/alone.py": "def alone(x):\n    return x == 1\n",
    "tests/test_numbers.py": """
        from pathlib import Path

        from glo_lib import numbers

        def test_small():
            assert numbers.small(1)
            numbers.large(1)

        def test_with_comments():
            assert "# no test" in Path(numbers.__file__).read_text()
    """,
    "pyproject.toml": '[tool.pytest.ini_options]\naddopts = "--import-mode=importlib --doctest-modules"\n',
}
TRIED = [  # file, kind, number of the place, outcome
    ("glo_lib/numbers.py", "comparison", 0, "killed"),  # x < TWICE
    ("glo_lib/numbers.py", "comparison", 1, "survived"),  # x > TWICE
    ("glo_lib/numbers.py", "statement", 0, "killed"),  # LIMIT = 3, without which the module cannot be imported
    ("glo_lib/alone.py", "comparison", 0, "not tried"),
]


@pytest.fixture
def library(tmp_path, monkeypatch):
    root = tmp_path / "library"
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(line.removeprefix(" " * 8) for line in text.strip("\n").splitlines()).rstrip() + "\n")
    monkeypatch.setattr(mutants, "ROOT", root)
    return root


def test_a_test_that_fails_without_a_mutant_kills_none(library, tmp_path, capsys):
    earlier = {"mutants": [{"file": file, "kind": kind, "number": number} for file, kind, number, _ in TRIED]}
    (tmp_path / "before.json").write_text(json.dumps(earlier))
    mutants.main(["--like", str(tmp_path / "before.json"), "--out", str(tmp_path / "after.json"), "--processes", "1"])
    found = json.loads((tmp_path / "after.json").read_text())
    assert found["left_out"] == ["tests/test_numbers.py::test_with_comments"]
    assert [mutant["outcome"] for mutant in found["mutants"]] == [outcome for *_, outcome in TRIED]
    assert found["mutants"][0]["by"].startswith("FAILED tests/test_numbers.py::test_small")
    assert capsys.readouterr().out.splitlines()[-1] == "2 of 3 mutants killed, 1 not tried"


def test_mutants_are_drawn_from_all_kinds_and_change_one_place(library):
    drawn = mutants.draw(4, seed=0)
    assert [mutant.kind for mutant in drawn] == list(mutants.KINDS) and drawn == mutants.draw(4, seed=0)
    for mutant in drawn:
        source = (library / mutant.file).read_text()
        text = mutants.mutate(source, mutant.kind, mutant.number)[0]
        lines, original = text.splitlines(), ast.unparse(ast.parse(source)).splitlines()
        assert sum(a != b for a, b in zip(lines, original, strict=True)) == 1


@pytest.mark.parametrize(
    ("kind", "source", "changed"),
    [
        ("comparison", "x <= 1", "x > 1"),
        ("constant", "f(True)", "f(False)"),
        ("argument", "f(x, key=1)", "f(x)"),
        ("statement", "x = 1", "pass"),
    ],
)
def test_a_mutant_of_each_kind(kind, source, changed):
    assert mutants.mutate(source, kind, 0)[0] == changed
