"""The progress bar has one line, in a notebook and in a terminal."""

import io
import sys
import types

from glo_lib.system.progress import progress_bar


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
