"""What a notebook must be before it is committed: executed to its end, in Jupyter's own form, and without traces of one machine.

``make notebooks`` and the hooks of pre-commit run it, and the tests check the same rules::

    python book/_extensions/notebook_check.py [NOTEBOOK ...]

Without arguments it checks all notebooks of the book. For each problem it prints a line; the exit status is then 1.
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import head_cell
import status
import yaml

BOOK = Path(__file__).parents[1]
KERNEL = "python3"
MACHINE_PATH = re.compile(r"(?<![\w.<>])/(home|root|tmp|work|Users|usr|opt|var|mnt|data|content)/|[A-Z]:\\\\|site-packages|ipykernel_\d")


def notebooks_of_the_book() -> list[Path]:
    """Return the notebooks that belong to the book; papermill's results, whose names begin with out, do not."""
    return sorted(path for path in BOOK.glob("*.ipynb") if not path.stem.startswith("out"))


def texts(cell: dict) -> Iterator[str]:
    """Yield all text that a code cell printed or displayed."""
    for output in cell["outputs"]:
        yield "".join(output.get("text", ""))
        for kind, data in output.get("data", {}).items():
            if kind.startswith("text/"):
                yield "".join(data)


def problems(text: str, head: str) -> list[str]:
    """Return what is wrong with a notebook, one line for each problem.

    Args:
        text: the content of the file.
        head: the code that the first cell must have, from `head_cell.source`.
    """
    try:
        notebook = json.loads(text)
    except ValueError as error:
        return [f"is not JSON ({error})"]
    found = []
    if text != json.dumps(notebook, indent=1, ensure_ascii=False) + "\n":
        found.append("is not written as Jupyter writes it (indent 1, no escapes, a newline at the end); save it in Jupyter")
    if notebook["metadata"].get("kernelspec", {}).get("name") != KERNEL:
        found.append(f"does not use the kernel {KERNEL}")
    if "".join(notebook["cells"][0]["source"]) != head:
        found.append("does not begin with the cell for Colab; run python book/_extensions/head_cell.py")
    return found + status.problems(notebook) + [problem for cell in status.code_cells(notebook) for problem in _problems_of_outputs(cell)]


def _problems_of_outputs(cell: dict) -> Iterator[str]:
    first_line = "".join(cell["source"]).strip().splitlines()[0]
    if any(output.get("name") == "stderr" for output in cell["outputs"]):
        yield f"the cell that begins with {first_line!r} wrote to the error stream"
    for text in texts(cell):
        path = MACHINE_PATH.search(text)
        if path:
            yield f"the output of the cell that begins with {first_line!r} has a path of one machine: {text[path.start() :][:40]!r}"


def main(arguments: Sequence[str]) -> int:
    """Print the problems of the given notebooks, or of all; return 1 if there are any."""
    head = head_cell.source(yaml.safe_load((BOOK.parent / "_config.yml").read_text("utf8"))["repository"])
    paths = [Path(name) for name in arguments] or notebooks_of_the_book()
    lines = [f"{path.name} {problem}" for path in paths for problem in problems(path.read_text("utf8"), head)]
    print("\n".join(lines) or f"notebooks checked: {len(paths)}, no problem")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
