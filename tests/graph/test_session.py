"""One policy for every session: no session takes the memory of all GPUs, and the library opens none by another way."""

import re
from pathlib import Path

import glo_lib
from glo_lib.graph.backend import tf
from glo_lib.graph.session import open_session, session_config


def test_sessions_take_memory_as_they_need_it_and_place_softly():
    config = session_config()
    assert config.gpu_options.allow_growth and config.allow_soft_placement


def test_a_session_runs_on_the_current_graph():
    with tf.Graph().as_default() as graph, open_session() as session:
        assert session.graph is graph and session.run(tf.constant(3)) == 3


def test_the_library_opens_its_sessions_in_one_place():
    for path in Path(glo_lib.__file__).parent.rglob("*.py"):
        lines = [line for line in path.read_text().splitlines() if re.search(r"\bv1\.Session\(", line) and ">>>" not in line]
        assert not lines or path.name == "session.py", (path.name, lines)
