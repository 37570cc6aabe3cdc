"""One figure over many baselines, and where it changed: change points found by ruptures (PELT)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from vio.comparer.baseline import load_baseline
from vio.comparer.listing import baselines_in, day_text, started_ns
from vio.comparer.run import LATENCY, Key, Run, keys_of, without_sizes
from vio.comparer.statistics import Floats
from vio.comparer.values import PART_NAMES, STATISTICS, table_of, units_with
from vio.errors import UsageError

_NAME = re.compile(r"(?P<place>.+?)\.(?P<figure>mean|p50|p90|p99|p99\.9)")
MIN_POINTS = 4
"""Fewer baselines have no change point: one that is off could be chance."""
_SHORTEST = 2
_PENALTY = 3.0
"""Of the noise's variance, times the logarithm of the number of points: the usual one (BIC), and half as much again."""
_MEDIAN_TO_DEVIATION = 1.4826
_LEAST_NOISE = 0.005


@dataclass(frozen=True, slots=True)
class Point:
    """The figure of one baseline: mean, least and largest of its runs; `is_change` where a new level begins."""

    path: str
    started: str
    value_ns: float
    least_ns: float
    largest_ns: float
    run_count: int
    is_change: bool = False
    level_ns: float = 0.0


@dataclass(frozen=True, slots=True)
class Trend:
    """A figure over time, oldest first."""

    figure: str
    points: tuple[Point, ...]
    skipped: tuple[str, ...] = ()
    """Baselines that have no such figure."""


def trend_of(paths: Sequence[Path], figure: str) -> Trend:
    """Follow a figure ([DISK.]OP[.PART].FIGURE; nothing: the mean of what there is most of) over baselines.

    Raises:
        RecordingError: a baseline cannot be read.
        UsageError: no baseline has such a figure.
    """
    files = [file for path in paths for file in (baselines_in(path) if path.is_dir() else [path])]
    loaded = sorted(
        ((file, load_baseline(file)) for file in files), key=lambda pair: (started_ns(pair[1]), pair[0].name)
    )
    name = figure or f"{_commonest(loaded[-1][1]).op}.mean"
    points, skipped = [], []
    for file, runs in loaded:
        values = _values(runs, name)
        if values.size:
            times = float(values.mean()), float(values.min()), float(values.max())
            points.append(Point(str(file), day_text(started_ns(runs)), *times, len(runs)))
        else:
            skipped.append(str(file))
    if not points:
        raise UsageError(f"no baseline has the figure {name}", "`vio baseline show` names disks, operations and parts")
    return Trend(name, tuple(_levelled(points)), tuple(skipped))


def _commonest(runs: Sequence[Run]) -> Key:
    counts: dict[Key, int] = {}
    for run in runs:
        for block in run.blocks:
            for key, tally in block.tallies.items():
                counts[Key("", key.op)] = counts.get(Key("", key.op), 0) + tally.io_count
    return max(counts, key=lambda key: counts[key])


def _values(runs: Sequence[Run], name: str) -> Floats:
    """Return the figure of each run that has it."""
    found = _NAME.fullmatch(name)
    if not found:
        raise UsageError(
            f"{name} is no figure", f"write it as write.p99 or write.device.mean ({', '.join(STATISTICS)})"
        )
    rows = {"": LATENCY} | {f".{part}": row for row, part in PART_NAMES.items()}
    units = [without_sizes(run.whole()) for run in runs]
    for key in sorted(keys_of(units)):
        for suffix, row in rows.items():
            if found["place"] in {f"{key.op}{suffix}", f"{key.disk}.{key.op}{suffix}"}:
                tallies = [tally for _, tally in units_with(units, key) if tally.row(row)]
                if tallies:
                    return np.asarray(table_of(tallies, row).values[:, STATISTICS.index(found["figure"])])
    return np.empty(0)


def _levelled(points: list[Point]) -> list[Point]:
    values = np.array([point.value_ns for point in points])
    edges = [0, *change_points(values), len(points)]
    levels = []
    for first, last in pairwise(edges):
        level_ns = float(values[first:last].mean())
        for at in range(first, last):
            one = points[at]
            times = (one.value_ns, one.least_ns, one.largest_ns)
            is_change = at == first and first > 0
            levels.append(Point(one.path, one.started, *times, one.run_count, is_change, level_ns))
    return levels


def change_points(values: Floats) -> list[int]:
    """Return the positions at which a new level begins."""
    if len(values) < MIN_POINTS:
        return []
    import ruptures  # takes a second to import

    logs = np.log(np.maximum(values, 1.0))
    # The noise from neighbour to neighbour, which a change of level hardly touches.
    noise = float(np.median(np.abs(np.diff(logs)))) * _MEDIAN_TO_DEVIATION / np.sqrt(2)
    penalty = _PENALTY * np.log(len(logs)) * max(noise, _LEAST_NOISE) ** 2
    ends = ruptures.Pelt(model="l2", min_size=_SHORTEST, jump=1).fit(logs.reshape(-1, 1)).predict(pen=penalty)
    return [int(end) for end in ends[:-1]]
