"""Bench: run a scenario's load under both settings in turn, record each run, measure the noise, and compare."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from vio.bencher.bars import bar_of
from vio.bencher.journal import Journal, check_same, make_place, new_journal, read_journal, write_journal
from vio.bencher.noise import Noise, noise_of
from vio.bencher.options import BenchOptions
from vio.bencher.order import Side
from vio.bencher.runs import Runs
from vio.bencher.scenario import MIN_AA, Scenario, check_rules, read_scenario
from vio.comparer.compare import compare
from vio.comparer.comparison import Comparison
from vio.comparer.options import CompareOptions
from vio.comparer.rules import parse_rule
from vio.comparer.settings import Given, options_of


@dataclass(frozen=True, slots=True)
class BenchResult:
    """What a bench has found. `comparison` is None where only noise was measured, `aa` where it was not."""

    output: Path
    scenario: Scenario
    journal: Journal
    noise: tuple[Noise, ...]
    aa: Comparison | None
    comparison: Comparison | None
    is_strict: bool = False

    @property
    def exit_code(self) -> int:
        """As `vio compare` has it; an A/A bench, which judges the machine and not a change, ends with 0."""
        return self.comparison.exit_code(is_strict=self.is_strict) if self.comparison else 0


def bench(options: BenchOptions, tell: Callable[[str], None]) -> BenchResult:
    """Run what is left of a bench, and compare. `tell` hears of each run as it begins.

    Raises:
        UsageError: the scenario is wrong, or is not the one that was begun.
        LoadError: a load failed; the runs before it are kept, and the bench can be resumed.
        VioError: as of recording and comparing.
        KeyboardInterrupt: the user stopped it; likewise.
    """
    scenario = _asked(read_scenario(options.scenario, options.values), options)
    compared = _compare_options(options.scenario)
    if options.is_resumed:
        journal = read_journal(options.output)
        check_same(journal, scenario)
    else:
        make_place(options.output)
        journal = new_journal(scenario)
        write_journal(options.output, journal)
    journal = Runs(options, scenario, tell).go_on(journal)
    return _result(options.output, scenario, journal, compared)


def _asked(scenario: Scenario, options: BenchOptions) -> Scenario:
    """Return the scenario with the numbers of runs that the command line asks for."""
    rules = scenario.bench
    if options.repeats is not None:
        aa = min(rules.aa, options.repeats)
        rules = replace(rules, repeats=options.repeats, aa=aa if aa >= MIN_AA else 0)
        check_rules(rules)
    if options.is_aa:
        rules = replace(rules, aa=max(MIN_AA, rules.repeats), repeats=0)
    return replace(scenario, bench=rules)


def _compare_options(scenario: Path) -> CompareOptions:
    """Read the scenario's [compare] before the first run: an hour later would be late for a typing error."""
    options = options_of(Given(), scenario)
    for rule in options.fail_on:
        parse_rule(rule)
    return options


def _result(output: Path, scenario: Scenario, journal: Journal, options: CompareOptions) -> BenchResult:
    of_a = [run.ours for run in journal.runs if run.step.setting is Side.A]
    repeats = scenario.bench.repeats or scenario.bench.aa
    return BenchResult(
        output,
        scenario,
        journal,
        noise_of(of_a, repeats, partial(bar_of, options)),
        compare(output / "aa/1", output / "aa/2", options) if scenario.bench.aa else None,
        compare(output / "a", output / "b", options) if scenario.bench.repeats else None,
        options.is_strict,
    )
