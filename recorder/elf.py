"""What a binary offers to a tracer: functions, their first instructions, USDT probes, its build-id."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from elftools.common.exceptions import ELFError as PyElfError
from elftools.elf.elffile import ELFFile

from vio.recorder.firstinsn import FirstInsn, InsnKind, classify

_SYMBOL = struct.Struct("<IBBHQQ")
_FUNCTION_TYPE = 2
_FIRST_BYTES = 16
# What pyelftools may raise on a damaged or hostile file.
_DAMAGED = (
    PyElfError,
    struct.error,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    TypeError,
    OverflowError,
)


class ElfError(Exception):
    """The file is not a binary that can be read; says why."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function: its address as linked, its offset in the file, and where its name was found."""

    name: str
    address: int
    file_offset: int
    size_bytes: int
    is_exported: bool


@dataclass(frozen=True, slots=True)
class UsdtProbe:
    """A static probe point (.note.stapsdt)."""

    provider: str
    name: str
    address: int
    arguments: str


@dataclass(frozen=True, slots=True)
class _Segment:
    address: int
    file_offset: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Binary:
    """One ELF file, read whole at one moment; it may be replaced on disk afterwards."""

    path: Path
    machine: str
    build_id: str
    functions: dict[str, Function] = field(repr=False)
    usdt_probes: tuple[UsdtProbe, ...] = field(repr=False)
    has_symbol_table: bool
    has_debug_link: bool
    segments: tuple[_Segment, ...] = field(repr=False)

    def has(self, symbol: str) -> bool:
        """Whether a uprobe can be put on the function of that name."""
        return symbol in self.functions

    def first_instruction(self, symbol: str, has_fast_nops: bool = False) -> FirstInsn:
        """Say what a uprobe on this function would cost; `has_fast_nops` is the kernel's (HostFeatures).

        Raises:
            ElfError: there is no such function.
        """
        if symbol not in self.functions:
            raise ElfError(f"{self.path} has no function {symbol}")
        code = self._code_at(self.functions[symbol].address)
        if self.machine != "EM_X86_64":
            return FirstInsn(InsnKind.UNKNOWN, code, None)
        return classify(code, has_fast_nops)

    def _code_at(self, address: int) -> bytes:
        for segment in self.segments:
            start = address - segment.address
            if 0 <= start < len(segment.data):
                return segment.data[start : start + _FIRST_BYTES]
        return b""


def read_binary(path: Path) -> Binary:
    """Read a binary; cached by device, inode, size and time of change.

    Raises:
        ElfError: it cannot be read, or is no 64-bit little-endian ELF file.
    """
    try:
        status = path.stat()
        return _read_binary(path, (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
    except OSError as error:
        raise ElfError(f"{path}: {error.strerror}") from None
    except _DAMAGED as error:
        raise ElfError(f"{path} is not an ELF file that can be read: {error}") from None


@lru_cache(maxsize=16)
def _read_binary(path: Path, _identity: tuple[int, int, int, int]) -> Binary:
    with path.open("rb") as stream:
        elf = ELFFile(stream)
        if elf.elfclass != 64 or not elf.little_endian:
            raise ValueError("not 64-bit little-endian")
        segments = tuple(_segments(elf))
        return Binary(
            path=path,
            machine=elf["e_machine"],
            build_id=_build_id(elf),
            functions=_functions(elf, segments),
            usdt_probes=tuple(_usdt_probes(elf)),
            has_symbol_table=elf.get_section_by_name(".symtab") is not None,
            has_debug_link=elf.get_section_by_name(".gnu_debuglink") is not None,
            segments=segments,
        )


def read_section(path: Path, name: str) -> bytes:
    """Return the bytes of one section, empty if there is none.

    Raises:
        ElfError: the file cannot be read as ELF.
    """
    try:
        with path.open("rb") as stream:
            section = ELFFile(stream).get_section_by_name(name)
            return section.data() if section else b""
    except OSError as error:
        raise ElfError(f"{path}: {error.strerror}") from None
    except _DAMAGED as error:
        raise ElfError(f"{path} is not an ELF file that can be read: {error}") from None


def _segments(elf: ELFFile) -> Iterator[_Segment]:
    for segment in elf.iter_segments("PT_LOAD"):
        if segment["p_flags"] & 1:
            yield _Segment(segment["p_vaddr"], segment["p_offset"], segment.data())


def _functions(elf: ELFFile, segments: tuple[_Segment, ...]) -> dict[str, Function]:
    """Read the symbol tables; where both have a name, the exported one is kept."""
    found: dict[str, Function] = {}
    for table in (".dynsym", ".symtab"):
        section = elf.get_section_by_name(table)
        if section is None:
            continue
        names = elf.get_section(section["sh_link"]).data()
        # pyelftools' own symbols cost 25 us each, and a QEMU with symbols has 10^5
        for name_at, info, _, index, address, size in _SYMBOL.iter_unpack(_whole(section.data())):
            if info & 15 != _FUNCTION_TYPE or not index:
                continue
            name = _string_at(names, name_at)
            if name not in found and (offset := _file_offset(segments, address)) is not None:
                found[name] = Function(name, address, offset, size, table == ".dynsym")
    return found


def _whole(data: bytes) -> bytes:
    return data[: len(data) - len(data) % _SYMBOL.size]


def _file_offset(segments: tuple[_Segment, ...], address: int) -> int | None:
    for segment in segments:
        if segment.address <= address < segment.address + len(segment.data):
            return address - segment.address + segment.file_offset
    return None


def _string_at(data: bytes, at: int) -> str:
    return data[at : data.find(b"\0", at)].decode(errors="replace")


def _build_id(elf: ELFFile) -> str:
    for name, kind, description in _notes(elf, ".note.gnu.build-id"):
        if name == b"GNU" and kind == 3:
            return description.hex()
    return ""


def _usdt_probes(elf: ELFFile) -> Iterator[UsdtProbe]:
    for name, kind, description in _notes(elf, ".note.stapsdt"):
        if name == b"stapsdt" and kind == 3:
            address = struct.unpack_from("<Q", description)[0]
            provider, probe, arguments, *_ = description[24:].split(b"\0") + [b""] * 3
            yield UsdtProbe(
                provider.decode(errors="replace"),
                probe.decode(errors="replace"),
                address,
                arguments.decode(errors="replace"),
            )


def _notes(elf: ELFFile, section_name: str) -> Iterator[tuple[bytes, int, bytes]]:
    section = elf.get_section_by_name(section_name)
    data = section.data() if section else b""
    at = 0
    while at + 12 <= len(data):
        name_size, size, kind = struct.unpack_from("<III", data, at)
        name_end = at + 12 + (name_size + 3) // 4 * 4
        yield data[at + 12 : at + 12 + name_size].rstrip(b"\0"), kind, data[name_end : name_end + size]
        at = name_end + (size + 3) // 4 * 4
