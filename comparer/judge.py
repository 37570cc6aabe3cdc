"""Give every figure of a comparison its word, with the false alarms of all of them together held down."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from vio.comparer.comparison import Figure, Word
from vio.comparer.statistics import SAME_ERROR, Floats, Tested, adjust_p

NO_SPREAD = "no spread between the runs"
TRIMMED = "without extreme runs"


class Family(StrEnum):
    """Figures among which false alarms are shared."""

    MEAN = "means"
    QUANTILE = "quantiles"
    PART_MEAN = "means of parts"
    PART_QUANTILE = "quantiles of parts"


SHARES = {Family.MEAN: 0.375, Family.QUANTILE: 0.375, Family.PART_MEAN: 0.125, Family.PART_QUANTILE: 0.125}
"""What each family gets of the false alarms that are allowed: they add up to 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A figure before its word: tested (a column of `tested`), or not (`why`); `margin` is what matters, in its unit.

    The whole interval has to be beyond `noise`, if that is not 0.
    """

    figure: Figure
    family: Family
    margin: float
    p_same: float
    noise: float = 0.0


def candidates(
    names: Sequence[str], tested: Tested, margin: Floats, families: Sequence[Family], noise: Floats
) -> list[Candidate]:
    """Turn the columns of a test into figures; `margin` and `noise` have a value for each."""
    found = []
    for at, (name, family) in enumerate(zip(names, families, strict=True)):
        base, new, low, high, p = (
            float(values[at]) for values in (tested.base, tested.new, tested.low, tested.high, tested.p)
        )
        is_tested = not np.isnan(p)
        figure = Figure(
            name,
            base,
            new,
            new - base,
            low if is_tested else None,
            high if is_tested else None,
            p if is_tested else None,
            why=NO_SPREAD if not is_tested else TRIMMED if tested.is_trimmed[at] else "",
        )
        found.append(Candidate(figure, family, float(margin[at]), float(tested.p_same[at]), float(noise[at])))
    return found


def judge(figures: Sequence[Candidate], false_alarms: float) -> list[Figure]:
    """Return the figures with their words."""
    judged: list[Figure] = [one.figure for one in figures]
    for family in Family:
        mine = [number for number, one in enumerate(figures) if one.family is family]
        p = np.array([_p(figures[number].figure) for number in mine])
        for number, adjusted in zip(mine, adjust_p(p), strict=True):
            # p is of both directions: half of it is of the one that is seen
            found = adjusted / 2 <= false_alarms * SHARES[family]
            judged[number] = replace(figures[number].figure, word=_word(figures[number], is_found=bool(found)))
    return judged


def _p(figure: Figure) -> float:
    return float("nan") if figure.p is None else figure.p


def _is_beyond(figure: Figure, noise: float) -> bool:
    return noise == 0 or (figure.low or 0) > noise or (figure.high or 0) < -noise


def _word(one: Candidate, *, is_found: bool) -> Word:
    figure = one.figure
    if figure.p is None:
        return Word.SAME if figure.difference == 0 and figure.why == NO_SPREAD else Word.UNDECIDED
    if is_found and abs(figure.difference) >= one.margin and _is_beyond(figure, one.noise):
        return Word.SLOWER if figure.difference > 0 else Word.FASTER
    return Word.SAME if one.p_same <= SAME_ERROR else Word.UNDECIDED
