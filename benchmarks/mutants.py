"""Measure whether the unit tests notice faults of the library: change one place at a time, and count the changes that make a test fail.

    python -m benchmarks.mutants --out before.json                   draw 100 changes by a seed, and try each
    python -m benchmarks.mutants --out after.json --like before.json    try the same changes again, for instance after tests were pruned

A change (mutant) flips a comparison, changes a constant, drops an argument, or deletes a statement. One run of all unit tests under
``coverage`` finds which tests execute which line. For each mutant the tests of its own module run first, then all others that execute its
line (or its module, if the line runs at import), until one fails. A test run that exceeds the time limit counts as a failure. The browser
tests and the checks of the committed notebooks are left out.
"""

import argparse
import ast
import copy
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
KINDS = ("comparison", "constant", "argument", "statement")
FLIPPED = {
    ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
LEFT_OUT = ("tests/test_browser.py", "tests/test_book.py")
TIME_LIMIT = 1200  # seconds of one test run


class Mutant(NamedTuple):
    """A change of one place in the library.

    Attributes:
        file: path below the root of the repository.
        kind: one of `KINDS`.
        number: index of the place among those of its kind in the file.
        line: line number of the place.
        before: the original code.
        after: the changed code.
    """

    file: str
    kind: str
    number: int
    line: int
    before: str
    after: str


def places(tree: ast.Module, kind: str) -> Iterator[tuple[ast.AST, ast.AST, str, Any]]:
    """Yield the places of a kind as (node, holder, field of the holder, position in the field)."""
    docstrings = {
        id(node.body[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body and ast.get_docstring(node) is not None
    }
    for holder in ast.walk(tree):
        for field, value in ast.iter_fields(holder):
            for position, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if not isinstance(node, ast.AST) or id(holder) in docstrings or id(node) in docstrings:
                    continue
                if _is_place(node, holder, kind):
                    yield node, holder, field, position


def _is_place(node: ast.AST, holder: ast.AST, kind: str) -> bool:
    if kind == "comparison":
        return isinstance(node, ast.Compare) and type(node.ops[0]) in FLIPPED
    if kind == "constant":
        return isinstance(node, ast.Constant) and type(node.value) in (int, float, bool)
    if kind == "argument":  # of any call except the call of a raised exception, because messages are not mutated
        return isinstance(node, ast.Call) and bool(node.args or node.keywords) and not isinstance(holder, ast.Raise)
    return isinstance(node, ast.Assign | ast.AugAssign | ast.Expr | ast.Raise | ast.Return | ast.If)


def changed(node: ast.AST, kind: str) -> ast.AST:
    """Return the node that replaces another."""
    new = copy.deepcopy(node)
    if kind == "comparison":
        new.ops[0] = FLIPPED[type(new.ops[0])]()
    elif kind == "constant":
        new.value = not new.value if isinstance(new.value, bool) else new.value + 1
    elif kind == "argument":
        (new.keywords or new.args).pop()
    else:
        new = ast.Pass()
    return ast.copy_location(new, node)


def mutate(source: str, kind: str, number: int) -> tuple[str, int, str, str]:
    """Change one place; return the changed source, the line of the place, and the code there before and after."""
    tree = ast.parse(source)
    node, holder, field, position = list(places(tree, kind))[number]
    new = changed(node, kind)
    before, after = ast.unparse(node), ast.unparse(new)
    if position is None:
        setattr(holder, field, new)
    else:
        getattr(holder, field)[position] = new
    return ast.unparse(ast.fix_missing_locations(tree)), node.lineno, before.split("\n")[0][:120], after.split("\n")[0][:120]


def draw(how_many: int, seed: int) -> list[Mutant]:
    """Draw mutants: the kinds take turns, and within a kind all places in the library have the same probability."""
    files = sorted(path for path in (ROOT / "glo_lib").rglob("*.py"))
    sources = {str(path.relative_to(ROOT)): path.read_text() for path in files}
    all_places = {
        kind: [(file, number) for file, source in sources.items() for number in range(len(list(places(ast.parse(source), kind))))]
        for kind in KINDS
    }
    chance, mutants = random.Random(seed), []
    for turn in range(how_many):
        kind = KINDS[turn % len(KINDS)]
        file, number = all_places[kind].pop(chance.randrange(len(all_places[kind])))
        _, line, before, after = mutate(sources[file], kind, number)
        mutants.append(Mutant(file, kind, number, line, before, after))
    return mutants


def covered_lines(work: Path) -> dict[str, dict[int, set[str]]]:
    """Run all unit tests once; return for each file the tests that execute each line ("" for lines that run at import)."""
    (work / "coveragerc").write_text("[run]\nbranch = true\nsource = glo_lib\ndynamic_context = test_function\n")
    left_out = [f"--ignore={path}" for path in LEFT_OUT]
    command = [sys.executable, "-m", "coverage", "run", f"--rcfile={work}/coveragerc", f"--data-file={work}/coverage"]
    began = time.monotonic()
    result = subprocess.run(
        [*command, "-m", "pytest", "tests", "-q", "-p", "no:cacheprovider", *left_out], cwd=ROOT, capture_output=True, text=True
    )
    print(result.stdout.strip().splitlines()[-1], f"({time.monotonic() - began:.0f} s under coverage)", flush=True)
    from coverage import CoverageData

    data = CoverageData(f"{work}/coverage")
    data.read()
    lines: dict[str, dict[int, set[str]]] = {}
    for path in data.measured_files():
        contexts = data.contexts_by_lineno(path)
        lines[str(Path(path).relative_to(ROOT))] = {line: set(names) for line, names in contexts.items()}
    report = [sys.executable, "-m", "coverage", "report", f"--rcfile={work}/coveragerc", f"--data-file={work}/coverage"]
    print(subprocess.run(report, cwd=ROOT, capture_output=True, text=True).stdout.strip().splitlines()[-1], flush=True)
    return lines


def tests_of(mutant: Mutant, lines: dict[str, dict[int, set[str]]]) -> list[str]:
    """Return the tests that may notice the mutant: those of its own module, its doctests, then all others that execute its line."""
    of_file = lines.get(mutant.file, {})
    contexts = of_file.get(mutant.line, set()) - {""}
    if not contexts:  # the line runs at import, in a fixture, or never
        contexts = set().union(*of_file.values()) - {""} if of_file else set()
    own = Path("tests", *Path(mutant.file).parts[1:-1], f"test_{Path(mutant.file).stem}.py")
    others = sorted(test for test in map(_node_of, contexts) if (ROOT / test.split("::")[0]).exists() and not test.startswith(str(own)))
    return [*([str(own)] if (ROOT / own).exists() else []), mutant.file, *others]


def _node_of(context: str) -> str:
    """Return the pytest address of a context such as ``tests.runs.test_folder.test_name``."""
    parts = context.split(".")
    end = next((number for number, part in enumerate(parts) if part.startswith("test_")), len(parts) - 1)
    return "::".join(["/".join(parts[: end + 1]) + ".py", *parts[end + 1 : end + 2]])


def try_mutant(mutant: Mutant, tests: list[str], folder: Path) -> dict[str, Any]:
    """Apply the mutant in a copy of the repository, and run the tests until one fails."""
    target = folder / mutant.file
    source = (ROOT / mutant.file).read_text()
    target.write_text(mutate(source, mutant.kind, mutant.number)[0])
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *tests]
    try:
        result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIME_LIMIT)
        failed = [line for line in result.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return {"killed": result.returncode != 0, "by": failed[0][:200] if failed else ""}
    except subprocess.TimeoutExpired:
        return {"killed": True, "by": f"no end within {TIME_LIMIT} s"}
    finally:
        target.write_text(source)


def main() -> None:
    """Draw or read the mutants, try each, then write and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--like", type=Path, help="results whose mutants are tried again")
    parser.add_argument("--number", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    mutants = draw(options.number, options.seed)
    if options.like:
        earlier = [(entry["file"], entry["kind"], entry["number"]) for entry in json.loads(options.like.read_text())["mutants"]]
        mutants = [Mutant(*place, *mutate((ROOT / place[0]).read_text(), *place[1:])[1:]) for place in earlier]
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        lines = covered_lines(work)
        folders = [work / f"copy{number}" for number in range(options.processes)]
        for folder in folders:
            ignored = shutil.ignore_patterns(".venv", ".git", "_build", "__pycache__", "*.ipynb_checkpoints")
            shutil.copytree(ROOT, folder, ignore=ignored)
        free = list(folders)

        def attempt(mutant: Mutant) -> dict[str, Any]:
            folder = free.pop()
            try:
                outcome = try_mutant(mutant, tests_of(mutant, lines), folder)
            finally:
                free.append(folder)
            print(
                f"{'killed  ' if outcome['killed'] else 'SURVIVED'} {mutant.file}:{mutant.line}  {mutant.before}  ->  {mutant.after}",
                flush=True,
            )
            return {**mutant._asdict(), **outcome}

        with ThreadPoolExecutor(options.processes) as pool:
            results = list(pool.map(attempt, mutants))
    killed = sum(result["killed"] for result in results)
    options.out.write_text(json.dumps({"seed": options.seed, "killed": killed, "of": len(results), "mutants": results}, indent=1) + "\n")
    print(f"{killed} of {len(results)} mutants killed")


if __name__ == "__main__":
    main()
