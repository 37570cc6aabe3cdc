"""The same questions to every way in which vio gives figures: the answers are the same.

A way is a function of a recording that answers all of `Answers`; a new one gets a line in WAYS.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

import vio
from vio.layer import Op, Stage
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
    by_op: dict[Any, Any] | None = None
    spans: dict[Any, Any] | None = None
    own_ns: dict[Any, Any] | None = None
    mean_ns: dict[Any, Any] | None = None
    p99_ns: dict[Any, Any] | None = None
    longest_ns: int | None = None
    joined: dict[Any, Any] | None = None
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
        joined={(one["from"], one["to"]): [one["parents"], one["joined"]] for one in found["join"]},
        losses=len(found["losses"]),
    )


def from_text(recording: Path) -> Answers:
    lines = render_text(report(recording, ReportOptions())).splitlines()
    first = {line.split()[0]: [*line.split(), ""] for line in reversed(lines) if line and not line.startswith(" ")}
    counts = {name: int(cells[1].replace(",", "")) for name, cells in first.items() if cells[1][:1].isdigit()}
    return Answers(
        ios=counts["all"],
        by_op={name: count for name, count in counts.items() if name in set(Op)},
        spans={name: count for name, count in counts.items() if name in set(Stage)},
    )


def from_sql(recording: Path) -> Answers:
    def pairs(query: str) -> dict[Any, Any]:
        found = database.run(query).fetchall()
        return {tuple(key) if len(key) > 1 else key[0]: value for *key, value in found}

    with Database([recording]) as database:
        ios, longest_ns = database.run("select count(*), max(latency_ns) from ios").fetchall()[0]
        some = "from layers where count > 0 and phase is not null"
        return Answers(
            ios=ios,
            by_op=pairs("select op, count(*) from ios group by op"),
            spans=pairs("select stage, count(own_ns) from spans group by stage"),
            own_ns=pairs("select stage, sum(own_ns) from spans group by stage"),
            mean_ns=pairs(f"select stage, phase, mean_ns {some}"),
            p99_ns=pairs(f"select stage, phase, p99_ns {some}"),
            longest_ns=longest_ns,
            joined=pairs("select source, target, [parents, joined] from links"),
            losses=database.run("select count(*) from losses").fetchall()[0][0],
        )


def from_python(recording: Path) -> Answers:
    with vio.open(recording) as opened:
        ios, spans = opened.ios(), opened.spans()
        layers = opened.layers.query("phase.notna() and `count` > 0").set_index(["stage", "phase"])
        links = opened.links
        pairs = zip(links["source"], links["target"], strict=True)
        return Answers(
            ios=len(ios),
            by_op=ios.groupby("op").size().to_dict(),
            spans=spans.groupby("stage").size().to_dict(),
            own_ns=spans.groupby("stage")["own_ns"].sum().astype(int).to_dict(),
            mean_ns=layers["mean_ns"].to_dict(),
            p99_ns=layers["p99_ns"].to_dict(),
            longest_ns=int(ios["latency_ns"].max()),
            joined=dict(zip(pairs, links[["parents", "joined"]].values.tolist(), strict=True)),
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
            else:
                assert one == given["json"], f"{question}: {way}"
