"""The running recording: bpftrace's output in, segments out, until something ends it."""

import select
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vio.errors import HostError, OutputError
from vio.losses import Loss, LossKind
from vio.manifest import EndReason, Moment
from vio.recorder.bpftrace import Bpftrace
from vio.recorder.clock import boottime_ns, moment
from vio.recorder.ingest import Ingest
from vio.recorder.missed import MissedHits
from vio.recorder.rows import Rows
from vio.recorder.stop import StopSignals
from vio.recorder.stored import StoredIngest
from vio.recorder.tracebuffer import TraceBuffer
from vio.recorder.writer import SegmentWriter

SEGMENT_S = 2.0
SEGMENT_ROWS = 2_000_000
TICK_S = 0.25
FAST_TICK_S = 0.02
TRACE_S = 0.25  # each reading of the trace buffer costs some ms, however little there is
FAST_TRACE_S = 0.02
_FILLING = 0.3
_WANTED = 0.1  # of a map, when it is emptied: what is emptied often stays in the processor's cache
SAMPLE_S = 1.0
SLACK_NS = 500_000_000  # what one CPU's buffer may be read later than another's
_PAUSE_S = 0.01  # the pipe is the buffer: being woken for each line would cost more than reading
_ATTACH_S = 180.0
_WORKING_ATTACH_S = 1800.0  # where bpftrace is still at work: on an emulated processor it compiles for minutes
_WORKING_SHARE = 0.1
_QUIET_S = 0.2
_BACKLOG_S = 3.0  # more than all buffers hold; while the target is busy there is never quiet
_END_S = 15.0


@dataclass(frozen=True, slots=True)
class Watched:
    """What a session listens to; `pidfd` becomes readable when the target ends."""

    tracer: Bpftrace
    stop: StopSignals
    pidfd: int


@dataclass(frozen=True, slots=True)
class Ended:
    """How a session ended: `stop` is when the probes began to go, `in_kernel` is None if the counts did not arrive."""

    reason: EndReason
    detail: str
    losses: list[Loss]
    in_kernel: int | None
    stop: Moment
    error: OutputError | None = None


