"""How well the layers were joined: which evidence linked what, how often, and where two kinds of evidence disagree."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Evidence(StrEnum):
    """What ties a child to its parent, strongest first."""

    IDENTITY = "identity"
    NESTING = "nesting"
    ADDRESS = "address"


@dataclass(slots=True)
class JoinRow:
    """One link of the chain: of `parents`, `joined` found a child; `checked` by other evidence, `disagree` of these."""

    source: str
    to: str
    evidence: Evidence
    parents: int = 0
    joined: int = 0
    checked: int = 0
    disagree: int = 0

    @property
    def joined_share(self) -> float | None:
        """Share of the parents that found a child; None where there was no parent."""
        return self.joined / self.parents if self.parents else None

    @property
    def disagree_share(self) -> float | None:
        """Share of the checked links on which other evidence disagrees; None where nothing was checked."""
        return self.disagree / self.checked if self.checked else None


@dataclass(slots=True)
class JoinQuality:
    """Figures of a whole join; `orphans` counts events that no IO owns, by name."""

    rows: list[JoinRow] = field(default_factory=list)
    orphans: Counter[str] = field(default_factory=Counter)
    ambiguous: int = 0

    def count(
        self,
        source: str,
        to: str,
        evidence: Evidence,
        *,
        parents: int = 0,
        joined: int = 0,
        checked: int = 0,
        disagree: int = 0,
    ) -> None:
        """Add one window's figures to the row of this link; rows keep the order in which they came."""
        row = self._row(source, to, evidence)
        row.parents += parents
        row.joined += joined
        row.checked += checked
        row.disagree += disagree

    def _row(self, source: str, to: str, evidence: Evidence) -> JoinRow:
        for row in self.rows:
            if (row.source, row.to, row.evidence) == (source, to, evidence):
                return row
        self.rows.append(JoinRow(source, to, evidence))
        return self.rows[-1]
