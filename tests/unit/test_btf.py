"""The kernel's types: a small file made by hand, a module's that goes on with it, damage, and this kernel's own."""

import struct
from pathlib import Path

import pytest

from vio.recorder.btf import BtfError, BtfFunction, read_btf
from vio.recorder.kernelfn import read_kernel_functions
from vio.recorder.missed import AttachKey, attached_programs, read_misses
from vio.recorder.procfs import HostRoots

INT, PROTO, FUNC = 1, 13, 12
VMLINUX = Path("/sys/kernel/btf/vmlinux")


def a_type(name: int, kind: int, of: int, members: int = 0, more: bytes = b"") -> bytes:
    return struct.pack("<III", name, kind << 24 | members, of) + more


def btf(types: bytes, strings: bytes) -> bytes:
    return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings


BASE_STRINGS = b"\0int\0inode\0write\0vfs_lock\0"
BASE = btf(
    a_type(1, INT, 4, more=bytes(4)) + a_type(0, PROTO, 0, 2, struct.pack("<IIII", 5, 1, 11, 1)) + a_type(17, FUNC, 2),
    BASE_STRINGS,
)
# its function's arguments are a type of vmlinux
MODULE = btf(a_type(len(BASE_STRINGS) + 1, FUNC, 2), b"\0ocfs2_rw_lock\0")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "kernel" / "btf"
    made.mkdir(parents=True)
    (made / "vmlinux").write_bytes(BASE)
    (made / "ocfs2").write_bytes(MODULE)
    return made


def test_a_function_has_its_number_and_arguments(directory: Path) -> None:
    base = read_btf(directory / "vmlinux")
    assert base.find("vfs_lock") == BtfFunction(3, ("inode", "write"))
    assert base.find("nothing") is None
    module = read_btf(directory / "ocfs2", directory / "vmlinux")
    assert module.find("ocfs2_rw_lock") == BtfFunction(4, ("inode", "write"))


@pytest.mark.parametrize("data", [b"", b"\x9f\xeb", BASE[:40], b"ELF" + BASE, BASE.replace(b"\x0d", b"\x1e", 1)])
def test_damage_is_said(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "vmlinux").write_bytes(data)
    with pytest.raises(BtfError, match="vmlinux"):
        read_btf(tmp_path / "vmlinux")


def test_functions_are_looked_up_in_modules_that_are_loaded(tmp_path: Path, directory: Path) -> None:
    proc, tracefs = tmp_path / "proc", tmp_path / "tracing"
    proc.mkdir()
    tracefs.mkdir()
    (tmp_path / "module" / "ocfs2").mkdir(parents=True)
    symbols = "ff0 T vfs_lock\n0 t ocfs2_rw_lock\t[ocfs2]\n0 t gone.constprop.0\n0 d data\nff8 t two\nffa t two\n"
    (proc / "kallsyms").write_text(symbols)
    (tracefs / "available_filter_functions").write_text("vfs_lock\nocfs2_rw_lock [ocfs2]\n")
    found = read_kernel_functions(HostRoots(proc, tmp_path), tracefs, has_kprobes=True)
    found.try_fentry = lambda type_id: ""
    assert found.find_btf("ocfs2_rw_lock") == ("ocfs2", BtfFunction(4, ("inode", "write")))
    assert found.why_not_kprobe("ocfs2_rw_lock", "ocfs2") == ""
    assert found.why_not_kprobe("xfs_ilock", "xfs") == "module xfs is not loaded"
    assert found.why_not_kprobe("gone") == "the compiler has changed gone to gone.constprop.0"
    assert found.why_not_fentry("data") == "the kernel has no function data (or it is inlined)"
    assert [found.symbols[name] for name in ("vfs_lock", "ocfs2_rw_lock", "two")] == [0xFF0, 0, 0]
    assert found.no_fentry == "it has no BTF"  # vfs_open, which it is tried with, is not there
    assert directory.exists()


@pytest.mark.skipif(not VMLINUX.exists(), reason="this kernel has no BTF")
def test_this_kernels_own_types() -> None:
    found = read_btf(VMLINUX).find("vfs_read")
    assert found is not None
    assert found.arguments == ("file", "buf", "count", "pos")


def test_fentry_programs_are_known_by_their_links(tmp_path: Path) -> None:
    info = tmp_path / "fdinfo"
    info.mkdir()
    (tmp_path / "fd").mkdir()
    (info / "3").write_text("pos:\t0\nlink_type:\ttracing\nprog_id:\t17\nattach_type:\t24\ntarget_btf_id:\t99\n")
    (info / "4").write_text("pos:\t0\nlink_type:\ttracing\nprog_id:\t18\nattach_type:\t25\ntarget_btf_id:\t99\n")
    (info / "5").write_text("pos:\t0\nprog_type:\t26\nprog_id:\t17\nrecursion_misses:\t5\n")
    assert attached_programs(1, tmp_path) == {17: AttachKey(type_id=99), 18: AttachKey(type_id=99, is_return=True)}
    assert dict(read_misses(tmp_path)) == {17: 5}


def test_a_function_of_many_arguments_is_for_kprobes(tmp_path: Path) -> None:
    names = b"\0int\0vfs_open\0dio_rw\0"
    arguments = struct.pack("<II", 1, 1) * 7
    types = a_type(1, INT, 4, more=bytes(4)) + a_type(0, PROTO, 0, 7, arguments) + a_type(5, FUNC, 2)
    path = tmp_path / "kernel" / "btf" / "vmlinux"
    path.parent.mkdir(parents=True)
    path.write_bytes(btf(types + a_type(14, FUNC, 2), names))
    found = read_kernel_functions(HostRoots(tmp_path, tmp_path), None, has_kprobes=True)
    found.try_fentry = lambda type_id: ""
    assert found.why_not_fentry("dio_rw") == "dio_rw has more than 6 arguments, which fentry does not take"
    assert found.why_not_kprobe("dio_rw") == ""
