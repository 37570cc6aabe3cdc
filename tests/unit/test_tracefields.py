"""What the trace buffer can do of the points in `probes/`, and what is left to bpftrace."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from vio.recorder.generate import Chosen, Scope
from vio.recorder.kernelfn import KernelFunctions
from vio.recorder.plan import with_addresses
from vio.recorder.probe import Point, load_probes, parse_probes
from vio.recorder.tracefields import FILTER_LIMIT, Fields, Kind, Source, TraceRule, translate, translate_all
from vio.recorder.tracefs import TracepointField

PROBES = Path(__file__).parents[2] / "probes"
AIO_FSYNC = 0xFFFFFFFF8173D5C0
KERNEL = KernelFunctions(load_symbols=lambda: {"aio_fsync_work": AIO_FSYNC})
POINTS = [
    replace(point, ways=tuple(with_addresses(way, KERNEL) for way in point.ways)) for point in load_probes(PROBES)
]
WAYS = [(point, way) for point in POINTS for way in point.ways]
TRACEPOINTS = [(point, way) for point, way in WAYS if way.provider == "tracepoint"]
NOT_TRANSLATABLE: set[str] = set()
"""Attach points that are tracepoints and that bpftrace must do; none at present."""
SCOPE = Scope(77, "/usr/bin/qemu", (7340033, 266338304), ((7340033, 131), (266338304, 9)))
HEAD = "//: point p: a point\n//: layer block  role mark\ntracepoint:a:b\n"


def fields_for(text: str) -> Fields:
    names = sorted({*re.findall(r"args->(\w+)", text)} - {"rwbs"})
    size = {name: 4 if name.endswith("pid") else 8 for name in names}
    found = {name: TracepointField(8 + 8 * place, size[name], False) for place, name in enumerate(names)}
    return {**found, "rwbs": TracepointField(8 + 8 * len(names), 10, False)}


def fields_of_point(point: Point) -> Fields:
    return fields_for(" ".join(part for way in point.ways for part in (way.predicate, *way.body)))


def rule_of(predicate: str, *body: str, scope: Scope = SCOPE, fields: Fields | None = None) -> TraceRule | None:
    text = f"{HEAD}/ {predicate} /\n{{\n{' '.join(f'{statement};' for statement in body)}\n}}\n"
    point = parse_probes(text, "test.bt")[0]
    known = fields_of_point(point) if fields is None else fields
    return translate(Chosen(5, point, point.ways[0]), scope, lambda _system, _event: known)


def names_of(*names: str) -> list[Chosen]:
    return [Chosen(n, point, point.ways[0]) for n, point in enumerate(POINTS, 1) if point.name in names]


def fields_by_event(system: str, event: str) -> Fields:
    point = next(point for point, way in TRACEPOINTS if way.attach == f"tracepoint:{system}:{event}")
    return fields_of_point(point)


@pytest.mark.parametrize(("point", "way"), TRACEPOINTS, ids=[way.attach for _, way in TRACEPOINTS])
def test_each_tracepoint_translates_or_is_listed(point: Point, way: object) -> None:
    one = Chosen(1, point, next(w for w in point.ways if w is way))
    rule = translate(one, SCOPE, lambda _system, _event: fields_of_point(point))
    assert (rule is None) == (one.way.attach in NOT_TRANSLATABLE)


def test_functions_are_left_to_bpftrace() -> None:
    chosen = [Chosen(n, point, point.ways[0]) for n, point in enumerate(POINTS, 1)]
    rules, rest = translate_all(chosen, SCOPE, fields_by_event)
    assert {one.way.provider for one in rest} == {"uprobe", "fentry", "fexit"}
    assert len(rules) + len(rest) == len(chosen)


def test_a_device_filter() -> None:
    rule = rule_of("ON_DEVICE(args->dev)", "RWBS_OP", "emit($op, args->dev, args->n, args->sector, 0, 0)")
    assert rule is not None
    assert rule.filter == "(dev == 7340033 || dev == 266338304)"
    assert (rule.system, rule.event, rule.number, rule.is_of_threads) == ("a", "b", 5, False)
    assert rule.flags == Source(Kind.OPERATION, 32, 1)
    assert rule.bytes == Source(Kind.FIELD, 16, 8)
    assert rule.key == Source(Kind.CONSTANT)


def test_file_and_file_system_filters() -> None:
    file = rule_of("ON_FILE(args->dev, args->ino)", "emit(args->error < 0, args->dev, 0, 0, args->ino, 0)")
    assert file is not None
    assert file.filter == "((dev == 7340033 && ino == 131) || (dev == 266338304 && ino == 9))"
    assert file.flags.kind is Kind.IS_NEGATIVE
    fs = rule_of("ON_FS(args->dev)", "emit(0, args->dev, 0, 0, 0, 0)")
    assert fs is not None
    assert fs.filter == "(dev == 7340033 || dev == 266338304)"


def test_the_targets_threads() -> None:
    rule = rule_of("pid == PID && args->to_submit > 0", "emit(3, args->fd, args->to_submit, 0, 0, 0)")
    assert rule is not None
    assert (rule.is_of_threads, rule.filter) == (True, "to_submit > 0")
    assert rule.flags == Source(Kind.CONSTANT, value=3)


def test_what_happens_to_the_targets_threads() -> None:
    switch, waking = translate_all(names_of("sched_switch", "sched_waking"), SCOPE, fields_by_event)[0]
    assert [source.size for source in switch.threads] == [4, 4]
    assert switch.threads == (switch.space, switch.key)
    assert waking.threads == (waking.key,)
    assert not switch.is_of_threads
    assert rule_of("OF_THREADS(args->dev, args->sector)", "emit(0, 0, 0, 0, 0, 0)") is None
    assert rule_of("pid == PID && OF_THREADS(args->pid)", "emit(0, 0, 0, 0, 0, 0)") is None
    assert rule_of("OF_THREADS(args->nothing)", "emit(0, 0, 0, 0, 0, 0)") is None


def test_what_nothing_ties_to_the_target() -> None:
    chosen = [Chosen(n, point, point.ways[0]) for n, point in enumerate(POINTS, 1)]
    rules, _ = translate_all(chosen, SCOPE, fields_by_event)
    of_anyone = {rule.event: rule.filter for rule in rules if rule.is_of_anyone}
    of_drivers = {way.symbol for point, way in TRACEPOINTS if point.source == "driver.bt"}
    assert of_anyone.keys() - of_drivers == {"workqueue_execute_start", "workqueue_execute_end"}
    assert of_anyone["workqueue_execute_end"] == f"function == {AIO_FSYNC:#x}"


def test_what_is_put_into_a_map_and_looked_up() -> None:
    rules, rest = translate_all(names_of("uring_submit", "uring_complete"), SCOPE, fields_by_event)
    submit, complete = rules
    assert not rest
    assert (submit.notes, submit.tests, submit.is_of_threads) == ("uring", "", True)
    assert (complete.notes, complete.tests, complete.is_of_threads) == ("", "uring", False)
    assert submit.filter == "opcode != 6 && opcode != 7 && opcode != 11"
    assert submit.mark is not None
    assert complete.mark is not None


def test_a_map_stays_on_one_side() -> None:
    chosen = names_of("uring_submit", "uring_complete", "pread64")
    rules, rest = translate_all(chosen, SCOPE, lambda s, e: {} if "submit" in e else fields_by_event(s, e))
    assert [rule.event for rule in rules] == ["sys_enter_pread64"]
    assert {one.point.name for one in rest} == {"uring_submit", "uring_complete"}


def test_one_rule_for_an_event() -> None:
    first = names_of("pread64")[0]
    rules, rest = translate_all([first, Chosen(99, first.point, first.way)], SCOPE, fields_by_event)
    assert [rule.number for rule in rules] == [first.number]
    assert [one.number for one in rest] == [99]


@pytest.mark.parametrize(
    ("predicate", "body"),
    [
        ("pid == PID || args->a > 0", ["emit(0, 0, 0, 0, 0, 0)"]),
        ("comm == PID", ["emit(0, 0, 0, 0, 0, 0)"]),
        ("pid == PID", ["emit(0, 0, 0, 0, 0, args->a)"]),
        ("pid == PID", ["emit(0, 0, 0, args->a + 1, 0, 0)"]),
        ("pid == PID", ["emit(arg0, 0, 0, 0, 0, 0)"]),
        ("pid == PID", ["emit($op, 0, 0, 0, 0, 0)"]),
        ("pid == PID", ["$x = args->a", "emit(0, 0, 0, 0, 0, 0)"]),
        ("pid == PID", ["@m[(uint64)args->a] = (uint64)2", "emit(0, 0, 0, 0, 0, 0)"]),
        ("pid == PID", ["emit(0, 0, 0, 0, 0)"]),
        ("@m[(uint64)args->a] == (uint64)1", ["@m[(uint64)args->a] = (uint64)1", "emit(0, 0, 0, 0, 0, 0)"]),
    ],
)
def test_what_cannot_be_translated(predicate: str, body: list[str]) -> None:
    assert rule_of(predicate, *body) is None


@pytest.mark.parametrize("field", [TracepointField(8, 16, False), TracepointField(9, 4, False), None])
def test_fields_that_cannot_be_read(field: TracepointField | None) -> None:
    fields = {"a": field} if field else {}
    assert rule_of("pid == PID", "emit(0, 0, 0, 0, args->a, 0)", fields=fields) is None


def test_nothing_to_observe() -> None:
    body = "emit(0, args->dev, 0, 0, 0, 0)"
    assert rule_of("ON_DEVICE(args->dev)", body, scope=Scope(1, "")) is None
    assert rule_of("ON_FS(args->dev)", body, scope=Scope(1, "", (5,))) is None


def test_a_filter_that_the_kernel_would_not_take() -> None:
    many = Scope(1, "", tuple(range(FILTER_LIMIT // 10)))
    assert rule_of("ON_DEVICE(args->dev)", "emit(0, args->dev, 0, 0, 0, 0)", scope=many) is None
