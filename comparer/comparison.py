"""What a comparison has found: figures of two sides, their differences, a word for each, and the verdict."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Word(StrEnum):
    """What is said of one figure."""

    SLOWER = "slower"
    FASTER = "faster"
    SAME = "same"
    """An equivalence test says that any change is below the smallest effect that matters."""
    UNDECIDED = "undecided"
    REFUSED = "refused"
    """The two sides have no such figure in common, or not enough IOs for it."""


class Verdict(StrEnum):
    """What is said of the whole."""

    SAME = "same"
    FASTER = "faster"
    SLOWER = "slower"
    UNDECIDED = "undecided"
    NOT_COMPARABLE = "not comparable"


class CompareExit(IntEnum):
    """What `vio compare` exits with when it could read both sides; documented in docs/exit-codes.md."""

    SAME_OR_BETTER = 0
    SLOWER = 1
    UNDECIDED = 2
    NOT_COMPARABLE = 3


_CODES = {Verdict.SLOWER: CompareExit.SLOWER, Verdict.NOT_COMPARABLE: CompareExit.NOT_COMPARABLE}


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of both sides: `difference` is new less base, between `low` and `high` with confidence.

    The unit is that of `base` (ns for times). `p` is the chance of such a difference between equal sides, before the
    number of figures is accounted for; None where it was not tested.
    """

    name: str
    base: float
    new: float
    difference: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    word: Word = Word.UNDECIDED
    why: str = ""

    @property
    def change(self) -> float | None:
        """The difference as a share of the base; None where that is 0."""
        return self.difference / self.base if self.base else None


@dataclass(frozen=True, slots=True)
class Part:
    """A layer and phase: its figures, the mean first; the means' differences of all parts add up to the total's."""

    name: str
    figures: tuple[Figure, ...]

    @property
    def added_ns(self) -> float:
        """What it adds to the change of the mean."""
        return self.figures[0].difference


@dataclass(frozen=True, slots=True)
class Cell:
    """One disk, operation and size class of both sides; `refused` says why it cannot be compared."""

    disk: str
    op: str
    size: str
    io_counts: tuple[int, int]
    total: tuple[Figure, ...] = ()
    parts: tuple[Part, ...] = ()
    beside: tuple[Figure, ...] = ()
    refused: str = ""

    @property
    def name(self) -> str:
        """Name it as the text does."""
        return " ".join(word for word in (self.disk, self.op, self.size) if word)

    @property
    def mean(self) -> Figure:
        """The mean latency, of a cell that was not refused."""
        return self.total[0]

    @property
    def found(self) -> Figure | None:
        """The first of the latency's figures that is slower, else the first that is faster."""
        for word in (Word.SLOWER, Word.FASTER):
            for figure in self.total:
                if figure.word is word:
                    return figure
        return None

    def culprit(self, figure: Figure) -> Part | None:
        """Return the part that has most of a figure's change: for the mean, what adds most to it."""
        at = self.total.index(figure)
        sign = 1 if figure.difference > 0 else -1
        known = [part for part in self.parts if part.figures[at].difference == part.figures[at].difference]
        return max(known, key=lambda part: sign * part.figures[at].difference, default=None)


@dataclass(frozen=True, slots=True)
class Side:
    """One side: where it came from, and its runs by name."""

    path: str
    runs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something that differs between the sides, or is wrong with one."""

    what: str
    base: str
    new: str


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What became of one --fail-on rule; `is_broken` is what makes the verdict slower, `is_undecided` strict."""

    rule: str
    cell: str
    figure: Figure
    is_broken: bool
    is_undecided: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that `vio compare` shows. `is_weak`: one run a side, so that blocks of its time stand for repeats."""

    base: Side
    new: Side
    verdict: Verdict
    cells: tuple[Cell, ...]
    beside: tuple[Figure, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    rules: tuple[RuleResult, ...] = ()
    is_weak: bool = False

    def exit_code(self, *, is_strict: bool = False) -> CompareExit:
        """Return what the command exits with; undecided counts as same unless it is to be strict."""
        if self.verdict is Verdict.UNDECIDED and is_strict:
            return CompareExit.UNDECIDED
        return _CODES.get(self.verdict, CompareExit.SAME_OR_BETTER)
