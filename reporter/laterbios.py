"""Links between bios and the IOs whose bytes they write back, until all of a link is known."""

from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa

from vio.reporter.dirty import Shared, located
from vio.reporter.join import Joined
from vio.reporter.match import NONE, Bools, Ints, Keys, picked
from vio.reporter.sectors import place_key
from vio.schema import WRITEBACKS, arrow_schema

WRITEBACKS_SCHEMA = arrow_schema(WRITEBACKS)
_GIVE_UP_NS = 60_000_000_000  # as the join gives up a bio without a request
_ALIKE = 16  # events at one instant that are told apart


@dataclass(frozen=True, slots=True)
class LaterBios:
    """Rows of schema.WRITEBACKS in the making: a time is 0 while it is not known, an IO below -1 has no number yet.

    `ended_ns` is the IO's end. `key` is the place of the bio or, once that has one, of its request, which with its time
    finds it again in the next window.
    """

    io: Ints
    ended_ns: Ints
    disk: Ints
    device: Ints
    device_offset: Ints
    file_offset: Ints
    bytes: Ints
    queued_ns: Ints
    issued_ns: Ints
    completed_ns: Ints
    caused_by: Ints
    key: Keys

    @classmethod
    def empty(cls) -> "LaterBios":
        """Return no rows."""
        none = np.empty(0, dtype=np.int64)
        return cls(none, none, none, none, none, none, none, none, none, none, none, none.astype(np.uint64))

    @classmethod
    def joined(cls, parts: list["LaterBios"]) -> "LaterBios":
        """Return the rows of several."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    @classmethod
    def of(
        cls, joined: Joined, bio: Ints, disk: int, shared: Shared, device_offset: Ints, caused_by: Ints
    ) -> "LaterBios":
        """Make rows of what bios (positions in `Blocks.bio`) share with IOs, with what this window knows of them."""
        blocks, ev = joined.blocks, joined.window.events
        issued_ns, completed_ns, key = _requests(joined, blocks.bios.first_below(blocks.request)[bio])
        own = place_key(blocks.bio_device[bio], blocks.bio_offset[bio])
        return cls(
            shared.io,
            shared.ended_ns,
            np.full(bio.size, disk),
            blocks.bio_device[bio],
            device_offset,
            shared.start,
            shared.end - shared.start,
            ev.ts_ns[blocks.bio[bio]],
            issued_ns,
            completed_ns,
            caused_by,
            np.where(issued_ns > 0, key, own),
        )

    def take(self, which: Bools | Ints) -> "LaterBios":
        """Return the chosen rows."""
        return LaterBios(*(getattr(self, f.name)[which] for f in fields(self)))

    def rename(self, old: Ints, new: Ints, ended_ns: Ints) -> None:
        """Give each `old` IO (ascending) its number."""
        which, found = located(self.io, old)
        if which.size:
            self.io[which] = new[found]
            self.ended_ns[which] = ended_ns[found]
        which, found = located(self.caused_by, old)
        if which.size:
            self.caused_by[which] = new[found]

    def seen_again(self, joined: Joined) -> "LaterBios":
        """Return the rows with what a later window knows: the join carries what is not complete into it."""
        if not self.io.size:
            return self
        blocks, ev = joined.blocks, joined.window.events
        places = place_key(blocks.bio_device, blocks.bio_offset)
        bio = _find(self.queued_ns, self.key, ev.ts_ns[blocks.bio], places)
        request = np.where(self.issued_ns == 0, picked(blocks.bios.first_below(blocks.request), bio), NONE)
        issue = blocks.issue
        places = place_key(ev.space[issue].astype(np.int64), ev.offset[issue])
        again = _find(self.issued_ns, self.key, ev.ts_ns[issue], places)
        request = np.where(self.issued_ns > 0, again, request)
        issued_ns, completed_ns, key = _requests(joined, request)
        is_new = issued_ns > 0
        return LaterBios(
            self.io,
            self.ended_ns,
            self.disk,
            self.device,
            self.device_offset,
            self.file_offset,
            self.bytes,
            self.queued_ns,
            np.where(is_new, issued_ns, self.issued_ns),
            np.where(self.completed_ns > 0, self.completed_ns, completed_ns),
            self.caused_by,
            np.where(is_new, key, self.key),
        )

    def table(self) -> pa.Table:
        """Return the rows as a table of schema.WRITEBACKS."""
        absent = {"issued_ns": self.issued_ns == 0, "completed_ns": self.completed_ns == 0}
        absent["caused_by"] = self.caused_by < 0
        columns = [pa.array(getattr(self, f.name), mask=absent.get(f.name)).cast(f.type) for f in WRITEBACKS_SCHEMA]
        return pa.Table.from_arrays(columns, schema=WRITEBACKS_SCHEMA)


def is_found(rows: LaterBios, now_ns: int) -> Bools:
    """Tell which rows have all of their times, or are so old that no more will come."""
    return np.asarray((rows.completed_ns > 0) | (rows.queued_ns < now_ns - _GIVE_UP_NS))


def _requests(joined: Joined, request: Ints) -> tuple[Ints, Ints, Keys]:
    """Return when requests were issued and completed (0: not seen), and their places."""
    blocks, ev = joined.blocks, joined.window.events
    issue, complete = picked(blocks.issue, request), picked(blocks.complete, request)
    issued_ns = np.where(issue >= 0, ev.ts_ns[issue], 0)
    completed_ns = np.where(complete >= 0, ev.ts_ns[complete], 0)
    return issued_ns, completed_ns, place_key(ev.space[issue].astype(np.int64), ev.offset[issue])


def _find(ts_ns: Ints, key: Keys, among_ns: Ints, places: Keys) -> Ints:
    """Return the position of each (time, place) among events in order of time, -1 where it is not there."""
    position = np.searchsorted(among_ns, ts_ns)
    found = np.full(ts_ns.size, NONE)
    for step in range(_ALIKE if among_ns.size else 0):
        at = np.minimum(position + step, among_ns.size - 1)
        hit = (found < 0) & (among_ns[at] == ts_ns) & (places[at] == key)
        found[hit] = at[hit]
    return found
