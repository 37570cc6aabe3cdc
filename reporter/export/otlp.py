"""OpenTelemetry's file format: a line of JSON for some hundred IOs, one trace an IO, one span a stage."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from vio.layer import Phase
from vio.printable import printable
from vio.reporter.export.chosen import ChosenIos
from vio.reporter.export.exported import Exported
from vio.reporter.export.pieces import Pieces
from vio.reporter.recorded import Recorded
from vio.reporter.result import IoRow, number_in
from vio.reporter.spans import hulls
from vio.reporter.timeline import Node, build_tree
from vio.schema import OPS, time_column

_IOS_IN_LINE = 256
_INTERNAL = 1  # SpanKind
Json = dict[str, object]


def write_otlp(ios: ChosenIos, path: Path) -> Exported:
    """Write the IOs as OTLP JSON; times are of the wall clock, as it was at the recording's start.

    Raises:
        OutputError: the file cannot be written.
    """
    traces = _Traces(ios.recorded)
    done = Exported([])
    with Pieces(path, 1 << 62) as pieces:
        pieces.begin()
        for rows in ios.rows():
            for first in range(0, len(rows), _IOS_IN_LINE):
                spans = [span for row in rows[first : first + _IOS_IN_LINE] for span in traces.spans(row)]
                done.spans += len(spans)
                pieces.write(json.dumps(traces.request(spans), separators=(",", ":")).encode() + b"\n")
            done.ios += len(rows)
    done.files, done.bytes = pieces.files, pieces.total_bytes
    return done


class _Traces:
    """Makes spans; the numbers of traces are of the recording and the IO, the same in every export."""

    def __init__(self, recorded: Recorded) -> None:
        start = recorded.manifest.clock.start
        self._recorded = recorded
        self._to_wall_ns = start.wall_ns - start.boottime_ns
        self._recording = hashlib.sha256(recorded.fingerprint.encode()).hexdigest()[:16]

    def request(self, spans: list[Json]) -> Json:
        """Wrap spans as an export request."""
        target, host = self._recorded.manifest.target, self._recorded.manifest.host
        resource = {
            "service.name": printable(target.name or target.exe),
            "host.name": printable(host.name),
            "process.pid": target.pid,
        }
        scope = {"scope": {"name": "vio"}, "spans": spans}
        return {"resourceSpans": [{"resource": {"attributes": _attributes(resource)}, "scopeSpans": [scope]}]}

    def spans(self, row: IoRow) -> Iterator[Json]:
        """Yield the span of the IO, then one for each stage, each below the stage that it was begun in."""
        begin_ns, latency_ns = number_in(row, "begin_ns"), row["latency_ns"]
        end_ns = None if latency_ns is None else begin_ns + latency_ns
        about: Json = {
            "vio.io": row["io"],
            "vio.disk": printable(self._recorded.disk_name(number_in(row, "disk"))),
            "vio.offset": row["offset"],
            "vio.bytes": row["bytes"],
            "vio.unattributed_ns": row["unattributed_ns"],
        }
        root = self._span(row, 0, None, OPS[number_in(row, "op")].value, begin_ns, end_ns, about)
        yield root
        waiting: list[tuple[Node, object]] = [(node, root["spanId"]) for node in build_tree(hulls(row, self._recorded))]
        number = 0
        while waiting:
            node, parent = waiting.pop(0)
            number += 1
            one = node.span
            own = {f"vio.own_{phase}_ns": row[time_column(one.stage, phase)] for phase in Phase}
            place = {"vio.space": printable(one.space) or None, "vio.offset": one.offset}
            made = self._span(row, number, parent, one.stage.value, one.begin_ns, one.end_ns, {**own, **place})
            yield made
            waiting += [(child, made["spanId"]) for child in node.children]

    def _span(
        self, row: IoRow, number: int, parent: object, name: str, begin_ns: int, end_ns: int | None, about: Json
    ) -> Json:
        """Make one span; one whose end was not seen ends when it begins, and says so."""
        io = number_in(row, "io")
        ended: Json = {} if end_ns is not None else {"vio.is_ended": False}
        return {
            "traceId": f"{self._recording}{io + 1:016x}",
            "spanId": f"{(io << 8) + number + 1:016x}",
            **({"parentSpanId": parent} if parent else {}),
            "name": name,
            "kind": _INTERNAL,
            "startTimeUnixNano": str(begin_ns + self._to_wall_ns),
            "endTimeUnixNano": str(max(begin_ns, end_ns or 0) + self._to_wall_ns),
            "attributes": _attributes({**about, **ended}),
        }


def _attributes(values: Json) -> list[Json]:
    return [{"key": key, "value": _value(value)} for key, value in values.items() if value is not None]


def _value(value: object) -> Json:
    """Write a value as OTLP does: a whole number is text."""
    if isinstance(value, bool):
        return {"boolValue": value}
    return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": str(value)}
