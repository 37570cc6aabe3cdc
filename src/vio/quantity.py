"""Read the quantities that a user types: durations and stretches of time."""

import math
import re

from vio.errors import UsageError

_DURATION = re.compile(r"(?P<number>\d+(?:\.\d*)?|\.\d+)(?P<unit>ms|s|m|h|)", re.ASCII)
NO_END_S = 2.0**32  # more than a century: JSON has no infinity
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
