"""`--point`: what becomes of each, and the one clear line for what cannot be."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.hosts import PUSH, a_host, a_subject

from vio.errors import HostError, UsageError, VioError
from vio.layer import Layer
from vio.recorder.btf import Btf, BtfFunction
from vio.recorder.doctor import check_point
from vio.recorder.host import HostFeatures
from vio.recorder.kernelfn import KernelFunctions
from vio.recorder.probe import Point, parse_probes
from vio.recorder.userpoints import user_points

SYMBOLS = {
    "vfs_open": "",
    "vfs_read": "",
    "vfs_readv": "",
    "submit_bio": "",
    "ocfs2_rw_lock": "ocfs2",
    "odd.isra.0": "",
}


def load_btf(module: str) -> Btf | None:
    names = [name for name, of in SYMBOLS.items() if of == module and "." not in name and name != "submit_bio"]
    return Btf({name: (number + 5, 0) for number, name in enumerate(names)}, {}, 9, b"", b"")


def a_kernel(*, has_kprobes: bool = True, no_fentry: str = "", loaded: bool = True) -> KernelFunctions:
    symbols = {name: of for name, of in SYMBOLS.items() if loaded or not of}
    return KernelFunctions(
        has_kprobes=has_kprobes,
        load_btf=load_btf,
        load_traceable=lambda: symbols,
        load_symbols=lambda: dict.fromkeys(symbols, 1),
        try_fentry=lambda _: no_fentry,
        modules=frozenset({"ocfs2"} if loaded else ()),
    )


def points(*specs: str, kernel: KernelFunctions | None = None, taken: Sequence[Point] = ()) -> list[Point]:
    host = replace(a_host(), kernel=kernel or a_kernel(), tracefs=None)
    subject = a_subject({"qcow2_cache_put": PUSH, "bdrv_co_preadv_part": PUSH, "event_notifier_set": PUSH})
    return user_points(specs, host, subject, taken)


def shown(found: list[Point]) -> list[tuple[str, str, str, str]]:
    return [(point.layer.value, point.part, point.role, point.ways[0].attach) for point in found]


def test_a_function_is_a_part_from_its_entry_to_its_return() -> None:
    assert shown(points("kprobe:vfs_read", "fentry:ocfs2:ocfs2_rw_lock", "uprobe:qcow2_cache_put")) == [
        ("vfs", "vfs_read", "begin", "kprobe:vfs_read"),
        ("vfs", "vfs_read", "end", "kretprobe:vfs_read"),
        ("fs", "ocfs2_rw_lock", "begin", "fentry:ocfs2:ocfs2_rw_lock"),
        ("fs", "ocfs2_rw_lock", "end", "fexit:ocfs2:ocfs2_rw_lock"),
        ("qemu-block", "qcow2_cache_put", "begin", "uprobe:QEMU:qcow2_cache_put"),
        ("qemu-block", "qcow2_cache_put", "end", "uretprobe:QEMU:qcow2_cache_put"),
    ]


def test_tracepoints_are_paired_by_name_and_limited_to_the_target() -> None:
    assert shown(points("tracepoint:ext4:ext4_sync_file_enter", "tracepoint:syscalls:sys_enter_pread64")) == [
        ("fs", "ext4_sync_file", "begin", "tracepoint:ext4:ext4_sync_file_enter"),
        ("fs", "ext4_sync_file", "end", "tracepoint:ext4:ext4_sync_file_exit"),
        ("vfs", "pread64", "begin", "tracepoint:syscalls:sys_enter_pread64"),
        ("vfs", "pread64", "end", "tracepoint:syscalls:sys_exit_pread64"),
    ]
    assert shown(points("tracepoint:block:block_rq_issue")) == [
        ("block", "block_rq_issue", "mark", "tracepoint:block:block_rq_issue")
    ]


def test_the_layer_may_be_named_and_the_entry_alone_be_marked() -> None:
    assert shown(points("device=kprobe:submit_bio", "uprobe:bdrv_co_preadv_part@entry")) == [
        ("device", "submit_bio", "begin", "kprobe:submit_bio"),
        ("device", "submit_bio", "end", "kretprobe:submit_bio"),
        ("qemu-block", "bdrv_co_preadv_part", "mark", "uprobe:QEMU:bdrv_co_preadv_part"),
    ]


@pytest.mark.parametrize(
    ("spec", "kernel", "error", "said"),
    [
        ("rubbish", a_kernel(), UsageError, "--point rubbish cannot be read: [LAYER=]kprobe:FUNCTION"),
        ("kprobe:a:b:c", a_kernel(), UsageError, "cannot be read"),
        ("tracepoint:ext4", a_kernel(), UsageError, "cannot be read"),
        ("kretprobe:vfs_read", a_kernel(), UsageError, "kretprobe is no way to probe"),
        ("attic=kprobe:vfs_read", a_kernel(), UsageError, "there is no layer attic: one of qemu-device"),
        (
            "kprobe:vfs_raed",
            a_kernel(),
            UsageError,
            "the kernel has no function vfs_raed (or it is inlined): it has vfs_read",
        ),
        ("kprobe:odd", a_kernel(), UsageError, "the compiler has changed odd to odd.isra.0"),
        ("kprobe:ocfs2_rw_lock", a_kernel(loaded=False), HostError, "module ocfs2 is not loaded: modprobe ocfs2"),
        ("fentry:ocfs2:ocfs2_rw_lock", a_kernel(loaded=False), HostError, "module ocfs2 is not loaded: modprobe ocfs2"),
        ("kprobe:vfs_read", a_kernel(has_kprobes=False), HostError, "no kprobes: fentry:vfs_read works here"),
        (
            "fentry:vfs_read",
            a_kernel(no_fentry="EPERM"),
            HostError,
            "does not work here: EPERM: kprobe:vfs_read works here",
        ),
        ("fentry:submit_bio", a_kernel(), HostError, "(BTF) do not have submit_bio: kprobe:submit_bio works here"),
        ("kprobe:vfs_read", a_kernel(has_kprobes=False, no_fentry="x"), HostError, "no kprobes: `vio doctor` shows"),
        (
            "uprobe:bdrv_co_preadv_part",
            a_kernel(),
            UsageError,
            "it may yield in a coroutine, and a return probe would end",
        ),
        (
            "uprobe:qcow2_cache_putt",
            a_kernel(),
            UsageError,
            "exports no function qcow2_cache_putt: it has qcow2_cache_put",
        ),
        (
            "tracepoint:ext4:ext4_sync_file_entre",
            a_kernel(),
            UsageError,
            "no such tracepoint: it has ext4:ext4_sync_file",
        ),
        ("tracepoint:ocfs2:ocfs2_get_block", a_kernel(loaded=False), HostError, "module ocfs2 is not loaded"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    spec: str, kernel: KernelFunctions, error: type[VioError], said: str
) -> None:
    with pytest.raises(error) as caught:
        points(spec, kernel=kernel)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_point_is_named_once() -> None:
    with pytest.raises(UsageError, match="there is a point at_vfs_read already"):
        points("kprobe:vfs_read", taken=points("fentry:vfs_read"))


@pytest.mark.parametrize(
    ("kernel", "attach"),
    [
        (a_kernel(), "fentry:ocfs2:ocfs2_rw_lock"),
        (a_kernel(no_fentry="lockdown"), "kprobe:ocfs2:ocfs2_rw_lock"),
        (a_kernel(no_fentry="lockdown", has_kprobes=False), ""),
    ],
)
def test_the_way_is_chosen_by_what_the_host_has(kernel: KernelFunctions, attach: str) -> None:
    text = "//: point lock: a lock\n//: layer fs\nfunction:ocfs2:ocfs2_rw_lock\n{\n    emit(0, 0, 0, 0, 0, 0);\n}\n"
    host: HostFeatures = replace(a_host(), kernel=kernel)
    check = check_point(parse_probes(text, "my.bt")[0], host, a_subject())
    assert check.is_attachable is bool(attach)
    if attach:
        assert check.attach == attach
    else:
        assert check.why == "fentry does not work here: lockdown; this kernel has no kprobes"


def test_an_argument_must_be_the_functions() -> None:
    text = "//: point read: a read\n//: layer vfs\nfentry:vfs_read\n{\n    emit(0, 0, args->size, 0, 0, 0);\n}\n"
    check = check_point(parse_probes(text, "my.bt")[0], replace(a_host(), kernel=a_kernel()), a_subject())
    assert check.why == "the kernel's vfs_read has no argument size"
    assert BtfFunction(5, ()) == (a_kernel().find_btf("vfs_open") or ("", None))[1]
    assert Layer.FS
