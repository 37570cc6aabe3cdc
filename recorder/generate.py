"""Compose one bpftrace program from chosen points; pure text in, text out, valid from bpftrace 0.17 to the newest.

printf costs about 8 us a call in the traced thread and 2 us of CPU a record in bpftrace. So records stay in a map, by
number, and vio takes them out (recorder/stored.py). Where the kernel cannot hand over many at a time, they are printed
in batches. Numbers and batches must have one writer at a time. Uprobe programs may be preempted and may be interrupted
by tracepoint programs (Linux commit 8c7dcb84e3b7 ("bpf: implement sleepable uprobes by chaining gps") (in v6.0)), so
theirs are keyed by thread; programs of tracepoints and kprobes exclude each other on a CPU (bpf_prog_active in
trace_call_bpf), so theirs are keyed by CPU. An fentry program excludes only itself on a CPU, which it does not leave
(Linux commit ca06f55b9002 ("bpf: Add per-program recursion prevention mechanism") (in v5.12)), and may be preempted or
interrupted by others: each is keyed by itself and CPU. Every integer is cast: untyped literals and maps are errors in
one version or another.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from vio.errors import UsageError
from vio.recorder.probe import USER_PROVIDERS, Point, Way
from vio.recorder.recordform import KEY_WORDS, STREAMS, WORDS, marks

STORED = 0  # instead of the records of one printf: they are not printed
BATCH = 11  # records of one printf: 0.17 takes about 60 arguments before the 512-byte BPF stack is full
READY = "vio ready"
_MACRO = re.compile(r"\b(ON_DEVICE|ON_FS|ON_FILE)\(")
_ON_TARGET_OR_LOOP = '(pid == PID || strncmp(comm, "kworker", 7) == 0)'
_ZERO = "(uint64)0"
FIELD_WIDTH = 16  # a line's numbers are hexadecimal and of one width: reading them takes a quarter of the time
_FIELD = f",%{FIELD_WIDTH}llx"

_SPELLED = {"fentry": "kfunc", "fexit": "kretfunc"}  # before bpftrace 0.20; the newest know these names too
_OWN_BATCHES = frozenset(_SPELLED)
POINT_SHIFT = 32  # of the point's number in a batch key
LOOP_MAJOR = 7

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
    """What the program is limited to: one process, the devices and files under its disks.

    `file_systems` are the kinds of file system that the files are on, None where not all are known.
    """

    pid: int
    binary: str
    devices: tuple[int, ...] = ()  # kernel encoding: major << 20 | minor
    files: tuple[tuple[int, int], ...] = ()  # (device, inode)
    file_systems: frozenset[str] | None = None
    constants: dict[str, str] = field(default_factory=dict)  # what the names in the .bt files stand for: qemu_layout()

    @property
    def has_loops(self) -> bool:
        """Whether the kernel's own threads work for the target: those of loop devices."""
        return any(device >> 20 == LOOP_MAJOR for device in self.devices)


def generate(chosen: Sequence[Chosen], scope: Scope, batch: int = BATCH) -> str:
    """Return the program's text; the same for the same inputs.

    `batch=1` is the plain style, one printf a record; `batch=STORED` leaves the records in the maps.
    """
    probes = [_probe(one, scope, batch) for one in chosen if applies(one.way, scope) and not needs_buffer(one.way)]
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


def needs_buffer(way: Way) -> bool:
    """Tell whether only the kernel's trace buffer can take it: bpftrace does not know whose a thread is."""
    return "OF_THREADS(" in way.predicate


def applies(way: Way, scope: Scope) -> bool:
    """Tell whether a way has anything to observe in this scope (a block point without a device has not)."""
    text = " ".join([way.predicate, *way.body])
    if "ON_DEVICE(" in text:
        return bool(scope.devices)
    return not re.search(r"ON_(FILE|FS)\(", text) or bool(scope.files)


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
    is_user = one.way.provider in USER_PROVIDERS
    words = _record(one, emitted_words(one, scope), is_user)
    stream, key = ("u", "(uint64)tid") if is_user else ("t", _cpu_key(one))
    if batch == STORED:
        emitted = _storing(stream, key, words)
    elif one.point.is_rare:
        emitted = _single("(uint64)cpu" if is_user else key, words, batch)
    else:
        emitted = _batching(stream, key, words, batch)
    return probe_text(one, scope, emitted)


