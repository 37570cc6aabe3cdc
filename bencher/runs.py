"""The runs of a bench, one after the other: each is kept when it is whole, and one that failed is kept apart."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from vio.bencher.clock import Clock
from vio.bencher.journal import Journal, Run, write_journal
from vio.bencher.options import BenchOptions
from vio.bencher.order import Phase, Side, Step, steps
from vio.bencher.ours import told_by
from vio.bencher.scenario import Scenario
from vio.bencher.steal import stolen_share
from vio.bencher.step import LoadError, make_ready, run_recorded, run_unrecorded
from vio.errors import OutputError, VioError
from vio.printable import printable
from vio.recorder.progress import NullProgress

RUNNING: Final = "running.vio"
FAILED: Final = "failed"
FILES: Final = "files"
MOST_TRIES: Final = 3


class _Progress(NullProgress):
    """Hands on what the recorder notes, each thing once however many runs note it."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._told: set[str] = set()

    def note(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._tell(f"note: {text}")


class Runs:
    """The runs of a bench that are not done; `tell` hears of each as it begins."""

    def __init__(self, options: BenchOptions, scenario: Scenario, tell: Callable[[str], None]) -> None:
        self._options = options
        self._scenario = scenario
        self._tell = tell
        self._progress = _Progress(tell)
        self._here = options.scenario.absolute().parent
        self._output = options.output.absolute()
        self._made: Path | None = None

    def go_on(self, journal: Journal) -> Journal:
        """Run what is left, and return the journal of all; it is in its file after each run.

        Raises:
            VioError: a run failed; what was recorded is kept, and the message says how to go on.
            KeyboardInterrupt: the user stopped it; likewise.
        """
        rules = self._scenario.bench
        left = [step for step in steps(rules.aa, rules.repeats) if not journal.has(step)]
        sides = sorted({step.setting for step in left})
        clock = Clock(len(left) + len(sides) * rules.warm_up)
        self._set_apart(self._output / RUNNING, "unfinished")
        for step in left:
            # it was whole, and vio was killed before it could write that down
            self._set_apart(self._place(step), step.name)
        try:
            for side in sides:
                for number in range(rules.warm_up):
                    self._warm_up(side, number + 1, clock)
            for step in left:
                with clock.timed():
                    journal = self._step(journal, step, clock)
        except KeyboardInterrupt:
            self._set_apart(self._output / RUNNING, "stopped")
            journal = replace(journal, stops=journal.stops + 1)
            write_journal(self._options.output, journal)
            self._tell(f"stopped; {self._kept(journal)}")
            raise
        except VioError as error:
            write_journal(self._options.output, replace(journal, stops=journal.stops + 1))
            hint = f"{error.hint}; {self._kept(journal)}" if error.hint else self._kept(journal)
            raise type(error)(error.message, hint) from None
        if self._made is not None:
            self._made.unlink(missing_ok=True)
        return journal

    def _warm_up(self, side: Side, number: int, clock: Clock) -> None:
        name = f"warm-up-{side}-{number}"
        self._tell(f"{clock.place()}: warm-up, {self._name(side)}, not recorded{clock.left()}")
        with clock.timed(is_recorded=False), _naming(f"warm-up of {self._name(side)}"):
            ready = make_ready(self._scenario, side, self._here, self._output, self._output / FILES / name)
            run_unrecorded(self._scenario, ready)

    def _step(self, journal: Journal, step: Step, clock: Clock) -> Journal:
        total = self._scenario.bench.aa if step.phase is Phase.AA else self._scenario.bench.repeats
        purpose = f"noise, side {step.group[-1]}" if step.phase is Phase.AA else str(step.side)
        what = f"{self._name(step.setting)} ({purpose}, {step.number} of {total})"
        self._tell(f"{clock.place()}: {what}{clock.left()}")
        with _naming(f"run {what}"):
            run = self._undisturbed(step)
            _move(self._output / RUNNING, self._place(step))
        journal = replace(journal, runs=(*journal.runs, run))
        write_journal(self._output, journal)
        return journal

    def _undisturbed(self, step: Step) -> Run:
        """Run a step, and again where the hypervisor below disturbed it: whatever its figures, and not for ever."""
        run = self._run(step)
        while run.stolen_share > self._scenario.most_stolen and run.tries < MOST_TRIES:
            self._tell(f"the hypervisor below withheld {run.stolen_share:.0%} of the CPUs: the run is made again")
            self._set_apart(self._output / RUNNING, step.name)
            run = replace(self._run(step), tries=run.tries + 1)
        return run

    def _run(self, step: Step) -> Run:
        running, files = self._output / RUNNING, self._output / FILES / step.name
        ready = make_ready(self._scenario, step.setting, self._here, self._output, files)
        try:
            self._made = ready.made
            summary, told = run_recorded(self._scenario, ready, running, self._progress)
            run = Run(step, ready.began_s, summary.duration_s, told_by(running), told, stolen_share(running))
            if not run.ours:
                raise LoadError("the load did no IO on the recorded disks", f"what it said is in {files}")
        except VioError:
            self._set_apart(running, step.name)
            raise
        return run

    def _place(self, step: Step) -> Path:
        return self._output / step.group / f"{step.number:03}.vio"

    def _set_apart(self, recording: Path, name: str) -> None:
        """Keep a recording that is no run of the bench apart from those that are."""
        if not recording.exists():
            return
        number = 1
        while (kept := self._output / FAILED / f"{name}-{number}.vio").exists():
            number += 1
        _move(recording, kept)
        self._tell(f"what was recorded until then is in {kept}")

    def _name(self, side: Side) -> str:
        return printable(self._scenario.a.name if side is Side.A else self._scenario.b.name)

    def _kept(self, journal: Journal) -> str:
        count = len(journal.runs)
        return f"{count} run{'' if count == 1 else 's'} done and kept; go on with: {self._options.again}"


@contextlib.contextmanager
def _naming(what: str) -> Iterator[None]:
    try:
        yield
    except VioError as error:
        raise type(error)(f"{what}: {error.message}", error.hint) from None


def _move(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
    except OSError as error:
        raise OutputError(f"{target} cannot be made: {error.strerror}", "see the bench's directory") from None
