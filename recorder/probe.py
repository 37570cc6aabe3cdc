"""Parse the `.bt` files under `probes/`: points, what they mean, and the ways to attach to them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vio.errors import UsageError
from vio.layer import Layer

ROLES = ("begin", "end", "mark")

_POINT = re.compile(r"^//: point (?P<name>\w+): (?P<meaning>.+)$")
_WAY = re.compile(r"^(?P<attach>(?:uprobe|tracepoint|usdt):\S+)\s*$")
_PREDICATE = re.compile(r"^/(?P<predicate>.*)/\s*$")


@dataclass(frozen=True, slots=True)
class Way:
    """One way to observe a point: an attach point, a predicate and the statements of its body."""

    attach: str
    predicate: str
    body: tuple[str, ...]
    line: int

    @property
    def provider(self) -> str:
        """`uprobe`, `tracepoint`, ..."""
        return self.attach.split(":", 1)[0]

    @property
    def symbol(self) -> str:
        """The function or event at the end of the attach point."""
        return self.attach.rsplit(":", 1)[1]


@dataclass(frozen=True, slots=True)
class Point:
    """A place that is observed, with its ways in order of preference."""

    name: str
    meaning: str
    layer: Layer
    role: str
    ways: tuple[Way, ...]
    source: str
    fields: str = ""
    unit: int = 1
    needs: str = ""
    is_rare: bool = False


def load_probes(directory: Path) -> list[Point]:
    """Read all `.bt` files of a directory, in the order of their names; point names must be unique.

    Raises UsageError that names file and line.
    """
    points: list[Point] = []
    for path in sorted(directory.glob("*.bt")):
        points += parse_probes(path.read_text(encoding="utf-8"), path.name)
    seen: set[str] = set()
    for point in points:
        if point.name in seen:
            raise UsageError(f"{point.source}: point {point.name} is defined twice", "rename one of them")
        seen.add(point.name)
    return points


def parse_probes(text: str, source: str) -> list[Point]:
    """Parse one `.bt` file's text."""
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("//: point")]
    return [
        _parse_point(lines, start, end, source) for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)
    ]


def _parse_point(lines: list[str], start: int, end: int, source: str) -> Point:
    head = _POINT.match(lines[start])
    if not head:
        raise UsageError(f"{source}:{start + 1}: bad point line", "write `//: point NAME: what it is`")
    options: dict[str, str] = {}
    body_at = start + 1
    for number in range(start + 1, end):
        if not lines[number].startswith("//: "):
            break
        options.update(_parse_options(lines[number][4:]))
        body_at = number + 1
    try:
        layer = Layer(options.get("layer", ""))
    except ValueError:
        known = ", ".join(Layer)
        raise UsageError(f"{source}:{start + 1}: point {head['name']} has no known layer", f"one of {known}") from None
    role = options.get("role", "mark")
    if role not in ROLES:
        raise UsageError(f"{source}:{start + 1}: unknown role {role}", f"one of {', '.join(ROLES)}")
    ways = tuple(_parse_ways(lines, body_at, end, source))
    if not ways:
        raise UsageError(f"{source}:{start + 1}: point {head['name']} has no way to attach", "add a probe below it")
    return Point(
        name=head["name"],
        meaning=head["meaning"],
        layer=layer,
        role=role,
        ways=ways,
        source=source,
        fields=options.get("fields", ""),
        unit=512 if options.get("unit") == "sector" else 1,
        needs=options.get("needs", ""),
        is_rare=options.get("rate") == "rare",
    )


def _parse_options(text: str) -> dict[str, str]:
    if text.startswith("fields "):
        return {"fields": text.removeprefix("fields ").strip()}
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=False))


def _parse_ways(lines: list[str], start: int, end: int, source: str) -> Iterator[Way]:
    number = start
    while number < end:
        attach = _WAY.match(lines[number])
        if not attach:
            if lines[number].strip() and not lines[number].startswith("//"):
                raise UsageError(
                    f"{source}:{number + 1}: not a probe: {lines[number].strip()}",
                    "uprobe, tracepoint or usdt",
                )
            number += 1
            continue
        at = number
        predicate = ""
        number += 1
        found = _PREDICATE.match(lines[number]) if number < end else None
        if found:
            predicate = found["predicate"].strip()
            number += 1
        if number >= end or lines[number].strip() != "{":
            raise UsageError(f"{source}:{at + 1}: the body of {attach['attach']} must begin with {{ on its own line")
        close = next((n for n in range(number, end) if lines[n].rstrip() == "}"), None)
        if close is None:
            raise UsageError(f"{source}:{at + 1}: the body of {attach['attach']} is not closed")
        body = " ".join(line.strip() for line in lines[number + 1 : close])
        statements = tuple(part.strip() for part in body.split(";") if part.strip())
        if not statements or not statements[-1].startswith("emit("):
            raise UsageError(f"{source}:{at + 1}: the body of {attach['attach']} must end with emit(...)")
        yield Way(attach["attach"], predicate, statements, at + 1)
        number = close + 1
