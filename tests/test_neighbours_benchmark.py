"""The benchmark of the search for neighbours, among few images: each query finds the image that it was made from."""

from pathlib import Path

import pytest

from benchmarks import neighbours


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc on this system")
def test_time_and_memory_of_a_search_are_printed(capsys):
    neighbours.main(["--images", "60"])
    seconds, memory = capsys.readouterr().out.splitlines()
    assert seconds.endswith("of both cores added)") and memory.startswith("peak own memory ")
