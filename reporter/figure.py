"""The picture of a report: where the mean IO's time goes, and how the times are distributed."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullLocator

from vio.errors import OutputError
from vio.layer import Phase, Stage
from vio.printable import printable
from vio.reporter.bars import Bar, bars_of, shares_of
from vio.reporter.compiled import Floats
from vio.reporter.histogram import Distribution
from vio.reporter.palette import TOTAL, UNATTRIBUTED, hue, shade
from vio.reporter.result import Report
from vio.reporter.units import TimeUnit, time_text, unit_for

# The curves' axis: one step for each factor of ten in the share that is slower.
_TICKS = (0.5, 0.9, 0.99, 0.999, 0.9999)
_FEW_BARS = 2


def figure(report: Report) -> Figure:
    """Draw a report."""
    picture = Figure(figsize=(13, 10.5), dpi=110, layout="constrained")
    bars = bars_of(report)
    top, bottom = picture.subplots(2, 1, height_ratios=[max(len(bars), _FEW_BARS) * 0.16 + 0.35, 1.0])
    picture.suptitle(_title(report), fontsize=12, x=0.01, ha="left")
    _draw_bars(top, bars)
    _draw_curves(bottom, report)
    return picture


def save(picture: Figure, path: Path) -> None:
    """Save a picture in the format that its name says.

    Raises:
        OutputError: it cannot be written, or there is no such format.
    """
    try:
        picture.savefig(path)
    except OSError as error:
        raise OutputError(f"the picture {path} cannot be written: {error.strerror or error}") from None
    except ValueError as error:
        raise OutputError(f"the picture {path} cannot be written: {error}", "name it .png, .svg or .pdf") from None


def _title(report: Report) -> str:
    recorded, total = report.recorded, report.summary.total()
    words = f"{total.io_count:,} IOs of {recorded.target_text} on {recorded.manifest.host.name}"
    what = "" if report.choice.is_all else f"\nonly: {report.choice.words}"
    return printable(f"{words}, {recorded.duration_s:.1f} s from {recorded.started_text}") + printable(what).replace(
        "\\n", "\n"
    )


def _draw_bars(axes: Axes, bars: list[Bar]) -> None:
    longest = max((bar.group.latency.mean_ns for bar in bars), default=0.0)
    unit = unit_for(longest)
    left = np.zeros(len(bars))
    for number, stage in enumerate(Stage):
        if not any(bar.group.times_ns[number].any() for bar in bars):
            continue
        for place, phase in enumerate(Phase):
            widths = np.array([bar.mean_ns(number, place) for bar in bars]) / unit.ns
            name = f"{stage} {phase}"
            axes.barh(range(len(bars)), widths, left=left, color=shade(stage, phase), label=name, height=0.68)
            left += widths
    lost = np.array([bar.group.unattributed_ns / bar.group.latency.count for bar in bars]) / unit.ns
    if lost.any():
        axes.barh(range(len(bars)), lost, left=left, color=UNATTRIBUTED, label="unattributed", height=0.68)
    _label_bars(axes, bars, unit, longest)


def _label_bars(axes: Axes, bars: list[Bar], unit: TimeUnit, longest: float) -> None:
    for place, bar in enumerate(bars):
        mean_ns = bar.group.latency.mean_ns
        axes.annotate(
            time_text(mean_ns), (mean_ns / unit.ns, place), xytext=(5, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(range(len(bars)), [f"{bar.label}\n{bar.group.latency.count:,} IOs" for bar in bars])
    axes.set_xlim(0, 1.1 * longest / unit.ns)
    # One bar alone would be a wall.
    room = 0.5 + max(_FEW_BARS - len(bars), 0) / 2
    axes.set_ylim(len(bars) - 1 + room, -room)
    axes.set_xlabel(f"mean time of an IO ({unit.name})")
    axes.set_title("Where the time goes: each layer's own time, from the guest's request to the device", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    _add_shades(axes, bars)


def _add_shades(axes: Axes, bars: list[Bar]) -> None:
    """Say in the legend what each shade of each hue is."""
    stages = [stage for number, stage in enumerate(Stage) if any(bar.group.times_ns[number].any() for bar in bars)]
    handles = [tuple(Patch(color=shade(stage, phase)) for phase in Phase) for stage in stages]
    labels = [stage.value for stage in stages]
    if any(bar.group.unattributed_ns for bar in bars):
        handles.append((Patch(color=UNATTRIBUTED),))
        labels.append("unattributed")
    axes.legend(
        handles,
        labels,
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0)},
        handlelength=3.6,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.02),
        frameon=False,
        title="layer, top to bottom\nshades: down, between, up",
        alignment="left",
    )


def _draw_curves(axes: Axes, report: Report) -> None:
    summary = report.summary
    latency = summary.total().latency
    shares = shares_of(latency.count)
    _draw_curve(axes, latency, shares, "all layers: latency", TOTAL, 2.6)
    for stage, part in summary.stages.items():
        _draw_curve(axes, part, shares, stage.value, hue(stage), 1.6)
    if summary.unattributed.total_ns:
        _draw_curve(axes, summary.unattributed, shares, "unattributed", UNATTRIBUTED, 1.6)
    axes.set_yscale("log")
    axes.set_ylim(bottom=max(axes.get_ylim()[0], 100))
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: time_text(value).replace(".00 ", " ").replace(".0 ", " "))
    )
    axes.set_xscale("function", functions=(_stretched, _unstretched))
    ticks = [tick for tick in _TICKS if tick <= shares[-1]]
    axes.set_xticks(ticks, [f"p{100 * tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(shares[0], shares[-1])
    axes.grid(visible=True, which="major", color="#DDDDDD")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("percentile: this share of the IOs that reached the layer takes no longer")
    axes.set_ylabel("own time of the layer")
    axes.set_title("How the times are distributed", loc="left")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False, title="layer", alignment="left")


def _draw_curve(
    axes: Axes,
    part: Distribution,
    shares: Floats,
    label: str,
    colour: str,
    width: float,
) -> None:
    axes.plot(shares, np.maximum(part.quantiles_ns(shares), 1), label=label, color=colour, linewidth=width)


def _stretched(share: Floats) -> Floats:
    return -np.log10(np.maximum(1 - share, 1e-6))


def _unstretched(place: Floats) -> Floats:
    return 1 - 10.0**-place
