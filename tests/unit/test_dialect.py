"""The forms of a program for bpftrace 0.17, which need not search the kernel's types, and for 0.25 and later."""

from vio.recorder.dialect import indexed, lean
from vio.recorder.generate import STORED, Chosen, Scope, generate
from vio.recorder.probe import parse_probes

TEXT = """\
//: point lock: waits for the lock
//: layer fs  role begin  part rw_lock  when open
kfunc:ocfs2:ocfs2_rw_lock
/ @fs_at[(uint64)tid] && (uint64)*(uint32*)(arg1) - (uint64)1 < (uint64)1024 /
{
    emit(0, 0, 0, 0, @fs_at[(uint64)tid], 0);
}
"""


def program() -> str:
    point = parse_probes(TEXT.replace("kfunc", "fentry"), "my.bt")[0]
    return generate([Chosen(7, point, point.ways[0])], Scope(4711, "/q"), STORED)


def test_a_record_is_the_same_with_fewer_casts() -> None:
    found = lean(program()).splitlines()
    assert "    $k = (7 << 32) | cpu;" in found
    assert "    $n = @ts[$k] + 1;" in found
    assert "    @t[$k, $n] = (nsecs, (tid << 32) | 7, ($n & 0), ($n & 0), @fs_at[tid]);" in found


def test_unsigned_numbers_stay_unsigned() -> None:
    found = lean(program())
    assert "(uint64)*(uint32*)(arg1) - (uint64)1 < (uint64)1024" in found
    typing = next(line for line in program().splitlines() if line.startswith("    @t[(uint64)"))  # in BEGIN
    assert typing in found.splitlines()


def test_lines_stay_where_they_are() -> None:
    assert len(lean(program()).splitlines()) == len(program().splitlines())


def test_strings_are_compared_by_character() -> None:
    text = '/pid == 1 || strncmp(comm, "kwo", 3) == 0/ { if (strncmp(args->rwbs, "R", 1) == 0) { } }'
    assert indexed(text) == (
        "/pid == 1 || ((uint64)comm[0] == (uint64)0x6b && (uint64)comm[1] == (uint64)0x77 && (uint64)comm[2] == "
        "(uint64)0x6f)/ { if (((uint64)args->rwbs[0] == (uint64)0x52)) { } }"
    )
