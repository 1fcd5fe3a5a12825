"""Run the measurements of speed and memory, and write them as one table, which is kept in ``results.json`` and shown in the book.

    make bench                                  run the parts that take less than ten minutes together
    python -m benchmarks memory                 run only the named parts; results.json keeps the results of the others

The parts are throughput, flat, pipeline, quality and memory. By default quality and memory are not run, because quality trains for five
minutes and memory needs a data set of the size of CelebA; the table shows their last results.
"""

import importlib
import json
import os
import platform
import sys
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.turns import Row

PARTS = ("throughput", "flat", "pipeline", "quality", "memory")
QUICK = PARTS[:3]
RESULTS, TABLE = Path(__file__).parent / "results.json", Path(__file__).parent / "results.md"


def machine() -> dict[str, str | int]:
    """Describe the machine and the versions with which the numbers were measured."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor() or platform.machine()
    facts: dict[str, str | int] = {"processor": processor, "cores": os.cpu_count() or 0, "python": platform.python_version()}
    for package in ("tensorflow", "numpy", "torch"):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    return facts


def read_results() -> dict:
    """Read earlier results, by part."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def as_markdown(results: dict) -> str:
    """Return the table for the book."""
    lines = ["| measured | | target | on |", "|---|---|---|---|"]
    for part in (part for part in PARTS if part in results):
        for name, value, unit, target in results[part]["rows"]:
            number = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
            lines.append(f"| {name} | {number} {unit} | {target} | {results[part]['date']} |".replace("  ", " "))
    facts = results[next(part for part in PARTS if part in results)]["machine"]
    return "\n".join([*lines, "", f"Machine and versions: {', '.join(f'{name} {value}' for name, value in facts.items())}.", ""])


def main(parts: list[str]) -> None:
    """Run the given parts, then save and print the whole table."""
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        sys.exit(f"unknown part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    results = read_results()
    for part in parts or QUICK:
        rows = importlib.import_module(f"benchmarks.{part}").run()
        results[part] = {"date": date.today().isoformat(), "machine": machine(), "rows": [list(row) for row in rows]}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    TABLE.write_text(as_markdown(results))
    for part in (part for part in PARTS if part in results):
        print(*(Row(*row) for row in results[part]["rows"]), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
