"""The table of rules: adding one is a function here, a line in docs/verdict.md, and a recording that proves it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vio.reporter.verdict import device, flush, guest, locks, qcow2, qemu, shape, threads
from vio.reporter.verdict.case import Case
from vio.reporter.verdict.finding import Finding, NotJudged


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule's name, and what judges a case: its findings, or why it cannot be judged."""

    name: str
    judge: Callable[[Case], Iterator[Finding | NotJudged]]


RULES = (
    Rule(guest.HUNG, guest.hung),
    Rule(qcow2.L2_CACHE, qcow2.l2_cache),
    Rule(qcow2.COPY_ON_WRITE, qcow2.copy_on_write),
    Rule(shape.MISALIGNED, shape.misaligned),
    Rule(flush.BOUND, flush.flush_bound),
    Rule(flush.JOURNAL, flush.flush_journal),
    Rule(threads.SATURATED, threads.saturated),
    Rule(threads.NOT_SCHEDULED, threads.not_scheduled),
    Rule(threads.STOPPED, threads.stopped),
    Rule(threads.COMPLETION, threads.completion),
    Rule(device.QUEUE, device.host_queue),
    Rule(device.MAPPER, device.device_mapper),
    Rule(device.DEVICE, device.device),
    Rule(qemu.THROTTLE, qemu.throttle),
    Rule(qemu.WAIT, qemu.wait),
    Rule(device.CGROUP, device.cgroup_throttle),
    Rule(qemu.WORKERS, qemu.workers),
    Rule(locks.FILE_LOCK, locks.file_lock),
    Rule(locks.CLUSTER_LOCK, locks.cluster_lock),
    Rule(shape.MERGES, shape.merges_missed),
    Rule(shape.SPLIT, shape.requests_split),
    Rule(guest.INTERRUPT, guest.interrupt),
    Rule(guest.KICK, guest.kick),
    Rule(guest.QUEUE, guest.queue),
)
