"""Keep the manifest true while a recording grows, and close it."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from vio.errors import OutputError, VioError
from vio.layer import Layer
from vio.losses import Loss, LossKind, count_by_kind, losses_table
from vio.manifest import Clock, Cost, Counts, End, EndReason, LossTotals, Manifest, SchemaVersion, State, ThreadState
from vio.mappers.store import to_table
from vio.recorder.aim import Aim
from vio.recorder.clock import moment
from vio.recorder.cpu import Growth, own_cpu_s
from vio.recorder.describe import describe_creator, describe_host, describe_target, has_all_files
from vio.recorder.exchange import OpenedFiles, take_in, with_notes
from vio.recorder.files import append_log, write_manifest, write_table
from vio.recorder.generate import STORED
from vio.recorder.guarded import StuckError, guarded
from vio.recorder.host import HostFeatures
from vio.recorder.maptaker import MapTaker
from vio.recorder.preparation import Prepared
from vio.recorder.procfs import HostRoots, read_cpu_s, read_stolen_s
from vio.recorder.progress import Status
from vio.recorder.session import Ended, Session
from vio.recorder.summary import PRINTED_RECORD_NS, RECORD_NS, added_us_per_io
from vio.recorder.target import Target, find_target
from vio.recorder.threadstate import thread_states
from vio.recorder.writer import remove_pending, sync_directory
from vio.recording import GUEST_FILES_FILE, LOG_FILE, LOSSES_FILE, MAPS_FILE
from vio.schema import MAJOR, MINOR

_COUNTED = {LossKind.BUFFER, LossKind.OVERFLOW, LossKind.OUTPUT}


class Keeper:
    """The manifest of one recording."""

    def __init__(
        self,
        directory: Path,
        host: HostFeatures,
        aim: Aim,
        prepared: Prepared,
        maps: MapTaker,
        has_guest_files: bool = False,
    ) -> None:
        self._has_guest_files = has_guest_files
        self._directory = directory
        self._aim = aim
        self._target = aim.target
        plan, ground = prepared.plan, prepared.ground
        self._plan = plan
        self._buffered = prepared.buffered
        self._record_ns = RECORD_NS if prepared.batch == STORED else PRINTED_RECORD_NS
        self._maps = maps
        self._layers = plan.layers()
        self._began_cpu_s = own_cpu_s()
        self._segments = 0
        self._is_target_whole = aim.command is None
        self._threads_at_stop: tuple[ThreadState, ...] = ()
        self._opened = OpenedFiles(HostRoots().process(aim.target.pid))
        self._target_cpu_s = Growth(lambda: read_cpu_s(HostRoots().process(aim.target.pid)))
        self._stolen_cpu_s = Growth(lambda: read_stolen_s(HostRoots()))
        self.manifest = Manifest(
            schema=SchemaVersion(MAJOR, MINOR),
            creator=describe_creator(host),
            state=State.RUNNING,
            host=describe_host(host),
            clock=Clock(moment()),
            target=describe_target(aim, aim.target),
            points=plan.point_infos(aim.target.exe),
            absent=plan.absent,
            devices=tuple(ground.devices),
            files=tuple(ground.files),
            notes=(*ground.notes, *prepared.notes),
        )

    def begin(self) -> None:
        """Write the first manifest and the first maps."""
        clock = Clock(moment())
        self.manifest = replace(self.manifest, clock=clock)
        self._target_cpu_s.begin()
        self._stolen_cpu_s.begin()
        if self._is_target_whole:
            self._opened.look()
        self._maps.take(clock.start.boottime_ns)
        self._write_maps()
        write_manifest(self._directory, self.manifest, is_durable=True)

    def sample(self, session: Session, elapsed_s: float) -> Status:
        """Keep up with the closed segments, and say how it goes."""
        segments = tuple(session.writer.segments)
        is_news = self._look_again()
        if self._is_target_whole:
            self._opened.look()
        if len(segments) != self._segments or is_news:
            self._segments = len(segments)
            counts = self._counts(session, None, 0)
            self.manifest = replace(self.manifest, segments=segments, counts=counts, workers=_workers(session))
            write_manifest(self._directory, self.manifest, is_durable=False)
        lost = sum(count_by_kind(session.ingest.losses()).values())
        return Status(elapsed_s, session.ingest.received, lost, self._by_layer(session))

    def see_target(self) -> None:
        """Keep what the target's threads do now: where they wait, if something hangs; and the CPU times until now."""
        self._stolen_cpu_s.end()
        self._threads_at_stop = thread_states(HostRoots().process(self._aim.target.pid))
        self._target_cpu_s.end()

    def end(self, session: Session, ended: Ended, bpftrace_cpu_s: float, exit_code: int | None) -> Manifest:
        """Close the recording: maps, losses, log, and the last manifest.

        What cannot be written is left out: the manifest itself comes first when room is short.
        """
        with contextlib.suppress(OSError):
            remove_pending(self._directory)
        if self._refresh():
            self._follow_command()
        self._follow_exchanges()
        self._maps.take(moment().boottime_ns)
        files = self._maps.read_guest_files() if self._has_guest_files else None
        losses = self._losses(session, ended.losses)
        self.manifest = self._final(session, ended, losses, bpftrace_cpu_s, exit_code)
        with self._tolerating(ended):
            write_manifest(self._directory, self.manifest, is_durable=True)
            write_table(self._directory / LOSSES_FILE, losses_table(losses))
            self._write_maps()
            if files is not None:
                write_table(self._directory / GUEST_FILES_FILE, files)
            append_log(self._directory / LOG_FILE, self._log_lines(session))
            sync_directory(self._directory)
        return self.manifest

    def _final(
        self, session: Session, ended: Ended, losses: list[Loss], bpftrace_cpu_s: float, exit_code: int | None
    ) -> Manifest:
        by_kind = count_by_kind(losses)
        counts = self._counts(session, ended.in_kernel, sum(by_kind.get(kind, 0) for kind in _COUNTED))
        added_us, ios = added_us_per_io(self.manifest.points, counts.by_point, self._buffered, self._record_ns)
        is_whole = ended.in_kernel is not None and ended.error is None
        has_command_ended = self._aim.command and ended.reason is EndReason.TARGET_ENDED
        reason = EndReason.COMMAND_ENDED if has_command_ended else ended.reason
        return replace(
            self.manifest,
            state=State.COMPLETE if is_whole else State.CUT,
            clock=replace(self.manifest.clock, stop=ended.stop),
            target=describe_target(self._aim, self._target),
            end=End(reason, ended.detail, exit_code),
            counts=counts,
            losses=LossTotals(sum(by_kind.values()), by_kind, session.ingest.printed.lost_by_bpftrace),
            cost=Cost(own_cpu_s() - self._began_cpu_s, bpftrace_cpu_s, added_us, ios),
            segments=tuple(session.writer.segments),
            notes=(*self.manifest.notes, *self._maps.notes),
            threads_at_stop=self._threads_at_stop,
            target_cpu_s=self._target_cpu_s.by,
            stolen_cpu_s=self._stolen_cpu_s.by,
            workers=_workers(session),
        )

    def _losses(self, session: Session, losses: list[Loss]) -> list[Loss]:
        return [replace(loss, from_ns=max(loss.from_ns, self.manifest.clock.start.boottime_ns)) for loss in losses]

    def _counts(self, session: Session, in_kernel: int | None, lost: int) -> Counts:
        rows = session.writer.rows
        by_point = {
            one.point.name: int(session.writer.by_point[one.number])
            for one in self._plan.chosen
            if session.writer.by_point[one.number]
        }
        unaccounted = None if in_kernel is None else in_kernel - rows - lost
        return Counts(rows, in_kernel, unaccounted, by_point)

    def _by_layer(self, session: Session) -> dict[Layer, int]:
        found: dict[Layer, int] = {}
        for number, layer in self._layers.items():
            found[layer] = found.get(layer, 0) + int(session.writer.by_point[number])
        return found

    def _look_again(self) -> bool:
        """Look at a command's files until it has opened its images: their descriptors are needed to follow its IO."""
        if self._is_target_whole:
            return False
        self._refresh()
        self._is_target_whole = has_all_files(self._target, [disk.name for disk in self._aim.disks])
        if self._is_target_whole:
            self.manifest = replace(self.manifest, target=describe_target(self._aim, self._target))
            self._follow_command()
        return self._is_target_whole

    def _follow_command(self) -> None:
        """Take maps of what the command itself has opened by now."""
        if self._aim.command is not None:
            process = HostRoots().process(self._target.pid)
            began_ns = self.manifest.clock.start.boottime_ns
            self._maps.follow(self._target.disks, process, moment().boottime_ns, began_ns)

    def _follow_exchanges(self) -> None:
        """Take in the images that QEMU has put in the place of those at the start, if it runs and can be asked."""
        self._opened.look()
        if self._opened.found:
            now = self._look(with_qmp=True)
            changed = take_in(self._target, now, self.manifest, self._maps) if now else None
            self._target, self.manifest = changed or (self._target, with_notes(self.manifest, self._opened.note()))

    def _refresh(self) -> bool:
        """Take what the target shows of itself now, if it still runs: threads come and go. Tell whether it does."""
        now = self._look(with_qmp=False)
        if now is None:
            return False
        # of a VM, QMP has said at the start what no command line says: disks plugged in, images exchanged
        self._target = _renewed(self._target, now if self._aim.command else replace(now, disks=()))
        return True

    def _look(self, *, with_qmp: bool) -> Target | None:
        # a process that ends while it is looked at may show anything; images' headers may be beyond reach
        try:
            now = guarded(lambda: find_target(pid=self._aim.target.pid, with_qmp=with_qmp))
        except StuckError:
            self._maps.is_stuck = True
            return None
        except (VioError, OSError, ValueError, IndexError):
            return None
        return now if now.exe == self._aim.target.exe else None

    def _write_maps(self) -> None:
        write_table(self._directory / MAPS_FILE, to_table(self._maps.maps))

    def _log_lines(self, session: Session) -> list[str]:
        printed = session.ingest.printed
        lines = [f"line that is no record: {line}" for line in printed.first_odd]
        if printed.lost_by_bpftrace:
            lines.append(f"bpftrace says it lost {printed.lost_by_bpftrace} events (lines, not records)")
        return lines

    @contextlib.contextmanager
    def _tolerating(self, ended: Ended) -> Iterator[None]:
        try:
            yield
        except OutputError:
            if ended.error is None:
                raise


def _workers(session: Session) -> dict[str, str]:
    return {str(tid): name for tid, name in session.workers.items()}


def _renewed(before: Target, now: Target) -> Target:
    """Keep all threads ever seen, and the disks' descriptors."""
    threads = {thread.tid: thread for thread in (*before.threads, *now.threads)}
    disks = now.disks if any(disk.fds for disk in now.disks) else before.disks
    return replace(before, threads=tuple(threads.values()), disks=disks)
