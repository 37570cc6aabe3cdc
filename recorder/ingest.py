"""bpftrace's output, from bytes to records: nothing is lost here without being counted."""

from dataclasses import dataclass

import numpy as np

from vio.losses import Loss, LossKind
from vio.recorder.generate import BATCH, POINT_SHIFT
from vio.recorder.mapprint import Printed
from vio.recorder.recordform import STREAMS, WORDS
from vio.recorder.rowbuffer import RowBuffer
from vio.recorder.rows import Rows, rows_of
from vio.recorder.sequence import Gap, SequenceBook
from vio.recorder.wire import U64, LineParser, Parsed

_HEAD = 2  # batch key, sequence number
_THREADS, _RARE = STREAMS["u"], STREAMS["r"]
_ENOUGH_BYTES = 1 << 20
_NO_TIME = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Ending:
    """What is known when all output has been read.

    `in_kernel` is the kernel's own count of records, None if it did not arrive.
    """

    leftovers: Rows
    losses: list[Loss]
    in_kernel: int | None


class Ingest:
    """Take the output in pieces as they come; `rows` fills with records, not sorted."""

    is_text = True
    fullest = 0.0

    def __init__(self, batch: int = BATCH) -> None:
        self.rows = RowBuffer()
        self.printed = Printed(WORDS)
        self.book = SequenceBook()
        self.received = 0
        self._batch = batch
        self._parser = LineParser(_HEAD + batch * WORDS)
        self._pieces: list[bytes] = []
        self._bytes = 0
        self._overflows: list[Loss] = []

    def feed(self, piece: bytes) -> None:
        """Take some output; it is parsed when enough has come."""
        self._pieces.append(piece)
        self._bytes += len(piece)
        if self._bytes >= _ENOUGH_BYTES:
            self.take()

    def take(self) -> None:
        """Parse all whole lines that have come."""
        data = b"".join(self._pieces)
        end = data.rfind(b"\n") + 1
        self._pieces = [data[end:]]
        self._bytes = len(data) - end
        self._take_parsed(self._parser.parse(memoryview(data)[:end]))

    def losses(self) -> list[Loss]:
        """Return all losses known so far."""
        gaps = [
            self._loss(LossKind.BUFFER, stream, key, gap.count * self._records(stream), gap)
            for (stream, key), sequence in self.book.sequences.items()
            for gap in sequence.gaps
        ]
        return [*gaps, *self._overflows]

    def leftovers(self) -> Rows:
        """Return the records that stood in the batches when they were last printed, and have not come since.

        A slot keeps its record when the batch has been printed: those are older than the newest that came.
        """
        records, owners = [], []
        for name, slots in self.printed.slots.items():
            stream = STREAMS.get(name, 0)
            for (key, _), words in slots.items():
                sequence = self.book.sequences.get((stream, key))
                if words[0] > (sequence.newest_ns if sequence else 0):
                    records.append(words)
                    owners.append(key if stream == _THREADS else 0)
        return rows_of(records, owners)

    def end(self, stop_ns: int) -> Ending:
        """Settle the accounts after the last output; `stop_ns` is when the probes were detached."""
        self.take()
        if self._bytes:
            self.printed.take(self._pieces.pop())
        numbers = self.printed.numbers
        if not all(name in numbers for name in ("un", "us", "tn", "ts", "rs")):
            return Ending(self.leftovers(), [*self.losses(), *losses_of_text(self.printed, stop_ns)], None)
        in_kernel = 0
        for name, stream in STREAMS.items():
            for key, final in numbers[f"{name}s"].items():
                sequence = self.book.get(stream, key)
                sequence.end(final, self._begin_of_last_batch(name, key, stop_ns))
                in_kernel += final * self._records(stream)
        leftovers, expected = self._last_batches(stop_ns)
        losses = [*self.losses(), *losses_of_text(self.printed, stop_ns)]
        return Ending(leftovers, losses, in_kernel + expected)

    def _begin_of_last_batch(self, name: str, key: int, stop_ns: int) -> int:
        """Return when the records that stand in a batch at the end began: what was lost before them is older."""
        if not self.printed.numbers.get(f"{name}n", {}).get(key):
            return stop_ns
        return self.printed.slots.get(name, {}).get((key, 0), (0,))[0] or stop_ns

    def _last_batches(self, stop_ns: int) -> tuple[Rows, int]:
        records, owners, expected = [], [], 0
        for name, stream in STREAMS.items():
            slots = self.printed.slots.get(name, {})
            for key, count in self.printed.numbers.get(f"{name}n", {}).items():
                found = [slots.get((key, index), (0,) * WORDS) for index in range(count)]
                there = [words for words in found if words[0]]
                records += there
                owners += [key if stream == _THREADS else 0] * len(there)
                expected += count
                if len(there) < count:
                    newest_ns = self.book.get(stream, key).newest_ns
                    gap = Gap(0, 0, newest_ns, stop_ns)
                    lost = count - len(there)
                    self._overflows.append(self._loss(LossKind.OVERFLOW, stream, key, lost, gap))
        return rows_of(records, owners), expected

    def _take_parsed(self, parsed: Parsed) -> None:
        for line in parsed.odd_lines:
            self.printed.take(line)
        key, number = parsed.fields[:, 0], parsed.fields[:, 1]
        records = parsed.fields[:, _HEAD:].reshape(len(parsed), self._batch, WORDS)
        is_rare = parsed.stream == _RARE
        if not is_rare.any():
            self._take_batches(parsed.stream, key, number, records)
            return
        self._take_batches(parsed.stream[~is_rare], key[~is_rare], number[~is_rare], records[~is_rare])
        single = records[is_rare, :1]
        times = single[:, 0, 0]
        self.book.take(parsed.stream[is_rare], key[is_rare], number[is_rare], times, times)
        self.rows.append_lines(single, np.zeros(len(single), np.uint64))
        self.received += len(single)

    def _take_batches(self, stream: U64, key: U64, number: U64, records: U64) -> None:
        if not len(stream):
            return
        times = records[:, :, 0]
        self.book.take(stream, key, number, times[:, 0], times[:, -1])
        self.rows.append_lines(records, np.where(stream == _THREADS, key, np.uint64(0)))
        self.received += len(stream) * self._batch
        if not times.all():
            self._note_overflow(stream, key, times)

    def _note_overflow(self, stream: U64, key: U64, times: U64) -> None:
        for line in np.flatnonzero((times == 0).any(axis=1)).tolist():
            known = times[line][times[line] != 0]
            gap = Gap(0, 0, int(known.min(initial=_NO_TIME)), int(known.max(initial=0)))
            lost = times.shape[1] - len(known)
            self.received -= lost
            self._overflows.append(self._loss(LossKind.OVERFLOW, int(stream[line]), int(key[line]), lost, gap))

    def _records(self, stream: int) -> int:
        return 1 if stream == _RARE else self._batch

    def _loss(self, kind: LossKind, stream: int, key: int, records: int, gap: Gap) -> Loss:
        return Loss(kind, where(stream, key), records, gap.from_ns, gap.to_ns)


def losses_of_text(printed: Printed, stop_ns: int) -> list[Loss]:
    """Return as losses the lines that made no sense."""
    count = printed.unparsable
    return [Loss(LossKind.UNPARSABLE, "output lines", count, 0, stop_ns)] if count else []


def where(stream: int, key: int) -> str:
    """Say whose records a batch key's are."""
    if stream == _THREADS:
        return f"thread {key}"
    point, cpu = key >> POINT_SHIFT, key & ((1 << POINT_SHIFT) - 1)
    where = f"point {point} on cpu {cpu}" if point else f"cpu {cpu}"
    if stream == _RARE:
        return where if point else f"rare points on {where}"
    return where
