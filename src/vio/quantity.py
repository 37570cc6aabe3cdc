"""Read the quantities that a user types: durations, stretches of time, shares, sizes and ranges of bytes."""

import math
import re

from vio.errors import UsageError

_DURATION = re.compile(r"(?P<number>\d+(?:\.\d*)?|\.\d+)(?P<unit>ms|s|m|h|)", re.ASCII)
NO_END_S = 2.0**32  # more than a century: JSON has no infinity
_SIZE = re.compile(
    r"0[xX](?P<hex>[0-9a-fA-F]{1,16})|(?P<number>\d{1,19}(?:\.\d+)?) ?(?P<unit>[kKMGTP]?)(?:i?B)?", re.ASCII
)
_SHARE = re.compile(r"(\d+(?:\.\d*)?|\.\d+) ?%", re.ASCII)
_SIZE_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}
_MAX_SIZE = 2**63 - 1
_SECONDS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration_s(text: str) -> float:
    """Read `10`, `10s`, `1.5m`, `500ms` or `2h` as seconds.

    Raises:
        UsageError: it is no duration, or not above zero.
    """
    duration_s = _seconds(text)
    if duration_s <= 0:
        raise UsageError(f"a duration of {text} is not above zero", "write it as 10s or 2m")
    return duration_s


def parse_stretch_s(text: str) -> tuple[float, float]:
    """Read `A:B`, two times from the recording's beginning; without A it starts there, without B it has no end.

    Raises:
        UsageError: it is no stretch of time, or ends before it begins.
    """
    begin, colon, end = text.partition(":")
    if not colon:
        raise UsageError(f"{text!r} is no stretch of time", "write it as A:B, such as 1.5s:3s, 10: or :2m")
    begin_s = _seconds(begin) if begin.strip() else 0.0
    end_s = _seconds(end) if end.strip() else NO_END_S
    if end_s <= begin_s:
        raise UsageError(f"the stretch {text} ends before it begins", "write the earlier time first")
    return begin_s, end_s


def _seconds(text: str) -> float:
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise UsageError(f"{text!r} is no duration", "write it as 10s, 500ms, 2m or 1h")
    seconds = float(match["number"]) * _SECONDS[match["unit"]]
    if not math.isfinite(seconds) or seconds > 1e9:
        raise UsageError(f"a duration of {text[:20]} is too long", "write it as 10s, 500ms, 2m or 1h")
    return seconds


def parse_share(text: str) -> float:
    """Read `5%` or `0.5 %` as a share of 1.

    Raises:
        UsageError: it is no share.
    """
    found = _SHARE.fullmatch(text.strip())
    if not found:
        raise UsageError(f"{text[:40]!r} is no share", "write it with its sign: 5%")
    return float(found[1]) / 100


def size_text(count: int) -> str:
    """Write a number of bytes as people type it: 512, 64 KiB, 1.5 GiB."""
    for unit, factor in reversed(_SIZE_UNITS.items()):
        if unit and count >= factor:
            return f"{count / factor:.1f}".removesuffix(".0") + f" {unit}iB"
    return f"{count} B"


def parse_size(text: str) -> int:
    """Read `4096`, `0x1000`, `64k`, `1.5G` or `64 KiB` as bytes.

    Raises:
        UsageError: it is no number of bytes, or not a whole one.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise UsageError(f"{text[:40]!r} is no number of bytes", "write it as 4096, 0x1000, 64k or 1.5G")
    if match["hex"]:
        count = float(int(match["hex"], 16))
    else:
        count = float(match["number"]) * _SIZE_UNITS[match["unit"].upper()]
    if not count.is_integer() or count > _MAX_SIZE:
        raise UsageError(f"{text[:40]} is no whole number of bytes, or too great", "write it as 4096, 0x1000 or 64k")
    return int(match["hex"], 16) if match["hex"] else int(count)


def parse_range(text: str) -> tuple[int, int]:
    """Read `OFFSET` or `OFFSET+LENGTH` as bytes; the length is 1 where it is not given.

    Raises:
        UsageError: it is no range of bytes, or an empty one.
    """
    offset, plus, length = text.partition("+")
    found = parse_size(offset), parse_size(length) if plus else 1
    if found[1] < 1 or sum(found) > _MAX_SIZE:
        raise UsageError(f"the range {text[:40]} is empty or too great", "write it as OFFSET+LENGTH, such as 1M+64k")
    return found
