"""Maps in time: each holds for an interval of boot time; a recording has a set of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from vio.errors import MapError
from vio.mappers.bounds import LAST
from vio.mappers.compose import compose
from vio.mappers.extent import RangeMap

FOREVER_NS = LAST
"""`valid_to_ns` of a map that has not been seen to change."""


@dataclass(frozen=True, slots=True, eq=False)
class TimedMap:
    """A map that holds for boot times `[valid_from_ns, valid_to_ns)`.

    Where data is stored more than once, or can be reached by several paths, `copy` numbers the maps from 0 on.
    """

    map: RangeMap
    valid_from_ns: int
    valid_to_ns: int = FOREVER_NS
    copy: int = 0

    def __post_init__(self) -> None:
        if self.valid_from_ns > self.valid_to_ns:
            raise MapError(f"map of {self.map.source_space}: it ends before it begins")

    def is_valid(self, at_ns: int) -> bool:
        """Tell whether the map holds at that boot time."""
        return self.valid_from_ns <= at_ns < self.valid_to_ns

    def compose(self, lower: "TimedMap") -> "TimedMap | None":
        """Put this map upon a lower one for the time that both hold; None if there is none."""
        begin = max(self.valid_from_ns, lower.valid_from_ns)
        end = min(self.valid_to_ns, lower.valid_to_ns)
        copy = max(self.copy, lower.copy)
        return TimedMap(compose(self.map, lower.map), begin, end, copy) if begin < end else None


@dataclass(frozen=True, slots=True)
class MapSet:
    """All maps of a recording."""

    maps: tuple[TimedMap, ...] = ()

    def __iter__(self) -> Iterator[TimedMap]:
        return iter(self.maps)

    def __len__(self) -> int:
        return len(self.maps)

    def sources(self) -> list[str]:
        """List the spaces that some map starts from, in order of appearance."""
        return list(dict.fromkeys(timed.map.source_space for timed in self.maps))

    def at(self, source_space: str, at_ns: int) -> list[RangeMap]:
        """Give the maps of a space that hold at a boot time: one for each target and copy, the latest taken."""
        return [timed.map for timed in self.timed_at(source_space, at_ns)]

    def timed_at(self, source_space: str, at_ns: int) -> list[TimedMap]:
        """Give what `at` does, with the copy that each map is of."""
        latest: dict[tuple[str, int], TimedMap] = {}
        for timed in self.maps:
            if timed.map.source_space != source_space or not timed.is_valid(at_ns):
                continue
            key = (timed.map.target_space, timed.copy)
            known = latest.get(key)
            if known is None or timed.valid_from_ns >= known.valid_from_ns:
                latest[key] = timed
        return list(latest.values())

    def renew(self, newer: Iterable[TimedMap]) -> "MapSet":
        """Add maps taken later, ending those that they replace; a map that says the same stays as it is.

        A map that changed is said to hold until the new one was taken, though it changed at some time before:
        `vio.mappers.compose.difference` gives the ranges for which that matters.
        """
        maps = list(self.maps)
        for new in newer:
            old = _open_map(maps, new)
            if old is not None and maps[old].map.is_same(new.map):
                continue
            if old is not None:
                maps[old] = replace(maps[old], valid_to_ns=max(new.valid_from_ns, maps[old].valid_from_ns))
            maps.append(new)
        return MapSet(tuple(maps))

    def ended(self, source_space: str, at_ns: int) -> "MapSet":
        """End all maps from a space that are still open: from that time on there are others, or none."""

        def until(timed: TimedMap) -> TimedMap:
            is_open = timed.map.source_space == source_space and timed.valid_to_ns == FOREVER_NS
            return replace(timed, valid_to_ns=max(at_ns, timed.valid_from_ns)) if is_open else timed

        return MapSet(tuple(map(until, self.maps)))

    def reach(self, source_space: str, at_ns: int) -> list[RangeMap]:
        """Compose from a space to every space below it by the maps of that time, nearest first."""
        reached: list[RangeMap] = []
        waiting = [(ranges, frozenset({source_space})) for ranges in self.at(source_space, at_ns)]
        while waiting:
            upper, above = waiting.pop(0)
            if upper.target_space in above:
                raise MapError(f"the maps go round in a circle at {upper.target_space}")
            reached.append(upper)
            passed = above | {upper.target_space}
            below = self.at(upper.target_space, at_ns)
            waiting += [(compose(upper, lower), passed) for lower in below]
        return reached

    def lowest(self, source_space: str, at_ns: int) -> list[RangeMap]:
        """Compose from a space down as far as the maps of that time go: one map for each lowest space."""
        reached = self.reach(source_space, at_ns)
        return [ranges for ranges in reached if not self.at(ranges.target_space, at_ns)]


def _open_map(maps: list[TimedMap], like: TimedMap) -> int | None:
    wanted = _identity(like)
    for index in reversed(range(len(maps))):
        if maps[index].valid_to_ns == FOREVER_NS and _identity(maps[index]) == wanted:
            return index
    return None


def _identity(timed: TimedMap) -> tuple[str, str, int]:
    return timed.map.source_space, timed.map.target_space, timed.copy
