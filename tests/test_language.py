"""The language of the book and of the code: no misspelt words (codespell), and none of the phrases that readers stumbled over."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Phrase -> what says it in plain words. Most stood in earlier versions of the book.
BANNED = {
    r"free of charge": "say what is not paid for",
    r"marks? to beat": "baseline",
    r"as good as new": "say what has not been updated yet",
    r"corrupt judges?": "a classifier that is wrong too often",
    r"permutation mixes": "each epoch uses a new random permutation",
    r"\bfrom mottle": "from noise",
    r"\b(?:as|images|decoder|normali[sz]ation) in use\b": "in inference mode",
    r"\b(?:rows?|codes?) (?:is|are|were) put back\b": "re-projected",
    r"\bnot believed\b": "say what is checked",
    r"\b(?:whilst|hitherto|thereof|utili[sz]e[sd]?|leverag(?:e[sd]?|ing)|obviously)\b": "leave it out, or use a plainer word",
    r"\bin order to\b": "to",
    r"\b(?:OF_NO_ACCOUNT|WITHOUT_LOCKS|NO_ROOM|TRUTHS|_tell|_let_go)\b": "a name in the words of the field",
}


def texts():
    """Return the name and the text of every file with words in it; of a notebook, its cells with captions and alternative texts."""
    paths = [*ROOT.glob("*.md"), *(ROOT / "book").glob("*.md"), *(ROOT / "book/_extensions").glob("*.py")]
    for folder, suffixes in (
        ("book/api", ("md",)),
        ("deploy", ("md",)),
        *((name, ("py", "md")) for name in ("glo_lib", "tests", "benchmarks")),
    ):
        paths += [path for suffix in suffixes for path in (ROOT / folder).rglob(f"*.{suffix}")]
    plain = {str(path.relative_to(ROOT)): path.read_text("utf8") for path in paths if path != Path(__file__)}
    notebooks = [path for path in (ROOT / "book").glob("*.ipynb") if not path.stem.startswith("out")]
    return plain | {f"book/{path.name}": words_of(json.loads(path.read_text("utf8"))) for path in notebooks}


def words_of(notebook):
    shown = [cell["metadata"].get("mystnb", {}) for cell in notebook["cells"]]
    described = [text for entry in shown for text in (entry.get("figure", {}).get("caption"), entry.get("image", {}).get("alt")) if text]
    return "\n\n".join(["".join(cell["source"]) for cell in notebook["cells"]] + described)


def test_no_word_is_misspelt(tmp_path):
    """Words that codespell does not know but the project means are listed in pyproject.toml, under tool.codespell."""
    found = texts()
    assert len(found) > 150
    for name, text in found.items():
        copy = tmp_path / f"{name.replace('/', '--')}.txt"
        copy.write_text(text, "utf8")
    command = [sys.executable, "-m", "codespell_lib", "--toml", str(ROOT / "pyproject.toml"), "--builtin", "clear,rare", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(("phrase", "instead"), BANNED.items())
def test_phrases_that_readers_stumble_over_are_not_used(phrase, instead):
    pattern = re.compile(phrase.replace(" ", r"\s+"), re.IGNORECASE if phrase.islower() else 0)
    hits = [f"{name}: {found.group()!r}" for name, text in texts().items() for found in pattern.finditer(text)]
    assert hits == [], f"better: {instead}"


def test_captions_and_cells_of_a_notebook_are_read():
    cell = {"source": ["# a\n", "b"], "metadata": {"mystnb": {"figure": {"caption": "c"}, "image": {"alt": "d"}}}}
    assert words_of({"cells": [cell, {"source": "e", "metadata": {}}]}) == "# a\nb\n\ne\n\nc\n\nd"
