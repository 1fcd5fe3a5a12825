"""The progress bar has one line, in a notebook and in a terminal."""

import io
import sys
import time
import types

import pytest

from glo_lib.system import progress
from glo_lib.system.progress import progress_bar, slow_progress


def fill_bar() -> None:
    bar = progress_bar(total=3, bar_format="{n_fmt} of {total_fmt}", mininterval=0)
    for _ in range(3):
        bar.update()
    bar.close()


def test_in_a_notebook_the_bar_is_one_output_that_ends_with_the_last_state(monkeypatch, capsys):
    outputs = []

    def display(line, raw, display_id):
        lines = [line["text/plain"]]
        outputs.append(lines)
        return types.SimpleNamespace(update=lambda line, raw: lines.append(line["text/plain"]))

    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr("IPython.get_ipython", lambda: types.SimpleNamespace(kernel=None))
    fill_bar()
    assert len(outputs) == 1 and outputs[0][0] == "0 of 3" and outputs[0][-1] == "3 of 3"
    assert capsys.readouterr() == ("", "")


def test_in_a_terminal_the_bar_is_on_the_standard_output(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    fill_bar()
    assert "3 of 3" in sys.stdout.getvalue()


def terminal(monkeypatch) -> io.StringIO:
    """Take the place of the standard output, within a test: between its phases pytest puts its own there."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(progress, "SILENT_SECONDS", 0.02)
    return sys.stdout


def wait_for(condition) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)


def test_what_is_slow_shows_its_progress_even_before_anything_is_done(monkeypatch):
    out = terminal(monkeypatch)
    with slow_progress("unpacking", 10, " files") as bar:
        wait_for(lambda: out.getvalue().count("unpacking:   0%") > 1)
        bar.update(4)
        wait_for(lambda: "4/10" in out.getvalue())
        bar.update(6)
    assert "10/10" in out.getvalue() and out.getvalue().endswith("\n")
    written = out.getvalue()
    time.sleep(0.1)
    assert out.getvalue() == written  # nobody writes any more


def test_a_computation_without_units_shows_its_time_alone(monkeypatch):
    out = terminal(monkeypatch)
    with slow_progress("metrics"):
        wait_for(lambda: "metrics: 00:00" in out.getvalue())
    assert "it" not in out.getvalue()


def test_what_is_fast_or_not_to_be_shown_shows_nothing(monkeypatch):
    out = terminal(monkeypatch)
    with slow_progress("decoding", 2, shown=False) as bar:
        time.sleep(0.1)
        bar.update()
    monkeypatch.setattr(progress, "SILENT_SECONDS", 60)
    with slow_progress("decoding", 2) as bar:
        bar.update()
    assert out.getvalue() == ""


def test_a_progress_ends_with_the_computation(monkeypatch):
    out = terminal(monkeypatch)
    with pytest.raises(ValueError, match="x"), slow_progress("decoding", 2) as bar:
        wait_for(lambda: "0/2" in out.getvalue())
        raise ValueError("x")
    bar.update()