class Session:
    """One recording from READY to the last row. `on_sample` is called about once a second, `on_stop` at the stop."""

    def __init__(
        self, watched: Watched, ingest: Ingest | StoredIngest, writer: SegmentWriter, missed: MissedHits
    ) -> None:
        self.ingest = ingest
        self.writer = writer
        self.on_sample: Callable[[], None] = lambda: None
        self.on_stop: Callable[[], None] = lambda: None
        self._watched = watched
        self._missed = missed
        self._pending = 0
        self._traces: TraceBuffer | None = None
        self.traced = 0
        self._next_s = dict.fromkeys(("trace", "take", "sample", "segment"), 0.0)
        self._tick_s = TICK_S

    @property
    def workers(self) -> Mapping[int, str]:
        """Name the kernel's threads that have carried the target's IO on, by their ids."""
        return self._traces.workers if self._traces else {}

    def add_traces(self, traces: TraceBuffer) -> None:
        """Take the tracepoints' records from there; it is recording already."""
        self._traces = traces

    def wait_ready(self) -> bool:
        """Wait until the probes are attached; False if the user does not want to any more.

        Raises:
            HostError: bpftrace ended instead, or has stopped getting on.
        """
        pause_s = TICK_S if self.ingest.is_text else FAST_TICK_S
        began_s = time.monotonic()
        tracer, stop = self._watched.tracer, self._watched.stop
        while not self.ingest.printed.is_ready:
            select.select([tracer.fileno(), stop.fileno()], [], [], pause_s)
            if stop.count:
                return False
            self.ingest.feed(tracer.read())
            self.ingest.take()
            if tracer.is_eof:
                raise tracer.failure()
            if self._is_late(time.monotonic() - began_s):
                raise HostError("bpftrace did not attach the probes in time", "is this machine busy with other things?")
        return True

    def _is_late(self, waited_s: float) -> bool:
        if waited_s < _ATTACH_S:
            return False
        return waited_s > _WORKING_ATTACH_S or self._watched.tracer.used_s() < _WORKING_SHARE * waited_s

    def run(self, until_s: float | None) -> Ended:
        """Record until the end, whatever it is; `until_s` is of time.monotonic()."""
        self._missed.begin()
        now = time.monotonic()
        self._next_s = {"trace": now, "take": now, "sample": now + SAMPLE_S, "segment": now + SEGMENT_S}
        error: OutputError | None = None
        try:
            reason, detail = self._loop(until_s)
        except OutputError as caught:
            reason, detail, error = EndReason.OUTPUT_FAILED, caught.message, caught
        self._missed.sample(boottime_ns())
        stop = moment()
        self.on_stop()
        if self._traces:
            self._take(self._traces.stop())
        self._stop_tracer()
        return self._settle(reason, detail, stop, error)

    def _loop(self, until_s: float | None) -> tuple[EndReason, str]:
        tracer, stop = self._watched.tracer, self._watched.stop
        waits = [stop.fileno(), self._watched.pidfd, *([] if self.ingest.is_text else [tracer.fileno()])]
        while True:
            piece = tracer.read()
            if tracer.is_eof:
                return EndReason.BPFTRACE_ENDED, tracer.why_ended()
            self.ingest.feed(piece)
            if stop.count:
                return EndReason.STOPPED, f"by {stop.name}"
            now = time.monotonic()
            if until_s is not None and now >= until_s:
                return EndReason.DURATION, ""
            self._tick(now)
            if not piece:
                pause_s = _PAUSE_S if self.ingest.is_text else max(0.0, min(self._next_s.values()) - time.monotonic())
                woken = select.select(waits, [], [], pause_s)[0]
                if self._watched.pidfd in woken:
                    return EndReason.TARGET_ENDED, ""

    def _take(self, parts: list[Rows]) -> None:
        for rows in parts:
            self.ingest.rows.append(rows)
            self.traced += len(rows)

    def _tick(self, now: float) -> None:
        if self._traces and self._is_due("trace", now, TRACE_S):
            self._take(self._traces.read())
            if self._traces.fullest > _FILLING:
                self._next_s["trace"] = now + FAST_TRACE_S
        if self._is_due("take", now, self._tick_s):
            self.ingest.take()
            self._tick_s = min(max(self._tick_s * _WANTED / max(self.ingest.fullest, 0.001), FAST_TICK_S), TICK_S)
            self._next_s["take"] = now + self._tick_s
        if len(self.ingest.rows) >= SEGMENT_ROWS or self._is_due("segment", now, SEGMENT_S):
            self._close_segment(SLACK_NS)
        if self._is_due("sample", now, SAMPLE_S):
            self._missed.sample(boottime_ns())
            self._put_pending()
            self.writer.check()
            self.on_sample()

    def _is_due(self, what: str, now: float, every_s: float) -> bool:
        if now < self._next_s[what]:
            return False
        self._next_s[what] = now + every_s
        return True

    def _close_segment(self, slack_ns: int) -> None:
        newest_ns = self.ingest.rows.newest_ns()
        # at the highest rates half a second is more than a segment holds
        until_ns = newest_ns - slack_ns if len(self.ingest.rows) < SEGMENT_ROWS else newest_ns - slack_ns // 10
        self.writer.put(self.ingest.rows.cut(until_ns))

    def _put_pending(self) -> None:
        leftovers = self.ingest.leftovers()
        if len(leftovers) or self._pending:
            self._pending = len(leftovers)
            self.writer.put_pending(leftovers)

    def _stop_tracer(self) -> None:
        """Take the backlog in first: what END prints goes through the same buffers."""
        tracer = self._watched.tracer
        if self.ingest.is_text:
            self._drain(_QUIET_S, time.monotonic() + _BACKLOG_S)
        for wait_s in tracer.asks():
            self._drain(None, time.monotonic() + wait_s)
        if not tracer.is_eof:
            tracer.kill()
            self._drain(None, time.monotonic() + _END_S)
        tracer.wait(_END_S)

    def _drain(self, quiet_s: float | None, deadline: float) -> None:
        """Read until the end of the output, or until it has been quiet for a while; a second signal hurries."""
        tracer, stop = self._watched.tracer, self._watched.stop
        last = time.monotonic()
        while not tracer.is_eof and (now := time.monotonic()) < deadline and stop.count < 2:
            piece = tracer.read()
            self.ingest.feed(piece)
            if piece:
                last = now
            elif quiet_s is not None and now - last > quiet_s:
                return
            else:
                self.ingest.take()
                select.select([tracer.fileno()], [], [], _PAUSE_S)

    def _settle(self, reason: EndReason, detail: str, stop: Moment, error: OutputError | None) -> Ended:
        now_ns = boottime_ns()
        ending = self.ingest.end(now_ns)
        self.ingest.rows.append(ending.leftovers)
        rows = self.ingest.rows.cut(self.ingest.rows.newest_ns())
        losses = [*ending.losses, *self._missed.losses]
        in_kernel = ending.in_kernel
        if self._traces:
            losses += self._traces.losses()
            tally = self._traces.tally()
            in_kernel = None if in_kernel is None else in_kernel + tally.rows + tally.lost
        try:
            if error is None:
                self.writer.put(rows)
                self.writer.flush()
        except OutputError as caught:
            reason, detail, error = EndReason.OUTPUT_FAILED, caught.message, caught
        if error is not None:
            self.writer.close()
        received = self.ingest.received + self.traced + len(ending.leftovers)
        unwritten = received - self.writer.rows
        if error is not None and unwritten:
            losses.append(Loss(LossKind.OUTPUT, "the output", unwritten, self.writer.written_ns, now_ns))
        return Ended(reason, detail, losses, in_kernel, stop, error)
