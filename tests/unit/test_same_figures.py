"""The same questions to every way in which vio gives figures: the answers are the same.

A way is a function of a recording that answers all of `Answers`; a new one gets a line in WAYS.
"""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

import vio
from vio.reporter.choice import Filter
from vio.reporter.export.chosen import ChosenIos
from vio.reporter.export.perfetto import write_perfetto
from vio.reporter.machine import to_json
from vio.reporter.report import ReportOptions, report
from vio.reporter.sql.database import Database
from vio.reporter.text import render_text

ROOT = Path(__file__).parents[2]
RECORDINGS = ("reporter/sample/demo.vio", "tests/data/scsi.vio", "tests/data/bench.vio", "tests/data/stacks.vio")


@dataclass(frozen=True)
class Answers:
    """None: this way does not say it. Times in ns; `own` is by stage, over the IOs that ended."""

    ios: int | None = None
    by_op: dict[str, int] | None = None
    spans: dict[str, int] | None = None
    own_ns: dict[str, int] | None = None
    mean_ns: dict[tuple[str, str], float] | None = None
    p99_ns: dict[tuple[str, str], int] | None = None
    longest_ns: int | None = None
    joined: dict[tuple[str, str], tuple[int, int]] | None = None
    losses: int | None = None


def from_json(recording: Path) -> Answers:
    found = json.loads(json.dumps(to_json(report(recording, ReportOptions()))))
    return Answers(
        ios=found["io_count"],
        by_op={one["op"]: one["io_count"] for one in found["ops"]},
        spans={one["stage"]: one["count"] for one in found["stages"] if one["count"]},
        own_ns={one["stage"]: round(one["mean_ns"] * one["count"]) for one in found["stages"] if one["count"]},
        mean_ns={(one["stage"], one["phase"]): one["mean_ns"] for one in found["layers"] if one["count"]},
        p99_ns={(one["stage"], one["phase"]): one["p99_ns"] for one in found["layers"] if one["count"]},
        longest_ns=found["latency"]["max_ns"],
        joined={(one["from"], one["to"]): (one["parents"], one["joined"]) for one in found["join"]},
        losses=len(found["losses"]),
    )


def from_text(recording: Path) -> Answers:
    lines = render_text(report(recording, ReportOptions())).splitlines()
    head = next(number for number, line in enumerate(lines) if line.split()[:2] == ["operation", "disk"])
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines[head + 1 :]]
    table = rows[: rows.index([""])]
    by_op: dict[str, int] = {}
    for row in table:
        by_op[row[0]] = by_op.get(row[0], 0) + int(row[2].replace(",", ""))
    return Answers(by_op={op: count for op, count in by_op.items() if op != "all"})


def from_sql(recording: Path) -> Answers:
    with Database([recording]) as database:

        def rows(query: str) -> list[tuple[object, ...]]:
            return database.run(query).fetchall()

        (ios, longest_ns), *_ = rows("select count(*), max(latency_ns) from ios")
        return Answers(
            ios=ios,  # type: ignore[arg-type]
            by_op=dict(rows("select op, count(*) from ios group by op")),  # type: ignore[arg-type]
            spans=dict(rows("select stage, count(own_ns) from spans group by stage")),  # type: ignore[arg-type]
            own_ns=dict(rows("select stage, sum(own_ns) from spans group by stage")),  # type: ignore[arg-type]
            mean_ns={
                (a, b): c
                for a, b, c in rows("select stage, phase, mean_ns from layers where count > 0 and phase is not null")
            },  # type: ignore[misc]
            p99_ns={
                (a, b): c
                for a, b, c in rows("select stage, phase, p99_ns from layers where count > 0 and phase is not null")
            },  # type: ignore[misc]
            longest_ns=longest_ns,  # type: ignore[arg-type]
            joined={(a, b): (c, d) for a, b, c, d in rows("select source, target, parents, joined from links")},  # type: ignore[misc]
            losses=len(rows("from losses")),
        )


def from_python(recording: Path) -> Answers:
    with vio.open(recording) as opened:
        ios, spans = opened.ios(), opened.spans()
        layers = opened.layers.query("phase.notna() and `count` > 0").set_index(["stage", "phase"])
        links = opened.links
        return Answers(
            ios=len(ios),
            by_op=ios.groupby("op").size().to_dict(),
            spans=spans.groupby("stage").size().to_dict(),
            own_ns=spans.groupby("stage")["own_ns"].sum().astype(int).to_dict(),
            mean_ns=layers["mean_ns"].to_dict(),
            p99_ns=layers["p99_ns"].to_dict(),
            longest_ns=int(ios["latency_ns"].max()),
            joined={(one.source, one.target): (one.parents, one.joined) for one in links.itertuples()},  # type: ignore[misc]
            losses=len(opened.losses),
        )


def from_perfetto(recording: Path) -> Answers:
    file = recording.with_suffix(".pftrace")
    done = write_perfetto(ChosenIos.of(recording, Filter()), file)
    trace = Trace()
    trace.ParseFromString(file.read_bytes())
    names = {one.track_descriptor.uuid: one.track_descriptor.name for one in trace.packet}
    spans: dict[str, int] = {}
    own_ns: dict[str, int] = {}
    for packet in trace.packet:
        if packet.track_event.type == TrackEvent.TYPE_SLICE_BEGIN:
            stage = names[packet.track_event.track_uuid]
            notes = packet.track_event.debug_annotations
            spans[stage] = spans.get(stage, 0) + 1
            own_ns[stage] = own_ns.get(stage, 0) + sum(one.int_value for one in notes if one.name.startswith("own_"))
    return Answers(ios=done.ios, spans=spans, own_ns=own_ns)


# `vio report --html` belongs here too.
WAYS: dict[str, Callable[[Path], Answers]] = {
    "json": from_json,
    "text": from_text,
    "sql": from_sql,
    "python": from_python,
    "perfetto": from_perfetto,
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_every_way_gives_the_same_figures(name: str, tmp_path: Path) -> None:
    copy = tmp_path / Path(name).name
    shutil.copytree(ROOT / name, copy)
    answers = {way: answer(copy) for way, answer in WAYS.items()}
    for question in Answers.__dataclass_fields__:
        said = {way: getattr(one, question) for way, one in answers.items()}
        given = {way: one for way, one in said.items() if one is not None}
        assert len(given) >= 2, question
        for way, one in given.items():
            if question == "own_ns":  # a mean of one decimal in the JSON
                assert one == pytest.approx(given["sql"], rel=1e-3, abs=200), f"{question}: {way}"
            elif question == "joined":  # one pair may be tied by two kinds of evidence
                assert one == given["json"], f"{question}: {way}"
            else:
                assert one == given["json"], f"{question}: {way}"
