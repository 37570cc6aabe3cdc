"""Compare one disk, operation and size class: the latency, and every part of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vio.comparer.comparison import Cell, Figure, Part, Word
from vio.comparer.judge import Candidate, Family, candidates, judge
from vio.comparer.options import CompareOptions
from vio.comparer.run import LATENCY, Key, Tally
from vio.comparer.sides import Units
from vio.comparer.statistics import compare_units
from vio.comparer.values import (
    BESIDE,
    PART_NAMES,
    SHARES,
    STATISTICS,
    Table,
    beside_of,
    part_rows,
    table_of,
    units_with,
)

_ENDLESS = 1e9  # times the whole: no interval lies beyond
_ALL = (Family.MEAN, *[Family.QUANTILE] * len(SHARES))
_PART = (Family.PART_MEAN, *[Family.PART_QUANTILE] * len(SHARES))


@dataclass(frozen=True, slots=True, eq=False)
class OpenCell:
    """A cell whose figures have no words yet: the latency's first, then those of each part."""

    base_key: Key
    new_key: Key
    cell: Cell
    parts: Sequence[str] = ()
    figures: tuple[tuple[Candidate | Figure, ...], ...] = ()


def open_cell(units: Units, keys: tuple[Key, Key], refused_parts: dict[str, str], options: CompareOptions) -> OpenCell:
    """Test the figures of a cell that both sides have; `refused_parts` says which rows cannot be compared, and why."""
    sides = units_with(units.base, keys[0]), units_with(units.new, keys[1])
    base, new = ([tally for _, tally in side] for side in sides)
    parts = part_rows([*base, *new])
    rows = (LATENCY, *parts)
    tables = [(table_of(base, row), table_of(new, row)) for row in rows]
    beside = beside_of(sides[0]), beside_of(sides[1])
    # What matters of a part is what matters of the whole.
    whole = np.concatenate([tables[0][0].values.mean(axis=0)] * len(rows) + [np.zeros(len(BESIDE))])
    margin, noise = options.min_effect * whole, _noise_share(units, options) * whole
    old, now = (np.hstack([*(pair[side].values for pair in tables), beside[side]]) for side in (0, 1))
    families = [*_ALL, *_PART * len(parts), *[Family.MEAN] * len(BESIDE)]
    # means keep all runs: those of the parts have to add up
    may_trim = np.array([family in {Family.QUANTILE, Family.PART_QUANTILE} for family in families])
    tested = compare_units(old, now, margin - noise, are_blocks=units.are_blocks, may_trim=may_trim)
    found = candidates([*STATISTICS * len(rows), *BESIDE], tested, margin, families, noise)
    size = len(STATISTICS)
    figures = tuple(
        _checked(found[at * size : (at + 1) * size], pair, refused_parts.get(row, ""))
        for at, (row, pair) in enumerate(zip(rows, tables, strict=True))
    )
    cell = Cell(
        disk=keys[0].disk,
        op=keys[0].op,
        size=keys[0].class_text,
        io_counts=(_count(base), _count(new)),
        beside=tuple(one.figure for one in found[len(rows) * size :]),
    )
    return OpenCell(*keys, cell, parts, figures)


def _noise_share(units: Units, options: CompareOptions) -> float:
    if units.are_unsure:
        return _ENDLESS
    return options.run_noise if units.are_blocks else 0.0


def _count(tallies: Sequence[Tally]) -> int:
    return sum(one.io_count for one in tallies)


def _checked(found: Sequence[Candidate], tables: tuple[Table, Table], refused: str) -> tuple[Candidate | Figure, ...]:
    """Refuse those of a row's figures that cannot be compared."""
    reasons = [refused or _lack(*tables, at) for at in range(len(found))]
    return tuple(_refused(one.figure, why) if why else one for one, why in zip(found, reasons, strict=True))


def _lack(base: Table, new: Table, statistic: int) -> str:
    values = base.values[:, statistic], new.values[:, statistic]
    if not all(np.isfinite(one).all() for one in values):
        return "not in every run"
    if not (base.is_enough_for(statistic) and new.is_enough_for(statistic)):
        return f"too few IOs: {min(base.least_ios, new.least_ios):,}"
    return ""


def _refused(figure: Figure, why: str) -> Figure:
    return Figure(figure.name, figure.base, figure.new, figure.difference, word=Word.REFUSED, why=why)


def close_cells(cells: Sequence[OpenCell], false_alarms: float) -> list[Cell]:
    """Give all figures of all cells their words, together; parts are sorted by what they add to the mean's change."""
    rows = [row for cell in cells for row in cell.figures]
    judged = iter(judge([one for row in rows for one in row if isinstance(one, Candidate)], false_alarms))
    filled = iter([tuple(next(judged) if isinstance(one, Candidate) else one for one in row) for row in rows])
    return [_closed(cell, [next(filled) for _ in cell.figures]) for cell in cells]


def _closed(one: OpenCell, rows: list[tuple[Figure, ...]]) -> Cell:
    cell = one.cell
    if not rows:
        return cell
    parts = [Part(PART_NAMES[name], figures) for name, figures in zip(one.parts, rows[1:], strict=True)]
    # what adds most to the change first, whichever its direction is
    sign = -1.0 if rows[0][0].difference >= 0 else 1.0
    parts.sort(key=lambda part: sign * part.added_ns)
    return Cell(cell.disk, cell.op, cell.size, cell.io_counts, rows[0], tuple(parts), cell.beside, cell.refused)
