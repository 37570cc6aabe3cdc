"""SCSI commands: what their words say, and which calls of the block layer are theirs."""

import struct
from collections.abc import Iterable

import numpy as np
import pytest

from vio.reporter.events import Events, Window
from vio.reporter.requests import RequestReader, Requests
from vio.reporter.scsi import DISCARD, FLUSH, NO_IO, READ, WRITE, BlockSizes, Command, read_cdb

POINTS = {
    name: number
    for number, name in enumerate(("accept", "scsi_new", "scsi_acct", "aio_get", "push", "notify", "bdrv_write"), 1)
}
HBA, OTHER_HBA, REQUEST, DMA = 0x7F10_0000, 0x7F20_0000, 0x7F30_0000, 0x7F40_0000
DISK, QUEUE, THREAD = 0x1000, 0x2000, 77

Row = tuple[str, dict[str, int]]


def columns_of(cdb: bytes) -> dict[str, int]:
    """Give what `scsi_new` records of a CDB: the bytes as a little-endian machine reads them."""
    flags, offset, length = struct.unpack("<HqI", cdb.ljust(14, b"\0")[:14])
    return {"flags": flags, "offset": offset, "bytes": length}


def command_of(cdb: bytes) -> Command:
    columns = columns_of(cdb)
    return read_cdb(
        np.array([columns["flags"]], dtype=np.uint16), np.array([columns["offset"]]), np.array([columns["bytes"]])
    )


def new(cdb: bytes, hba: int = HBA) -> Row:
    return "scsi_new", {**columns_of(cdb), "key": hba, "space": DISK}


def acct(kind: int, length: int, hba: int = HBA) -> Row:
    return "scsi_acct", {"flags": kind, "bytes": length, "offset": hba, "key": REQUEST}


def get(opaque: int = DMA) -> Row:
    return "aio_get", {"key": opaque}


def push(hba: int = HBA) -> Row:
    return "push", {"key": hba, "space": QUEUE}


NOTIFY: Row = ("notify", {"key": QUEUE})


def requests_of(rows: Iterable[Row]) -> Requests:
    rows = list(rows)
    kinds = {"point": np.uint8, "flags": np.uint16, "space": np.uint32, "bytes": np.int64, "offset": np.int64}
    column = {name: np.array([row.get(name, 0) for _, row in rows], dtype=kind) for name, kind in kinds.items()}
    column["point"] = np.array([POINTS[name] for name, _ in rows], dtype=np.uint8)
    return RequestReader().read(
        Window(
            Events(
                ts_ns=np.arange(len(rows), dtype=np.int64) * 1000,
                tid=np.full(len(rows), THREAD, dtype=np.int32),
                key=np.array([row.get("key", 0) for _, row in rows], dtype=np.uint64),
                aux=np.zeros(len(rows), dtype=np.uint32),
                **column,
            ),
            POINTS,
        )
    )


@pytest.mark.parametrize(
    ("cdb", "kind", "block", "count"),
    [
        (b"\x08\x01\x02\x03\x08\x00", READ, 0x010203, 8),
        (b"\x0a\xff\x02\x03\x00\x00", WRITE, 0x1F0203, 256),
        (b"\x28\x00" + struct.pack(">IBHB", 0xFEDCBA98, 0, 0x1234, 0), READ, 0xFEDCBA98, 0x1234),
        (b"\x2a\x08" + struct.pack(">IBHB", 7, 0, 1, 0), WRITE, 7, 1),
        (b"\xa8\x00" + struct.pack(">II", 0x01020304, 0x05060708), READ, 0x01020304, 0x05060708),
        (b"\x88\x00" + struct.pack(">QI", 0x01020304050607F8, 0x0A0B0C0D), READ, 0x01020304050607F8, 0x0A0B0C0D),
        (b"\x8a\x00" + struct.pack(">QI", 1 << 40, 3), WRITE, 1 << 40, 3),
        (b"\x93\x08" + struct.pack(">QI", 9, 2048), WRITE, 9, 2048),
        (b"\x41\x00" + struct.pack(">IBHB", 9, 0, 8, 0), WRITE, 9, 8),
    ],
)
def test_a_descriptor_block_says_what_where_and_how_much(cdb: bytes, kind: int, block: int, count: int) -> None:
    command = command_of(cdb)
    assert (command.kind[0], command.block[0], command.count[0]) == (kind, block, count)


