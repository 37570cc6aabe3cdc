"""Numbers as people read them: times in one unit per table, bytes, counts, shares."""

from dataclasses import dataclass

_BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


@dataclass(frozen=True, slots=True)
class TimeUnit:
    """A unit of time: one for a whole table, so that longer numbers are longer times."""

    name: str
    ns: int

    def text(self, time_ns: float) -> str:
        """Write a time without its unit."""
        return f"{time_ns / self.ns:,.1f}"


MICROSECOND = TimeUnit("us", 1_000)
MILLISECOND = TimeUnit("ms", 1_000_000)


def unit_for(typical_ns: float) -> TimeUnit:
    """Choose the unit for a table in which this time is typical."""
    return MICROSECOND if typical_ns < 10_000_000 else MILLISECOND


def time_text(time_ns: float) -> str:
    """Write one time with its unit."""
    for unit, ns in (("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)):
        if abs(time_ns) >= ns:
            return f"{time_ns / ns:,.{2 if abs(time_ns) < 9.995 * ns else 1}f} {unit}"
    return f"{time_ns:.0f} ns"


def bytes_text(count: int) -> str:
    """Write a number of bytes with three or more digits."""
    size = float(count)
    for unit in _BYTE_UNITS:
        if abs(size) < 1024 or unit == _BYTE_UNITS[-1]:
            return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return str(count)


def share_text(share: float) -> str:
    """Write a share in per cent; what is not everything never reads 100 %, what is not nothing never 0 %."""
    if 0 < share < 0.0005:
        return "<0.1%"
    if 0.9995 <= share < 1:
        return ">99.9%"
    return f"{share:.1%}"
