"""The order of runs: both settings in turn, a b b a a b ..., so that what drifts meets both alike. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class Side(StrEnum):
    """Which of the two settings."""

    A = "a"
    B = "b"

    @property
    def other(self) -> "Side":
        """The other one."""
        return Side.B if self is Side.A else Side.A


class Phase(StrEnum):
    """What a run is for: `aa` measures noise, both of its sides are run under setting a."""

    AA = "aa"
    AB = "ab"


@dataclass(frozen=True, slots=True)
class Step:
    """One run that is recorded; `number` counts from 1 within its side and phase."""

    phase: Phase
    side: Side
    number: int

    @property
    def group(self) -> str:
        """The directory of recordings that it belongs to."""
        return f"aa/{1 if self.side is Side.A else 2}" if self.phase is Phase.AA else str(self.side)

    @property
    def name(self) -> str:
        """A name for its files."""
        return f"{self.group.replace('/', '-')}-{self.number:03}"

    @property
    def setting(self) -> Side:
        """The setting that it is run under."""
        return Side.A if self.phase is Phase.AA else self.side


def steps(aa: int, repeats: int) -> list[Step]:
    """List all runs: `aa` and `repeats` are the numbers of each side in each phase."""
    return [*_in_turn(Phase.AA, aa), *_in_turn(Phase.AB, repeats)]


def _in_turn(phase: Phase, count: int) -> list[Step]:
    found = []
    for number in range(count):
        first = Side.A if number % 2 == 0 else Side.B
        found += [Step(phase, side, number + 1) for side in (first, first.other)]
    return found
