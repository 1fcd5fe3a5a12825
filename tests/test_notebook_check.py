"""The check of notebooks before they are committed: each rule finds a notebook that breaks it, and no other."""

import json

import notebook_check
import pytest

STAMPS = {"iopub.execute_input": "2026-01-31T12:00:00.0Z", "shell.execute_reply": "2026-01-31T12:00:01.0Z"}
HEAD = "import sys"


def code_cell(source, *outputs, **changes):
    return {
        "cell_type": "code",
        "execution_count": 1,
        "metadata": {"execution": STAMPS},
        "outputs": [*outputs],
        "source": source,
        **changes,
    }


def printed(text, stream="stdout"):
    return {"name": stream, "output_type": "stream", "text": text}


def notebook(*cells, kernel="python3", head=HEAD):
    return {"cells": [code_cell(head), *cells], "metadata": {"kernelspec": {"name": kernel}}}


def written(content, **changes):
    return json.dumps(content, **{"indent": 1, "ensure_ascii": False, **changes}) + "\n"


GOOD = notebook(code_cell("print('σ')", printed("σ, see https://example.org/home/page and book/data/x")))


def test_a_notebook_as_jupyter_writes_it_has_no_problem():
    assert notebook_check.problems(written(GOOD), HEAD) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (written(GOOD, indent=2), "is not written as Jupyter writes it"),
        (written(GOOD, ensure_ascii=True), "is not written as Jupyter writes it"),
        (written(GOOD).rstrip(), "is not written as Jupyter writes it"),
        ("{", "is not JSON"),
        (written(notebook(kernel="my_environment")), "does not use the kernel python3"),
        (written(notebook(head="import os")), "does not begin with the cell for Colab"),
        (written(notebook(code_cell("x = 1", execution_count=None))), "code cell 2 (x = 1) was not executed"),
        (
            written(notebook(code_cell("1 / 0", {"output_type": "error", "ename": "ZeroDivisionError", "evalue": "by zero"}))),
            "code cell 2 (1 / 0) ended in ZeroDivisionError: by zero",
        ),
        (written(notebook(code_cell("f()", printed("careful", "stderr")))), "'f()' wrote to the error stream"),
        (written(notebook(code_cell("f()", printed("wrote /home/me/out.png")))), "a path of one machine: '/home/me/out.png'"),
        (
            written(notebook(code_cell("f()", {"output_type": "display_data", "data": {"text/markdown": ["see ", "C:\\\\me"]}}))),
            "a path of one machine: 'C:",
        ),
    ],
)
def test_a_problem_is_described_and_is_the_only_one(text, problem):
    (found,) = notebook_check.problems(text, HEAD)
    assert problem in found


def test_the_program_names_the_file_and_its_problem_and_says_when_there_is_none(tmp_path, capsys):
    bad, good = tmp_path / "bad.ipynb", notebook_check.notebooks_of_the_book()[0]
    bad.write_text("{")
    assert notebook_check.main([str(good), str(bad)]) == 1
    assert capsys.readouterr().out.startswith("bad.ipynb is not JSON")
    assert notebook_check.main([str(good)]) == 0
    assert capsys.readouterr().out == "notebooks checked: 1, no problem\n"
