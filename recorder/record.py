"""Record: find the target, choose the points, run bpftrace, write, and close the recording with the truth about it."""

import contextlib
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from vio.errors import HostError, OutputError, TargetError, UsageError, VioError
from vio.manifest import Manifest
from vio.recorder.aim import Aim, aim
from vio.recorder.attachkey import attach_key
from vio.recorder.blame import blamed
from vio.recorder.bpftrace import Bpftrace, BpftraceOptions, takes_no_warnings
from vio.recorder.clock import boottime_ns
from vio.recorder.files import append_log, check_directory, make_directory, remove_directory, writing
from vio.recorder.generate import STORED, stored_streams
from vio.recorder.host import HostFeatures, read_host
from vio.recorder.ingest import Ingest
from vio.recorder.keeper import Keeper
from vio.recorder.lacks import missing
from vio.recorder.maptaker import held_images
from vio.recorder.missed import AttachKey, MissedHits
from vio.recorder.preparation import Observed, Prepared, prepare, prepare_plain
from vio.recorder.procfs import HostRoots
from vio.recorder.progress import NullProgress, Progress
from vio.recorder.rows import scaling_of
from vio.recorder.session import Ended, Session, Watched
from vio.recorder.stop import StopSignals, open_process
from vio.recorder.stored import MapsUnknownError, StoredIngest
from vio.recorder.summary import RecordSummary, summary_of
from vio.recorder.writer import SegmentWriter
from vio.recording import LOG_FILE, PROGRAM_FILE

_COMMAND_END_S = 5.0
_RECORDS_OF_PAGE = 32  # a record in a map takes 104 bytes, with the kernel's own
_TEXT_PAGES = 64  # for what is printed when the records are not


@dataclass(frozen=True, slots=True)
class RecordOptions:
    """What to record and where to put it.

    Exactly one of `vm`, `pid` and `command`, or none of them for the only QEMU that runs. `disks` names some of its
    disks, empty for all. `buffer_pages` is of the buffer for bpftrace's records, a power of two; `trace_kb` of each
    CPU's part of a trace buffer, None for what fits the machine. `is_batched` prints records in batches, as is done
    where the kernel cannot hand them over; `is_plain` prints every record by itself: for comparing costs.
    `has_guest_files` reads the guest's file systems at the end, so that a report can say whose the IOs are.
    `command_output` is a directory that takes what the command prints, in stdout.txt and stderr.txt; else it is ours.
    """

    output: Path
    vm: str | None = None
    pid: int | None = None
    command: tuple[str, ...] = ()
    disks: tuple[str, ...] = ()
    duration_s: float | None = None
    force: bool = False
    buffer_pages: int = 4096
    trace_kb: int | None = None
    map_entries: int = 65_536
    is_batched: bool = False
    is_plain: bool = False
    observed: Observed = field(default_factory=Observed)
    has_guest_files: bool = False
    command_output: Path | None = None


def record(options: RecordOptions, progress: Progress | None = None) -> RecordSummary:
    """Record until the duration is over, the target or command ends, or a signal comes (SIGINT, SIGTERM, SIGHUP).

    Raises:
        UsageError: the options contradict each other.
        HostError: this host cannot record.
        TargetError: the target is not there or cannot be followed.
        OutputError: the output is in the way, or could not be written to the end (what was written is readable).
        KeyboardInterrupt: it was stopped before it began to record.
    """
    _check(options)
    check_directory(options.output, options.force)
    host = _able_host()
    with ExitStack() as stack:
        shown = progress or NullProgress()
        stack.callback(shown.close)
        found = stack.enter_context(
            aim(options.vm, options.pid, options.command, options.disks, options.command_output)
        )
        prepared = _prepare(options, host, found, stack)
        for note in prepared.notes:
            shown.note(note)
        stop = stack.enter_context(StopSignals())
        return _Run(options, host, found, prepared, shown, stop).record(stack)


def _check(options: RecordOptions) -> None:
    given = [options.vm is not None, options.pid is not None, bool(options.command)]
    if sum(given) > 1:
        raise UsageError("more than one of --vm, --pid and a command were given", "give one of them")
    if options.buffer_pages < 1 or options.buffer_pages & (options.buffer_pages - 1):
        raise UsageError(f"{options.buffer_pages} buffer pages is no power of two", "try 4096")
    if options.duration_s is not None and options.duration_s <= 0:
        raise UsageError("the duration must be more than 0", "give seconds: --duration 10")


def _able_host() -> HostFeatures:
    host = read_host()
    for lack in missing(host):
        if lack.is_fatal:
            raise HostError(f"this host cannot record: {lack.what} is missing", lack.todo)
    return host


def _prepare(options: RecordOptions, host: HostFeatures, found: Aim, stack: ExitStack) -> Prepared:
    if options.is_plain:
        return prepare_plain(options.observed, host, found)
    return prepare(options.observed, host, found, stack, options.trace_kb, is_batched=options.is_batched)


