"""The first cell of every notebook: on Colab it fetches the repository and installs the library, and elsewhere it does nothing.

The address is that of ``_config.yml``. A notebook that is opened on Colab comes without the other files of the
book, which some chapters read, so its cell repeats the address and goes to the folder of the book.
After a change of ``repository`` in ``_config.yml`` this program writes the cells again::

    python book/_extensions/head_cell.py
"""

import json
from pathlib import Path
from typing import Any

import yaml

BOOK = Path(__file__).parents[1]
CELL_ID = "install-on-colab"
SOURCE = """\
# On Colab this fetches the book and installs its library; elsewhere it does nothing.
import sys
from pathlib import Path

if "google.colab" in sys.modules and Path.cwd().name != "book":
    !git clone --quiet --depth 1 --branch {branch} {url} glo-book
    %pip install --quiet ./glo-book
    %cd -q glo-book/book"""


def source(repository: dict[str, str]) -> str:
    """Return the code of the cell for the ``repository`` of ``_config.yml``."""
    return SOURCE.format(url=repository["url"], branch=repository["branch"])


def with_head_cell(notebook: dict[str, Any], code: str) -> dict[str, Any]:
    """Return a notebook whose first cell has this code; it is folded in Jupyter and left out of the page.

    A cell that has the code already stays as it is, with the stamps of its execution.
    """
    cells = [cell for cell in notebook["cells"] if cell.get("id") != CELL_ID]
    old = next((cell for cell in notebook["cells"] if cell.get("id") == CELL_ID), None)
    if old and "".join(old["source"]) == code:
        return {**notebook, "cells": [old, *cells]}
    folded = {"cellView": "form", "jupyter": {"outputs_hidden": True, "source_hidden": True}, "tags": ["remove-cell"]}
    head = {
        "cell_type": "code",
        "execution_count": None,
        "id": CELL_ID,
        "metadata": folded,
        "outputs": [],
        "source": code.splitlines(keepends=True),
    }
    return {**notebook, "cells": [head, *cells]}


def main() -> None:
    """Write the cell into every notebook of the book."""
    code = source(yaml.safe_load((BOOK.parent / "_config.yml").read_text("utf8"))["repository"])
    for path in sorted(BOOK.glob("*.ipynb")):
        before = json.loads(path.read_text("utf8"))
        after = with_head_cell(before, code)
        if after != before:
            path.write_text(json.dumps(after, indent=1, ensure_ascii=False) + "\n", "utf8")


if __name__ == "__main__":
    main()
