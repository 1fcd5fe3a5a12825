"""The figure of where codes lie shows percentiles of what was measured."""

import numpy as np
import pytest

from glo_lib.evaluation.code_space import HELD_OUT, TRAINING, CodeSpace
from glo_lib.figures.code_space import show_code_space

DISTANCES = {TRAINING: np.arange(101) / 100, HELD_OUT: np.arange(101) / 50, "full Gaussian": np.ones(3)}


@pytest.fixture(params=[1.0, 10.0])
def axes(request):
    space = CodeSpace(DISTANCES, {"full Gaussian": np.full(5, request.param)}, {1: 0.0, 5: 1.5})
    return request.param, show_code_space(space).axes


def test_bars_reach_from_the_5th_to_the_95th_percentile_and_dots_are_medians(axes):
    bars = [line.get_xdata() for line in axes[1][0].lines]
    np.testing.assert_allclose(bars[0], [0.05, 0.95])
    assert [bar[0] for bar in bars[1::2]] == pytest.approx([0.5, 1.0, 1.0])
    assert [label.get_text() for label in axes[1][0].get_yticklabels()] == list(DISTANCES)
    assert len({line.get_color() for line in axes[1][0].lines}) == 3


def test_long_codes_are_shown_on_a_logarithmic_axis_and_gains_by_their_numbers(axes):
    longest, (_, norms, gains) = axes
    assert norms.get_xscale() == ("log" if longest > 3 else "linear")
    np.testing.assert_allclose(gains.lines[0].get_ydata(), [0, 1.5])
    assert [label.get_text() for label in gains.get_xticklabels()] == ["1", "5"]
