"""What the page's pictures are drawn from, as one JSON object; times in ns, lengths in bytes."""

import json

import numpy as np

from vio.layer import Phase, Stage
from vio.printable import printable
from vio.reporter import palette
from vio.reporter.bars import bars_of, shares_of
from vio.reporter.histogram import Distribution
from vio.reporter.html.axes import FIRST_ROW_NS, ROWS, ROWS_PER_DECADE
from vio.reporter.html.series import ALL, UNATTRIBUTED, Series, means
from vio.reporter.recorded import stretches
from vio.reporter.result import Report
from vio.schema import OPS

Json = dict[str, object]

_NS = 1_000_000_000
# A page is text in which `<` begins a tag, whatever quotes it stands in; the last two end lines in old JavaScript.
_UNSAFE = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def page_json(report: Report, series: Series) -> str:
    """Write the object so that it can stand between script tags."""
    return json.dumps(page_data(report, series), separators=(",", ":"), allow_nan=False).translate(_UNSAFE)


def page_data(report: Report, series: Series) -> Json:
    """Build the object."""
    recorded, axis = report.recorded, series.axis
    return {
        "time": {
            "begin_s": recorded.second(axis.begin_ns),
            "width_s": axis.width_ns / _NS,
            "count": axis.count,
        },
        "rows": {"first_ns": FIRST_ROW_NS, "per_decade": ROWS_PER_DECADE, "count": ROWS},
        "layers": [_layer(name, series) for name in _names(series)],
        "bars": _bars(report),
        "curves": _curves(report),
        "flows": _flows(report, series),
        "places": [
            {
                "disk": _disk(report, disk),
                "size": _size_of(report, disk),
                "width": places.width_bytes,
                "cells": places.heat.cells(),
            }
            for disk, places in sorted(series.places.items())
            if places.heat.counts.any()
        ],
        "sizes": _sizes(series),
        "losses": [[recorded.second(loss.from_ns), recorded.second(loss.to_ns)] for loss in stretches(recorded.losses)],
    }


def _names(series: Series) -> list[str]:
    return [name for name in (ALL, *Stage, UNATTRIBUTED) if name in series.heats]


def _layer(name: str, series: Series) -> Json:
    return {"name": name, "colour": _colour(name), "cells": series.heats[name].cells()}


def _colour(name: str) -> str:
    if name == UNATTRIBUTED:
        return palette.UNATTRIBUTED
    return "" if name == ALL else palette.hue(Stage(name))


def _bars(report: Report) -> Json:
    bars = bars_of(report)
    layers: list[Json] = []
    for number, stage in enumerate(Stage):
        for place, phase in enumerate(Phase):
            times = [round(bar.mean_ns(number, place), 1) for bar in bars]
            if any(times):
                colour = "#" + "".join(f"{round(part * 255):02x}" for part in palette.shade(stage, phase))
                layers.append({"layer": stage.value, "phase": phase.value, "colour": colour, "mean_ns": times})
    lost = [round(bar.group.unattributed_ns / bar.group.latency.count, 1) for bar in bars]
    if any(lost):
        layers.append({"layer": UNATTRIBUTED, "phase": "", "colour": palette.UNATTRIBUTED, "mean_ns": lost})
    return {
        "labels": [bar.label for bar in bars],
        "counts": [bar.group.latency.count for bar in bars],
        "mean_ns": [round(bar.group.latency.mean_ns, 1) for bar in bars],
        "parts": layers,
        "left_out": sum(bool(group.latency.count) for group in report.summary.groups.values()) - len(bars),
    }


def _curves(report: Report) -> Json:
    summary = report.summary
    latency = summary.total().latency
    shares = shares_of(latency.count)[::2]
    parts: dict[str, Distribution] = {ALL: latency}
    parts |= {stage.value: part for stage, part in summary.stages.items()}
    if summary.unattributed.total_ns:
        parts[UNATTRIBUTED] = summary.unattributed
    return {
        "shares": np.round(shares, 6).tolist(),
        "layers": [
            {
                "name": name,
                "colour": _colour(name),
                "count": part.count,
                "ns": np.round(part.quantiles_ns(shares)).astype(np.int64).tolist(),
            }
            for name, part in parts.items()
            if part.count
        ],
    }


def _flows(report: Report, series: Series) -> list[Json]:
    ordered = sorted(series.flows.items(), key=lambda one: (OPS.index(one[0][0]), one[0][1]))
    return [
        {
            "op": op.value,
            "disk": _disk(report, disk),
            "count": flow.count.tolist(),
            "bytes": flow.bytes.tolist(),
            "depth": means(flow.in_flight_ns, series.axis.width_ns),
        }
        for (op, disk), flow in ordered
    ]


def _sizes(series: Series) -> list[Json]:
    return [
        {
            "op": op.value,
            "classes": [
                [
                    number,
                    part.count,
                    *np.round(part.quantiles_ns([0.5, 0.99])).astype(np.int64).tolist(),
                ]
                for number, part in sorted(sizes.classes.items())
            ],
        }
        for op, sizes in sorted(series.sizes.items(), key=lambda one: OPS.index(one[0]))
    ]


def _size_of(report: Report, number: int) -> int | None:
    disks = report.recorded.manifest.target.disks
    return disks[number].virtual_size_bytes if 0 <= number < len(disks) else None


def _disk(report: Report, number: int) -> str:
    return printable(report.recorded.disk_name(number))
