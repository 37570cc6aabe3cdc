"""Can two sides be compared? What differs besides the times is said, and what cannot be compared is refused."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vio.comparer.comparison import Doubt
from vio.comparer.run import Block, Key, Run, RunInfo, Tally
from vio.comparer.sides import Units
from vio.comparer.values import beside_of, units_with
from vio.layer import Layer, Phase, Stage
from vio.schema import time_column

_SIZES_DIFFER = 0.1
"""Of the IOs, so many would have to be of another size for both sides to be alike."""
_DEPTH_RATIO, _RATE_RATIO, _ALONE = 2.0, 1.25, 1.5
_MIX_DIFFERS = 0.1
_WHOLE = 0.99
_FEW, _LEAST_BLOCKS = 10, 5

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
)


def _points(base: Sequence[Run], new: Sequence[Run]) -> Doubt | None:
    sides = [set[str]().union(*(run.info.points for run in side)) for side in (base, new)]
    only = [", ".join(sorted(one - other)[:4]) for one, other in (sides, sides[::-1])]
    return Doubt("points only here", only[0] or "-", only[1] or "-") if any(only) else None


def _mix(base: Sequence[Run], new: Sequence[Run]) -> Doubt | None:
    sides = [_shares(_counted(side)) for side in (base, new)]
    if _distance(*sides) <= _MIX_DIFFERS:
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


def _shares(counts: "Counter[str] | Counter[int]") -> dict[object, float]:
    total = sum(counts.values())
    return {name: count / total for name, count in counts.items()} if total else {}


def _distance(one: dict[object, float], other: dict[object, float]) -> float:
    return sum(abs(one.get(name, 0.0) - other.get(name, 0.0)) for name in one.keys() | other.keys()) / 2


def refused_parts(base: Sequence[Run], new: Sequence[Run]) -> dict[str, str]:
    """Return the time columns that cannot be compared, and why: one side did not see the layer.

    Its time is in the layer above then, so that is refused too.
    """
    seen = [set.intersection(*(set(run.info.layers) for run in side)) for side in (base, new)]
    stages = list(Stage)
    refused: dict[str, str] = {}
    for number, stage in enumerate(stages):
        if (stage.layer in seen[0]) == (stage.layer in seen[1]):
            continue
        for touched in (stage, stages[max(number - 1, 0)]):
            for phase in Phase:
                refused.setdefault(time_column(touched, phase), f"{stage} was seen on one side only")
    return refused


@dataclass(frozen=True, slots=True)
class Load:
    """The load of one key on one side: size classes, rate, mean number in flight."""

    sizes: dict[object, float]
    iops: float
    depth: float


def refusal(units: Units, runs: tuple[Sequence[Run], Sequence[Run]], keys: tuple[Key, Key]) -> str:
    """Say why one cell cannot be compared; nothing if it can."""
    base, new = units.base, units.new
    sides = units_with(base, keys[0]), units_with(new, keys[1])
    for side, which, every in zip(sides, ("base", "new"), (base, new), strict=True):
        if not side:
            return f"{which} has no such IO"
        counts = [tally.io_count for _, tally in side]
        if units.are_blocks and (len(side) < _LEAST_BLOCKS or sum(counts) < _FEW * _LEAST_BLOCKS):
            return (
                f"{which} has too few of these IOs: {sum(counts):,}, in {len(side)} of {len(every)} blocks of its time"
            )
        if not units.are_blocks and len(side) < len(every):
            return f"{len(every) - len(side)} of {len(every)} runs of {which} have no such IO"
        if not units.are_blocks and min(counts) < _FEW:
            return f"{which} has fewer than {_FEW} of these IOs in a run"
    loads = [_load(side, some, key) for side, some, key in zip(sides, runs, keys, strict=True)]
    if keys[0].size < 0 and _distance(loads[0].sizes, loads[1].sizes) > _SIZES_DIFFER:
        return "the IOs are of other sizes: --by-size compares each size by itself"
    if keys[0].depth >= 0:
        return ""
    depths, rates = sorted(one.depth for one in loads), sorted(one.iops for one in loads)
    if depths[1] > max(_DEPTH_RATIO * depths[0], _ALONE) and rates[1] > _RATE_RATIO * rates[0]:
        shown = f"{loads[0].depth:.1f} against {loads[1].depth:.1f} in flight"
        return f"another load ({shown}): --normalise compares at the same depth"
    return ""


def _load(side: Sequence[tuple[Block, Tally]], runs: Sequence[Run], key: Key) -> Load:
    sizes: Counter[int] = Counter()
    for run in runs:
        for block in run.blocks:
            for one, tally in block.tallies.items():
                if (one.disk, one.op) == (key.disk, key.op):
                    sizes[one.size] += tally.io_count
    iops, _, depth, _ = beside_of(side).mean(axis=0).tolist()
    return Load(_shares(sizes), iops, depth)
