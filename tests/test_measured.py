"""The numbers that pages take from the table of measurements."""

import re
from pathlib import Path

import measured
import pytest

ROOT = Path(__file__).parents[1]
TABLE = """\
| measured | | target | on |
|---|---|---|---|
| step, ours | 530 images/s | | 2026-01-31 |
| step, ours | 333 GFLOP/s | | 2026-01-31 |
| growth of memory | 1.06 | at most 1.1 | 2026-01-31 |

Machine and versions: none.
"""


@pytest.mark.parametrize(
    ("wanted", "number"),
    [("growth of memory", "1.06"), ("step, ours (images/s)", "530\u00a0images/s"), ("step, ours (GFLOP/s)", "333\u00a0GFLOP/s")],
)
def test_a_row_is_found_by_its_name_and_its_unit(wanted, number):
    assert measured.find(TABLE, wanted) == number


@pytest.mark.parametrize(("wanted", "rows"), [("step, ours", 2), ("step", 0), ("step, ours (s)", 0), ("measured", 0)])
def test_a_name_that_does_not_belong_to_one_row_is_refused(wanted, rows):
    with pytest.raises(KeyError, match=f"has {rows} rows '{re.escape(wanted)}'"):
        measured.find(TABLE, wanted)


def test_every_number_that_a_page_asks_for_is_in_the_table():
    table = (ROOT / "benchmarks/results.md").read_text("utf8")
    wanted = re.findall(r"\{measured\}`([^`]+)`", (ROOT / "book/speed.md").read_text("utf8"))
    assert wanted and all(measured.find(table, name) for name in wanted)
