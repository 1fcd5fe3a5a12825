"""Run the measurements of speed and memory, and write them as one table, which is kept in ``results.json`` and shown in the book.

    make bench                                  run the parts that take less than ten minutes together
    python -m benchmarks memory                 run only the named parts; results.json keeps the results of the others

The parts are throughput, flat, pipeline, quality and memory. By default quality and memory are not run, because quality trains for five
minutes and memory needs a data set of the size of CelebA; the table shows their last results.
"""

import argparse
import importlib
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.turns import Row

PARTS = ("throughput", "flat", "pipeline", "quality", "memory")
QUICK = PARTS[:3]
RESULTS, TABLE = Path(__file__).parent / "results.json", Path(__file__).parent / "results.md"


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
    return "\n".join([*lines, "", *machines(results)])


def machines(results: dict) -> list[str]:
    """Return a paragraph for each machine, with its versions, and with the parts that were measured there if there are several."""
    parts_of: dict[str, list[str]] = {}
    for part in (part for part in PARTS if part in results):
        facts = ", ".join(f"{name} {value}" for name, value in results[part]["machine"].items())
        parts_of.setdefault(facts, []).append(part)
    if len(parts_of) == 1:
        return [f"Machine and versions: {facts}.\n" for facts in parts_of]
    return [f"Machine and versions of {', '.join(parts)}: {facts}.\n" for facts, parts in parts_of.items()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the given parts, then save and print the whole table."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__, formatter_class=layout)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)} (default: {', '.join(QUICK)})")
    parts = parser.parse_args(arguments).parts
    if unknown := [part for part in parts if part not in PARTS]:
        parser.error(f"unknown part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    results = read_results()
    for part in parts or QUICK:
        rows = importlib.import_module(f"benchmarks.{part}").run()
        results[part] = {"date": date.today().isoformat(), "machine": machine(), "rows": [list(row) for row in rows]}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    TABLE.write_text(as_markdown(results))
    for part in (part for part in PARTS if part in results):
        print(*(Row(*row) for row in results[part]["rows"]), sep="\n")


if __name__ == "__main__":
    main()
