"""Parse the `.bt` files under `probes/`: points, what they mean, and the ways to attach to them (docs/probes.md)."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from vio.errors import UsageError
from vio.layer import Layer
from vio.recorder.returns import why_no_return

ROLES = ("begin", "end", "mark")
JOINS = ("thread", "key")
KERNEL_PROVIDERS = frozenset({"fentry", "fexit", "kprobe", "kretprobe"})
USER_PROVIDERS = frozenset({"uprobe", "uretprobe", "usdt"})

_POINT = re.compile(r"^//: point (?P<name>\w+): (?P<meaning>.+)$")
_OPTIONS = frozenset({"layer", "role", "unit", "rate", "needs", "part", "join", "when", "as"})
# A way that uses no argument is right for both kinds of probe on a kernel function.
_EITHER = {"function": ("fentry", "kprobe"), "return": ("fexit", "kretprobe")}
_PROVIDERS = ("tracepoint", *sorted(USER_PROVIDERS), *sorted(KERNEL_PROVIDERS), *_EITHER)
_WAY = re.compile(rf"^(?P<attach>(?:{'|'.join(_PROVIDERS)}):\S+)\s*$")
_OF_QEMU = "qemu:"
_PART = re.compile(r"[A-Za-z_][\w.-]*")
_PREDICATE = re.compile(r"^/(?P<predicate>.*)/\s*$")


@dataclass(frozen=True, slots=True)
class Way:
    """One way to observe a point: an attach point, a predicate and the statements of its body, with their lines."""

    attach: str
    predicate: str
    body: tuple[str, ...]
    line: int
    body_lines: tuple[int, ...] = ()

    @property
    def provider(self) -> str:
        """`uprobe`, `tracepoint`, ..."""
        return self.attach.split(":", 1)[0]

    @property
    def symbol(self) -> str:
        """The function or event at the end of the attach point."""
        return self.attach.rsplit(":", 1)[1]

    @property
    def module(self) -> str:
        """The kernel module that an attach point names (`fentry:ocfs2:ocfs2_rw_lock`), "" if none."""
        words = self.attach.split(":")
        return words[1] if self.provider in KERNEL_PROVIDERS and len(words) > 2 else ""


@dataclass(frozen=True, slots=True)
class Point:
    """A place that is observed, with its ways in order of preference.

    `part` names the part of the layer that it begins, ends or marks; `join` says what ties its begin to its end. One
    that is `is_inner` is observed only when its layer is opened. `same_as`: the join reads its events as that point's.
    """

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
    part: str = ""
    join: str = ""
    is_inner: bool = False
    same_as: str = ""

    @property
    def is_shipped(self) -> bool:
        """Whether it is of vio's own files; others are what the user asked for."""
        return "/" not in self.source and not self.source.startswith("--")

    @property
    def modules(self) -> frozenset[str]:
        """The kernel modules of which it needs one; none where it needs something else, or nothing."""
        return frozenset() if self.function else frozenset(self.needs.split(",")) - {"", "system"}

    @property
    def function(self) -> str:
        """The function without which a QEMU has nothing for it to observe, "" if it needs none."""
        return self.needs.removeprefix(_OF_QEMU) if self.needs.startswith(_OF_QEMU) else ""


def load_probes(directory: Path, *more: Path) -> list[Point]:
    """Read all `.bt` files of directories, in the order of their names; point names must be unique.

    Raises:
        UsageError: a directory cannot be read, or a file is wrong; names file and line, and shows the line.
    """
    points: list[Point] = []
    for path in _files(directory, *more):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} cannot be read: {error}") from None
        points += parse_probes(text, path.name if path.parent == directory else str(path))
    check_names(points)
    return points


def _files(directory: Path, *more: Path) -> Iterator[Path]:
    yield from sorted(directory.glob("*.bt"))
    for place in more:
        found = sorted(place.glob("*.bt"))
        if not found:
            raise UsageError(f"{place} has no probe files", "give a directory with .bt files (docs/probes.md)")
        yield from found


def check_names(points: Iterable[Point]) -> None:
    """Refuse two points of one name, and ends of parts that nothing begins."""
    seen: set[str] = set()
    everything = list(points)
    for point in everything:
        if point.name in seen:
            raise UsageError(f"{point.source}: point {point.name} is defined twice", "rename one of them")
        seen.add(point.name)
    begun = {(point.layer, point.part) for point in everything if point.role == "begin"}
    for point in everything:
        if point.part and point.role == "end" and (point.layer, point.part) not in begun:
            raise UsageError(f"{point.source}: nothing begins part {point.part}, which point {point.name} ends")


def parse_probes(text: str, source: str) -> list[Point]:
    """Parse one `.bt` file's text."""
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("//: point")]
    first = starts[0] if starts else len(lines)
    stray = next((n for n in range(first) if lines[n].strip() and not lines[n].startswith("//")), None)
    if stray is not None:
        raise _wrong(lines, stray, source, "this is before any point", "begin with `//: point NAME: what it is`")
    if not starts:
        raise UsageError(f"{source}: there is no point in it", "begin with `//: point NAME: what it is`")
    return [
        _parse_point(lines, start, end, source) for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)
    ]


