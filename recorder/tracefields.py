"""Translate a tracepoint's way in the `.bt` files into a filter and fields of the kernel's trace buffer.

Pure. What cannot be translated stays with bpftrace.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from vio.recorder.generate import Chosen, Scope, applies, split_arguments
from vio.recorder.tracefs import TracepointField

# The kernel takes a page at most, for the text with its end.
FILTER_LIMIT = 4000
WORD_BYTES = 4

_FIELD = re.compile(r"args->(\w+)")
_NEGATIVE = re.compile(r"args->(\w+) < 0")
_COMPARISON = re.compile(r"(?:\(uint64\))?args->(\w+) (==|!=|<|<=|>|>=) (?:\(uint64\))?(\d+|0x[\da-f]+)")
_MACRO = re.compile(r"(ON_DEVICE|ON_FS|ON_FILE)\(args->(\w+)(?:, ?args->(\w+))?\)")
_NOTE = re.compile(r"@(\w+)\[\(uint64\)args->(\w+)\] = \(uint64\)1")
_TEST = re.compile(r"@(\w+)\[\(uint64\)args->(\w+)\] == \(uint64\)1")
_OF_THREADS = re.compile(r"OF_THREADS\(args->(\w+)(?:, ?args->(\w+))?\)")
_MAP = re.compile(r"@(\w+)\[")

Fields = Mapping[str, TracepointField]


class Kind(StrEnum):
    """How a column comes from a record: what stands in the `.bt` file."""

    CONSTANT = "constant"
    FIELD = "args->field"
    IS_NEGATIVE = "args->field < 0"
    OPERATION = "$op"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a column's value comes from; offset and size are bytes in the tracepoint's record."""

    kind: Kind
    offset: int = 0
    size: int = 0
    is_signed: bool = False
    value: int = 0


@dataclass(frozen=True, slots=True)
class TraceRule:
    """A point as an event of the trace buffer.

    `is_of_threads`: only the target's threads are meant. A record whose `mark` is in the set of marks named `notes` or
    `tests` puts it there, or is a row only if it is there already. With `threads` it is a row only if one of these
    values is a thread of the target's; one that is not becomes 0. `is_of_anyone`: nothing ties a record to the target.
    """

    number: int
    system: str
    event: str
    filter: str
    is_of_threads: bool
    flags: Source
    space: Source
    bytes: Source
    offset: Source
    key: Source
    mark: Source | None = None
    notes: str = ""
    tests: str = ""
    threads: tuple[Source, ...] = ()
    is_of_anyone: bool = False


@dataclass(slots=True)
class _Predicate:
    is_of_threads: bool = False
    is_of_ground: bool = False  # the target's devices and files
    terms: list[str] = field(default_factory=list)
    tests: str = ""
    mark: Source | None = None
    threads: tuple[Source, ...] = ()


def translate_all(
    chosen: Iterable[Chosen], scope: Scope, fields_of: Callable[[str, str], Fields]
) -> tuple[list[TraceRule], list[Chosen]]:
    """Return the rules, and the points left to bpftrace; `fields_of(system, event)` gives a record's fields."""
    everything = list(chosen)
    rules: dict[int, TraceRule] = {}
    events: set[tuple[str, str]] = set()
    for one in everything:
        rule = translate(one, scope, fields_of)
        # an event has one filter in an instance
        if rule and (rule.system, rule.event) not in events:
            rules[one.number] = rule
            events.add((rule.system, rule.event))
    # a map belongs to one side
    foreign = {name for one in everything if one.number not in rules for name in _maps(one)}
    rest = [one for one in everything if one.number not in rules or foreign & _maps(one)]
    left = {one.number for one in rest}
    return [rule for number, rule in rules.items() if number not in left], rest


