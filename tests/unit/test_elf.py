"""Binaries: our reading against objdump's and readelf's."""

import contextlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from vio.recorder.elf import Binary, ElfError, read_binary
from vio.recorder.firstinsn import InsnKind, classify
from vio.recorder.version import read_version

QEMU_IMG = Path("/usr/bin/qemu-img")
LIBRARIES = [Path("/lib/x86_64-linux-gnu") / name for name in ("libc.so.6", "libstdc++.so.6", "libm.so.6")]
EMULATED = re.compile(r"(push %r\w\w|nop|pause|xchg %ax,%ax|nop[wl] .*|(j[a-z]+|call) [0-9a-f]+.*)$")


@pytest.fixture(scope="module")
def qemu_img() -> Binary:
    if not QEMU_IMG.exists():
        pytest.skip(f"{QEMU_IMG} is absent (apt install qemu-utils)")
    return read_binary(QEMU_IMG)


def witness(tool: str, *arguments: str) -> str:
    if not shutil.which(tool):
        pytest.skip(f"{tool} is absent (apt install binutils)")
    return subprocess.run([tool, *arguments], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    ("code", "kind", "is_cheap"),
    [
        ("55", InsnKind.PUSH, True),
        ("4157", InsnKind.PUSH, True),
        ("4855", InsnKind.STEPPED, False),
        ("6a01", InsnKind.STEPPED, False),
        ("90", InsnKind.NOP, True),
        ("6690", InsnKind.NOP, True),
        ("0f1f440000", InsnKind.NOP5, True),
        ("0f1f4000", InsnKind.NOP_LONG, True),
        ("eb10", InsnKind.JUMP, True),
        ("e900000000", InsnKind.JUMP, True),
        ("7405", InsnKind.JUMP, True),
        ("0f8400000000", InsnKind.JUMP, True),
        ("e800000000", InsnKind.CALL, True),
        ("f30f1efa", InsnKind.STEPPED, False),
        ("4883ec08", InsnKind.STEPPED, False),
        ("31d2", InsnKind.STEPPED, False),
        ("c3", InsnKind.STEPPED, False),
        ("ff2500000000", InsnKind.STEPPED, False),
        ("cc", InsnKind.REFUSED, False),
        ("f0ff00", InsnKind.REFUSED, False),
        ("", InsnKind.UNKNOWN, False),
        ("41", InsnKind.STEPPED, False),
    ],
)
def test_first_instructions(code: str, kind: InsnKind, is_cheap: bool) -> None:
    first = classify(bytes.fromhex(code), has_fast_nops=True)
    assert (first.kind, first.is_cheap) == (kind, is_cheap)


def test_long_nops_are_taken_as_dear_on_kernels_that_may_step_them() -> None:
    assert classify(bytes.fromhex("0f1f440000"), has_fast_nops=False).kind is InsnKind.STEPPED
    assert classify(bytes.fromhex("0f1f440000"), has_fast_nops=True).cost_ns == 364


def test_addresses_agree_with_readelf(qemu_img: Binary) -> None:
    text = witness("readelf", "--dyn-syms", "-W", str(QEMU_IMG))
    rows = re.findall(r"^ *\d+: ([0-9a-f]{16}) +(\d+) FUNC +\w+ +\w+ +\d+ ([^\s@]+)", text, re.MULTILINE)
    expected = {name: int(address, 16) for address, _, name in rows}
    assert len(expected) > 1000
    assert {name: function.address for name, function in qemu_img.functions.items()} == expected


def test_first_instructions_agree_with_objdump(qemu_img: Binary) -> None:
    text = witness("objdump", "-d", "--no-show-raw-insn", "-j", ".text", str(QEMU_IMG))
    disassembled = dict(re.findall(r"^ +([0-9a-f]+):\t(.+?) *$", text, re.MULTILINE))
    wrong = []
    for name, function in qemu_img.functions.items():
        words = re.sub(r" +", " ", disassembled.get(f"{function.address:x}", ""))
        first = qemu_img.first_instruction(name, has_fast_nops=True)
        if words and bool(EMULATED.match(words)) != first.is_cheap:
            wrong.append((name, words, first))
    assert wrong == []


def test_file_offsets_lead_to_the_code(qemu_img: Binary) -> None:
    function = qemu_img.functions["blk_aio_preadv"]
    with QEMU_IMG.open("rb") as stream:
        stream.seek(function.file_offset)
        assert stream.read(16) == qemu_img.first_instruction("blk_aio_preadv").data


def test_build_id_agrees_with_readelf(qemu_img: Binary) -> None:
    assert f"Build ID: {qemu_img.build_id}" in witness("readelf", "-n", str(QEMU_IMG))


def test_usdt_probes_agree_with_readelf() -> None:
    libraries = [path for path in LIBRARIES if path.exists()]
    place = next((path for path in libraries if read_binary(path).usdt_probes), None)
    if not place:
        pytest.skip("no library here has USDT probes")
    text = witness("readelf", "-n", "-W", str(place))
    expected = re.findall(r"Provider: (\S+)\s+Name: (\S+)\s+Location: 0x([0-9a-f]+)", text)
    probes = read_binary(place).usdt_probes
    found = [(probe.provider, probe.name, f"{probe.address:016x}") for probe in probes]
    assert found == expected


def test_version_is_read_without_running_the_binary(qemu_img: Binary) -> None:
    said = witness(str(QEMU_IMG), "--version")
    assert read_version(QEMU_IMG)
    assert f"qemu-img version {read_version(QEMU_IMG)}" in said


def test_a_missing_function(qemu_img: Binary) -> None:
    assert not qemu_img.has("no_such_function")
    with pytest.raises(ElfError, match="no_such_function"):
        qemu_img.first_instruction("no_such_function")


def test_a_changed_file_is_read_again(tmp_path: Path, qemu_img: Binary) -> None:
    copy = tmp_path / "binary"
    shutil.copy(QEMU_IMG, copy)
    assert read_binary(copy).build_id == qemu_img.build_id
    copy.write_bytes(b"#!/bin/sh\n")
    with pytest.raises(ElfError, match="not an ELF file"):
        read_binary(copy)
    assert read_version(copy) == ""


def test_a_file_that_is_absent(tmp_path: Path) -> None:
    with pytest.raises(ElfError, match="No such file"):
        read_binary(tmp_path / "none")


@pytest.mark.parametrize("size", [0, 3, 16, 64, 200, 5000])
def test_a_cut_file_is_an_error_or_poorer_but_no_crash(tmp_path: Path, size: int, qemu_img: Binary) -> None:
    cut = tmp_path / "cut"
    cut.write_bytes(QEMU_IMG.read_bytes()[:size])
    with pytest.raises(ElfError):
        read_binary(cut)


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, seed: int, qemu_img: Binary) -> None:
    data = bytearray(QEMU_IMG.read_bytes())
    for at in range(16 + seed, 4096, 97):
        data[at] ^= 0x5A
    damaged = tmp_path / "damaged"
    damaged.write_bytes(data)
    with contextlib.suppress(ElfError):
        assert read_binary(damaged).path == damaged
