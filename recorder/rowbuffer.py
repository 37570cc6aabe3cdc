"""Records in memory, as they came, until a segment of them is cut off."""

from dataclasses import dataclass

import numpy as np

from vio.recorder.rows import Rows
from vio.recorder.wire import U64


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows that came together, and their oldest and newest time."""

    rows: Rows
    oldest_ns: int
    newest_ns: int


class RowBuffer:
    """Rows in the parts that they came in: nothing is copied before they are written."""

    def __init__(self) -> None:
        self._parts: list[_Part] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, rows: Rows) -> None:
        """Add rows."""
        if len(rows):
            self._parts.append(_Part(rows, int(rows.time_ns.min()), int(rows.time_ns.max())))
            self._count += len(rows)

    def append_lines(self, records: U64, owner: U64) -> None:
        """Add lines of records: `records[line, index, word]`; `owner` one for each line."""
        lines, batch, words = records.shape
        time_ns, header, extent, offset, key = np.ascontiguousarray(records.reshape(lines * batch, words).T)
        owners = np.repeat(owner.astype(np.uint32), batch)
        self.append(Rows(time_ns.view(np.int64), header, extent, offset, key, owners))

    def newest_ns(self) -> int:
        """Return the newest time among the rows; 0 without a row."""
        return max((part.newest_ns for part in self._parts), default=0)

    def cut(self, until_ns: int) -> list[Rows]:
        """Take out the rows up to a time, in parts that are not sorted."""
        taken: list[Rows] = []
        parts, self._parts, self._count = self._parts, [], 0
        for part in parts:
            if part.newest_ns <= until_ns:
                taken.append(part.rows)
            elif part.oldest_ns > until_ns:
                self._parts.append(part)
                self._count += len(part.rows)
            else:
                is_taken = part.rows.time_ns <= until_ns
                taken.append(part.rows.pick(is_taken))
                self.append(part.rows.pick(~is_taken))
        return taken
