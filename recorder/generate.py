"""Compose one bpftrace program from chosen points; pure text in, text out, valid from bpftrace 0.17 to the newest.

printf costs about 8 us a call in the traced thread and 2 us of CPU a record in bpftrace. So records stay in a map, by
number, and vio takes them out (recorder/stored.py). Where the kernel cannot hand over many at a time, they are printed
in batches. Numbers and batches must have one writer at a time. Uprobe programs may be preempted and may be interrupted
by tracepoint programs (Linux commit 8c7dcb84e3b7 ("bpf: implement sleepable uprobes by chaining gps") (in v6.0)), so
theirs are keyed by thread; tracepoint programs exclude each other on a CPU (bpf_prog_active in trace_call_bpf), so
theirs are keyed by CPU. Every integer is cast: untyped literals and maps are errors in one version or another.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from vio.errors import UsageError
from vio.recorder.probe import Point, Way
from vio.recorder.recordform import KEY_WORDS, STREAMS, WORDS, marks

STORED = 0  # instead of the records of one printf: they are not printed
BATCH = 11  # records of one printf: 0.17 takes about 60 arguments before the 512-byte BPF stack is full
_BATCH_KEY = {"u": "(uint64)tid", "t": "(uint64)cpu"}
READY = "vio ready"
_ZERO = "(uint64)0"
FIELD_WIDTH = 16  # a line's numbers are hexadecimal and of one width: reading them takes a quarter of the time
_FIELD = f",%{FIELD_WIDTH}llx"

_RWBS_OP = (
    '$op = (uint64)0; if (strncmp(args->rwbs, "R", 1) == 0) { $op = (uint64)1; } '
    'else { if (strncmp(args->rwbs, "W", 1) == 0) { $op = (uint64)2; } '
    'else { if (strncmp(args->rwbs, "F", 1) == 0) { $op = (uint64)3; } '
    'else { if (strncmp(args->rwbs, "D", 1) == 0) { $op = (uint64)4; } } } }'
)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A point with the way that this host offers, and its number in the recording."""

    number: int
    point: Point
    way: Way


@dataclass(frozen=True, slots=True)
class Scope:
    """What the program is limited to: one process, the devices and files under its disks."""

    pid: int
    binary: str
    devices: tuple[int, ...] = ()  # kernel encoding: major << 20 | minor
    files: tuple[tuple[int, int], ...] = ()  # (device, inode)
    constants: dict[str, str] = field(default_factory=dict)  # what the names in the .bt files stand for: qemu_layout()


def generate(chosen: Sequence[Chosen], scope: Scope, batch: int = BATCH) -> str:
    """Return the program's text; the same for the same inputs.

    `batch=1` is the plain style, one printf a record; `batch=STORED` leaves the records in the maps.
    """
    probes = [_probe(one, scope, batch) for one in chosen if applies(one.way, scope)]
    maps = sorted({name for probe in probes for name in re.findall(r"@(\w+)\[\(uint64\)", probe)} - _BATCH_MAPS)
    if batch == STORED:
        streams = stored_streams("\n".join(probes))
        return "\n".join([_begin_stored(streams, maps), *probes, _end_stored(streams, maps), ""])
    return "\n".join([_begin(maps, batch), *probes, _end(maps), ""])


def stored_streams(program: str) -> tuple[str, ...]:
    """Return the names of the maps that a program leaves its records in."""
    return tuple(name for name in "tu" if f"@{name}[$k" in program)


_COUNTERS = ("un", "us", "tn", "ts", "rs")
_BATCH_MAPS = {"u", "t", *_COUNTERS}


def applies(way: Way, scope: Scope) -> bool:
    """Tell whether a way has anything to observe in this scope (a block point without a device has not)."""
    if "ON_DEVICE(" in way.predicate:
        return bool(scope.devices)
    return not re.search(r"ON_(FILE|FS)\(", way.predicate) or bool(scope.files)


def _begin_stored(streams: Sequence[str], maps: Iterable[str]) -> str:
    remarks = [
        f"// vio: records of {WORDS} words (time; aux|flags|point; space|bytes; offset; key), for vio to take out:",
        "// @u[thread, number], of tracepoints @t[CPU, number]; @us and @ts have the last number of each.",
    ]
    lines = [marking(name) for name in streams]
    return "\n".join([*remarks, *_opening(lines, [*(f"{name}s" for name in streams), *maps])])


def marking(stream: str) -> str:
    """Return the statement that gives a map of records its type, and marks it for vio."""
    words = [f"(uint64){mark:#x}" for mark in marks(stream)]
    return f"@{stream}[{', '.join(words[:KEY_WORDS])}] = ({', '.join(words[KEY_WORDS:])});"


def _end_stored(streams: Sequence[str], maps: Iterable[str]) -> str:
    lines = ["END", "{", *(f"    print(@{name}s);" for name in streams)]
    # what is left in @u and @t is vio's: clear() would take it away
    lines += [f"    clear(@{name});" for name in (*(f"{name}s" for name in streams), *maps)]
    return "\n".join([*lines, "}"])


def _begin(maps: Iterable[str], batch: int) -> str:
    remarks = [
        f"// vio: records of {WORDS} words (time; aux|flags|point; space|bytes; offset; key), {batch} to a line.",
        "// A line is stream, batch key (u: thread, t: CPU), sequence number, records.",
    ]
    lines = [f"@{name}[{_ZERO}, {_ZERO}] = ({', '.join([_ZERO] * WORDS)});" for name in "ut"]
    return "\n".join([*remarks, *_opening(lines, [*_COUNTERS, *maps])])