def translate(one: Chosen, scope: Scope, fields_of: Callable[[str, str], Fields]) -> TraceRule | None:
    """Translate one point's way; None if it is no tracepoint, says more than can be translated, or lacks a field."""
    if one.way.provider != "tracepoint" or not applies(one.way, scope):
        return None
    _, system, event = one.way.attach.split(":")
    fields = fields_of(system, event)
    predicate = _predicate(one.way.predicate, scope, fields)
    columns = _columns(one.way.body, fields)
    notes, mark = _note(one.way.body, fields)
    if predicate is None or columns is None or mark is None:
        return None
    text = " && ".join(predicate.terms)
    if len(text) > FILTER_LIMIT or (notes and predicate.tests) or (predicate.threads and predicate.is_of_threads):
        return None
    return TraceRule(
        one.number,
        system,
        event,
        text,
        predicate.is_of_threads,
        *columns,
        mark=mark if notes else predicate.mark,
        notes=notes,
        tests=predicate.tests,
        threads=predicate.threads,
        is_of_anyone=not (predicate.is_of_threads or predicate.is_of_ground or predicate.tests or predicate.threads),
    )


def _maps(one: Chosen) -> set[str]:
    return set(_MAP.findall(" ".join([one.way.predicate, *one.way.body])))


def _predicate(text: str, scope: Scope, fields: Fields) -> _Predicate | None:
    found = _Predicate()
    for term in filter(None, text.split(" && ")):
        test, comparison, macro = _TEST.fullmatch(term), _COMPARISON.fullmatch(term), _MACRO.fullmatch(term)
        of_threads = _OF_THREADS.fullmatch(term)
        if term == "pid == PID" or (term == "ON_TARGET" and not scope.has_loops):
            found.is_of_threads = True
        elif test and not found.tests:
            found.tests, found.mark = test[1], _field(test[2], fields)
            if found.mark is None:
                return None
        elif of_threads:
            sources = [_field(name, fields) for name in of_threads.groups() if name]
            found.threads = tuple(source for source in sources if source and source.size == WORD_BYTES)
            if len(found.threads) < len(sources):
                return None
        elif comparison and comparison[1] in fields:
            found.terms.append(" ".join(comparison.groups()))
        elif macro and (any_of := _any_of(macro, scope, fields)):
            found.terms.append(any_of)
            found.is_of_ground = True
        else:
            return None
    return found


def _any_of(macro: re.Match[str], scope: Scope, fields: Fields) -> str:
    name, device, inode = macro.groups()
    if device not in fields or (name == "ON_FILE") != (inode in fields):
        return ""
    if name == "ON_FILE":
        terms = [f"({device} == {number} && {inode} == {file})" for number, file in scope.files]
    else:
        numbers = scope.devices if name == "ON_DEVICE" else [number for number, _ in scope.files]
        terms = [f"{device} == {number}" for number in numbers]
    return f"({' || '.join(dict.fromkeys(terms))})" if terms else ""


def _columns(body: tuple[str, ...], fields: Fields) -> tuple[Source, Source, Source, Source, Source] | None:
    emit = body[-1]
    *texts, aux = split_arguments(emit[len("emit(") : emit.rindex(")")])
    found = [_source(text, fields, has_op="RWBS_OP" in body) for text in texts]
    flags, space, length, offset, key = (*found, *[None] * 5)[:5]
    if aux != "0" or len(found) != 5 or not (flags and space and length and offset and key):
        return None
    return flags, space, length, offset, key


def _source(text: str, fields: Fields, has_op: bool) -> Source | None:
    if text.isdecimal():
        return Source(Kind.CONSTANT, value=int(text))
    if text == "$op":
        rwbs = fields.get("rwbs")
        return Source(Kind.OPERATION, rwbs.offset, 1) if rwbs and has_op else None
    if match := _FIELD.fullmatch(text):
        return _field(match[1], fields)
    match = _NEGATIVE.fullmatch(text)
    return _field(match[1], fields, Kind.IS_NEGATIVE) if match else None


def _field(name: str, fields: Fields, kind: Kind = Kind.FIELD) -> Source | None:
    place = fields.get(name)
    if place is None or place.size not in (1, 2, 4, 8) or place.offset % min(place.size, WORD_BYTES):
        return None
    return Source(kind, place.offset, place.size, place.is_signed)


_NOTHING = Source(Kind.CONSTANT)


def _note(body: tuple[str, ...], fields: Fields) -> tuple[str, Source | None]:
    # The name of the map and what is put there; no source if a statement is something else.
    others = [statement for statement in body[:-1] if statement != "RWBS_OP"]
    if not others:
        return "", _NOTHING
    match = _NOTE.fullmatch(others[0])
    if match is None or len(others) > 1:
        return "", None
    return match[1], _field(match[2], fields)
