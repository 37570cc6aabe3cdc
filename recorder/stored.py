"""bpftrace's records as they stand in its maps, taken out by vio: nothing is lost here without being counted."""

from pathlib import Path

import numpy as np

from vio.errors import HostError
from vio.losses import Loss, LossKind
from vio.recorder.bpfmap import U64, BpfMap, find_map
from vio.recorder.generate import STREAMS, WORDS
from vio.recorder.ingest import Ending, losses_of_text, where
from vio.recorder.mapprint import Printed
from vio.recorder.numbering import NumberBook
from vio.recorder.rowbuffer import RowBuffer
from vio.recorder.rows import Rows, rows_of

_KEY_WORDS = 2  # batch key, number
_THREADS = STREAMS["u"]


class StoredIngest:
    """Take records out of the maps of a bpftrace (`process` is its directory in /proc).

    Its output is the text of what is no record. `entries` is how many records a map holds; `fullest` is how full the
    fullest was at the last `take`.
    """

    is_text = False

    def __init__(self, process: Path, entries: int) -> None:
        self.rows = RowBuffer()
        self.printed = Printed(WORDS)
        self.book = NumberBook()
        self.received = 0
        self.fullest = 0.0
        self._process = process
        self._entries = entries
        self._maps: dict[int, BpfMap] = {}
        self._text = b""
        self._is_open = False

    def close(self) -> None:
        """Let the maps go."""
        for one in self._maps.values():
            one.close()
        self._maps = {}

    def feed(self, piece: bytes) -> None:
        """Take some of the output's text."""
        *lines, self._text = (self._text + piece).split(b"\n")
        for line in lines:
            if line.strip():
                self.printed.take(line)

    def take(self) -> None:
        """Take out all records that have come.

        Raises:
            HostError: the probes are attached and there are no maps.
        """
        if not self._is_open:
            # before it says that it is ready: by then the first probes may have filled a map
            self._is_open = self.printed.is_ready
            self._find()
        self.fullest = max((self._take(stream, one) for stream, one in self._maps.items()), default=0.0)

    def losses(self) -> list[Loss]:
        """Return all losses known so far."""
        return [
            Loss(LossKind.OVERFLOW, where(stream, key), gap.count, gap.from_ns, gap.to_ns)
            for (stream, key), numbering in self.book.numberings.items()
            for gap in numbering.gaps
        ]

    def leftovers(self) -> Rows:
        """Return nothing: no record waits for others."""
        return rows_of([], [])

    def end(self, stop_ns: int) -> Ending:
        """Settle the accounts after the last output; `stop_ns` is when the probes were detached."""
        self.take()
        if self._text:
            self.printed.take(self._text)
        numbers = self.printed.numbers
        if "us" not in numbers:
            return Ending(self.leftovers(), [*self.losses(), *losses_of_text(self.printed, stop_ns)], None)
        in_kernel = 0
        for name, stream in STREAMS.items():
            for key, final in numbers.get(f"{name}s", {}).items():
                self.book.get(stream, key).end(final, stop_ns)
                in_kernel += final
        return Ending(self.leftovers(), [*self.losses(), *losses_of_text(self.printed, stop_ns)], in_kernel)

    def _find(self) -> None:
        for name, stream in STREAMS.items():
            found = None if stream in self._maps else find_map(self._process, name, _KEY_WORDS, WORDS)
            if found:
                self._maps[stream] = found
        if self._is_open and not self._maps:
            raise HostError("the maps of this bpftrace cannot be found", "`vio record --batches` does without")

    def _take(self, stream: int, one: BpfMap) -> float:
        parts = [(keys.copy(), values.copy()) for keys, values in one.take()]
        if not parts:
            self._note(stream, np.empty((0, _KEY_WORDS), np.uint64), np.empty((0, WORDS), np.uint64))
            return 0.0
        keys, values = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        order = np.argsort(values[:, 0])
        # what BEGIN put there to give the map its type has no time
        order = order[np.searchsorted(values[order, 0], 1) :]
        self._note(stream, keys[order], values[order])
        return len(keys) / self._entries

    def _note(self, stream: int, keys: U64, values: U64) -> None:
        time_ns, header, extent, offset, key = np.ascontiguousarray(values.T)
        self.book.take_pass(stream, keys[:, 0], keys[:, 1], time_ns)
        owner = keys[:, 0].astype(np.uint32) if stream == _THREADS else np.zeros(len(keys), np.uint32)
        self.rows.append(Rows(time_ns.view(np.int64), header, extent, offset, key, owner))
        self.received += len(keys)