def _opening(records: Iterable[str], numbers: Iterable[str]) -> list[str]:
    # each map gets its type here, before anything reads it
    lines = [*records, *(f"@{name}[{_ZERO}] = {_ZERO};" for name in numbers), f'printf("{READY}\\n");']
    return ["BEGIN", "{", *(f"    {line}" for line in lines), "}", ""]


def _end(maps: Iterable[str]) -> str:
    # What stands in the batches comes out every second (so that a killed recording loses little) and at the end.
    lines = ["interval:s:1", "{", "    print(@u);", "    print(@t);", "}", "", "END", "{"]
    lines += [f"    print(@{name});" for name in ("u", "t", *_COUNTERS)]
    lines += [f"    clear(@{name});" for name in ("u", "t", *_COUNTERS, *maps)]
    return "\n".join([*lines, "}"])


def _probe(one: Chosen, scope: Scope, batch: int) -> str:
    way = one.way
    is_user = way.provider in ("uprobe", "usdt")
    attach = way.attach.replace("QEMU", scope.binary)
    lines = [f"// {one.point.name} ({one.point.layer}): {one.point.meaning}", attach]
    if way.predicate:
        lines.append(f"/{_fill(way.predicate, scope)}/")
    lines.append("{")
    for statement in way.body[:-1]:
        text = _RWBS_OP if statement == "RWBS_OP" else f"{_fill(statement, scope)};"
        lines.append(f"    {text}")
    words = _record(one, _fill(way.body[-1], scope), is_user)
    stream = "u" if is_user else "t"
    if batch == STORED:
        emitted = _storing(stream, words)
    else:
        emitted = _single(words, batch) if one.point.is_rare else _batching(stream, words, batch)
    lines += [f"    {line}" for line in emitted]
    lines += ["}", ""]
    return "\n".join(lines)


def _record(one: Chosen, emit: str, is_user: bool) -> str:
    arguments = split_arguments(emit[len("emit(") : emit.rindex(")")])
    if len(arguments) != 6:
        where = f"{one.point.source}:{one.way.line}"
        raise UsageError(f"{where}: emit takes flags, space, bytes, offset, key, aux; here are {len(arguments)}")
    flags, space, length, offset, key, aux = arguments
    high = aux if is_user else "tid"
    header = f"((uint64)({high}) << 32) | (((uint64)({flags}) & 0xffff) << 8) | (uint64){one.number}"
    extent = f"((uint64)({space}) << 32) | ((uint64)({length}) & 0xffffffff)"
    return f"(uint64)nsecs, {header}, {extent}, (uint64)({offset}), (uint64)({key})"


def _storing(stream: str, words: str) -> list[str]:
    number = f"@{stream}s[$k]"
    return [
        f"$k = {_BATCH_KEY[stream]};",
        f"$n = {number} + (uint64)1;",
        f"{number} = $n;",
        f"@{stream}[$k, $n] = ({words});",
    ]


def _single(words: str, batch: int) -> list[str]:
    padding = "," + "0".rjust(FIELD_WIDTH)
    form = f"{STREAMS['r']}" + _FIELD * (2 + WORDS) + padding * (WORDS * (batch - 1)) + "\\n"
    return ["$k = (uint64)cpu;", "@rs[$k] = @rs[$k] + (uint64)1;", f'printf("{form}", $k, @rs[$k], {words});']


def _batching(stream: str, words: str, batch: int) -> list[str]:
    count, sequence = f"@{stream}n[$k]", f"@{stream}s[$k]"
    stored = [f"@{stream}[$k, (uint64){i}].{j}" for i in range(batch) for j in range(WORDS)]
    form = f"{STREAMS[stream]}" + _FIELD * (2 + batch * WORDS) + "\\n"
    return [
        f"$k = {_BATCH_KEY[stream]};",
        f"$i = {count};",
        f"@{stream}[$k, $i] = ({words});",
        f"if ($i == (uint64){batch - 1}) {{",
        f"    {sequence} = {sequence} + (uint64)1;",
        f'    printf("{form}", $k, {sequence},',
        f"        {', '.join(stored)});",
        f"    {count} = (uint64)0;",
        "} else {",
        f"    {count} = $i + (uint64)1;",
        "}",
    ]


def _fill(text: str, scope: Scope) -> str:
    text = re.sub(r"ON_DEVICE\(([^,()]+)\)", lambda m: _any_of(f"{m[1]} == {d}" for d in scope.devices), text)
    text = re.sub(r"ON_FS\(([^,()]+)\)", lambda m: _any_of(f"{m[1]} == {d}" for d, _ in scope.files), text)
    text = re.sub(
        r"ON_FILE\(([^,()]+),\s*([^,()]+)\)",
        lambda m: _any_of(f"({m[1]} == {d} && {m[2]} == {i})" for d, i in scope.files),
        text,
    )
    text = re.sub(r"\bPID\b", str(scope.pid), text)
    for name, value in scope.constants.items():
        text = re.sub(rf"\b{name}\b", value, text)
    return text


def _any_of(terms: Iterable[str]) -> str:
    return "(" + " || ".join(dict.fromkeys(terms)) + ")"


def split_arguments(text: str) -> list[str]:
    """Split at the commas that stand outside brackets."""
    parts, depth, start = [], 0, 0
    for at, char in enumerate(text):
        if char in "([":
            depth += 1
        elif char in ")]":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
    parts.append(text[start:].strip())
    return parts
