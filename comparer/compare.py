"""Compare two sides, each a recording, a directory of repeats, or a saved baseline."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from vio.comparer.cells import OpenCell, close_cells, open_cell
from vio.comparer.comparable import refusal, refused_parts
from vio.comparer.comparison import Cell, Comparison, Doubt, RuleResult, Side, Verdict, Word
from vio.comparer.doubts import doubts_of, load_doubts
from vio.comparer.options import CompareOptions
from vio.comparer.readers import Readers
from vio.comparer.rules import apply_rules, parse_rule
from vio.comparer.run import Key, Run, keys_of
from vio.comparer.sides import Units, runs_at, units_of
from vio.comparer.whole import whole_figures
from vio.errors import UsageError
from vio.reporter.progress import Progress


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """Both sides, read: where they came from, and their runs."""

    base: Path
    new: Path
    runs: tuple[Sequence[Run], Sequence[Run]]


def compare(base: Path, new: Path, options: CompareOptions) -> Comparison:
    """Compare two sides; each path is a recording, a directory of recordings (repeats, *.vio), or a baseline's file.

    Raises:
        RecordingError: a recording or baseline is absent, damaged, or of another version.
        UsageError: the options contradict each other, or a rule cannot be read.
    """
    return compare_loaded(load(base, new, options), options)


def load(
    base: Path,
    new: Path,
    options: CompareOptions,
    on_progress: Callable[[Progress], None] | None = None,
    readers: Readers | None = None,
) -> Loaded:
    """Read both sides, once the options are known to be good; raises as `compare` does.

    Recordings that have no table of IOs yet are joined first, which calls `on_progress`; those that `readers` have
    begun with are waited for.
    """
    if not 0 < options.min_effect < 1:
        raise UsageError("the smallest effect that matters is between 0 and 100 %", "--min-effect 5%")
    if not 0 < options.false_alarms < 0.5:
        raise UsageError("the share of false alarms is between 0 and 50 %", "--false-alarms 2%")
    for text in options.fail_on:
        parse_rule(text)
    runs = readers.runs(on_progress) if readers else {}
    read = partial(runs_at, with_depth=options.is_normalised, on_progress=on_progress, known=runs)
    return Loaded(base, new, (read(base), read(new)))


def compare_loaded(loaded: Loaded, options: CompareOptions) -> Comparison:
    """Compare two sides that were read."""
    sides = loaded.runs
    units = units_of(*sides, is_by_class=options.is_by_size or options.is_normalised)
    renamed, doubts = _pair_disks(sides)
    parts = refused_parts(*sides)
    cells: list[OpenCell] = []
    for keys in _key_pairs(units, renamed):
        why = refusal(units, sides, keys)
        if why:
            cells.append(OpenCell(*keys, Cell(keys[0].disk, keys[0].op, keys[0].class_text, (0, 0), refused=why)))
        else:
            cells.append(open_cell(units, keys, parts, options))
    closed = close_cells(cells, options.false_alarms)
    rules = apply_rules([parse_rule(text) for text in options.fail_on], closed, options.false_alarms)
    return Comparison(
        base=_side(loaded.base, sides[0]),
        new=_side(loaded.new, sides[1]),
        verdict=_verdict(closed, rules),
        cells=tuple(closed),
        beside=whole_figures(*sides),
        doubts=(*doubts, *doubts_of(*sides), *load_doubts(closed)),
        rules=rules,
        is_weak=units.are_blocks,
    )


def _side(path: Path, runs: Sequence[Run]) -> Side:
    return Side(str(path), tuple(run.info.name for run in runs))


def _pair_disks(sides: tuple[Sequence[Run], Sequence[Run]]) -> tuple[dict[str, str], list[Doubt]]:
    """Name the disk of the new side that each disk of the base is compared with: that of its name, or the only one."""
    disks = [sorted({key.disk for key in keys_of(b for run in side for b in run.blocks)}) for side in sides]
    if len(disks[0]) == len(disks[1]) == 1:
        doubt = [] if disks[0] == disks[1] else [Doubt("the only disk", disks[0][0], disks[1][0])]
        return {disks[0][0]: disks[1][0]}, doubt
    return {name: name for name in disks[0]}, []


def _key_pairs(units: Units, renamed: dict[str, str]) -> list[tuple[Key, Key]]:
    pairs = {(key, replace(key, disk=renamed[key.disk])) for key in keys_of(units.base)}
    known = {new for _, new in pairs}
    back = {new: base for base, new in renamed.items()}
    pairs |= {(replace(key, disk=back.get(key.disk, key.disk)), key) for key in keys_of(units.new) - known}
    return sorted(pairs)


def _verdict(cells: Sequence[Cell], rules: Sequence[RuleResult]) -> Verdict:
    if not any(cell.total for cell in cells):
        return Verdict.NOT_COMPARABLE
    if rules:
        return _verdict_of_rules(rules)
    words = {figure.word for cell in cells for figure in cell.total}
    if Word.SLOWER in words:
        return Verdict.SLOWER
    if Word.FASTER in words:
        return Verdict.FASTER
    means = [cell.total[0] for cell in cells if cell.total]
    return Verdict.SAME if all(mean.word is Word.SAME for mean in means) else Verdict.UNDECIDED


def _verdict_of_rules(rules: Sequence[RuleResult]) -> Verdict:
    if any(rule.is_broken for rule in rules):
        return Verdict.SLOWER
    return Verdict.UNDECIDED if any(rule.is_undecided for rule in rules) else Verdict.SAME
