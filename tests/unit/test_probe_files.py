"""Probe files: what they may say, and what is said about what they may not."""

from pathlib import Path

import pytest

from vio.errors import UsageError
from vio.layer import Layer
from vio.recorder.blame import find_line
from vio.recorder.checkup import PROBES
from vio.recorder.generate import Chosen, Scope, generate
from vio.recorder.probe import load_probes, parse_probes
from vio.recorder.returns import MAY_BE_RETURN_PROBED, why_no_return

HEAD = "//: point lock: waits for the lock\n//: layer fs  role begin  part rw_lock  join thread  when open\n"
BODY = "/ ON_TARGET /\n{\n    emit(0, 0, 0, 0, 0, 0);\n}\n"
SCOPE = Scope(4711, "/usr/bin/qemu-system-x86_64", (259 << 20,), ((259 << 20, 131),))


def test_a_part_has_its_name_and_what_ties_its_ends() -> None:
    point = parse_probes(HEAD + "function:ocfs2:ocfs2_rw_lock\n" + BODY, "my.bt")[0]
    assert (point.part, point.join, point.is_inner, point.layer) == ("rw_lock", "thread", True, Layer.FS)
    assert [way.attach for way in point.ways] == ["fentry:ocfs2:ocfs2_rw_lock", "kprobe:ocfs2:ocfs2_rw_lock"]
    assert {way.module for way in point.ways} == {"ocfs2"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kprobe:vfs_read\n{\n}\n", "my.bt:1: this is before any point: kprobe:vfs_read"),
        ("// nothing\n", "my.bt: there is no point in it"),
        ("//: point : what\n", "my.bt:1: bad point line: //: point : what"),
        (HEAD.replace("layer fs", "layer attic"), "my.bt:1: point lock has no known layer: //: point lock"),
        (HEAD.replace("role", "roll"), "my.bt:2: unknown option roll: //: layer fs  roll begin"),
        (HEAD.replace("join thread", "join luck"), "my.bt:1: unknown join luck"),
        (HEAD.replace("part rw_lock  ", ""), "my.bt:1: join without a part"),
        (HEAD.replace("rw_lock", "rw/lock"), "my.bt:1: rw/lock is no name of a part"),
        (HEAD + "kprob:vfs_read\n" + BODY, "my.bt:3: not a probe: kprob:vfs_read"),
        (HEAD + "kprobe:vfs_read\n/ pid /\nemit(0)\n", "my.bt:3: the body must begin with { on its own line"),
        (HEAD + "kprobe:vfs_read\n{\n    emit(0, 0, 0, 0, 0, 0);\n", "my.bt:3: the body is not closed by }"),
        (HEAD + "kprobe:vfs_read\n{\n    $a = 1;\n}\n", "my.bt:3: the body must end with emit(...)"),
        (HEAD + "uretprobe:QEMU:qcow2_cache_get\n" + BODY, "my.bt:3: no return probe on qcow2_cache_get: it may yield"),
        (
            HEAD + "function:vfs_read\n{\n    emit(0, 0, args->count, 0, 0, 0);\n}\n",
            "my.bt:3: arguments need a way for each kind of probe: function:vfs_read",
        ),
    ],
)
def test_what_is_wrong_is_shown_with_its_place(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_probes(text, "my.bt")
    assert said in str(caught.value)


def test_an_end_needs_a_begin(tmp_path: Path) -> None:
    (tmp_path / "my.bt").write_text(
        HEAD.replace("role begin", "role end").replace("rw_lock", "attic") + "return:vfs_read\n" + BODY
    )
    with pytest.raises(UsageError, match="nothing begins part attic, which point lock ends"):
        load_probes(PROBES, tmp_path)


def test_own_files_are_added_to_the_shipped_ones(tmp_path: Path) -> None:
    (tmp_path / "my.bt").write_text(HEAD + "function:vfs_read\n" + BODY)
    added = {point.name for point in load_probes(PROBES, tmp_path)} - {point.name for point in load_probes(PROBES)}
    assert added == {"lock"}
    with pytest.raises(UsageError, match="has no probe files"):
        load_probes(PROBES, tmp_path / "nothing")


@pytest.mark.parametrize(
    "function",
    ["bdrv_co_preadv_part", "laio_co_submit", "qcow2_get_host_offset", "qcow2_cache_get", "blk_aio_preadv", "main"],
)
def test_what_can_yield_may_not_be_return_probed(function: str) -> None:
    assert why_no_return(function)


def test_the_list_of_what_may_be_return_probed() -> None:
    # To add one: it calls nothing that may switch stacks, and was run under load with a return probe.
    assert sorted(MAY_BE_RETURN_PROBED) == [
        "block_acct_done",
        "block_acct_start",
        "event_notifier_set",
        "qcow2_cache_put",
        "qemu_coroutine_self",
        "thread_pool_submit_aio",
        "virtqueue_pop",
    ]
    assert not any(why_no_return(function) for function in MAY_BE_RETURN_PROBED)


def way(text: str, number: int = 0) -> Chosen:
    point = parse_probes(HEAD + text, "my.bt")[0]
    return Chosen(7, point, point.ways[number])


def test_each_provider_has_batches_with_one_writer_at_a_time() -> None:
    fentry, kprobe = (generate([way("function:ocfs2:ocfs2_rw_lock\n" + BODY, at)], SCOPE) for at in (0, 1))
    assert "kfunc:ocfs2:ocfs2_rw_lock\n" in fentry
    # an fentry program excludes only itself, on its CPU
    assert "$k = ((uint64)7 << 32) | (uint64)cpu;" in fentry
    assert "kprobe:ocfs2_rw_lock\n" in kprobe
    assert "$k = (uint64)cpu;" in kprobe


def test_macros_take_expressions_and_blocks_stay_whole() -> None:
    body = "{\n    if (arg1 > 5) {\n        $n = (uint64)1; $m = f(1);\n    } else {\n        $n = (uint64)2;\n    }\n"
    text = "kprobe:f\n/ ON_FILE(((struct inode *)arg0)->i_sb->s_dev, g(arg0, 1)) /\n" + body
    program = generate([way(text + "    emit($n, 0, 0, 0, 0, 0);\n}\n")], SCOPE)
    device = 259 << 20
    assert f"/((((struct inode *)arg0)->i_sb->s_dev == {device} && g(arg0, 1) == 131))/" in program
    assert "    if (arg1 > 5) { $n = (uint64)1; $m = f(1); } else { $n = (uint64)2; }\n" in program


def test_the_kernels_workers_count_where_a_loop_device_does() -> None:
    loop = Scope(4711, "/q", (7 << 20,), ())
    assert "/(pid == 4711)/" in generate([way("kprobe:f\n" + BODY)], SCOPE)
    assert '/(pid == 4711 || strncmp(comm, "kworker", 7) == 0)/' in generate([way("kprobe:f\n" + BODY)], loop)


def test_what_bpftrace_refuses_is_shown_where_it_was_written() -> None:
    one = way("kprobe:f\n{\n    // why\n    $a = nonsense(arg0);\n    emit(0, 0, 0, 0, $a, 0);\n}\n")
    program = generate([one], SCOPE)
    lines = program.splitlines()
    at = next(number for number, line in enumerate(lines, 1) if "nonsense" in line)
    assert find_line(program, at, [one]) == "my.bt:6: $a = nonsense(arg0)"
    assert find_line(program, at + 2, [one]) == "my.bt:7: emit(0, 0, 0, 0, $a, 0)"
    assert find_line(program, 2, [one]) == ""


def test_the_example_of_the_documentation_is_the_file_that_is_recorded_with() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "probes.md").read_text()
    shown = page.partition("<!-- example -->\n")[2].partition("<!-- end -->")[0]
    text = "".join(line.removeprefix("    ") for line in shown.splitlines(keepends=True))
    assert text in (root / "examples" / "probes" / "xfs_log.bt").read_text()
    assert {point.part for point in load_probes(root / "examples" / "probes")} == {"log_wait", "mapped"}
