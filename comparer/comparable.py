"""Can two sides be compared? What cannot be is refused, row by row; what else differs is said (doubts.py)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vio.comparer.mixture import distance, shares
from vio.comparer.run import Block, Key, Run, Tally
from vio.comparer.sides import Units
from vio.comparer.values import beside_of, units_with
from vio.layer import Phase, Stage
from vio.terms import time_column

_SIZES_DIFFER = 0.1
"""Of the IOs, so many would have to be of another size for both sides to be alike."""
_DEPTH_RATIO, _RATE_RATIO, _ALONE = 2.0, 1.25, 1.5
_FEW, _LEAST_BLOCKS = 10, 5


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
    if keys[0].size < 0 and distance(loads[0].sizes, loads[1].sizes) > _SIZES_DIFFER:
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
    return Load(shares(sizes), iops, depth)
