"""Bench: run a scenario's load under both settings in turn, record each run, measure the noise, and compare."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from vio.bencher.bars import bar_of
from vio.bencher.clock import Clock
from vio.bencher.journal import (
    Journal,
    Run,
    check_same,
    make_place,
    new_journal,
    now_s,
    read_journal,
    write_journal,
)
from vio.bencher.noise import Noise, noise_of
from vio.bencher.order import Phase, Side, Step, steps
from vio.bencher.ours import told_by
from vio.bencher.scenario import Scenario, read_scenario
from vio.bencher.step import make_ready, run_recorded, run_unrecorded
from vio.comparer.compare import compare
from vio.comparer.comparison import Comparison
from vio.errors import OutputError, VioError
from vio.printable import printable, shell_word
from vio.recorder.progress import NullProgress

RUNNING: Final = "running.vio"
FAILED: Final = "failed"
FILES: Final = "files"


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to bench, and where to put it.

    `values` are for names of the scenario's [values]. `is_aa`: setting a against itself, to see the machine's noise.
    `is_resumed`: go on with the bench that was begun in `output`.
    """

    scenario: Path
    output: Path
    values: Mapping[str, str] = field(default_factory=dict)
    is_aa: bool = False
    is_resumed: bool = False

    @property
    def again(self) -> str:
        """The command that goes on with this bench."""
        words = ["vio", "bench", str(self.scenario), "-o", str(self.output), *(["--aa"] if self.is_aa else [])]
        for name, value in self.values.items():
            words += ["--set", f"{name}={value}"]
        return " ".join(shell_word(word) for word in [*words, "--resume"])


@dataclass(frozen=True, slots=True)
class BenchResult:
    """What a bench has found. `comparison` is None where only noise was measured, `aa` where it was not."""

    output: Path
    scenario: Scenario
    journal: Journal
    noise: tuple[Noise, ...]
    aa: Comparison | None
    comparison: Comparison | None

    @property
    def exit_code(self) -> int:
        """As `vio compare` has it; an A/A bench, which judges the machine and not a change, ends with 0."""
        is_strict = self.scenario.compare.strict
        return self.comparison.exit_code(is_strict=is_strict) if self.comparison else 0


def bench(options: BenchOptions, tell: Callable[[str], None]) -> BenchResult:
    """Run what is left of a bench, and compare. `tell` hears of each run as it begins.

    Raises:
        UsageError: the scenario is wrong, or is not the one that was begun.
        LoadError: a load failed; the runs before it are kept, and the bench can be resumed.
        VioError: as of recording and comparing.
        KeyboardInterrupt: the user stopped it; likewise.
    """
    scenario = read_scenario(options.scenario, options.values)
    if options.is_aa:
        scenario = replace(scenario, bench=replace(scenario.bench, aa=max(2, scenario.bench.repeats), repeats=0))
    if options.is_resumed:
        journal = read_journal(options.output)
        check_same(journal, scenario)
    else:
        make_place(options.output)
        journal = new_journal(scenario)
        write_journal(options.output, journal)
    journal = _Bench(options, scenario, tell).run(journal)
    return _result(options.output, scenario, journal)


class _Progress(NullProgress):
    """Hands on what the recorder notes, each thing once however many runs note it."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._told: set[str] = set()

    def note(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._tell(f"note: {text}")


class _Bench:
    def __init__(self, options: BenchOptions, scenario: Scenario, tell: Callable[[str], None]) -> None:
        self._options = options
        self._scenario = scenario
        self._tell = tell
        self._progress = _Progress(tell)
        self._here = options.scenario.absolute().parent
        self._output = options.output.absolute()

    def run(self, journal: Journal) -> Journal:
        rules = self._scenario.bench
        wanted = steps(rules.aa, rules.repeats)
        left = [step for step in wanted if not journal.has(step)]
        sides = sorted({step.setting for step in left})
        clock = Clock(len(left) + len(sides) * rules.warm_up)
        self._keep_failed("unfinished")
        try:
            for side in sides:
                for number in range(rules.warm_up):
                    self._warm_up(side, number + 1, clock)
            for step in left:
                with clock.timed():
                    journal = self._step(journal, step, clock)
        except KeyboardInterrupt:
            self._keep_failed("stopped")
            journal = replace(journal, stops=journal.stops + 1)
            write_journal(self._options.output, journal)
            self._tell(f"stopped; {self._kept(journal)}")
            raise
        except VioError as error:
            write_journal(self._options.output, replace(journal, stops=journal.stops + 1))
            hint = f"{error.hint}; {self._kept(journal)}" if error.hint else self._kept(journal)
            raise type(error)(error.message, hint) from None
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
        running, began_s = self._output / RUNNING, now_s()
        with _naming(f"run {what}"):
            files = self._output / FILES / step.name
            ready = make_ready(self._scenario, step.setting, self._here, self._output, files)
            try:
                summary, told = run_recorded(self._scenario, ready, running, self._progress)
                run = Run(step, began_s, summary.duration_s, told_by(running), told)
            except VioError:
                self._keep_failed(step.name)
                raise
            _move(running, self._output / step.group / f"{step.number:03}.vio")
        journal = replace(journal, runs=(*journal.runs, run))
        write_journal(self._output, journal)
        return journal

    def _keep_failed(self, name: str) -> None:
        """Keep a recording that is no whole run apart from those that are."""
        running = self._output / RUNNING
        if not running.exists():
            return
        number = 1
        while (kept := self._output / FAILED / f"{name}-{number}.vio").exists():
            number += 1
        _move(running, kept)
        self._tell(f"what was recorded until then is in {kept}")

    def _name(self, side: Side) -> str:
        return printable(self._scenario.a.name if side is Side.A else self._scenario.b.name)

    def _kept(self, journal: Journal) -> str:
        count = len(journal.runs)
        return f"{count} run{'' if count == 1 else 's'} done and kept; go on with: {self._options.again}"


def _result(output: Path, scenario: Scenario, journal: Journal) -> BenchResult:
    options = scenario.compare.options()
    of_a = [run.ours for run in journal.runs if run.step.setting is Side.A]
    repeats = scenario.bench.repeats or scenario.bench.aa
    return BenchResult(
        output,
        scenario,
        journal,
        noise_of(of_a, repeats, partial(bar_of, options)),
        compare(output / "aa/1", output / "aa/2", options) if scenario.bench.aa else None,
        compare(output / "a", output / "b", options) if scenario.bench.repeats else None,
    )


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
