"""The report as one JSON object for machines: docs/report-json.md describes it. Shares of nothing are null."""

import json

import numpy as np

from vio.layer import Phase, Stage
from vio.quantity import NO_END_S
from vio.reporter.byfiletext import file_data
from vio.reporter.cachefigures import WritebackFigures
from vio.reporter.cachetext import not_linked
from vio.reporter.choice import Filter
from vio.reporter.group import Group
from vio.reporter.histogram import Distribution
from vio.reporter.hops import Hops
from vio.reporter.partsum import PartSummary
from vio.reporter.quality import Evidence, JoinRow
from vio.reporter.recorded import Recorded
from vio.reporter.result import IoRow, Report, Unreached, longest_part, number_in, rows_of
from vio.reporter.showntext import shown_data
from vio.reporter.summary import Summary
from vio.reporter.verdict.data import not_judged_data, verdict_data
from vio.reporter.waits import WITHIN, Wait
from vio.reporter.waitsum import Place
from vio.schema import OPS

MAJOR = 1
MINOR = 4

Json = dict[str, object]

_QUANTILES = {"p50_ns": 0.5, "p90_ns": 0.9, "p99_ns": 0.99, "p999_ns": 0.999}


def render_json(report: Report) -> str:
    """Write the report as one JSON object, indented, with a line end."""
    return json.dumps(to_json(report), indent=1, allow_nan=False, ensure_ascii=True) + "\n"


def to_json(report: Report) -> Json:
    """Build the object."""
    summary, recorded = report.summary, report.recorded
    total = summary.total()
    return {
        "schema": {"major": MAJOR, "minor": MINOR},
        "recording": _recording(recorded),
        "choice": _choice(report.choice),
        "io_count": total.io_count,
        "whole_io_count": total.whole_count,
        "ended_io_count": total.latency.count,
        "bytes": total.bytes,
        "losses": _losses(recorded),
        "is_healthy": report.verdict.is_healthy if report.verdict.where else None,
        "verdict": verdict_data(report.verdict),
        "not_judged": not_judged_data(report.verdict),
        "latency": _times(total.latency),
        "layers": _phases(summary),
        "stages": _stages(summary, report.parts),
        "way": _way(report.parts.hops) if report.parts else None,
        "unattributed_share": _share(summary.unattributed.total_ns, summary.total_ns),
        "unattributed": _times(summary.unattributed),
        "waits": _waits(report),
        "of_which": {
            "metadata": _of_which(report.of_which.metadata, summary) | {"reads": report.of_which.metadata_reads},
            "cow": _of_which(report.of_which.cow, summary),
        },
        "not_reached": [_unreached(gap) for gap in report.unreached()],
        "lacks": [{"lack": what, "count": count} for what, count in summary.lacks.items()],
        "ops": [{"op": op.value, **_group(group)} for op, group in summary.by_op().items()],
        "disks": [
            {"disk": recorded.disk_name(number), "index": number, **_group(group)}
            for number, group in summary.by_disk().items()
        ],
        "join": [_join(row) for row in report.quality.rows],
        "ambiguous_io_count": summary.ambiguous_count,
        "ambiguous_link_count": report.quality.ambiguous,
        "orphans": [{"name": name, "count": count} for name, count in report.quality.orphans.items()],
        "writeback": _writeback(report.writeback, report) if report.writeback else None,
        "shown": shown_data(report.shown, report.shown_path) if report.shown else None,
        "files": None if report.files is None else [file_data(one, recorded) for one in report.files],
        "slowest": [_io(row, recorded) for row in rows_of(report.slowest)],
        "not_ended": [_io(row, recorded) for row in rows_of(report.unended)],
        "table": str(report.table_path) if report.table_path else None,
        "notes": list(report.notes),
    }


def _of_which(part: Distribution, summary: Summary) -> Json:
    return {"time_share": _share(part.total_ns, summary.total_ns), **_times(part)}


def _recording(recorded: Recorded) -> Json:
    manifest = recorded.manifest
    return {
        "path": recorded.path,
        "state": manifest.state.value,
        "end": recorded.end_text,
        "started": recorded.started_text,
        "start_ns": recorded.start_ns,
        "duration_s": recorded.duration_s,
        "target": {"name": manifest.target.name, "pid": manifest.target.pid, "kind": manifest.target.kind},
        "host": {
            "name": manifest.host.name,
            "kernel": manifest.host.kernel,
            "stolen_share": recorded.stolen_share,
        },
        "absent": [{"point": one.name, "layer": one.layer.value, "without": one.without} for one in manifest.absent],
        "notes": list(manifest.notes),
    }


def _choice(choice: Filter) -> Json:
    between: Json = {}
    if choice.between_s:
        begin_s, end_s = choice.between_s
        between = {"from_s": begin_s, "to_s": end_s if end_s < NO_END_S else None}
    return {"ops": [op.value for op in choice.ops], "disks": list(choice.disks), "between": between or None}


def _losses(recorded: Recorded) -> list[Json]:
    return [
        {
            "kind": loss.kind,
            "where": loss.where,
            "records": loss.records if loss.records >= 0 else None,
            "from_s": recorded.second(loss.from_ns),
            "to_s": recorded.second(loss.to_ns),
        }
        for loss in recorded.losses
    ]


def _times(part: Distribution) -> Json:
    if not part.count:
        return {"count": 0, "mean_ns": None, **dict.fromkeys(_QUANTILES), "max_ns": None}
    values = part.quantiles_ns(list(_QUANTILES.values()))
    quantiles = {name: round(value) for name, value in zip(_QUANTILES, values.tolist(), strict=True)}
    return {"count": part.count, "mean_ns": round(part.mean_ns, 1), **quantiles, "max_ns": part.max_ns}


