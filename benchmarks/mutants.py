"""Measure whether the unit tests notice faults of the library: change one place at a time, and count the changes that make a test fail.

    python -m benchmarks.mutants --out before.json                   draw 100 changes by a seed, and try each
    python -m benchmarks.mutants --out after.json --like before.json    try the same changes again, for instance after tests were pruned

A change (mutant) flips a comparison, changes a constant, drops an argument, or deletes a statement. One run of all unit tests under
``coverage`` finds which tests execute which line. The mutants are tried in copies of the repository, whose library is written by
`ast.unparse`, without comments. So another run of all unit tests, in such a copy without a mutant, finds the tests that fail there anyway.
They are left out, and so are the browser tests and the checks of the committed notebooks.

For each mutant the tests of its own module run first, then all others that execute its line (or its module, if the line runs at import),
until one fails. A module that cannot be imported any more, a crash, and a test run that exceeds the time limit count as failures too. A
mutant for which no test is left is not tried, and not counted.
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
from collections.abc import Collection, Iterator, Sequence
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
OUTCOMES = ("killed", "survived", "not tried")


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


class Control(NamedTuple):
    """What happens without a mutant.

    Attributes:
        passing: addresses of the tests that pass, and of their functions and files.
        failing: addresses of the tests that fail, and of the files that cannot be collected.
    """

    passing: frozenset[str]
    failing: frozenset[str]


def copy_repository(folder: Path) -> None:
    """Copy the repository, and write its library as `mutate` does, so that a mutant changes nothing but one place."""
    ignored = shutil.ignore_patterns(".venv", ".git", "_build", "__pycache__", "*.ipynb_checkpoints")
    shutil.copytree(ROOT, folder, ignore=ignored)
    for path in (folder / "glo_lib").rglob("*.py"):
        path.write_text(ast.unparse(ast.parse(path.read_text())))


def run_control(folder: Path) -> Control:
    """Run all unit tests and doctests in a copy without a mutant.

    Raises:
        RuntimeError: the tests cannot be run.
    """
    cache = folder.with_name("control")
    left_out = [f"--ignore={path}" for path in LEFT_OUT]
    result = _run_tests(folder, ["-o", f"cache_dir={cache}", "--continue-on-collection-errors", *left_out, "tests", "glo_lib"])
    if result.returncode not in (0, 1):
        raise RuntimeError(f"without a mutant pytest ended with status {result.returncode}: {result.stdout[-2000:]}{result.stderr[-2000:]}")
    found, failing = (_cached(cache, name) for name in ("nodeids", "lastfailed"))
    return Control(frozenset(address for test in found - failing for address in _addresses(test)), failing)


def _cached(folder: Path, name: str) -> frozenset[str]:
    """Return the addresses of tests that pytest noted in its cache; it writes no file where there are none."""
    path = folder / "v" / "cache" / name
    return frozenset(json.loads(path.read_text())) if path.exists() else frozenset()


def _addresses(test: str) -> set[str]:
    """Return the address of a test, of its function, and of its file."""
    parts = test.partition("[")[0].split("::")
    return {test, *("::".join(parts[:count]) for count in range(1, len(parts) + 1))}


def tests_of(mutant: Mutant, lines: dict[str, dict[int, set[str]]], control: Control) -> list[str]:
    """Return the tests that may notice the mutant: those of its own module, its doctests, then all others that execute its line."""
    of_file = lines.get(mutant.file, {})
    contexts = of_file.get(mutant.line, set()) - {""}
    if not contexts:  # the line runs at import, in a fixture, or never
        contexts = set().union(*of_file.values()) - {""} if of_file else set()
    own = Path("tests", *Path(mutant.file).parts[1:-1], f"test_{Path(mutant.file).stem}.py").as_posix()
    others = sorted(test for test in map(_node_of, contexts) if not test.startswith(own))
    return [address for address in (own, mutant.file, *others) if address in control.passing]


def _node_of(context: str) -> str:
    """Return the pytest address of a context such as ``tests.runs.test_folder.test_name``."""
    parts = context.split(".")
    end = next((number for number, part in enumerate(parts) if part.startswith("test_")), len(parts) - 1)
    return "::".join(["/".join(parts[: end + 1]) + ".py", *parts[end + 1 : end + 2]])


def try_mutant(mutant: Mutant, tests: list[str], failing: Collection[str], folder: Path) -> dict[str, str]:
    """Apply the mutant in a copy of the repository, and run the tests until one fails.

    Args:
        mutant: the change.
        tests: addresses of the tests.
        failing: addresses of tests that fail without a mutant, which are left out.
        folder: the copy.

    Returns:
        The ``outcome``, one of `OUTCOMES`, and ``by`` what the mutant was killed.
    """
    if not tests:
        return {"outcome": "not tried", "by": ""}
    target = folder / mutant.file
    before = target.read_text()
    target.write_text(mutate((ROOT / mutant.file).read_text(), mutant.kind, mutant.number)[0])
    try:
        left_out = [f"--deselect={test}" for test in sorted(failing)]
        result = _run_tests(folder, ["-x", "-p", "no:cacheprovider", *left_out, *tests], TIME_LIMIT)
    except subprocess.TimeoutExpired:
        return {"outcome": "killed", "by": f"no end within {TIME_LIMIT} s"}
    finally:
        target.write_text(before)
    if result.returncode == 0:
        return {"outcome": "survived", "by": ""}
    # Without the mutant these tests are found and pass, so every other status is its work: a failure, an error of an import, or a crash.
    failed = [line for line in result.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return {"outcome": "killed", "by": failed[0][:200] if failed else f"pytest ended with status {result.returncode}"}


def _run_tests(folder: Path, arguments: list[str], time_limit: float | None = None) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=time_limit)


def try_all(mutants: list[Mutant], processes: int) -> dict[str, Any]:
    """Try the mutants in several processes at once; return how many were killed, and what happened to each."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        lines = covered_lines(work)
        free = [work / f"copy{number}" for number in range(processes)]
        for folder in free:
            copy_repository(folder)
        control = run_control(free[0])
        print(f"left out, because they fail without a mutant: {', '.join(sorted(control.failing)) or 'none'}", flush=True)

        def attempt(mutant: Mutant) -> dict[str, Any]:
            folder = free.pop()
            try:
                result = try_mutant(mutant, tests_of(mutant, lines, control), control.failing, folder)
            finally:
                free.append(folder)
            print(f"{result['outcome']:9} {mutant.file}:{mutant.line}  {mutant.before}  ->  {mutant.after}", flush=True)
            return {**mutant._asdict(), **result}

        with ThreadPoolExecutor(processes) as pool:
            results = list(pool.map(attempt, mutants))
    counted = {outcome: sum(result["outcome"] == outcome for result in results) for outcome in OUTCOMES}
    tried = counted["killed"] + counted["survived"]
    return {
        "killed": counted["killed"],
        "of": tried,
        "not_tried": counted["not tried"],
        "left_out": sorted(control.failing),
        "mutants": results,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw or read the mutants, try each, then write and print the results."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks.mutants", description=__doc__, formatter_class=layout)
    parser.add_argument("--out", required=True, type=Path, help="file of the results")
    parser.add_argument("--like", type=Path, help="results whose mutants are tried again")
    parser.add_argument("--number", type=int, default=100, help="of mutants (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="with which they are drawn (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="at once (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.like:
        earlier = [(entry["file"], entry["kind"], entry["number"]) for entry in json.loads(options.like.read_text())["mutants"]]
        mutants = [Mutant(*place, *mutate((ROOT / place[0]).read_text(), *place[1:])[1:]) for place in earlier]
    else:
        mutants = draw(options.number, options.seed)
    results = try_all(mutants, options.processes)
    options.out.write_text(json.dumps({"seed": options.seed, **results}, indent=1) + "\n")
    print(f"{results['killed']} of {results['of']} mutants killed, {results['not_tried']} not tried")


if __name__ == "__main__":
    main()
