"""bpftrace's prints of its maps: what stands in the batches, and how much was ever put into them."""

import re
from dataclasses import dataclass, field

from vio.recorder.generate import READY

_ENTRY = re.compile(rb"@(\w+)\[(\d+)(?:, (\d+))?\]: (?:\((.*)\)|(-?\d+))\s*")
_LOST = re.compile(rb"Lost (\d+) events")
_HARMLESS = re.compile(rb"Attaching \d+ probes?\.\.\.|Attached \d+ probes?|@\w+: .*")
_U64 = 2**64 - 1
_KEPT_LINES = 20

Slot = tuple[int, int]


@dataclass(slots=True)
class Printed:
    """What the lines that are no records have said so far, by map name.

    `slots` are the batches' records, {name: {(batch key, index): words}}; `numbers` the counters,
    {name: {batch key: value}}. `first_odd` are the first lines that made no sense.
    """

    width: int
    is_ready: bool = False
    lost_by_bpftrace: int = 0
    unparsable: int = 0
    first_odd: list[str] = field(default_factory=list)
    slots: dict[str, dict[Slot, tuple[int, ...]]] = field(default_factory=dict)
    numbers: dict[str, dict[int, int]] = field(default_factory=dict)

    def take(self, line: bytes) -> None:
        """Read one line."""
        text = line.strip()
        entry = _ENTRY.fullmatch(text)
        lost = _LOST.fullmatch(text)
        if lost:
            self.lost_by_bpftrace += int(lost[1])
        elif text == READY.encode():
            self.is_ready = True
        elif not (entry and self._take_entry(entry)) and text and not _HARMLESS.fullmatch(text):
            self.unparsable += 1
            if len(self.first_odd) < _KEPT_LINES:
                self.first_odd.append(text[:200].decode(errors="replace"))

    def _take_entry(self, entry: re.Match[bytes]) -> bool:
        name, key, index, words, number = entry.groups()
        if number is not None:
            self.numbers.setdefault(name.decode(), {})[int(key)] = int(number) & _U64
            return index is None
        values = words.split(b", ")
        if index is None or len(values) != self.width or not all(_is_number(value) for value in values):
            return False
        record = tuple(int(value) & _U64 for value in values)
        self.slots.setdefault(name.decode(), {})[int(key), int(index)] = record
        return True


def _is_number(text: bytes) -> bool:
    return text.removeprefix(b"-").isdigit()
