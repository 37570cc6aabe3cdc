"""Pictures of a comparison: stacked bars of the parts, the difference at every quantile, heatmaps of both sides."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from vio.comparer.comparison import Cell
from vio.comparer.run import LATENCY, Key, Run, without_sizes
from vio.comparer.sides import Units
from vio.comparer.sketch import Sketch, merged
from vio.comparer.statistics import Floats, compare_units
from vio.comparer.values import PART_NAMES, units_with
from vio.layer import Phase, Stage
from vio.reporter.buckets import bucket_values
from vio.reporter.palette import UNATTRIBUTED, shade
from vio.reporter.units import unit_for
from vio.terms import time_column

_SHARES = np.concatenate([np.arange(0.02, 0.98, 0.02), [0.98, 0.985, 0.99, 0.995, 0.999]])
_COLOURS: dict[str, object] = {
    PART_NAMES[time_column(stage, phase)]: shade(stage, phase) for stage in Stage for phase in Phase
}
_TIME_BINS = 60
_TAIL_IOS = 5


def cell_figure(cell: Cell, units: Units, keys: tuple[Key, Key], runs: tuple[Sequence[Run], Sequence[Run]]) -> Figure:
    """Draw one cell; `keys` are its keys on both sides."""
    figure = Figure(figsize=(13, 8), layout="constrained")
    axes = figure.subplot_mosaic([["bars", "curve"], ["base", "new"]])
    _draw_bars(axes["bars"], cell)
    _draw_curve(axes["curve"], units, keys)
    rows = [row for side, key in zip(runs, keys, strict=True) for row in _rows(side[0], key) if row]
    least_ns, largest_ns = (merged(rows).quantiles_ns((share,))[0] for share in (0.0, 1.0))
    edges_ns = np.geomspace(max(least_ns / 1.1, 1), largest_ns * 1.1, _TIME_BINS + 1)
    for name, side, key in (("base", runs[0], keys[0]), ("new", runs[1], keys[1])):
        _draw_heat(axes[name], f"{name}: {side[0].info.name}", side[0], key, edges_ns)
    return figure


def _draw_bars(axes: Axes, cell: Cell) -> None:
    unit = unit_for(cell.mean.base)
    left = [0.0, 0.0]
    order = [name for name in PART_NAMES.values() if name in {part.name for part in cell.parts}]
    by_name = {part.name: part.figures[0] for part in cell.parts}
    for name in order:
        widths = [by_name[name].base / unit.ns, by_name[name].new / unit.ns]
        is_seen = max(widths) > 0.02 * cell.mean.base / unit.ns
        axes.barh([1, 0], widths, left=left, color=_COLOURS.get(name, UNATTRIBUTED), label=name if is_seen else None)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set_yticks([1, 0], ["base", "new"])
    axes.set_xlabel(f"mean latency by part ({unit.name})")
    axes.legend(fontsize="small", ncols=2)
    axes.set_title("Where the time goes")


def _draw_curve(axes: Axes, units: Units, keys: tuple[Key, Key]) -> None:
    sides, counts = [], []
    for blocks, key in zip((units.base, units.new), keys, strict=True):
        rows = [tally.rows[LATENCY] for _, tally in units_with(blocks, key)]
        counts += [row.count for row in rows]
        sides.append(np.array([row.quantiles_ns(tuple(_SHARES)) for row in rows]))
    seen = _SHARES[min(counts) * (1 - _SHARES) >= _TAIL_IOS]
    base, new = (side[:, : seen.size] for side in sides)
    tested = compare_units(base, new, np.zeros(seen.size), are_blocks=units.are_blocks)
    change = 100 * (tested.new / tested.base - 1)
    axes.fill_between(
        100 * seen,
        100 * tested.low / tested.base,
        100 * tested.high / tested.base,
        color="#56B4E9",
        alpha=0.4,
        label="95 % interval",
    )
    axes.plot(100 * seen, change, color="#0072B2", label="new less base")
    axes.axhline(0, color="#000000", linewidth=0.8)
    axes.set_xlabel("quantile of latency (%)")
    axes.set_ylabel("difference (% of base)")
    axes.set_title("At every quantile")
    axes.legend(fontsize="small")


def _rows(run: Run, key: Key) -> list[Sketch | None]:
    """Return the latencies of a key in each block of a run."""
    tallies = [(block if key.size >= 0 else without_sizes(block)).tallies.get(key) for block in run.blocks]
    return [tally.row(LATENCY) if tally else None for tally in tallies]


def _draw_heat(axes: Axes, title: str, run: Run, key: Key, edges_ns: Floats) -> None:
    """Draw how often each latency came in each stretch of a run's time."""
    counts = np.zeros((_TIME_BINS, len(run.blocks)))
    for number, row in enumerate(_rows(run, key)):
        if row:
            counts[:, number] = np.histogram(bucket_values(row.buckets), edges_ns, weights=row.counts)[0]
    bounds_ns = [*(block.begin_ns for block in run.blocks), run.blocks[-1].end_ns]
    seconds = (np.maximum.accumulate(bounds_ns) - bounds_ns[0]) / 1e9
    shown = np.where(counts > 0, counts, np.nan)
    mesh = axes.pcolormesh(seconds, edges_ns / 1e3, shown, norm=LogNorm(), cmap="viridis")
    axes.figure.colorbar(mesh, ax=axes, label="IOs")
    axes.set_yscale("log")
    axes.set_xlabel("time (s)")
    axes.set_ylabel("latency (us)")
    axes.set_title(title)