def probe_text(one: Chosen, scope: Scope, emitted: Iterable[str]) -> str:
    """Return a probe's text: the way's own statements, and these in the place of its `emit(...)`."""
    way = one.way
    lines = [f"// {one.point.name} ({one.point.layer}): {one.point.meaning}", attach_point(way, scope.binary)]
    if way.predicate:
        lines.append(f"/{_fill(way.predicate, scope)}/")
    lines.append("{")
    for statement in way.body[:-1]:
        text = _RWBS_OP if statement == "RWBS_OP" else _fill(statement, scope)
        lines.append(f"    {text}" if text.endswith("}") else f"    {text};")
    lines += [f"    {line}" for line in emitted]
    lines += ["}", ""]
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Words:
    """What a way emits: expressions of the program."""

    flags: str
    space: str
    bytes: str
    offset: str
    key: str
    aux: str


def emitted_words(one: Chosen, scope: Scope) -> Words:
    """Return what a way emits.

    Raises:
        UsageError: it emits another number of words.
    """
    emit = _fill(one.way.body[-1], scope)
    arguments = split_arguments(emit[len("emit(") : emit.rindex(")")])
    if len(arguments) != 6:
        where = f"{one.point.source}:{one.way.line}"
        raise UsageError(f"{where}: emit takes flags, space, bytes, offset, key, aux; here are {len(arguments)}")
    return Words(*arguments)


def _record(one: Chosen, words: Words, is_user: bool) -> str:
    high = words.aux if is_user else "tid"
    header = f"((uint64)({high}) << 32) | (((uint64)({words.flags}) & 0xffff) << 8) | (uint64){one.number}"
    extent = f"((uint64)({words.space}) << 32) | ((uint64)({words.bytes}) & 0xffffffff)"
    return f"(uint64)nsecs, {header}, {extent}, (uint64)({words.offset}), (uint64)({words.key})"


def attach_point(way: Way, binary: str) -> str:
    """Spell a way's attach point as bpftrace 0.17 and all later ones take it."""
    provider, _, place = way.attach.partition(":")
    if provider in {"kprobe", "kretprobe"}:
        place = way.symbol  # 0.17 knows no module here
    return f"{_SPELLED.get(provider, provider)}:{place.replace('QEMU', binary, 1)}"


def _cpu_key(one: Chosen) -> str:
    if one.way.provider in _OWN_BATCHES:
        return f"((uint64){one.number} << {POINT_SHIFT}) | (uint64)cpu"
    return "(uint64)cpu"


def _storing(stream: str, key: str, words: str) -> list[str]:
    number = f"@{stream}s[$k]"
    return [
        f"$k = {key};",
        f"$n = {number} + (uint64)1;",
        f"{number} = $n;",
        f"@{stream}[$k, $n] = ({words});",
    ]


def _single(key: str, words: str, batch: int) -> list[str]:
    padding = "," + "0".rjust(FIELD_WIDTH)
    form = f"{STREAMS['r']}" + _FIELD * (2 + WORDS) + padding * (WORDS * (batch - 1)) + "\\n"
    return [f"$k = {key};", "@rs[$k] = @rs[$k] + (uint64)1;", f'printf("{form}", $k, @rs[$k], {words});']


def _batching(stream: str, key: str, words: str, batch: int) -> list[str]:
    count, sequence = f"@{stream}n[$k]", f"@{stream}s[$k]"
    stored = [f"@{stream}[$k, (uint64){i}].{j}" for i in range(batch) for j in range(WORDS)]
    form = f"{STREAMS[stream]}" + _FIELD * (2 + batch * WORDS) + "\\n"
    return [
        f"$k = {key};",
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
    while macro := _MACRO.search(text):
        end = _closing(text, macro.end())
        arguments = split_arguments(text[macro.end() : end])
        text = text[: macro.start()] + _condition(macro[1], arguments, scope) + text[end + 1 :]
    text = re.sub(r"\bON_TARGET\b", _ON_TARGET_OR_LOOP if scope.has_loops else "(pid == PID)", text)
    text = re.sub(r"\bPID\b", str(scope.pid), text)
    for name, value in scope.constants.items():
        text = re.sub(rf"\b{name}\b", value, text)
    return text


def _closing(text: str, start: int) -> int:
    """Return where the bracket closes that opened before `start`."""
    depth = 1
    for at in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if not depth:
            return at
    raise UsageError(f"a bracket is not closed: {text}")


def _condition(macro: str, arguments: list[str], scope: Scope) -> str:
    if macro == "ON_FILE" and len(arguments) == 2:
        device, inode = arguments
        return _any_of(f"({device} == {d} && {inode} == {i})" for d, i in scope.files)
    if macro == "ON_FILE" or len(arguments) != 1:
        raise UsageError(f"{macro} takes another number of arguments than {len(arguments)}")
    numbers = scope.devices if macro == "ON_DEVICE" else [device for device, _ in scope.files]
    return _any_of(f"{arguments[0]} == {number}" for number in numbers)


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
