"""The texts of losses and phases mean what they say, and a wrong one is refused with the part that is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glo_lib.recipe import LossTerm, Phase, parse_loss, parse_phases, phase_at

NAMES = ("mse", "lap1", "perceptual")


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("mse", [(1, "mse")]),
        ("mse+lap1", [(1, "mse"), (1, "lap1")]),
        (" 2 * lap1 + mse ", [(2, "lap1"), (1, "mse")]),
        ("1e+1*mse+2.5E-3*perceptual", [(10, "mse"), (0.0025, "perceptual")]),
    ],
)
def test_sums_of_losses(text, terms):
    assert parse_loss(text, NAMES) == tuple(LossTerm(*term) for term in terms)


@given(st.dictionaries(st.sampled_from(NAMES), st.floats(1e-6, 1e6), min_size=1))
def test_what_is_written_as_a_sum_is_read_as_it_was(weights):
    text = "+".join(f"{weight!r}*{name}" for name, weight in weights.items())
    assert parse_loss(text, NAMES) == tuple(LossTerm(weight, name) for name, weight in weights.items())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not a loss; there are mse, lap1, perceptual, and sums such as mse\\+0.5\\*perceptual"),
        ("mse+l2", "'l2' is not a loss"),
        ("mse++lap1", "'' is not a loss"),
        ("lap1*0.5", "'lap1\\*0.5' is not a loss"),
        ("half*mse", "the weight of mse is 'half'; it must be a number above 0"),
        ("-1*mse", "the weight of mse is '-1'"),
        ("inf*mse", "the weight of mse is 'inf'"),
        ("mse+0.5*mse", "mse is named more than once"),
    ],
)
def test_a_wrong_sum_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_loss(text, NAMES)


def test_phases_follow_one_another_and_end_with_the_run():
    phases = parse_phases("0.1 mse, 0.2 mse + lap1 rate 0.5, 0.7 lap1 rate 2e-1", NAMES)
    assert [phase.loss for phase in phases] == ["mse", "mse + lap1", "lap1"]
    assert [phase.rate for phase in phases] == [1, 0.5, 0.2]
    assert phases[0].start == 0 and phases[-1].end == 1
    assert [one.end for one in phases[:-1]] == [other.start for other in phases[1:]] == pytest.approx([0.1, 0.3])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mse", "'mse' is not a phase; give its share of the run and its loss, as in '0.2 mse, 0.8 mse\\+lap1'"),
        ("0.5 mse, ", "'' is not a phase"),
        ("0.5 mse, 0.4 lap1", "the shares of the phases add up to 0.9; they must add up to 1"),
        ("0 mse, 1 lap1", "the share of a phase is '0'; it must be a number above 0"),
        ("0.5 mse, 0.5 l2", "'l2' is not a loss"),
        ("1 mse rate fast", "the rate of a phase is 'fast'"),
    ],
)
def test_wrong_phases_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_phases(text, NAMES)


def test_the_phase_at_a_share_of_the_run_and_what_of_it_is_done():
    first, second = phases = (Phase(0.0, 0.25, "mse"), Phase(0.25, 1.0, "lap1"))
    assert [phase_at(phases, share) for share in (0, 0.2, 0.25, 1.0)] == [first, first, second, second]
    assert [second.share_done(share) for share in (0.0, 0.25, 0.625, 1.0)] == [0, 0, 0.5, 1]