@dataclass(frozen=True, slots=True)
class _Run:
    options: RecordOptions
    host: HostFeatures
    aim: Aim
    prepared: Prepared
    progress: Progress
    stop: StopSignals

    def record(self, stack: ExitStack) -> RecordSummary:
        output, plan = self.options.output, self.prepared.plan
        pidfd = self._open_target(stack)
        make_directory(output, self.options.force)
        try:
            maps = stack.enter_context(held_images(self.aim.target.pid, self.aim.disks))
            writer = SegmentWriter(output, scaling_of(plan.chosen))
            stack.callback(writer.close)
            prepared, tracer, session = self._attach(writer, pidfd, stack)
            if prepared.traces:
                prepared.traces.start()
                session.add_traces(prepared.traces)
            keeper = Keeper(output, self.host, self.aim, prepared, maps, self.options.has_guest_files)
            keeper.begin()
        except BaseException:
            remove_directory(output)
            raise
        ended = self._attend(session, keeper)
        manifest = keeper.end(session, ended, tracer.cpu_s, self._exit_code())
        return self._finish(manifest, ended)

    def _attach(self, writer: SegmentWriter, pidfd: int, stack: ExitStack) -> tuple[Prepared, Bpftrace, Session]:
        """Start bpftrace and wait for its probes; once more, in batches, if it keeps its maps in an unknown form."""
        try:
            return self._attach_once(self.prepared, writer, pidfd, stack)
        except MapsUnknownError as error:
            prepared = self.prepared.in_batches(error.message)
        note = prepared.notes[-1]
        self.progress.note(note)
        append_log(self.options.output / LOG_FILE, [note])
        return self._attach_once(prepared, writer, pidfd, stack)

    def _attach_once(
        self, prepared: Prepared, writer: SegmentWriter, pidfd: int, stack: ExitStack
    ) -> tuple[Prepared, Bpftrace, Session]:
        with writing(self.options.output):
            (self.options.output / PROGRAM_FILE).write_text(prepared.program)
        with ExitStack() as attempt:
            tracer = attempt.enter_context(self._start_tracer(prepared))
            ingest = self._ingest(prepared, tracer, attempt)
            missed = MissedHits(tracer.pid, self._attach_keys(), boottime_ns())
            session = Session(Watched(tracer, self.stop, pidfd), ingest, writer, missed)
            self.progress.attaching(self._name(), len(prepared.plan.chosen))
            try:
                if not session.wait_ready():
                    raise KeyboardInterrupt
            except MapsUnknownError:
                raise
            except HostError as error:
                raise blamed(error, prepared.program, prepared.chosen) from None
            stack.enter_context(attempt.pop_all())
        return prepared, tracer, session

    def _attend(self, session: Session, keeper: Keeper) -> Ended:
        self.progress.attached(self._name())
        began = time.monotonic()
        if self.aim.command:
            self.aim.command.go()
        session.on_sample = lambda: self.progress.status(keeper.sample(session, time.monotonic() - began))
        session.on_stop = keeper.see_target
        duration_s = self.options.duration_s
        ended = session.run(None if duration_s is None else began + duration_s)
        self.progress.stopping(" ".join(part for part in (str(ended.reason), ended.detail) if part))
        return ended

    def _finish(self, manifest: Manifest, ended: Ended) -> RecordSummary:
        summary = summary_of(self.options.output, manifest)
        if ended.error is not None:
            raise OutputError(
                ended.error.message,
                f"{manifest.counts.rows:,} events written before are readable: {summary.next_command()}",
            )
        return summary

    def _start_tracer(self, prepared: Prepared) -> Bpftrace:
        if self.host.bpftrace is None:
            raise HostError("bpftrace is missing", "install it")
        path = self.host.bpftrace.path
        pages, entries = self.options.buffer_pages, self.options.map_entries
        if prepared.batch == STORED:
            pages, entries = _TEXT_PAGES, pages * _RECORDS_OF_PAGE
        settings = BpftraceOptions(path, pages, entries, takes_no_warnings(path), self.host.bpftrace.version)
        output = self.options.output
        return Bpftrace(output / PROGRAM_FILE, output / LOG_FILE, settings)

    def _ingest(self, prepared: Prepared, tracer: Bpftrace, stack: ExitStack) -> Ingest | StoredIngest:
        if prepared.batch != STORED:
            return Ingest(prepared.batch)
        ingest = StoredIngest(HostRoots().process(tracer.pid), stored_streams(prepared.program))
        stack.callback(ingest.close)
        return ingest

    def _open_target(self, stack: ExitStack) -> int:
        try:
            pidfd = open_process(self.aim.target.pid)
        except ProcessLookupError:
            raise TargetError(f"{self._name()} has ended", "`vio list` shows what is running") from None
        stack.callback(os.close, pidfd)
        return pidfd

    def _attach_keys(self) -> dict[AttachKey, str]:
        keys = ((attach_key(one.way, self.aim, self.host), one.point.name) for one in self.prepared.plan.chosen)
        return {key: name for key, name in keys if key}

    def _exit_code(self) -> int | None:
        if self.aim.command is None:
            return None
        with contextlib.suppress(VioError):
            return self.aim.command.exit_code(_COMMAND_END_S if not self.stop.count else 0.5)
        return None

    def _name(self) -> str:
        return self.aim.target.title
