"""Say which line of which probe file bpftrace means when it refuses the program. Pure."""

import re
from collections.abc import Sequence

from vio.errors import HostError
from vio.recorder.generate import Chosen

_PLACE = re.compile(r":(?P<line>\d+):\d+(?:-\d+)?:")
_POINT = re.compile(r"^// (?P<name>\w+) \([\w-]+\): ")


def blamed(error: HostError, program: str, chosen: Sequence[Chosen]) -> HostError:
    """Return the error with file, line and text of the probe that it is about, if it says where it is."""
    place = _PLACE.search(error.message)
    found = find_line(program, int(place["line"]), chosen) if place else ""
    return HostError(f"{error.message}; that is {found}", error.hint) if found else error


def find_line(program: str, line: int, chosen: Sequence[Chosen]) -> str:
    """Return `file:line: text` of what became a line of the program (from 1); "" if it is nobody's."""
    lines = program.splitlines()
    for at in range(min(line, len(lines)) - 1, -1, -1):
        head = _POINT.match(lines[at])
        one = next((one for one in chosen if head and one.point.name == head["name"]), None)
        if one:
            return _line_of(one, line - 1 - at, lines[at:line])
    return ""


def _line_of(one: Chosen, after: int, lines: Sequence[str]) -> str:
    opened = lines.index("{") if "{" in lines else after
    statement = min(after - opened - 1, len(one.way.body) - 1)
    source = one.point.source
    if statement < 0 or not one.way.body_lines:
        return f"{source}:{one.way.line}: {one.way.attach}" + f" / {one.way.predicate} /" * bool(one.way.predicate)
    return f"{source}:{one.way.body_lines[statement]}: {one.way.body[statement]}"
