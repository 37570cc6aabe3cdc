"""The recording's tables, declared once: every column with its type, unit and meaning.

`docs/recording-format.md` is generated from here. The recorder writes these tables, the reporter reads them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from vio.layer import Phase, Stage
from vio.terms import LACKS as LACKS
from vio.terms import MAJOR as MAJOR
from vio.terms import MINOR as MINOR
from vio.terms import OPS as OPS
from vio.terms import time_column as time_column


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    type: pa.DataType
    unit: str
    meaning: str
    is_nullable: bool = True


def _given(name: str, type: pa.DataType, unit: str, meaning: str) -> Column:
    """Declare a column that has a value in every row; without places for nulls it is read in two thirds of the time."""
    return Column(name, type, unit, meaning, is_nullable=False)


def arrow_schema(columns: Iterable[Column]) -> pa.Schema:
    """Return the Arrow schema of a table."""
    return pa.schema([pa.field(c.name, c.type, c.is_nullable) for c in columns])


EVENTS = (
    _given("ts_ns", pa.int64(), "ns", "when the point was passed (CLOCK_BOOTTIME)"),
    _given("point", pa.uint8(), "", "which point: its number in the manifest's table of points"),
    _given("flags", pa.uint16(), "", "the point's own flags: operation, request flags (see the point's fields)"),
    _given("tid", pa.int32(), "", "thread that passed it; for an interrupt, the thread that was interrupted"),
    _given(
        "space",
        pa.uint32(),
        "",
        "address space: device (kernel encoding), file descriptor, or low half of a pointer",
    ),
    _given("bytes", pa.int64(), "bytes", "length of the IO here"),
    _given("offset", pa.int64(), "bytes", "address of the IO in its space"),
    _given("key", pa.uint64(), "", "identity: a pointer, an inode, or what the point's fields say"),
    _given("aux", pa.uint32(), "", "low half of the stack pointer (QEMU points)"),
)

LOSS_KINDS = {
    "buffer": "records for which a buffer had no room",
    "overflow": "records for which no map entry was free",
    "missed": "probe hits that the kernel did not run, because another BPF program was active on that CPU",
    "unparsable": "output lines that made no sense",
    "output": "records that could not be written",
    "segment": "a file of events that cannot be read (found by the reader)",
}

LOSSES = (
    Column("kind", pa.string(), "", "; ".join(f"{kind}: {meaning}" for kind, meaning in LOSS_KINDS.items())),
    Column("where", pa.string(), "", "which batch stream or point lost them"),
    Column(
        "records", pa.int64(), "records", "how many; output lines for unparsable, probe hits for missed; -1: not known"
    ),
    Column("from_ns", pa.int64(), "ns", "the loss is after this time (CLOCK_BOOTTIME)"),
    Column("to_ns", pa.int64(), "ns", "and before this time"),
)

# Time stamps of one IO, in the order of the path: column, meaning.
# The first child's on the way down, the last's on the way up.
STAMPS = (
    ("accept", "QEMU took the request from the virtqueue"),
    (
        "block_begin",
        "it entered QEMU's block layer (blk_aio_*), or the block layer's root node where there is no device",
    ),
    ("node_begin", "the format driver's call on the image file's node began (the address in the file is file_offset)"),
    ("aio_submit", "QEMU handed it to the kernel or to a worker thread"),
    ("vfs_begin", "the system call that carries it began"),
    ("fs_begin", "the file system began direct IO or fsync"),
    ("bio_queue", "the first bio was queued"),
    ("rq_insert", "the request was inserted into the IO scheduler"),
    ("rq_issue", "the request was issued to the driver"),
    ("loop_fs_begin", "the file system below the loop device began"),
    ("loop_bio_queue", "the first bio below the loop device was queued"),
    ("loop_rq_issue", "the request below the loop device was issued"),
    ("loop_rq_complete", "the device below the loop device completed"),
    ("loop_fs_end", "the file system below the loop device was done"),
    ("rq_complete", "the device completed the last request"),
    ("fs_end", "the file system was done"),
    ("vfs_end", "the system call or the kernel's asynchronous request was done"),
    ("aio_end", "QEMU's call on the image file's node was done"),
    ("block_end", "QEMU's block layer was done with it"),
    ("push", "the request went back into the virtqueue"),
    ("notify", "the guest was told"),
)


# Of an IO's time, or before its begin, waiting that is nobody's code; null where the scheduler was not recorded.
WAITS = (
    ("runqueue", "of the own times: the thread whose turn it was could run and waited for a CPU"),
    ("stopped", "of the own times: that thread was stopped (SIGSTOP, a debugger)"),
    (
        "wakeup",
        "of the own times of qemu-aio, vfs and fs: from a completion or hand-over until the thread that it woke ran; "
        "its waiting for a CPU is part of it",
    ),
    (
        "kick",
        "before the begin: since a virtual CPU woke the thread to take requests; null where it was awake, or woken by "
        "something else",
    ),
    (
        "inject",
        "after the end: from telling the guest until a virtual CPU took the interrupt; null without KVM, with posted "
        "interrupts, and where the guest wanted none",
    ),
)

IOS = (
    _given("io", pa.int64(), "", "number of the IO in the recording, in the order of beginning"),
    _given("disk", pa.int16(), "", "which disk: index in the manifest's list, -1 where it is not known"),
    _given("op", pa.uint8(), "", f"operation: {', '.join(f'{n} {op}' for n, op in enumerate(OPS))}"),
    _given("offset", pa.int64(), "bytes", "address on the guest's disk"),
    _given("bytes", pa.int64(), "bytes", "length"),
    _given("tid", pa.int32(), "", "QEMU thread that took it"),
    _given("begin_ns", pa.int64(), "ns", "begin of its first span (CLOCK_BOOTTIME)"),
    Column("latency_ns", pa.int64(), "ns", "end of its first span less its begin; null while it has not ended"),
    _given(
        "merged_into", pa.int64(), "", "the IO that carries it through the lower layers, when QEMU merged them; else -1"
    ),
    _given("is_whole", pa.bool_(), "", "followed through every layer that it reached, with both ends of every span"),
    _given("is_ambiguous", pa.bool_(), "", "some link of it could have been another"),
    _given("reached", pa.uint8(), "", "deepest stage with a span: number in the list of stages"),
    _given("lack", pa.uint16(), "", "what is missing when it is not whole: bits, see LACKS"),
    _given("children", pa.int32(), "", "number of spans below the first"),
    Column("file_offset", pa.int64(), "bytes", "address of its first data access in the image file, null if none"),
    Column("device", pa.int64(), "", "device of its first request (kernel encoding), null if none"),
    Column("device_offset", pa.int64(), "bytes", "address of its first request there, null if none"),
    *(Column(f"t_{name}_ns", pa.int64(), "ns", meaning) for name, meaning in STAMPS),
    *(
        Column(time_column(stage, phase), pa.int64(), "ns", f"own time of {stage}, {phase}")
        for stage in Stage
        for phase in Phase
    ),
    Column("unattributed_ns", pa.int64(), "ns", "time that no observed layer claims"),
    *(Column(f"{name}_ns", pa.int64(), "ns", meaning) for name, meaning in WAITS),
    Column(
        "metadata_ns",
        pa.int64(),
        "ns",
        "time in which only reads and writes of qcow2's own tables were under way: of which, not beside, the layers' "
        "times. Null where it is not known where the tables lie",
    ),
    Column("metadata_reads", pa.int32(), "", "reads of qcow2's own tables that it had to make; null as above"),
    Column(
        "cow_ns",
        pa.int64(),
        "ns",
        "time in which the rest of a new cluster was read (from a backing file) or written (that, or zeroes), and "
        "nothing for the guest's own data was under way; null as above",
    ),
)

WRITEBACKS = (
    Column("io", pa.int64(), "", "number of the IO that wrote the bytes to the page cache"),
    Column("disk", pa.int16(), "", "whose image it is: index in the manifest's list of disks"),
    Column("device", pa.int64(), "", "device that the bio was queued on (kernel encoding)"),
    Column("device_offset", pa.int64(), "bytes", "address there of the first byte that bio and IO share"),
    Column("file_offset", pa.int64(), "bytes", "address of that byte in the image file"),
    Column("bytes", pa.int64(), "bytes", "how many bytes they share"),
    Column("queued_ns", pa.int64(), "ns", "the bio was queued (CLOCK_BOOTTIME)"),
    Column("issued_ns", pa.int64(), "ns", "its request was issued to the driver; null if that was not seen"),
    Column("completed_ns", pa.int64(), "ns", "the device completed its request; null if that was not seen"),
    Column(
        "caused_by",
        pa.int64(),
        "",
        "the IO in whose call the bio was queued, such as a flush; null for the kernel's own",
    ),
)

STAGES = (
    Column("io", pa.int64(), "", "number of the IO, as in the per-IO table"),
    Column("stage", pa.uint8(), "", "layer at its place: number in the list of stages"),
    Column("part", pa.string(), "", "part of that layer: the name in the manifest's table of points"),
    Column("begin_ns", pa.int64(), "ns", "begin of the span, or the time of a mark (CLOCK_BOOTTIME)"),
    Column("end_ns", pa.int64(), "ns", "its end; null for a mark, and where no end was seen"),
    Column("tid", pa.int32(), "", "thread that it began on"),
    Column(
        "own_ns",
        pa.int64(),
        "ns",
        "time of its layer's own in this IO in which it was the deepest part at work; null for a mark",
    ),
)
