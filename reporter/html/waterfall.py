"""The timeline of one IO as rows of a table, each with a bar: where it begins and ends, in per cent of the whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vio.layer import Stage
from vio.printable import printable
from vio.reporter.html.slow import Work
from vio.reporter.html.tables import Table, table_of
from vio.reporter.latertext import later_grid, left_out
from vio.reporter.palette import hue
from vio.reporter.recorded import Recorded
from vio.reporter.result import IoRow, number_in
from vio.reporter.timeline import Node, build_tree, own_ns, span_place
from vio.reporter.units import bytes_text, time_text
from vio.reporter.waittext import words_of
from vio.schema import LACKS, OPS

_LEAST_PERCENT = 0.15


@dataclass(frozen=True, slots=True)
class Step:
    """One span, or a part of one: `left` and `width` of its bar in per cent, `own` the own time, at the first span."""

    name: str
    depth: int
    place: str
    begin: str
    lasts: str
    own: str
    colour: str
    left: float
    width: float
    is_open: bool
    is_part: bool


@dataclass(frozen=True, slots=True)
class SlowIo:
    """One IO for the page: its row of the table, its timeline, and what came after its end."""

    io: int
    op: str
    disk: str
    offset: str
    bytes: str
    begun: str
    latency: str
    latency_ns: int
    most: str
    steps: tuple[Step, ...]
    notes: tuple[str, ...]
    ticks: tuple[str, ...]
    later: Table | None


def slow_io(row: IoRow, work: Work, recorded: Recorded, most: str) -> SlowIo:
    """Describe one IO of the per-IO table and what it led to."""
    begin_ns = number_in(row, "begin_ns")
    has_ended = row["latency_ns"] is not None
    ends_ns = [span.end_ns for span in work.spans if span.end_ns is not None]
    last_ns = begin_ns + number_in(row, "latency_ns") if has_ended else recorded.stop_ns
    length_ns = max(last_ns - begin_ns, *(end_ns - begin_ns for end_ns in ends_ns), 1)
    return SlowIo(
        io=number_in(row, "io"),
        op=OPS[number_in(row, "op")].value,
        disk=printable(recorded.disk_name(number_in(row, "disk"))),
        offset=f"{number_in(row, 'offset'):#x}",
        bytes=bytes_text(number_in(row, "bytes")),
        begun=f"{recorded.second(begin_ns):.6f} s",
        latency=time_text(last_ns - begin_ns),
        latency_ns=last_ns - begin_ns,
        most=most,
        steps=tuple(_steps(row, work, begin_ns, length_ns)),
        notes=tuple(_notes(row, work)),
        ticks=tuple(time_text(length_ns * part / 4) if part else "0" for part in range(5)),
        later=_later(row, work.later, recorded),
    )


def _later(row: IoRow, later: Sequence[IoRow], recorded: Recorded) -> Table | None:
    caption = f"What of IO {row['io']} was written back later, in us from its begin"
    return table_of(caption, later_grid(row, later, recorded)) if later else None


def _steps(row: IoRow, work: Work, begin_ns: int, length_ns: int) -> Iterator[Step]:
    shown: set[Stage] = set()
    for node, depth in walk(build_tree(work.spans)):
        span = node.span
        is_first = not span.part and span.stage not in shown
        own = span.own_ns if span.part else own_ns(row, span.stage) if is_first else None
        waited = words_of(work.waits.get(span.stage, {})) if is_first else ""
        if is_first:
            shown.add(span.stage)
        end_ns = span.end_ns if span.end_ns is not None else begin_ns + length_ns
        left = min(max(100 * (span.begin_ns - begin_ns) / length_ns, 0.0), 100.0)
        width = min(max(100 * (end_ns - span.begin_ns) / length_ns, _LEAST_PERCENT), 100.0 - left + _LEAST_PERCENT)
        yield Step(
            name=printable(span.part) if span.part else span.stage.value,
            depth=depth,
            place="; ".join(filter(None, (span_place(span), waited))),
            begin=time_text(span.begin_ns - begin_ns),
            lasts="no end seen" if span.end_ns is None else time_text(span.end_ns - span.begin_ns),
            own="" if own is None else time_text(own),
            colour=hue(span.stage),
            left=round(left, 3),
            width=round(width, 3),
            is_open=span.end_ns is None,
            is_part=bool(span.part),
        )


def walk(nodes: Sequence[Node], depth: int = 0) -> Iterator[tuple[Node, int]]:
    """Yield the nodes of trees from the top, each before what it led to."""
    for node in nodes:
        yield node, depth
        yield from walk(node.children, depth + 1)


def _notes(row: IoRow, work: Work) -> Iterator[str]:
    lacks = [what for bit, what in LACKS.items() if number_in(row, "lack") & bit]
    if lacks:
        yield f"Not whole: it lacks {', '.join(lacks)}."
    if row["is_ambiguous"]:
        yield "Ambiguous: some of the work below could be another IO's."
    carrier = row["merged_into"]
    if carrier is not None and carrier >= 0:
        yield f"Merged by QEMU: IO {carrier} carries it through the lower layers."
    if row["unattributed_ns"]:
        yield f"No observed layer claims {time_text(number_in(row, 'unattributed_ns'))} of it."
    if left_out(work.later):
        yield f"Writebacks: {left_out(work.later)}."
    if work.left_out:
        yield f"{work.left_out:,} more spans are left out here: vio report RECORDING --io {row['io']} shows them."
