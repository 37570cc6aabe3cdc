"""What lies in baselines, as text and as JSON."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from vio.comparer.baseline import load_baseline
from vio.comparer.recordings import BASELINE_SUFFIX
from vio.comparer.run import LATENCY, Key, Run, keys_of, without_sizes
from vio.comparer.values import PART_NAMES, STATISTICS, part_rows, table_of, units_with
from vio.errors import RecordingError
from vio.jsondata import to_data
from vio.printable import printable
from vio.reporter.grid import Grid, Style
from vio.reporter.units import bytes_text, unit_for


def baselines_in(directory: Path) -> list[Path]:
    """Return the baselines of a directory, oldest first.

    Raises:
        RecordingError: it is none, or has none.
    """
    found = sorted(directory.glob(f"*{BASELINE_SUFFIX}")) if directory.is_dir() else []
    if not found:
        raise RecordingError(f"{directory} has no baseline in it", "make one with `vio baseline save RUNS FILE`")
    return sorted(found, key=lambda path: (started_ns(load_baseline(path)), path.name))


def started_ns(runs: Sequence[Run]) -> int:
    """Return when the first of the runs began (Unix time)."""
    return min(run.info.started_ns for run in runs)


def day_text(time_ns: int) -> str:
    """Write a Unix time in UTC."""
    return datetime.fromtimestamp(time_ns / 1e9, tz=UTC).strftime("%Y-%m-%d %H:%M:%S")


def listing_data(directory: Path) -> list[dict[str, object]]:
    """Describe the baselines of a directory."""
    return [_described(path) for path in baselines_in(directory)]


def _described(path: Path) -> dict[str, object]:
    runs = load_baseline(path)
    counts = [sum(t.io_count for block in run.blocks for t in block.tallies.values()) for run in runs]
    return {
        "path": str(path),
        "bytes": path.stat().st_size,
        "started": day_text(started_ns(runs)),
        "runs": len(runs),
        "ios": sum(counts),
        "host": sorted({run.info.host for run in runs}),
        "kernel": sorted({run.info.kernel for run in runs}),
        "qemu": sorted({run.info.qemu for run in runs}),
    }


def listing_text(directory: Path) -> str:
    """Write a line for each baseline."""
    grid = Grid(("baseline", "started (UTC)", "runs", "IOs", "size", "kernel", "QEMU"), frozenset({0, 1, 5, 6}))
    for path in baselines_in(directory):
        one = _described(path)
        words = [printable(", ".join(run)) for run in (one["kernel"], one["qemu"]) if isinstance(run, list)]
        size = bytes_text(path.stat().st_size)
        grid.add(printable(path.name), str(one["started"]), str(one["runs"]), f"{one['ios']:,}", size, *words)
    return "\n".join(grid.lines(Style()))


def baseline_text(path: Path) -> str:
    """Write what a baseline is of, and its figures: means over its runs."""
    one, runs = _described(path), load_baseline(path)
    lines = [f"{printable(str(path))}: {one['runs']} runs from {one['started']} UTC, {one['ios']:,} IOs"]
    for run in runs:
        info = run.info
        lost = f", LOST {info.lost_text}" if info.lost else ""
        lines.append(printable(f"  {info.name}: {info.host}, Linux {info.kernel}, QEMU {info.qemu}{lost}"))
    for key, rows in _figures(runs):
        unit = unit_for(rows[0][1][0])
        grid = Grid((printable(f"{key.disk} {key.op} ({unit.name})"), *STATISTICS))
        for name, values in rows:
            grid.add(name, *("-" if np.isnan(value) else unit.text(value) for value in values))
        lines += ["", *grid.lines(Style())]
    return "\n".join(lines)


def baseline_data(path: Path) -> dict[str, object]:
    """Describe a baseline, with its figures: means over its runs, in ns."""
    runs = load_baseline(path)
    cells = [
        {
            "disk": key.disk,
            "op": key.op,
            "rows": {
                name: {s: None if np.isnan(v) else v for s, v in zip(STATISTICS, values, strict=True)}
                for name, values in rows
            },
        }
        for key, rows in _figures(runs)
    ]
    return {**_described(path), "infos": [to_data(run.info) for run in runs], "cells": cells}


def _figures(runs: Sequence[Run]) -> list[tuple[Key, list[tuple[str, list[float]]]]]:
    units = [without_sizes(run.whole()) for run in runs]
    found = []
    for key in sorted(keys_of(units)):
        tallies = [tally for _, tally in units_with(units, key)]
        names = [(LATENCY, "latency"), *((row, PART_NAMES[row]) for row in part_rows(tallies))]
        found.append((key, [(name, table_of(tallies, row).values.mean(axis=0).tolist()) for row, name in names]))
    return found