@pytest.mark.parametrize(
    ("code", "kind"),
    [(0x35, FLUSH), (0x91, FLUSH), (0x42, DISCARD), (0x00, NO_IO), (0x12, NO_IO), (0x25, NO_IO), (0x2F, NO_IO)],
)
def test_what_carries_no_data_is_known_by_its_code(code: int, kind: int) -> None:
    assert command_of(bytes([code]) + b"\0" * 15).kind[0] == kind


def test_commands_that_are_no_io_are_no_requests() -> None:
    inquiry, read = b"\x12\x01\x83", b"\x28\x00" + struct.pack(">IBHB", 4, 0, 8, 0)
    found = requests_of([new(inquiry), push(), NOTIFY, new(read), acct(READ, 4096), get(), push(), NOTIFY])
    assert (found.begin.tolist(), found.enter.tolist(), found.push.tolist(), found.notify.tolist()) == (
        [3],
        [5],
        [6],
        [7],
    )
    assert (found.kind.tolist(), found.offset.tolist(), found.bytes.tolist()) == ([READ], [4 * 512], [4096])


def test_commands_taken_together_keep_their_own_calls() -> None:
    first, second = (b"\x2a\x00" + struct.pack(">IBHB", at, 0, 1, 0) for at in (8, 16))
    rows = [new(first), new(second, OTHER_HBA), acct(WRITE, 512), get(), acct(WRITE, 512, OTHER_HBA), get(DMA + 64)]
    found = requests_of([*rows, push(OTHER_HBA), NOTIFY, push(), NOTIFY])
    assert found.entries.event.tolist() == [3, 5]
    assert found.entries.request.tolist() == [0, 1]
    assert (found.push.tolist(), found.notify.tolist()) == ([8, 6], [9, 7])


def test_a_discard_of_several_ranges_and_a_durable_write_make_several_calls() -> None:
    write = b"\x2a\x08" + struct.pack(">IBHB", 8, 0, 1, 0)
    ranges = [new(b"\x42"), acct(DISCARD, 4096), get(1), acct(DISCARD, 8192), get(1), push(), NOTIFY]
    durable = [new(write), acct(WRITE, 512), get(), acct(FLUSH, 0), get(REQUEST), push(), NOTIFY]
    found = requests_of([*ranges, *durable])
    assert found.entries.request.tolist() == [0, 0, 1, 1]
    assert found.entries.kind.tolist() == [DISCARD, DISCARD, WRITE, FLUSH]
    assert (found.enter.tolist(), found.bytes[1]) == ([2, 9], 512)


def test_a_transfer_in_pieces_goes_on_with_the_same_pointer_until_its_end() -> None:
    read = b"\x28\x00" + struct.pack(">IBHB", 0, 0, 64, 0)
    rows = [new(read), acct(READ, 64 * 512), get(), get(), get(0x99), push(), NOTIFY, get()]
    found = requests_of(rows)
    assert found.entries.event.tolist() == [2, 3]
    assert found.entries.request.tolist() == [0, 0]


def test_a_pointer_is_used_by_both_kinds_of_device_one_after_the_other() -> None:
    read = b"\x28\x00" + struct.pack(">IBHB", 0, 0, 8, 0)
    plain: list[Row] = [("accept", {"key": HBA, "flags": WRITE, "offset": 512, "bytes": 512}), get(HBA), push(), NOTIFY]
    found = requests_of([*plain, new(read), acct(READ, 4096), get(), push(), NOTIFY])
    assert found.is_scsi.tolist() == [False, True]
    assert found.enter.tolist() == [1, 6]
    assert (found.offset.tolist(), found.bytes.tolist()) == ([512, 0], [512, 4096])


def test_block_sizes_are_learned_for_each_device_and_remembered() -> None:
    sizes = BlockSizes()
    device = np.array([1, 2, 1], dtype=np.uint32)
    count, payload = np.array([8, 2, 1]), np.array([4096, 8192, 0])
    assert sizes.of(device, count, payload).tolist() == [512, 4096, 512]
    assert sizes.of(np.array([2, 3], dtype=np.uint32), np.array([1, 1]), np.array([0, 0])).tolist() == [4096, 512]
