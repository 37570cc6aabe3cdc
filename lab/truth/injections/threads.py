"""Delays of QEMU's threads: stopped, not scheduled, or not yet back in the guest."""

import contextlib
import os
import signal
import time
from pathlib import Path

from lab.truth.attribution import cell, cells_of, less
from lab.truth.cgroup import has_controller, thread_freezer
from lab.truth.hog import hogging, pinned
from lab.truth.play import Injection, Play, longest_by, now_ns, span
from lab.truth.scene import POOLED, SLOW, Scene
from lab.truth.sched import queue_delays
from vio.layer import Op, Phase, Stage
from vio.reporter.waits import Wait

_SLOW_MS = 30.0
_STOP_S = 0.1
_AWAY_S = 0.2
_HOG_BUSY_MS, _HOG_IDLE_MS = 200.0, 60.0
_LIMIT_S = 2.0


def _stopped(scene: Scene) -> Play:
    with scene.slow.slowed(read_ms=_SLOW_MS):
        base = scene.reads(SLOW, 12).finish()
        pending = scene.reads(SLOW, 25)
        _wait_for_a_read(scene)
        pid = scene.guest.pid
        from_ns = now_ns()
        os.kill(pid, signal.SIGSTOP)
        try:
            _wait_for_state(pid, "T")
            time.sleep(_STOP_S)
            to_ns = now_ns()
        finally:
            os.kill(pid, signal.SIGCONT)
        pending.finish()
    inside = [one for one in scene.slow.requests(from_ns - round(2e6 * _SLOW_MS), to_ns) if one.went_ns > from_ns]
    return Play(SLOW, (Op.READ,), span(base), (from_ns, to_ns), sum(to_ns - one.went_ns for one in inside))


def _wait_for_a_read(scene: Scene) -> None:
    """Return while the slow disk is at work on a read."""
    scene.wait_until_busy(SLOW)
    in_flight, deadline_s = Path("/sys/block", scene.slow.name, "inflight"), time.monotonic() + _LIMIT_S
    while in_flight.read_text().split()[0] == "0" and time.monotonic() < deadline_s:
        time.sleep(0.001)


def _wait_for_state(pid: int, state: str) -> None:
    deadline_s = time.monotonic() + _LIMIT_S
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != state:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"process {pid} does not reach state {state}")
        time.sleep(0.001)


def _hogged(scene: Scene) -> Play:
    other, cpu = sorted(os.sched_getaffinity(0))[:2]
    tid = scene.iothreads[SLOW]
    with scene.slow.slowed(read_ms=_SLOW_MS), scene.slow.bound_to(other), pinned(tid, cpu):
        base = scene.reads(SLOW, 12).finish()
        with hogging(cpu, _HOG_BUSY_MS, _HOG_IDLE_MS), queue_delays(tid) as delays:
            slow = scene.reads(SLOW, 24).finish()
    # A thread that is runnable while the device is at work delays nothing.
    served = [(one.came_ns, one.went_ns) for one in scene.slow.requests(*span(slow))]
    return Play(SLOW, (Op.READ,), span(base), span(slow), less(delays.intervals, served))


def _hogged_worker(scene: Scene) -> Play:
    other, cpu = sorted(os.sched_getaffinity(0))[:2]
    with scene.slow.slowed(read_ms=_SLOW_MS), scene.slow.bound_to(other), contextlib.ExitStack() as stack:
        base = scene.reads(POOLED, 12).finish()
        workers = scene.workers()
        for tid in workers:
            stack.enter_context(pinned(tid, cpu))
        with hogging(cpu, _HOG_BUSY_MS, _HOG_IDLE_MS), queue_delays(*workers) as delays:
            slow = scene.reads(POOLED, 24).finish()
    served = [(one.came_ns, one.went_ns) for one in scene.slow.requests(*span(slow))]
    return Play(POOLED, (Op.READ,), span(base), span(slow), less(delays.intervals, served))


def _guest_away(scene: Scene) -> Play:
    with scene.slow.slowed(read_ms=_SLOW_MS), thread_freezer(scene.vcpu) as state:
        base = scene.reads(SLOW, 12).finish()
        pending = scene.reads(SLOW, 25)
        _wait_for_a_read(scene)
        from_ns = now_ns()
        try:
            state.write_text("FROZEN")
            time.sleep(_AWAY_S)
        finally:
            state.write_text("THAWED")
        to_ns = now_ns()
        slow = pending.finish()
    return Play(SLOW, (Op.READ,), span(base), (from_ns, to_ns), longest_by(base.read, slow.read))


INJECTIONS = (
    Injection(
        "stopped-qemu",
        f"SIGSTOP of QEMU, SIGCONT {_STOP_S * 1e3:.0f} ms later, while a read is in the device",
        (cell(Stage.QEMU_AIO, Phase.UP),),
        "the device completes meanwhile; the completion waits until QEMU reaps it",
        "the slow disk's log: from its answer to the SIGCONT",
        _stopped,
        wait=Wait.STOPPED,
    ),
    Injection(
        "hogged-iothread",
        f"a SCHED_FIFO hog, busy for {_HOG_BUSY_MS:.0f} ms of {_HOG_BUSY_MS + _HOG_IDLE_MS:.0f}, on the iothread's CPU",
        (cell(Stage.QEMU_AIO, Phase.UP),),
        "the completion has woken the iothread, which is runnable and does not run: not reaped",
        "sched_waking and sched_switch of the iothread, while an IO was under way and its device not at work",
        _hogged,
        lambda: "" if len(os.sched_getaffinity(0)) > 1 else "one CPU only",
        wait=Wait.RUNQUEUE,
    ),
    Injection(
        "hogged-worker",
        "the same hog on the CPU of QEMU's worker threads (aio=threads)",
        cells_of(Stage.QEMU_AIO, Stage.FS),
        "the worker could run and does not: when it is to take the request, and when its IO is done",
        "sched_waking and sched_switch of the workers, while an IO was under way and its device not at work",
        _hogged_worker,
        lambda: "" if len(os.sched_getaffinity(0)) > 1 else "one CPU only",
        wait=Wait.RUNQUEUE,
    ),
    Injection(
        "guest-away",
        f"the virtual CPU's thread is frozen for {_AWAY_S * 1e3:.0f} ms while a read is in the device",
        (),
        "the device completes and QEMU notifies in time; what the guest does then is after the IO's end",
        "the longest read, by fio in the guest",
        _guest_away,
        lambda: "" if has_controller("freezer") else "no freezer for a single thread (cgroup v1)",
    ),
)
