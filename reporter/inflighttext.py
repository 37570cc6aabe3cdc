"""IOs that had not completed, as text and for machines."""

from collections.abc import Iterator

from vio.layer import Op
from vio.printable import printable
from vio.reporter.grid import Grid, Style, wrapped
from vio.reporter.header import loss_lines
from vio.reporter.inflight import InFlight, InFlightIos
from vio.reporter.units import bytes_text, time_text

Json = dict[str, object]

_SHOWN = 50
_HEADS = ("IO", "op", "disk", "age", "last reached", "since", "guest", "bytes", "image file", "device", "thread")
_LEFT = frozenset({1, 2, 4, 9, 10})
_STATES = {"R": "running", "S": "asleep", "D": "waits, uninterruptible", "T": "stopped", "t": "traced", "Z": "ended"}
_FRAMES = 6


def render_in_flight(found: InFlightIos, *, is_terminal: bool = False) -> str:
    """Write a table, the oldest IO first, and what the threads do that have them."""
    style = Style(is_terminal)
    return "\n".join([*loss_lines(found.recorded, style), *_lines(found, style)]) + "\n"


def _lines(found: InFlightIos, style: Style) -> Iterator[str]:
    if not found.ios:
        yield "every IO that began in the recording has completed in it"
        return
    yield style.heading(f"{len(found.ios):,} IOs had not completed when the recording stopped")
    yield ""
    grid = Grid(_HEADS, _LEFT)
    for one in found.ios[:_SHOWN]:
        grid.add(*_cells(one))
    yield from grid.lines(style)
    if len(found.ios) > _SHOWN:
        yield f"... and {len(found.ios) - _SHOWN:,} younger ones (all of them: --json)"
    yield "age: since the IO began; since: since it reached that point. Addresses in hexadecimal, bytes."
    yield ""
    yield from _thread_lines(found, style)


def _cells(one: InFlight) -> tuple[str, ...]:
    has_place = one.op is not Op.FLUSH
    device = f"{one.device} {one.device_offset:#x}" if one.device_offset is not None else one.device or "-"
    return (
        str(one.io),
        one.op.value,
        printable(one.disk),
        time_text(one.age_ns),
        f"{one.stage} {one.point}".rstrip(),
        time_text(one.waits_ns),
        f"{one.offset:#x}" if has_place else "-",
        bytes_text(one.bytes) if has_place else "-",
        "-" if one.file_offset is None else f"{one.file_offset:#x}",
        printable(device),
        _thread_text(one),
    )


def _thread_text(one: InFlight) -> str:
    if one.thread is None:
        return str(one.tid)
    return printable(f"{one.tid} {one.thread.name} {one.thread.state}")


def _thread_lines(found: InFlightIos, style: Style) -> Iterator[str]:
    if not found.has_threads:
        yield "the threads' states are not in this recording: it had no orderly end, or is of an older vio"
        return
    threads = {one.tid: one.thread for one in found.ios if one.thread is not None}
    gone = sorted({one.tid for one in found.ios if one.thread is None})
    for thread in threads.values():
        state = _STATES.get(thread.state, thread.state)
        where = f" in {thread.wchan}" if thread.wchan else ""
        call = f", system call {thread.syscall}" if thread.syscall.isdecimal() else ""
        stack = f"; stack: {' < '.join(thread.stack[:_FRAMES])}" if thread.stack else ""
        yield from wrapped(printable(f"thread {thread.tid} {thread.name}: {state}{where}{call}{stack}"))
    if gone:
        yield f"gone, or of another process, at the stop: thread {', '.join(map(str, gone))}"


def in_flight_data(found: InFlightIos) -> Json:
    """Return all of them for machines (docs/report-json.md)."""
    return {"has_threads": found.has_threads, "in_flight": [_data(one) for one in found.ios]}


def _data(one: InFlight) -> Json:
    thread = one.thread
    return {
        "io": one.io,
        "op": one.op.value,
        "disk": one.disk,
        "age_ns": one.age_ns,
        "stage": one.stage.value,
        "point": one.point,
        "since_ns": one.waits_ns,
        "offset": one.offset,
        "bytes": one.bytes,
        "file_offset": one.file_offset,
        "device": one.device or None,
        "device_offset": one.device_offset,
        "tid": one.tid,
        "thread": None
        if thread is None
        else {
            "name": thread.name,
            "state": thread.state,
            "wchan": thread.wchan,
            "syscall": thread.syscall,
            "stack": list(thread.stack),
        },
    }
