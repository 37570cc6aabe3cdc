"""The spans of one IO: one for each piece of work, or, from its row of the per-IO table, one hull for each stage."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from vio.layer import Layer, Stage
from vio.manifest import PointInfo
from vio.reporter.join import Joined
from vio.reporter.recorded import Recorded
from vio.reporter.result import IoRow, number_in
from vio.terms import HULLS

GUEST_DISK, IMAGE_FILE = "guest disk", "image file"

_STAGES = tuple(Stage)
# What a point says of its event's columns, where these are an address and a length.
_ADDRESSES = {"offset=guest-disk", "offset=node", "offset=file", "offset=device"}
_LENGTHS = {"bytes", "bytes=payload"}


@dataclass(frozen=True, slots=True)
class Span:
    """One stage's work on one piece of an IO; no end: it was not seen. No offset: the point does not say it."""

    stage: Stage
    begin_ns: int
    end_ns: int | None
    offset: int | None = None
    bytes: int | None = None
    space: str = ""
    part: str = ""
    own_ns: int | None = None


def part_spans(stages: pa.Table) -> list[Span]:
    """Return the spans of parts (schema.STAGES) of one IO."""
    return [
        Span(
            _STAGES[row["stage"]],
            row["begin_ns"],
            row["begin_ns"] if row["own_ns"] is None else row["end_ns"],
            part=row["part"],
            own_ns=row["own_ns"],
        )
        for row in stages.to_pylist()
    ]


def hulls(row: IoRow, recorded: Recorded) -> list[Span]:
    """Derive one span for each stage that an IO reached, from its first begin to its last end."""
    found = []
    for stage, (begins, ends) in HULLS.items():
        begin_ns = _first_of(row, begins)
        if begin_ns is not None:
            found.append(Span(stage, begin_ns, _first_of(row, ends), *_row_place(stage, row, recorded)))
    return found


def _first_of(row: IoRow, names: tuple[str, ...]) -> int | None:
    return next((number_in(row, f"t_{name}_ns") for name in names if row[f"t_{name}_ns"] is not None), None)


def _row_place(stage: Stage, row: IoRow, recorded: Recorded) -> tuple[int | None, int | None, str]:
    offset: int | None = None
    if stage in {Stage.QEMU_DEVICE, Stage.QEMU_BLOCK}:
        return number_in(row, "offset"), number_in(row, "bytes"), GUEST_DISK
    if stage in {Stage.QEMU_AIO, Stage.VFS, Stage.FS} and row["file_offset"] is not None:
        return number_in(row, "file_offset"), offset, IMAGE_FILE
    if stage in {Stage.BLOCK, Stage.DEVICE} and row["device_offset"] is not None:
        return number_in(row, "device_offset"), offset, recorded.device_name(number_in(row, "device"))
    return None, None, ""


def spans_of(joined: Joined, position: int, recorded: Recorded) -> list[Span]:
    """Return the spans of the IO at a position of a joined window, each with the address that its point gave."""
    points = {point.number: point for point in recorded.manifest.points}
    mine = np.flatnonzero(joined.spans.owner == position)
    return [_span(joined, int(one), points, recorded) for one in mine]


def _span(joined: Joined, number: int, points: dict[int, PointInfo], recorded: Recorded) -> Span:
    spans, ev = joined.spans, joined.window.events
    stage, begin, end = _STAGES[int(spans.stage[number])], int(spans.begin[number]), int(spans.end[number])
    end_ns = int(ev.ts_ns[end]) if end >= 0 else None
    point = points.get(int(ev.point[begin]))
    says = set(point.fields.split()) if point else set()
    if stage is Stage.QEMU_DEVICE and "offset=guest-disk" not in says:
        # A SCSI command's own words, or a discard: what is asked for was made out of it.
        owner = int(spans.owner[number])
        place = int(joined.ios.offset[owner]), int(joined.ios.bytes[owner])
        return Span(stage, int(ev.ts_ns[begin]), end_ns, *place, GUEST_DISK)
    if not says & _ADDRESSES:
        return Span(stage, int(ev.ts_ns[begin]), end_ns)
    length = int(ev.bytes[begin]) if says & _LENGTHS else None
    space = _space(stage, int(ev.space[begin]), recorded)
    return Span(stage, int(ev.ts_ns[begin]), end_ns, int(ev.offset[begin]), length, space)


def _space(stage: Stage, space: int, recorded: Recorded) -> str:
    if stage in {Stage.QEMU_DEVICE, Stage.QEMU_BLOCK}:
        return GUEST_DISK
    if stage.layer in {Layer.BLOCK, Layer.DEVICE}:
        return recorded.device_name(space)
    return "loop's file" if stage is Stage.LOOP_FS else IMAGE_FILE
