"""bpftrace's records as they stand in its maps, taken out by vio: nothing is lost here without being counted."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vio.errors import HostError
from vio.losses import Loss, LossKind
from vio.recorder.bpfmap import U64
from vio.recorder.ingest import Ending, losses_of_text, where
from vio.recorder.mapprint import Printed
from vio.recorder.numbering import NumberBook
from vio.recorder.recordform import KEY_WORDS, STREAMS, WORDS
from vio.recorder.recordmap import RecordMap, find_record_map
from vio.recorder.rowbuffer import RowBuffer
from vio.recorder.rows import Rows, rows_of

_THREADS = STREAMS["u"]


class MapsUnknownError(HostError):
    """The probes are attached, and this bpftrace keeps records in a form that vio does not know."""


class StoredIngest:
    """Take records out of the maps of a bpftrace (`process` is its directory in /proc).

    Its output is the text of what is no record. `streams` name the maps; `fullest` is how full the fullest was at the
    last `take`.
    """

    is_text = False

    def __init__(self, process: Path, streams: Sequence[str]) -> None:
        self.rows = RowBuffer()
        self.printed = Printed(WORDS)
        self.book = NumberBook()
        self.received = 0
        self.fullest = 0.0
        self._process = process
        self._streams = streams
        self._maps: dict[int, RecordMap] = {}
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
            MapsUnknownError: the probes are attached and not all maps are found.
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
        for name in self._streams:
            found = None if STREAMS[name] in self._maps else find_record_map(self._process, name)
            if found:
                self._maps[STREAMS[name]] = found
        if self._is_open and len(self._maps) < len(self._streams):
            raise MapsUnknownError("the form of this bpftrace's maps is unknown")

    def _take(self, stream: int, one: RecordMap) -> float:
        parts = list(one.take())
        if not parts:
            self._note(stream, np.empty((0, KEY_WORDS), np.uint64), np.empty((0, WORDS), np.uint64))
            return 0.0
        keys, values = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        order = np.argsort(values[:, 0])
        self._note(stream, keys[order], values[order])
        return len(keys) / one.entries

    def _note(self, stream: int, keys: U64, values: U64) -> None:
        time_ns, header, extent, offset, key = np.ascontiguousarray(values.T)
        self.book.take_pass(stream, keys[:, 0], keys[:, 1], time_ns)
        owner = keys[:, 0].astype(np.uint32) if stream == _THREADS else np.zeros(len(keys), np.uint32)
        self.rows.append(Rows(time_ns.view(np.int64), header, extent, offset, key, owner))
        self.received += len(keys)