def _parse_point(lines: list[str], start: int, end: int, source: str) -> Point:
    head = _POINT.match(lines[start])
    if not head:
        raise _wrong(lines, start, source, "bad point line", "write `//: point NAME: what it is`")
    options: dict[str, str] = {}
    body_at = start + 1
    for number in range(start + 1, end):
        if not lines[number].startswith("//: "):
            break
        options.update(_parse_options(lines, number, source))
        body_at = number + 1
    try:
        layer = Layer(options.get("layer", ""))
    except ValueError:
        known = ", ".join(Layer)
        raise _wrong(lines, start, source, f"point {head['name']} has no known layer", f"one of {known}") from None
    role = options.get("role", "mark")
    if role not in ROLES:
        raise _wrong(lines, start, source, f"unknown role {role}", f"one of {', '.join(ROLES)}")
    _check_part(lines, start, source, options)
    ways = tuple(_parse_ways(lines, body_at, end, source))
    if not ways:
        raise _wrong(lines, start, source, f"point {head['name']} has no way to attach", "add a probe below it")
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
        part=options.get("part", ""),
        join=options.get("join", "thread") if "part" in options else "",
        is_inner=options.get("when") == "open",
        same_as=options.get("as", ""),
    )


def _wrong(lines: list[str], number: int, source: str, what: str, hint: str = "") -> UsageError:
    return UsageError(f"{source}:{number + 1}: {what}: {lines[number].strip()}", hint)


def _check_part(lines: list[str], start: int, source: str, options: dict[str, str]) -> None:
    part, join = options.get("part"), options.get("join")
    if join and join not in JOINS:
        raise _wrong(lines, start, source, f"unknown join {join}", f"one of {', '.join(JOINS)}")
    if join and part is None:
        raise _wrong(lines, start, source, "join without a part", "add `part NAME`")
    if part is not None and not _PART.fullmatch(part):
        raise _wrong(lines, start, source, f"{part} is no name of a part", "letters, digits, `_`, `-` and `.`")
    if options.get("when", "open") != "open":
        raise _wrong(lines, start, source, f"unknown when {options['when']}", "open, or nothing")


def _parse_options(lines: list[str], number: int, source: str) -> dict[str, str]:
    text = lines[number][4:]
    if text.startswith("fields "):
        return {"fields": text.removeprefix("fields ").strip()}
    words = text.split()
    unknown = [word for word in words[::2] if word not in _OPTIONS]
    if unknown:
        raise _wrong(lines, number, source, f"unknown option {unknown[0]}", f"one of {', '.join(sorted(_OPTIONS))}")
    if len(words) % 2:
        raise _wrong(lines, number, source, f"option {words[-1]} has no value")
    return dict(zip(words[::2], words[1::2], strict=True))


def _parse_ways(lines: list[str], start: int, end: int, source: str) -> Iterator[Way]:
    number = start
    while number < end:
        attach = _WAY.match(lines[number])
        if not attach:
            if lines[number].strip() and not lines[number].startswith("//"):
                raise _wrong(lines, number, source, "not a probe", ", ".join(_PROVIDERS))
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
            raise _wrong(lines, at, source, "the body must begin with { on its own line")
        close = next((n for n in range(number, end) if lines[n].rstrip() == "}"), None)
        if close is None:
            raise _wrong(lines, at, source, "the body is not closed by } on its own line")
        statements = _with_else(_statements(lines, number + 1, close))
        if not statements or not statements[-1][0].startswith("emit("):
            raise _wrong(lines, at, source, "the body must end with emit(...)")
        body = tuple(text for text, _ in statements)
        way = Way(attach["attach"], predicate, body, at + 1, tuple(line for _, line in statements))
        _check_way(way, lines, source)
        provider, _, place = way.attach.partition(":")
        for kind in _EITHER.get(provider, (provider,)):
            yield replace(way, attach=f"{kind}:{place}")
        number = close + 1


def _check_way(way: Way, lines: list[str], source: str) -> None:
    if way.provider == "uretprobe" and (why := why_no_return(way.symbol)):
        raise _wrong(lines, way.line - 1, source, f"no return probe on {way.symbol}: {why}", "probe its entry alone")
    if way.provider in _EITHER and re.search(r"\barg(s->|\d)", " ".join([way.predicate, *way.body])):
        raise _wrong(lines, way.line - 1, source, "arguments need a way for each kind of probe", "fentry and kprobe")


def _with_else(statements: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for text, line in statements:
        if text.startswith("else") and found:
            found[-1] = (f"{found[-1][0]} {text}", found[-1][1])
        else:
            found.append((text, line))
    return found


def _statements(lines: list[str], start: int, end: int) -> Iterator[tuple[str, int]]:
    """Yield each statement of a body on one line, without its `;`, and the number of the line where it begins."""
    text, began, depth = "", start, 0
    for number in range(start, end):
        line = lines[number].split("//", 1)[0].strip()
        for char in line:
            began = number if not text.strip() else began
            depth += {"{": 1, "}": -1}.get(char, 0)
            is_block_end = char == "}" and depth == 0
            if is_block_end or (char == ";" and depth == 0):
                text += char if is_block_end else ""
                if text.strip():
                    yield text.strip(), began + 1
                text = ""
            else:
                text += char
        text += " " if text else ""
    if text.strip():
        yield text.strip(), began + 1
