"""The program of `vio top --by file`: the system calls that read, write and flush files, summed in the kernel. Pure.

A sum's key is `process id << 32 | descriptor << 2 | operation`. A call's time is from its entry to its return: what the
process waited for. io_submit carries requests of many files and does not wait for them: they are counted alone.
"""

from collections.abc import Iterable

from vio.layer import Op
from vio.recorder.generate import READY
from vio.recorder.top.spanform import BEGIN_TICK, END_TICK

READ, WRITE, FLUSH, SUBMIT = 0, 1, 2, 3
OPS = {READ: Op.READ, WRITE: Op.WRITE, FLUSH: Op.FLUSH}
CALLS = {
    **dict.fromkeys(("read", "pread64", "readv", "preadv", "preadv2"), READ),
    **dict.fromkeys(("write", "pwrite64", "writev", "pwritev", "pwritev2"), WRITE),
    **dict.fromkeys(("fsync", "fdatasync"), FLUSH),
}
SUMS = ("n", "w", "y")
_MOST_REQUESTS = 16  # of one io_submit that are looked at
_FD_AT = 20  # struct iocb's aio_fildes
_U = "(uint64)"


def generate_files(calls: Iterable[str], interval_ms: int, pid: int | None, own_pid: int) -> str:
    """Return the program for the system calls that this kernel has, of all processes or of one; never of vio's own."""
    whose = f"pid == {pid}" if pid is not None else f"pid != {own_pid}"
    there = [call for call in (*CALLS, "io_submit") if call in set(calls)]
    probes = [line for call in there for line in _call(call, whose)]
    return "\n".join([*_opening(), *probes, *_ticking(f"interval:ms:{interval_ms}"), *_ticking("END"), ""])


def read_key(number: int) -> tuple[int, int, int]:
    """Return the process id, the descriptor and the operation of a key."""
    return number >> 32, number >> 2 & (1 << 30) - 1, number & 3


def _opening() -> list[str]:
    zero = f"{_U}0"
    lines = [f"@e[{zero}] = {zero};", f"@f[{zero}] = {zero};", f"@n[{zero}] = count();"]
    lines += [*(f"@{name}[{zero}] = sum({zero});" for name in ("w", "y")), f'printf("{READY}\\n");']
    head = (
        "// vio top --by file: calls (@n), their bytes (@y) and times in ns (@w) by process, descriptor and operation."
    )
    return [head, *_block("BEGIN", "", lines)]


def _call(call: str, whose: str) -> list[str]:
    enter, leave = f"tracepoint:syscalls:sys_enter_{call}", f"tracepoint:syscalls:sys_exit_{call}"
    if call == "io_submit":
        return _block(enter, whose, _submitted())
    key = f"({_U}pid << {_U}32) | (({_U}(args->fd) & {_U}{(1 << 30) - 1}) << {_U}2) | {_U}{CALLS[call]}"
    begin = [f"@f[{_U}tid] = {key};", f"@e[{_U}tid] = {_U}nsecs;"]
    sized = [f"if (args->ret > 0) {{ @y[$k] = sum({_U}(args->ret)); }}"] if CALLS[call] != FLUSH else []
    end = [
        f"$t = @e[{_U}tid];",
        f"if ($t != {_U}0) {{",
        f"$k = @f[{_U}tid];",
        "@n[$k] = count();",
        f"@w[$k] = sum({_U}({_U}nsecs - $t));",
        *sized,
        f"delete(@e[{_U}tid]);",
        f"delete(@f[{_U}tid]);",
        "}",
    ]
    return [*_block(enter, whose, begin), *_block(leave, whose, end)]


def _submitted() -> list[str]:
    key = f"({_U}pid << {_U}32) | ({_U}$d << {_U}2) | {_U}{SUBMIT}"
    return [
        f"$i = {_U}0;",
        f"$l = {_U}(args->iocbpp);",
        f"$c = {_U}(args->nr);",
        f"unroll({_MOST_REQUESTS}) {{",
        "if ($i < $c) {",
        f"$b = {_U}(*(uint64*)($l + $i * {_U}8));",
        f"$d = {_U}(*(uint32*)($b + {_U}{_FD_AT}));",
        f"@n[{key}] = count();",
        "}",
        f"$i = $i + {_U}1;",
        "}",
    ]


def _ticking(attach: str) -> list[str]:
    lines = [f'printf("{BEGIN_TICK} %llu\\n", {_U}nsecs);', *(f"print(@{name});" for name in (*SUMS, "e", "f"))]
    lines.append(f'printf("{END_TICK}\\n");')
    if attach == "END":
        lines += [f"clear(@{name});" for name in (*SUMS, "e", "f")]
    return _block(attach, "", lines)


def _block(attach: str, predicate: str, lines: Iterable[str]) -> list[str]:
    head = [attach, f"/{predicate}/"] if predicate else [attach]
    return [*head, "{", *(f"    {line}" for line in lines), "}", ""]
