"""What a rule says: a finding with its numbers, or why it could not be judged."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Number = int | float | str | None


class Severity(StrEnum):
    """How much a finding matters to somebody whose disk is slow."""

    PROBLEM = "problem"
    """It costs a large part of the time, or more than any healthy stack needs."""
    NOTE = "note"
    """It stands out, and costs little; or it tells where the time is without being an illness."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that stands out. `disk` and `op` are "" where it is of all.

    `numbers` are what the sentence says, by name; a name ends in its unit (`_ns`, `_share`, `_bytes`, `_count`).
    `command` is what to type to see more. A sentence is one line, and may hold names from outside: not yet printable().
    """

    rule: str
    severity: Severity
    sentence: str
    disk: str = ""
    op: str = ""
    numbers: Mapping[str, Number] = field(default_factory=dict)
    command: str = ""


@dataclass(frozen=True, slots=True)
class NotJudged:
    """A rule that lacks what it needs, and why; `disk` is "" where that is so for all."""

    rule: str
    why: str
    disk: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What all rules say of a report: the weightiest first.

    `where` are sentences that say where the time goes, whether that is an illness or not: one for each disk and
    operation that matters. `judged` are the names of the rules that could be judged, fired or not.
    """

    where: tuple[Finding, ...] = ()
    findings: tuple[Finding, ...] = ()
    not_judged: tuple[NotJudged, ...] = ()
    judged: tuple[str, ...] = ()

    @property
    def is_healthy(self) -> bool:
        """Tell whether nothing is wrong, as far as the rules could be judged."""
        return not any(one.severity is Severity.PROBLEM for one in self.findings)
