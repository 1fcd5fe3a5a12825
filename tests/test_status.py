"""The status page: times and failures are read from the notebooks, and a failure stops the build with a message."""

import copy
from types import SimpleNamespace

import pytest
import status

STAMPS = {"iopub.execute_input": "2026-01-31T23:59:58.000000Z", "shell.execute_reply": "2026-02-01T00:00:01.500000Z"}


def cell(source="x = 1", outputs=(), count=1, stamps=STAMPS):
    metadata = {"execution": dict(stamps)} if stamps else {}
    return {"cell_type": "code", "source": source, "outputs": list(outputs), "execution_count": count, "metadata": metadata}


def notebook(*cells):
    return {"cells": list(cells), "metadata": {"language_info": {"version": "3.11.7"}}}


def test_the_seconds_of_a_run_are_the_sum_over_its_cells():
    quick = {**STAMPS, "shell.execute_reply": "2026-01-31T23:59:58.250Z"}
    run = status.run_of(notebook(cell(), {"cell_type": "markdown", "source": "text"}, cell(stamps=quick)))
    assert run == status.Run(seconds=3.75, cells=2, slowest=3.5, date="2026-01-31", python="3.11.7")


def test_an_executed_notebook_has_no_problems_even_with_an_empty_cell():
    assert status.problems(notebook(cell(), cell(source="\n", count=None, stamps=None))) == []


@pytest.mark.parametrize("broken", [cell(count=None), cell(stamps=None), cell(stamps={"iopub.execute_input": "2026-01-31T00:00:00Z"})])
def test_a_cell_that_was_not_executed_is_named(broken):
    broken = {**broken, "source": "\ny = 2\nprint(y)"}
    assert status.problems(notebook(cell(), broken)) == ["code cell 2 (y = 2) was not executed"]


def test_a_cell_that_failed_is_named_with_its_error():
    failed = cell("1 / 0", [{"output_type": "error", "ename": "ZeroDivisionError", "evalue": "division by zero", "traceback": []}])
    assert status.problems(notebook(failed)) == ["code cell 1 (1 / 0) ended in ZeroDivisionError: division by zero"]


def test_the_build_stops_with_a_line_for_each_bad_cell():
    status.check({"good": notebook(cell())})
    with pytest.raises(status.NotebookError) as caught:
        status.check({"good": notebook(cell()), "bad": notebook(cell(count=None), cell("z", count=None))})
    lines = [line.strip() for line in str(caught.value).splitlines()]
    assert "book/bad.ipynb, code cell 1 (x = 1) was not executed" in lines
    assert "book/bad.ipynb, code cell 2 (z) was not executed" in lines
    assert not [line for line in lines if "good" in line]


@pytest.mark.parametrize(("seconds", "words"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.7, "1 min 0 s"), (200, "3 min 20 s")])
def test_durations_are_rounded_to_seconds_and_minutes(seconds, words):
    assert status.in_words(seconds) == words.replace(" ", status.NO_BREAK)


def test_the_table_of_runs_has_a_line_for_each_notebook_and_one_for_their_sum():
    table = status.run_table({"train": notebook(cell(), cell()), "decoder": notebook(cell())})
    assert [line.replace(status.NO_BREAK, " ") for line in table[2:]] == [
        "| {doc}`train` | 2 | 7.0 s | 3.5 s | 2026-01-31 | 3.11.7 |",
        "| {doc}`decoder` | 1 | 3.5 s | 3.5 s | 2026-01-31 | 3.11.7 |",
        "| all | 3 | 10 s | | | |",
    ]


def test_the_table_of_versions_lists_only_installed_packages():
    assert status.version_table(["pytest", "no-such-package"])[2:] == [f"| pytest | {pytest.__version__} |"]


def test_pinned_packages_are_listed_once_without_extras_and_without_setuptools():
    text = 'requires = ["setuptools==1"]\n["numpy==2; python_version >= \'3.11\'", "numpy==1", "tensorflow[and-cuda]==2"]\n[">=3.10"]'
    assert status.pinned_packages(text) == ["numpy", "tensorflow"]


def test_the_page_is_outdated_only_if_it_would_change(monkeypatch):
    notebooks = {"train": notebook(cell())}
    monkeypatch.setattr(status, "notebooks_of", lambda env: notebooks)
    monkeypatch.setattr(status, "_packages", lambda env: ["pytest"])
    env = SimpleNamespace(found_docs={"status", "train"})
    assert status.outdated_pages(None, env, set(), set(), set()) == ["status"]
    assert status.outdated_pages(None, env, set(), set(), set()) == []
    notebooks["train"] = copy.deepcopy(notebooks["train"])
    notebooks["train"]["cells"].append(cell())
    assert status.outdated_pages(None, env, set(), set(), set()) == ["status"]
