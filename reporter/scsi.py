"""SCSI commands of virtio-scsi: what their descriptor block (CDB) asks for, and which block-layer calls are theirs.

A command is one pointer (VirtIOSCSIReq *) from the queue to the push. Right before a disk calls the block layer it
accounts the call, on the same thread, with a cookie that leads back to that pointer; a command may make several calls
(a discard of several ranges, a write and the flush after it).
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vio.reporter.events import Window
from vio.reporter.match import NONE, Bools, Ints, latest_before

# BlockAcctType of QEMU 4.2 and newer; what is none of them is no IO.
NO_IO, READ, WRITE, FLUSH, DISCARD = range(5)

_READS = {0x08: 6, 0x28: 10, 0xA8: 12, 0x88: 16}
_WRITES = {0x0A: 6, 0x2A: 10, 0xAA: 12, 0x8A: 16, 0x2E: 10, 0xAE: 12, 0x8E: 16, 0x41: 10, 0x93: 16}  # and verify, same
_FLUSHES = {0x35: 10, 0x91: 16}
_UNMAP = 0x42
_LEAST_BLOCK, _MOST_BLOCK = 512, 65536


@dataclass(frozen=True, slots=True)
class Command:
    """Commands by their CDBs: what kind of IO, the first logical block, and how many blocks."""

    kind: Ints
    block: Ints
    count: Ints


@dataclass(frozen=True, slots=True)
class Entries:
    """Calls into the block layer (`aio_get`) in order: the position of the request, and the kind of the call."""

    event: Ints
    request: Ints
    kind: Ints

    @classmethod
    def none(cls) -> "Entries":
        """Return no calls."""
        nothing = np.empty(0, dtype=np.int64)
        return cls(nothing, nothing, nothing)


@dataclass(frozen=True, slots=True)
class ScsiCalls:
    """The calls of SCSI commands; `account` are the accounting events and `accounted` the requests that they are of."""

    entries: Entries
    account: Ints
    accounted: Ints


def read_cdb(flags: npt.NDArray[np.uint16], offset: Ints, length: Ints) -> Command:
    """Decode CDBs from the columns of `scsi_new`: bytes 0-1 in `flags`, 2-9 in `offset`, 10-13 in `length`.

    The columns hold them as a little-endian machine reads them; a CDB's numbers are big-endian.
    """
    code = flags & np.uint16(0xFF)
    kind, size = np.full(code.size, NO_IO, dtype=np.int64), np.zeros(code.size, dtype=np.int64)
    for what, codes in ((READ, _READS), (WRITE, _WRITES), (FLUSH, _FLUSHES), (DISCARD, {_UNMAP: 10})):
        for number, cdb_size in codes.items():
            kind[code == number], size[code == number] = what, cdb_size
    middle = offset.astype(np.uint64)
    swapped = middle.byteswap()
    low32 = np.uint64(0xFFFFFFFF)
    bytes_2_5, bytes_6_9 = swapped >> np.uint64(32), swapped & low32
    bytes_10_13 = length.astype(np.uint32).byteswap().astype(np.uint64)
    first_6 = ((flags.astype(np.uint64) >> np.uint64(8)) & np.uint64(0x1F)) << np.uint64(16) | (
        bytes_2_5 >> np.uint64(16)
    )
    count_6 = (bytes_2_5 >> np.uint64(8)) & np.uint64(0xFF)
    count_6 = np.where(count_6 == 0, np.uint64(256), count_6)
    count_10 = (bytes_6_9 >> np.uint64(8)) & np.uint64(0xFFFF)
    by_size = [size == 6, size == 10, size == 12, size == 16]
    block = np.select(by_size, [first_6, bytes_2_5, bytes_2_5, swapped], np.uint64(0))
    count = np.select(by_size, [count_6, count_10, bytes_6_9, bytes_10_13], np.uint64(0))
    return Command(kind, block.astype(np.int64), count.astype(np.int64))


def read_calls_of_scsi(window: Window, begin: Ints, push: Ints, enter: Ints) -> ScsiCalls:
    """Find the block-layer calls of commands, given by their begins (ascending) and pushes (-1: none yet).

    `enter` are the entries into the block layer (`aio_get`) that are not another device's.
    """
    ev = window.events
    account = window.at("scsi_acct")
    accounted = _alive(
        latest_before(account, ev.offset[account].astype(np.uint64), begin, ev.key[begin]), account, push
    )
    account, accounted = account[accounted >= 0], accounted[accounted >= 0]
    if not account.size:
        return ScsiCalls(Entries.none(), account, accounted)
    thread = ev.tid.astype(np.uint64)
    before = latest_before(enter, thread[enter], account, thread[account])
    own = np.flatnonzero(before >= 0)
    # Of several entries after one accounting only the first is what was accounted.
    own = own[np.unique(before[own], return_index=True)[1]]
    request, kind = np.full(enter.size, NONE, dtype=np.int64), np.full(enter.size, NONE, dtype=np.int64)
    request[own], kind[own] = accounted[before[own]], ev.flags[account[before[own]]]
    # A transfer that the DMA helper can only do piece by piece goes on with the same pointer.
    own = np.sort(own)
    rest = np.flatnonzero(request < 0)
    first = latest_before(enter[rest], ev.key[enter[rest]], enter[own], ev.key[enter[own]])
    piece, first = rest[first >= 0], first[first >= 0]
    request[piece] = _alive(request[own[first]], enter[piece], push)
    kind[piece] = kind[own[first]]
    found = np.flatnonzero(request >= 0)
    return ScsiCalls(Entries(enter[found], request[found], kind[found]), account, accounted)


def _alive(request: Ints, event: Ints, push: Ints) -> Ints:
    """Return the requests of events, -1 where the request had been pushed before."""
    if not push.size:
        return request
    is_over = (push[request] >= 0) & (push[request] < event)
    return np.where((request >= 0) & ~is_over, request, NONE)


@dataclass(slots=True)
class BlockSizes:
    """The size of each SCSI device's logical blocks, learned from what its reads and writes were accounted for."""

    _of_device: dict[int, int] = field(default_factory=dict)

    def of(self, device: npt.NDArray[np.uint32], count: Ints, payload: Ints) -> Ints:
        """Return the bytes of a logical block for each command; `payload` is 0 where nothing was accounted."""
        known = np.flatnonzero((payload > 0) & (count > 0))
        for one in np.unique(device[known]).tolist():
            if one not in self._of_device:
                first = known[device[known] == one][0]
                self._of_device[one] = _block_size(int(payload[first]) // int(count[first]))
        size = np.full(device.size, _LEAST_BLOCK, dtype=np.int64)
        for one, block_bytes in self._of_device.items():
            size[device == one] = block_bytes
        return size


def _block_size(ratio: int) -> int:
    """Return the power of two at or below a ratio: the guest may give a buffer that is larger than it needs."""
    return min(max(1 << (ratio.bit_length() - 1), _LEAST_BLOCK), _MOST_BLOCK) if ratio > 0 else _LEAST_BLOCK


def is_io(command: Command) -> Bools:
    """Tell which commands read, write, flush or discard; INQUIRY, TEST UNIT READY and the like do not."""
    return np.asarray(command.kind != NO_IO)
