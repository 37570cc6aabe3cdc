"""What differs between two sides besides the times, and what is wrong with either: the lines before the tables."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from vio.comparer.comparison import Cell, Doubt
from vio.comparer.mixture import distance, shares
from vio.comparer.run import Run, RunInfo
from vio.comparer.values import IN_FLIGHT, RATE, WAITING
from vio.layer import Layer

_MIX_DIFFERS = 0.1
_WHOLE = 0.99
_LOAD_DIFFERS = 1.25
BUSY = 0.2
"""From this share of the time on that an IO waits for a CPU, the host is busy."""
_SHOWN_CELLS = 6

_FACTS: tuple[tuple[str, Callable[[RunInfo], str]], ...] = (
    ("host", lambda info: info.host),
    ("kernel", lambda info: info.kernel),
    ("CPUs", lambda info: str(info.cpu_count)),
    ("QEMU", lambda info: info.qemu),
    ("vio", lambda info: info.vio),
    ("bpftrace", lambda info: info.bpftrace),
    (
        "disks",
        lambda info: "; ".join(
            f"{d.name}: {', '.join(w for w in (d.format, f'cache={d.cache}', f'aio={d.aio}') if w)}" for d in info.disks
        ),
    ),
    ("layers seen", lambda info: ", ".join(layer for layer in Layer if layer in info.layers)),
)


def doubts_of(base: Sequence[Run], new: Sequence[Run]) -> list[Doubt]:
    """Say what differs between the sides, or among the runs of one, and what is wrong with either."""
    found = [
        Doubt(what, old, now)
        for what, text in _FACTS
        for old, now in [(_texts(base, text), _texts(new, text))]
        if old != now or " | " in old
    ]
    found += [one for one in (_points(base, new), _mix(base, new), _extents(base, new)) if one]
    for what, text in _WRONGS:
        old, now = ("; ".join(filter(None, (text(run.info) for run in side))) for side in (base, new))
        if old or now:
            found.append(Doubt(what, old or "-", now or "-"))
    return found


def _texts(runs: Sequence[Run], text: Callable[[RunInfo], str]) -> str:
    return " | ".join(sorted({text(run.info) for run in runs}))


_WRONGS: tuple[tuple[str, Callable[[RunInfo], str]], ...] = (
    (
        "records lost",
        lambda info: f"{info.name}: {info.lost_text}" if info.lost else "",
    ),
    ("cut short", lambda info: info.name if info.is_cut else ""),
    (
        "IOs not whole",
        lambda info: f"{info.name}: {1 - info.whole_share:.1%}" if info.whole_share < _WHOLE else "",
    ),
    (
        "CPU time withheld by the hypervisor below",
        lambda info: f"{info.name}: {info.stolen_share:.0%}" if info.is_disturbed else "",
    ),
)


def _points(base: Sequence[Run], new: Sequence[Run]) -> Doubt | None:
    sides = [set[str]().union(*(run.info.points for run in side)) for side in (base, new)]
    only = [", ".join(sorted(one - other)[:4]) for one, other in (sides, sides[::-1])]
    return Doubt("points only here", only[0] or "-", only[1] or "-") if any(only) else None


def _mix(base: Sequence[Run], new: Sequence[Run]) -> Doubt | None:
    sides = [shares(_counted(side)) for side in (base, new)]
    if distance(*sides) <= _MIX_DIFFERS:
        return None
    old, now = (", ".join(f"{op} {share:.0%}" for op, share in side.items()) for side in sides)
    return Doubt("mix of operations", old, now)


def _counted(runs: Sequence[Run]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for run in runs:
        for block in run.blocks:
            for key, tally in block.tallies.items():
                counts[key.op] += tally.io_count
    return counts


def _extents(base: Sequence[Run], new: Sequence[Run]) -> Doubt | None:
    old, now = (float(np.mean([run.info.extents for run in side])) for side in (base, new))
    if max(old, now) <= 2 * min(old, now) + 16:
        return None
    return Doubt("ranges of the maps (fragmentation)", f"{old:,.0f}", f"{now:,.0f}")


def waiting_shares(cell: Cell) -> tuple[float, float]:
    """Return what share of the mean is waiting for a CPU, on either side of a cell that is compared."""
    waiting = next(one for one in cell.beside if one.name == WAITING)
    return waiting.base / max(cell.mean.base, 1.0), waiting.new / max(cell.mean.new, 1.0)


def load_doubts(cells: Sequence[Cell]) -> Iterator[Doubt]:
    """Say of which rows the load differs, or waits for a CPU for much of its time: a host that is busy or throttled."""
    for cell in [cell for cell in cells if cell.total][:_SHOWN_CELLS]:
        beside = {figure.name: figure for figure in cell.beside}
        for name, text in ((RATE, "{:,.0f}"), (IN_FLIGHT, "{:.1f}")):
            one = beside[name]
            if max(one.base, one.new) > _LOAD_DIFFERS * min(one.base, one.new):
                yield Doubt(f"{cell.name}: {name}", text.format(one.base), text.format(one.new))
        waited = waiting_shares(cell)
        if max(waited) > BUSY:
            yield Doubt(f"{cell.name}: {WAITING}", *(f"{share:.0%} of the mean" for share in waited))
