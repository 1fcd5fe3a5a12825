import io
import types

import pytest

from glo_lib.system import progress
from glo_lib.system.progress import in_notebook, progress_bar


@pytest.fixture
def notebook(monkeypatch):
    """A notebook that notes what is displayed: one list of successive lines for each output."""
    outputs = []

    def display(line, raw, display_id):
        lines = [line["text/plain"]]
        outputs.append(lines)
        return types.SimpleNamespace(update=lambda line, raw: lines.append(line["text/plain"]))

    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", display)
    return outputs


def test_a_notebook_has_one_output_that_ends_at_the_last_state(notebook, capsys):
    bar = progress_bar(total=3, bar_format="{n_fmt} of {total_fmt}", mininterval=0)
    for _ in range(3):
        bar.update()
    bar.close()
    assert len(notebook) == 1 and notebook[0][0] == "0 of 3" and notebook[0][-1] == "3 of 3"
    assert capsys.readouterr() == ("", "")


def test_a_terminal_has_the_bar_on_the_standard_output(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout", io.StringIO())
    bar = progress_bar(total=2, bar_format="{n_fmt} of {total_fmt}", mininterval=0)
    bar.update(2)
    bar.close()
    assert "2 of 2" in progress.sys.stdout.getvalue()


def test_these_tests_run_in_no_notebook():
    assert not in_notebook()
