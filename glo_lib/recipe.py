"""The text forms of what a run minimises: a weighted sum of losses, and phases of a run with different losses and rates.

    mse+0.5*perceptual
    0.2 mse, 0.8 mse+0.5*perceptual rate 0.3

This module does not import TensorFlow, so `glo_lib.config` can check these texts immediately.
"""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

SHARES_ADD_UP_WITHIN = 1e-6
_PHASE = re.compile(r"(?P<share>\S+)\s+(?P<loss>.+?)(?:\s+rate\s+(?P<rate>\S+))?")


class LossTerm(NamedTuple):
    """A loss with its weight in a sum.

    Attributes:
        weight: factor of the loss, above zero.
        name: name of the loss, see `glo_lib.losses.LOSSES`.
    """

    weight: float
    name: str


class Phase(NamedTuple):
    """A part of a run.

    Attributes:
        start: share of the run at which the phase begins, in [0, 1).
        end: share of the run at which it ends, in (0, 1].
        loss: text of a weighted sum of losses, see `parse_loss`.
        rate: factor of both learning rates.
    """

    start: float
    end: float
    loss: str
    rate: float = 1.0

    @property
    def losses(self) -> frozenset[str]:
        """Names of the losses in the sum.

        Example:
            >>> sorted(Phase(0.0, 1.0, "mse + 0.5*lap1").losses)
            ['lap1', 'mse']
        """
        return frozenset(part.rpartition("*")[2].strip() for part in _terms(self.loss))

    def share_done(self, share: float) -> float:
        """Return how much of the phase is done, in [0, 1], when a share of the run is done."""
        return min(1.0, max(0.0, (share - self.start) / (self.end - self.start)))


def parse_loss(text: str, names: Sequence[str]) -> tuple[LossTerm, ...]:
    """Parse a weighted sum of losses.

    Args:
        text: names with optional weights, joined by plus signs: ``mse``, ``mse+lap1``, ``mse+0.5*perceptual``. Blanks do not matter.
        names: the losses that exist.

    Raises:
        ValueError: a term is not a name, or a weight and a name; a weight is not a finite number above 0; or a loss is named twice.

    Example:
        >>> parse_loss("mse + 0.5*lap1", ["mse", "lap1"])
        (LossTerm(weight=1.0, name='mse'), LossTerm(weight=0.5, name='lap1'))
    """
    terms = []
    for part in _terms(text):
        weight, star, name = part.rpartition("*")
        name = name.strip()
        if name not in names:
            raise ValueError(f"{part.strip()!r} is not a loss; there are {', '.join(names)}, and sums such as {names[0]}+0.5*{names[-1]}")
        terms.append(LossTerm(_positive(weight, f"the weight of {name}") if star else 1.0, name))
    twice = sorted({term.name for term in terms if [other.name for other in terms].count(term.name) > 1})
    if twice:
        raise ValueError(f"{twice[0]} is named more than once; give it one weight")
    return tuple(terms)


def _terms(text: str) -> list[str]:
    """Split a sum at its plus signs; one in the exponent of a weight, as in 1e+2, does not separate terms."""
    return re.split(r"(?<![\d.][eE])\+", text)


def parse_phases(text: str, names: Sequence[str]) -> tuple[Phase, ...]:
    """Parse the phases of a run.

    Args:
        text: phases joined by commas. Each has its share of the run, its loss, and optionally ``rate`` and a factor of both learning
            rates: ``0.2 mse, 0.8 mse+0.5*perceptual rate 0.3``. The shares add up to 1.
        names: the losses that exist.

    Raises:
        ValueError: a phase has another form, its loss or a number is wrong, or the shares do not add up to 1.

    Example:
        >>> parse_phases("0.2 mse, 0.8 mse+lap1 rate 0.5", ["mse", "lap1"])[1]
        Phase(start=0.2, end=1.0, loss='mse+lap1', rate=0.5)
    """
    phases: list[Phase] = []
    for part in text.split(","):
        match = _PHASE.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{part.strip()!r} is not a phase; give its share of the run and its loss, as in '0.2 mse, 0.8 mse+lap1'")
        share = _positive(match["share"], "the share of a phase")
        parse_loss(match["loss"], names)
        start = phases[-1].end if phases else 0.0
        rate = _positive(match["rate"], "the rate of a phase") if match["rate"] else 1.0
        phases.append(Phase(start, start + share, match["loss"].strip(), rate))
    if abs(phases[-1].end - 1) > SHARES_ADD_UP_WITHIN:
        raise ValueError(f"the shares of the phases add up to {phases[-1].end:g}; they must add up to 1")
    return (*phases[:-1], phases[-1]._replace(end=1.0))


def phase_at(phases: Sequence[Phase], share: float) -> Phase:
    """Return the phase of a run of which a share is done; at the border of two phases, the later one.

    Example:
        >>> phase_at(parse_phases("0.25 mse, 0.75 lap1", ["mse", "lap1"]), 0.25).loss
        'lap1'
    """
    return next((phase for phase in phases if share < phase.end), phases[-1])


def _positive(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{what} is {text.strip()!r}; it must be a number above 0")
    return value