def _waits(report: Report) -> list[Json] | None:
    if report.waits is None:
        return None
    return [
        {
            "wait": wait.value,
            "stage": stage.value if stage else None,
            "time_share": _share(part.total_ns, report.summary.total_ns) if wait in WITHIN else None,
            **_times(part),
        }
        for (wait, stage), part in sorted(report.waits.by_place.items(), key=_wait_order)
    ]


def _wait_order(item: tuple[Place, Distribution]) -> tuple[int, int]:
    wait, stage = item[0]
    return list(Wait).index(wait), list(Stage).index(stage) if stage else -1


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _place(stage: Stage) -> Json:
    return {"layer": stage.layer.value, "stage": stage.value}


def _phases(summary: Summary) -> list[Json]:
    return [
        {**_place(stage), "phase": phase.value, "time_share": _share(part.total_ns, summary.total_ns), **_times(part)}
        for (stage, phase), part in summary.phases.items()
    ]


def _stages(summary: Summary, opened: PartSummary | None) -> list[Json]:
    return [
        {
            **_place(stage),
            "time_share": _share(part.total_ns, summary.total_ns),
            **_times(part),
            **(_parts(stage, part.total_ns, opened) if opened and stage in opened.rest else {}),
        }
        for stage, part in summary.stages.items()
    ]


def _parts(stage: Stage, total_ns: int, opened: PartSummary) -> Json:
    """Of an opened layer: its parts, whose shares are of the layer's own time, and the rest of it."""
    rest = opened.rest[stage]
    parts: list[Json] = [
        {
            "part": name,
            "is_mark": one.is_mark,
            "span_count": one.span_count,
            "open_count": one.open_count,
            "layer_share": _share(one.own.total_ns, total_ns),
            "total_ns": one.own.total_ns,
            **_times(one.own),
        }
        for name, one in opened.parts_of(stage).items()
    ]
    rest_json = {"layer_share": _share(rest.total_ns, total_ns), "total_ns": rest.total_ns, **_times(rest)}
    return {"total_ns": total_ns, "parts": parts, "rest": rest_json}


def _way(hops: Hops) -> Json:
    """Of the first IOs that pass opened layers: the time from each point to the next; null where one was not passed."""
    known = hops.count > 0
    return {
        "points": list(hops.points),
        "count": hops.count.tolist(),
        **{
            name: [int(value) if is_known else None for value, is_known in zip(of.tolist(), known, strict=True)]
            for name, of in (
                ("mean_ns", hops.total_ns // np.maximum(hops.count, 1)),
                ("min_ns", hops.least_ns),
                ("max_ns", hops.most_ns),
            )
        },
        "ios": [
            {
                "io": row.io,
                "device_offset": row.device_offset,
                "hops_ns": [None if hop < 0 else hop for hop in row.hops_ns],
            }
            for row in hops.rows
        ],
    }


def _unreached(gap: Unreached) -> Json:
    return {**_place(gap.stage), "count": gap.count, "of": gap.of, "is_recorded": gap.is_recorded}


def _group(group: Group) -> Json:
    by_stage: list[Json] = [
        {
            **_place(stage),
            "count": int(group.reached[number]),
            **{f"{phase}_ns": int(time_ns) for phase, time_ns in zip(Phase, group.times_ns[number], strict=True)},
        }
        for number, stage in enumerate(Stage)
        if group.reached[number]
    ]
    return {
        "io_count": group.io_count,
        "whole_io_count": group.whole_count,
        "bytes": group.bytes,
        "latency": _times(group.latency),
        "time": by_stage,
        "unattributed_ns": group.unattributed_ns,
    }


def _join(row: JoinRow) -> Json:
    return {
        "from": row.source,
        "to": row.to,
        "evidence": row.evidence.value,
        "parents": row.parents,
        "joined": row.joined,
        "joined_share": row.joined_share,
        "checked": row.checked,
        "disagree": row.disagree,
        "disagree_share": row.disagree_share,
    }


def _writeback(figures: WritebackFigures, report: Report) -> Json:
    return {
        "evidence": Evidence.ADDRESS.value,
        "cached_bytes": figures.cached_bytes,
        "written_back_bytes": figures.linked_bytes + figures.own_bytes,
        "written_back_share": figures.written_back_share,
        "own_bytes": figures.own_bytes,
        "overwritten_bytes": figures.overwritten_bytes,
        "dropped_bytes": figures.dropped_bytes,
        "left_bytes": figures.left_bytes,
        "left_io_count": figures.left_ios,
        "lost_bytes": figures.lost_bytes,
        "bio_count": figures.bios,
        "device_bytes": figures.device_bytes,
        "linked_bio_count": figures.linked_bios,
        "linked_bytes": figures.linked_bytes,
        "linked_share": figures.linked_share,
        "caused_bytes": figures.caused_bytes,
        "not_linked": [{"reason": reason, "bytes": count} for reason, count in not_linked(figures)],
        "after_end": _times(figures.after_end),
        "table": str(report.writebacks_path) if report.writebacks_path else None,
    }


def _io(row: IoRow, recorded: Recorded) -> Json:
    part = longest_part(row)
    return {
        "io": row["io"],
        "op": OPS[number_in(row, "op")].value,
        "disk": recorded.disk_name(number_in(row, "disk")),
        "offset": row["offset"],
        "bytes": row["bytes"],
        "begin_s": recorded.second(number_in(row, "begin_ns")),
        "latency_ns": row["latency_ns"],
        "longest": part[0] if part else None,
        "longest_ns": part[1] if part else None,
        "waits": {wait.value: row[wait.column] for wait in Wait},
    }
