"""Play the injections in one recorded guest, report on the recording, and judge each."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lab.truth.attribution import Attribution, Lives
from lab.truth.play import Injection, Play
from lab.truth.scene import Scene, opened
from lab.witness import TIMES, Findings, examine
from vio.layer import Op
from vio.reporter.waits import Wait
from vio.schema import OPS

NOT_HERE = "not here: "


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one injection: a judgement, or why there is none."""

    injection: Injection
    judged: Attribution | None
    problem: str = ""
    seconds: float = 0.0

    @property
    def is_missed(self) -> bool:
        """Tell whether it should have been met here and was not."""
        if self.problem.startswith(NOT_HERE):
            return False
        return self.judged is None or not self.judged.is_met


@dataclass(frozen=True, slots=True)
class Result:
    """The outcomes of one recording, and what its report found."""

    outcomes: tuple[Outcome, ...]
    findings: Findings

    def of(self, name: str) -> Outcome:
        """Give the outcome of one injection."""
        return next(one for one in self.outcomes if one.injection.name == name)

    def amended(self, later: "Result") -> "Result":
        """Take the outcomes of a later run in place of those of the same injections here."""
        newer = {one.injection.name: one for one in later.outcomes}
        return replace(self, outcomes=tuple(newer.get(one.injection.name, one) for one in self.outcomes))


def run(injections: Iterable[Injection], recording: Path) -> Result:
    """Play all that this host can do, in one recording."""
    played: list[tuple[Injection, Play | str, float]] = []
    with opened(recording) as scene:
        for one in injections:
            start_s = time.monotonic()
            played.append((one, _played(one, scene), time.monotonic() - start_s))
    findings = examine(recording)
    outcomes = [Outcome(one, *_judged(one, play, findings.ios), taken_s) for one, play, taken_s in played]
    return Result(tuple(outcomes), findings)


def _played(injection: Injection, scene: Scene) -> Play | str:
    if lack := injection.lacks():
        return f"{NOT_HERE}{lack}"
    try:
        return injection.play(scene)
    except Exception as error:  # the others are to be played all the same
        return f"failed: {type(error).__name__}: {error}"


def _judged(injection: Injection, play: Play | str, ios: pa.Table) -> tuple[Attribution | None, str]:
    if isinstance(play, str):
        return None, play
    try:
        return play.judge(lives_of(ios, play.disk, play.ops), injection.expected, injection.wait), ""
    except ValueError as error:
        return None, f"failed: {error}"


def lives_of(ios: pa.Table, disk: int, ops: Iterable[Op]) -> Lives:
    """Take the ended IOs of one disk and some operations from a report's table."""
    numbers = pa.array([OPS.index(op) for op in ops], pa.uint8())
    mine = ios.filter(
        pc.and_(
            pc.is_valid(ios["latency_ns"]), pc.and_(pc.equal(ios["disk"], disk), pc.is_in(ios["op"], value_set=numbers))
        )
    )
    begin = mine["begin_ns"].to_numpy()
    own = np.stack([pc.fill_null(mine[name], 0).to_numpy() for name in TIMES], axis=1)
    waits = {wait: pc.fill_null(mine[wait.column], 0).to_numpy() for wait in Wait}
    return Lives(begin, begin + mine["latency_ns"].to_numpy(), own, waits)
