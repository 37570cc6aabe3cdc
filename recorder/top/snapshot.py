"""What the program of `vio top` prints at each tick: all its sums and open spans at one moment. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from vio.recorder.generate import READY
from vio.recorder.top.spanform import BEGIN_TICK, END_TICK

_ENTRY = re.compile(r"@(\w+)\[(-?\d+)(?:, (-?\d+))?\]: (?:\((.*)\)|(-?\d+))")
_TICK = re.compile(rf"{BEGIN_TICK} (\d+)")
_HARMLESS = re.compile(r"Attaching \d+ probes?\.\.\.|Attached \d+ probes?|")
_U64 = 2**64 - 1
_KEPT_LINES = 20

Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The maps at `time_ns` (CLOCK_BOOTTIME): `numbers` by name and key, `spans` that have begun and not ended.

    The second part of a key is 0 where a map has one.
    """

    time_ns: int
    numbers: dict[str, dict[Key, int]] = field(default_factory=dict)
    spans: dict[str, dict[Key, tuple[int, ...]]] = field(default_factory=dict)

    def of(self, name: str) -> dict[Key, int]:
        """Return a map of numbers, empty where nothing was printed of it."""
        return self.numbers.get(name, {})

    def open(self, name: str) -> dict[Key, tuple[int, ...]]:
        """Return a map of open spans: (begin in ns, slot, bytes)."""
        return self.spans.get(name, {})


class Reader:
    """Take bpftrace's output piece by piece. `odd` are lines that made no sense (the first of them)."""

    def __init__(self) -> None:
        self.is_ready = False
        self.odd: list[str] = []
        self._text = b""
        self._now: Snapshot | None = None

    def feed(self, piece: bytes) -> Iterator[Snapshot]:
        """Yield each snapshot that is whole now."""
        *lines, self._text = (self._text + piece).split(b"\n")
        for line in lines:
            text = line.decode(errors="replace").strip()
            if text == END_TICK and self._now:
                yield self._now
                self._now = None
            elif text:
                self._take(text)

    def _take(self, text: str) -> None:
        tick, entry = _TICK.fullmatch(text), _ENTRY.fullmatch(text)
        if text == READY:
            self.is_ready = True
        elif tick:
            self._now = Snapshot(int(tick[1]))
        elif not (entry and self._now and _put(self._now, entry)) and not _HARMLESS.fullmatch(text):
            self.odd = [*self.odd, text[:200]][:_KEPT_LINES]


def _put(now: Snapshot, entry: re.Match[str]) -> bool:
    name, first, second, words, number = entry.groups()
    key = (int(first) & _U64, int(second or 0) & _U64)
    if number is not None:
        now.numbers.setdefault(name, {})[key] = int(number) & _U64
        return True
    values = words.split(", ")
    if not all(value.removeprefix("-").isdigit() for value in values):
        return False
    now.spans.setdefault(name, {})[key] = tuple(int(value) & _U64 for value in values)
    return True
