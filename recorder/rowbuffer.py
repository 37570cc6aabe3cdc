"""Records in memory, in the order they came, until a segment of them is cut off."""

import numpy as np

from vio.recorder.rows import Rows, no_rows
from vio.recorder.wire import U64

_FIRST_ROOM = 1 << 16


class RowBuffer:
    """A growing array of rows; room once taken is kept."""

    def __init__(self) -> None:
        self._room = no_rows(_FIRST_ROOM)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, rows: Rows) -> None:
        """Add rows."""
        at = self._grow(len(rows))
        self._room.put(at, rows)

    def append_lines(self, records: U64, owner: U64) -> None:
        """Add lines of records: `records[line, index, word]`; `owner` one for each line."""
        lines, batch, _ = records.shape
        at = self._grow(lines * batch)
        place = slice(at, at + lines * batch)
        self._room.time_ns[place] = records[:, :, 0].reshape(-1).view(np.int64)
        self._room.header[place] = records[:, :, 1].reshape(-1)
        self._room.extent[place] = records[:, :, 2].reshape(-1)
        self._room.offset[place] = records[:, :, 3].reshape(-1)
        self._room.key[place] = records[:, :, 4].reshape(-1)
        self._room.owner[place] = np.repeat(owner, batch)

    def newest_ns(self) -> int:
        """Return the newest time among the rows; 0 without a row."""
        return int(self._room.time_ns[: self._count].max(initial=0))

    def cut(self, until_ns: int) -> Rows:
        """Take out the rows up to a time, in the order of time; rows without a time (never stored) vanish."""
        rows = self._room.pick(slice(0, self._count))
        order = np.argsort(rows.time_ns, kind="stable")
        times = rows.time_ns[order]
        first, last = np.searchsorted(times, [1, until_ns + 1])
        taken = rows.pick(order[first:last])
        kept = rows.pick(np.sort(order[last:]))
        self._count = 0
        self.append(kept)
        return taken

    def _grow(self, more: int) -> int:
        at, needed = self._count, self._count + more
        if needed > len(self._room):
            bigger = no_rows(max(needed, 2 * len(self._room)))
            bigger.put(0, self._room.pick(slice(0, at)))
            self._room = bigger
        self._count = needed
        return at
