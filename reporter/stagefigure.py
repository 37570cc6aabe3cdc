"""The picture of opened layers: one bar of the mean IO by layer, and beside it each opened layer in its parts."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch

from vio.layer import Stage
from vio.printable import printable
from vio.reporter.palette import UNATTRIBUTED, hue
from vio.reporter.partsum import PartSummary
from vio.reporter.result import Report
from vio.reporter.units import share_text, time_text

_WIDTH = 0.62
_LABEL_STEP = 0.022  # of the bar's height: what a label takes


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a bar: mean ns of an IO, from the top down."""

    label: str
    mean_ns: float
    colour: str | tuple[float, float, float]


def opened_figure(report: Report, parts: PartSummary) -> Figure:
    """Draw the layers of the mean IO, and each opened layer as a bar of its own."""
    opened = [stage for stage in parts.stages if any(one.own.total_ns for one in parts.parts_of(stage).values())]
    # lines lead to the first: the layer that has the most of the time
    opened.sort(key=lambda stage: -report.summary.stages[stage].total_ns)
    picture = Figure(figsize=(4.6 + 3.6 * max(len(opened), 1), 8), dpi=110, layout="constrained")
    axes = picture.subplots(1, 1 + len(opened), squeeze=False)[0]
    total = report.summary.total()
    words = f"{total.latency.count:,} IOs of {report.recorded.target_text}: mean {time_text(total.latency.mean_ns)}"
    picture.suptitle(printable(words), fontsize=11, x=0.01, ha="left")
    layers = layer_pieces(report)
    _draw(axes[0], "the mean IO, by layer", layers)
    for place, stage in enumerate(opened, start=1):
        _draw(axes[place], f"{stage} opened", part_pieces(report, parts, stage))
        if place == 1:
            _connect(picture, axes[0], axes[1], layers, stage)
    return picture


def layer_pieces(report: Report) -> list[Piece]:
    """Return the mean own time of each layer, from the top; means are over all IOs that ended."""
    count = max(report.summary.total().latency.count, 1)
    pieces = [Piece(stage.value, part.total_ns / count, hue(stage)) for stage, part in report.summary.stages.items()]
    lost = report.summary.unattributed.total_ns / count
    return [*pieces, *([Piece("unattributed", lost, UNATTRIBUTED)] if lost else [])]


def part_pieces(report: Report, parts: PartSummary, stage: Stage) -> list[Piece]:
    """Return the mean own time of each part of a layer, and of the rest of it."""
    count = max(report.summary.total().latency.count, 1)
    timed = {name: one.own.total_ns / count for name, one in parts.parts_of(stage).items() if one.own.total_ns}
    pieces = [
        Piece(printable(name), mean_ns, colour)
        for (name, mean_ns), colour in zip(timed.items(), _tints(stage, len(timed)), strict=True)
    ]
    return [*pieces, Piece(f"rest of {stage}", parts.rest[stage].total_ns / count, "#DDDDDD")]


def _tints(stage: Stage, count: int) -> Iterator[tuple[float, float, float]]:
    """Yield shades of the layer's colour, dark and light in turn, so that neighbours differ."""
    red, green, blue = to_rgb(hue(stage))
    for number in range(count):
        light = 0.75 * number / max(count, 1) if number % 2 == 0 else 0.75 - 0.6 * number / max(count, 1)
        light = min(max(light, 0.0), 0.75)
        yield red + (1 - red) * light, green + (1 - green) * light, blue + (1 - blue) * light


def _draw(axes: Axes, title: str, pieces: Iterable[Piece]) -> None:
    shown = list(pieces)
    total = sum(piece.mean_ns for piece in shown) or 1.0
    top = total
    middles: list[float] = []
    for piece in shown:
        top -= piece.mean_ns
        middles.append(top + piece.mean_ns / 2)
        axes.bar(
            [0], [piece.mean_ns], bottom=top, width=_WIDTH, color=piece.colour, label=piece.label, ec="white", lw=0.5
        )
    for piece, middle, place in zip(shown, middles, spread(middles, total, _LABEL_STEP * total), strict=True):
        text = f"{piece.label} {time_text(piece.mean_ns)} ({share_text(piece.mean_ns / total)})"
        axes.annotate(
            text,
            (_WIDTH / 2, middle),
            (_WIDTH / 2 + 0.08, place),
            va="center",
            fontsize=8,
            bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none"},
            arrowprops={"arrowstyle": "-", "color": "#999999", "lw": 0.5, "shrinkA": 0, "shrinkB": 0},
        )
    axes.patch.set_visible(False)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlim(-_WIDTH / 2 - 0.05, 1.9)
    axes.set_ylim(0, total)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[["top", "right", "bottom", "left"]].set_visible(False)


def spread(middles: list[float], total: float, step: float) -> list[float]:
    """Move labels, given from the top down, so that each is `step` below the one above or more, all in [0, total]."""
    places: list[float] = []
    for middle in middles:
        places.append(min(middle, places[-1] - step) if places else min(middle, total - step / 2))
    lowest = step / 2
    for number in range(len(places) - 1, -1, -1):
        places[number] = max(places[number], lowest)
        lowest = places[number] + step
    return places


def _connect(picture: Figure, left: Axes, right: Axes, layers: list[Piece], stage: Stage) -> None:
    """Lead from the layer's piece to the bar that opens it."""
    top = sum(piece.mean_ns for piece in layers)
    for piece in layers:
        if piece.label == stage.value:
            height = right.get_ylim()[1]
            for from_ns, to_ns in ((top, height), (top - piece.mean_ns, 0.0)):
                line = ConnectionPatch(
                    (_WIDTH / 2, from_ns),
                    (-_WIDTH / 2, to_ns),
                    "data",
                    "data",
                    axesA=left,
                    axesB=right,
                    color="#999999",
                    lw=0.8,
                    zorder=-1,  # below the labels
                )
                picture.add_artist(line)
            return
        top -= piece.mean_ns
