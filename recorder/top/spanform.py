"""The program of `vio top`: the points of `vio record`, each with counting in the place of its record. Pure.

A span's begin is kept by what its end will know of it, and its end adds it to a histogram in the kernel:

- a guest's request (`@r`) by its address, which is what is pushed back;
- a call into the block layer (`@c`) by the stack pointer at its entry. What ends it runs deeper on the same stack, so
  the nearest call above is its own; how far above is the same for all reads, so it is sought once and then remembered
  (`@gap`);
- the way through the kernel (`@a`) by the same: it ends with the call that handed the request over (`@last`, `@hand`);
- a bio (`@q`) and a request (`@d`) by a hash of device and sector: the kernel leaves out a completion that interrupts
  another program, so some never end; here the next one takes their place. How many there are the kernel counts itself
  (vio.recorder.top.devstat).

Which call is below which, which block device of QEMU has which requests, and which file is below it is noted as it is
seen (`@in`, `@of`, `@fd`): vio makes names of it. Every integer is cast (docs/probes.md).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from vio.recorder.generate import READY, Chosen, Scope, Words, applies, emitted_words, probe_text
from vio.recorder.top.bucket import bucket_statements
from vio.recorder.top.slot import FLUSH, Level, slot_text

FRAME_BYTES = 1024  # of the functions between a call's entry and what ends it
_NEST_BYTES = 8192  # of those between a call and the one below it
BEGIN_TICK, END_TICK = "vio tick", "vio tock"
_SUMS = ("n", "w", "y")
_OPEN = ("r", "c")
_NOTED = ("in", "fd")
_RELATED = "of"
_NO_SECTOR = "(uint64)0x7fffffffffffffff"
_HASH_BITS = 13
_GOLDEN = 0x1E3779B97F4A7C15
_U = "(uint64)"
_CALLS = (1, 2, 3, 4)  # a call's operation: read, write, flush, discard


@dataclass(frozen=True, slots=True)
class TopScope:
    """What the program is limited to, as for a recording; `whole` gives the disk of each partition (kernel's numbers).

    `queues` are the devices that make requests of bios, `interval_ms` is how often the sums are printed.
    """

    scope: Scope
    interval_ms: int
    queues: tuple[int, ...] = ()
    whole: Mapping[int, int] = field(default_factory=dict)


def generate_top(chosen: Sequence[Chosen], scope: TopScope) -> str:
    """Return the program's text; the same for the same inputs."""
    probes = [
        probe_text(one, scope.scope, FORMS[one.point.name](emitted_words(one, scope.scope), scope))
        for one in chosen
        if one.point.name in FORMS and applies(one.way, scope.scope)
    ]
    return "\n".join([*_opening(), *probes, *_ticking(f"interval:ms:{scope.interval_ms}"), *_ticking("END"), ""])


def _opening() -> list[str]:
    # each map gets its type here, before anything reads it
    zero = f"{_U}0"
    lines = [f"@{name}[{zero}] = ({zero}, {zero}, {zero});" for name in ("r", "q", "d")]
    lines.append(f"@c[{zero}] = ({zero}, {zero}, {zero}, {zero});")
    lines += [f"@{name}[{zero}] = {zero};" for name in ("a", "last", "dev", "gap", "hand", "vq", *_NOTED)]
    lines += [f"@n[{zero}] = count();", f"@lost[{zero}] = count();", f"@{_RELATED}[{zero}, {zero}] = count();"]
    lines += [f"@{name}[{zero}] = sum({zero});" for name in ("w", "y")]
    head = "// vio top: IOs counted by bucket of their time (@n), with their bytes (@y) and times in ns (@w)."
    return [head, "BEGIN", "{", *(f"    {line}" for line in lines), f'    printf("{READY}\\n");', "}", ""]


def _ticking(attach: str) -> list[str]:
    names = (*_SUMS, *_OPEN, "a", *_NOTED, _RELATED, "lost")
    lines = [f'printf("{BEGIN_TICK} %llu\\n", (uint64)nsecs);', *(f"print(@{name});" for name in names)]
    lines.append(f'printf("{END_TICK}\\n");')
    if attach == "END":
        lines += [f"clear(@{name});" for name in (*names, "q", "d", "last", "dev", "gap", "hand", "vq")]
    return [attach, "{", *(f"    {line}" for line in lines), "}", ""]


def _timed(time: str, slot: str) -> list[str]:
    return [
        f"$t = (uint64)((uint64)nsecs - {time});",
        *bucket_statements("$t", "$b"),
        f"@n[{slot} | $b] = count();",
        f"@w[{slot}] = sum($t);",
    ]


def _ended(time: str, slot: str, size: str) -> list[str]:
    return [*_timed(time, slot), f"@y[{slot}] = sum({size});"]


def _queue_kick(words: Words, scope: TopScope) -> list[str]:
    return []


def _accept(words: Words, scope: TopScope) -> list[str]:
    slot = slot_text(words.space, Level.QEMU_DEVICE, f"({_U}({words.flags}) & {_U}7)")
    return [
        f"@dev[{_U}tid] = {_U}({words.space});",
        f"@r[{_U}({words.key})] = ({_U}nsecs, {slot}, {_U}({words.bytes}));",
    ]


def _scsi_new(words: Words, scope: TopScope) -> list[str]:
    return [f"@r[{_U}({words.key})] = ({_U}nsecs, {_U}0, {_U}0);"]


def _scsi_account(words: Words, scope: TopScope) -> list[str]:
    slot = slot_text(words.space, Level.QEMU_DEVICE, f"({_U}({words.flags}) & {_U}7)")
    return [
        f"@dev[{_U}tid] = {_U}({words.space});",
        f"$h = {_U}({words.offset});",
        "$r = @r[$h].0;",
        f"if ($r != {_U}0) {{ @r[$h] = ($r, {slot}, {_U}({words.bytes})); }}",
    ]


def _push(words: Words, scope: TopScope) -> list[str]:
    return [
        f"$k = {_U}({words.key});",
        "$r = @r[$k].0;",
        "$s = @r[$k].1;",
        f"if ($r != {_U}0) {{",
        f"if ($s != {_U}0) {{",
        *_ended("$r", "$s", "@r[$k].2"),
        "}",
        "delete(@r[$k]);",
        "}",
    ]


def _call(op: Callable[[Words], str], size: Callable[[Words], str]) -> "Form":
    def form(words: Words, scope: TopScope) -> list[str]:
        slot = slot_text("$i", Level.QEMU_BLOCK, op(words))
        return [
            f"$s = {_U}({words.aux});",
            f"$i = {_U}({words.space});",
            f"$l = @last[{_U}tid];",
            f"$d = @dev[{_U}tid];",
            f"if ($l > $s && {_U}($l - $s) < {_U}{_NEST_BYTES} && @c[$l].0 != {_U}0) {{",
            f"if (@in[$i] == {_U}0) {{ @in[$i] = @c[$l].1 >> {_U}16; }}",
            "} else {",
            f"$l = {_U}0;",
            f"if ($d != {_U}0) {{ @of[$i, $d] = count(); @dev[{_U}tid] = {_U}0; }}",
            "}",
            f"@last[{_U}tid] = $s;",
            f"@c[$s] = ({_U}nsecs, {slot}, {_U}({size(words)}), $l);",
        ]

    return form


def _call_end(ops: Sequence[int]) -> "Form":
    def form(words: Words, scope: TopScope) -> list[str]:
        lines = [f"$p = {_U}({words.aux});", f"$s = {_U}0;", f"$g = {_U}0;"]
        for op in ops:
            # a call of another kind may lie just so far above by chance: it is not taken
            lines += [
                f"if ($s == {_U}0) {{ $g = $p + @gap[{_U}{op}];",
                f"if (@c[$g].0 != {_U}0 && ((@c[$g].1 >> {_U}10) & {_U}7) == {_U}{op}) {{ $s = $g; }} }}",
            ]
        lines += [
            f"if ($s == {_U}0) {{",
            "$g = $p;",
            f"unroll({FRAME_BYTES // 16}) {{",
            f"if ($s == {_U}0) {{ $g = $g + {_U}16; if (@c[$g].0 != {_U}0) {{ $s = $g; }} }}",
            "}",
            f"if ($s != {_U}0) {{ @gap[(@c[$s].1 >> {_U}10) & {_U}7] = {_U}($s - $p); }}",
            "}",
            f"if ($s != {_U}0) {{",
            "$k = @c[$s].1;",
            "$z = @c[$s].2;",
            *_ended("@c[$s].0", "$k", "$z"),
            f"if (@a[$s] != {_U}0) {{",
            f"$k = $k + {_U}{(Level.QEMU_AIO - Level.QEMU_BLOCK) << 13};",
            *_ended("@a[$s]", "$k", "$z"),
            "delete(@a[$s]);",
            "}",
            f"@last[{_U}tid] = @c[$s].3;",  # the coroutine goes on in the call around it
            "delete(@c[$s]);",
            "}",
        ]
        return lines

    return form


def _hand_over(kind: int) -> "Form":
    """The call that hands over is the last that began on this thread, or else as far above as the last time."""

    def form(words: Words, scope: TopScope) -> list[str]:
        lines = [
            f"$p = {_U}({words.aux});",
            f"$s = @last[{_U}tid];",
            f"$f = {_U}0;",
            f"if ($s > $p && {_U}($s - $p) < {_U}{_NEST_BYTES} && @c[$s].0 != {_U}0) {{",
            f"$f = {_U}1;",
            f"@hand[{_U}{kind << 3} | ((@c[$s].1 >> {_U}10) & {_U}7)] = {_U}($s - $p);",
            "}",
        ]
        for op in _CALLS:
            lines += [
                f"if ($f == {_U}0) {{ $s = $p + @hand[{_U}{kind << 3 | op}];",
                f"if (@c[$s].0 != {_U}0 && ((@c[$s].1 >> {_U}10) & {_U}7) == {_U}{op}) {{ $f = {_U}1; }} }}",
            ]
        return [
            *lines,
            f"if ($f == {_U}1) {{",
            f"@a[$s] = {_U}nsecs;",
            f"$i = @c[$s].1 >> {_U}16;",
            f"if (@fd[$i] == {_U}0) {{ @fd[$i] = {_U}({words.space}) + {_U}1; }}",
            f"}} else {{ @lost[{_U}{Level.QEMU_AIO}] = count(); }}",
        ]

    return form


def _disk(words: Words, scope: TopScope) -> list[str]:
    """Return statements that set $d to the disk, for a bio on one of its partitions."""
    lines = [f"$d = {_U}({words.space});"]
    return [*lines, *(f"if ($d == {_U}{part}) {{ $d = {_U}{disk}; }}" for part, disk in scope.whole.items())]


def _at(sector: str) -> list[str]:
    """Return statements that set $k to the key of a place: device $d and a sector, which goes into $s."""
    mixed = f"($s + ($d << {_U}40)) * {_U}{_GOLDEN:#x}"
    return [f"$s = {_U}({sector});", f"$k = ({mixed}) >> {_U}{64 - _HASH_BITS};"]


def _bio(words: Words, scope: TopScope) -> list[str]:
    if not scope.queues:
        return []
    slot = slot_text("$d", Level.BLOCK, "$op")
    is_queued = " || ".join(f"$d == {_U}{device}" for device in scope.queues)
    return [
        *_disk(words, scope),
        f"if ({_U}({words.bytes}) != {_U}0 && ({is_queued})) {{",
        f"if ($op == {_U}{FLUSH}) {{ $op = {_U}2; }}",
        *_at(words.offset),
        f"@q[$k] = ({_U}nsecs, {slot}, $s);",
        "}",
    ]


# some versions of bpftrace complain each time that what is deleted is not there
_FORGOTTEN = (f"if (@q[$k].0 != {_U}0) {{ delete(@q[$k]); }}",)


def _merged(words: Words, scope: TopScope) -> list[str]:
    return [*_disk(words, scope), *_at(words.offset), *_FORGOTTEN]


def _merged_before(words: Words, scope: TopScope) -> list[str]:
    return [*_disk(words, scope), *_at(f"{words.offset} + {words.bytes}"), *_FORGOTTEN]


def _request(words: Words) -> list[str]:
    # a flush has another sector when it is complete than when it was issued
    return [
        f"$d = {_U}({words.space});",
        f"$s = {_U}({words.offset});",
        f"if ({_U}({words.bytes}) == {_U}0) {{ $s = {_NO_SECTOR}; }}",
        *_at("$s"),
    ]


def _issue(words: Words, scope: TopScope) -> list[str]:
    slot = slot_text("$d", Level.DEVICE, "$op")
    return [
        *_request(words),
        f"if ($op == {_U}{FLUSH} && {_U}({words.bytes}) != {_U}0) {{ $op = {_U}2; }}",
        f"@d[$k] = ({_U}nsecs, {slot}, $s);",
    ]


def _complete(words: Words, scope: TopScope) -> list[str]:
    return [*_request(words), *_done("d"), *_done("q")]


def _done(name: str) -> list[str]:
    return [
        f"$r = @{name}[$k].0;",
        f"if ($r != {_U}0 && @{name}[$k].2 == $s) {{",
        f"$i = @{name}[$k].1;",
        *_timed("$r", "$i"),
        f"delete(@{name}[$k]);",
        "}",
    ]


Form = Callable[[Words, TopScope], Iterable[str]]


def _constant(op: int) -> Callable[[Words], str]:
    return lambda words: f"{_U}{op}"


def _none(words: Words) -> str:
    return "0"


FORMS: dict[str, Form] = {
    "vq_kick": _queue_kick,
    "accept": _accept,
    "scsi_new": _scsi_new,
    "scsi_acct": _scsi_account,
    "push": _push,
    "bdrv_read": _call(_constant(1), lambda words: words.bytes),
    "bdrv_write": _call(_constant(2), lambda words: words.bytes),
    "bdrv_flush": _call(_constant(3), _none),
    "bdrv_discard": _call(_constant(4), lambda words: words.key),
    "bdrv_end": _call_end((1, 2, 4)),
    "bdrv_flush_end": _call_end((3,)),
    "laio": _hand_over(1),
    "luring": _hand_over(2),
    "pool": _hand_over(3),
    "bio_queue": _bio,
    "bio_backmerge": _merged,
    "bio_frontmerge": _merged_before,
    "rq_issue": _issue,
    "rq_complete": _complete,
}
"""What takes the place of the record, for each point that `vio top` observes."""
