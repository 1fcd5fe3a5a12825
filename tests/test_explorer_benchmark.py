"""The benchmark of the latent explorer, with few faces: it runs in a browser, and says how fast it was."""

import re
from pathlib import Path

import pytest

from benchmarks import explorer

pytestmark = pytest.mark.browser


def test_faces_and_searches_are_timed_in_the_browser(trained_run, monkeypatch, capsys):
    pytest.importorskip("playwright", reason="playwright is not installed (extra 'browser')")
    if not Path(explorer.chromium()).exists():
        pytest.skip("there is no Chromium")
    monkeypatch.setattr(explorer, "FACES", 3)
    monkeypatch.setattr(explorer, "SEARCHES", 1)
    explorer.main(["--run", str(trained_run)])
    assert re.fullmatch(
        r"(no )?SIMD; start .* s; .* faces/s \(one face .* ms, 19 of 20 within .* ms\)(; search .* s)?\n", capsys.readouterr().out
    )
