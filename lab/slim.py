"""Cut a program's ties to libraries that it loads but that a lab guest never calls.

Debian's fio is linked with Ceph, Gluster, RDMA and more: 85 MB of libraries, and 0.8 s to start it under TCG.
Without them it needs 4 MB and starts in 0.1 s. The copy is bound lazily: a missing function is looked up
only when it is called.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import TypeVar

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Section, StringTableSection

from vio.errors import HostError

_SectionT = TypeVar("_SectionT", bound=Section)

_TAG_NULL = 0
_DF_BIND_NOW = 0x8
_DF_1_NOW = 0x1
_PT_NULL = 0
_DYNAMIC_ENTRY = struct.Struct("<QQ")
_VERSION_NEED = struct.Struct("<HHIII")
_NEXT_FIELD_OFFSET = 12


@dataclass(frozen=True, slots=True)
class _Tag:
    name: str
    number: int
    value: int
    library: str | None


def without_libraries(program: bytes, kept: tuple[str, ...]) -> bytes:
    """Give the ELF64 `program` needing only the libraries whose names begin with one of `kept`."""
    elf = ELFFile(BytesIO(program))
    image = bytearray(program)
    tags = list(_dynamic_tags(elf, program))
    dropped = {tag.library for tag in tags if tag.library and not tag.library.startswith(kept)}
    versions = _unlink_versions(elf, image, dropped)
    lean = [_rewritten(tag, versions) for tag in tags if tag.library not in dropped or tag.library is None]
    _write_dynamic(image, _section(elf, ".dynamic", DynamicSection)["sh_offset"], lean, len(tags))
    _forget_relro(elf, image)
    return bytes(image)


def _section(elf: ELFFile, name: str, kind: type[_SectionT]) -> _SectionT:
    section = elf.get_section_by_name(name)
    if not isinstance(section, kind):
        raise HostError(f"the program has no section {name}")
    return section


def _dynamic_tags(elf: ELFFile, program: bytes) -> Iterator[_Tag]:
    section = _section(elf, ".dynamic", DynamicSection)
    for index, tag in enumerate(section.iter_tags()):
        number, value = _DYNAMIC_ENTRY.unpack_from(program, section["sh_offset"] + index * _DYNAMIC_ENTRY.size)
        yield _Tag(str(tag.entry.d_tag), number, value, getattr(tag, "needed", None))


def _unlink_versions(elf: ELFFile, image: bytearray, dropped: set[str]) -> tuple[int, int]:
    """Take dropped libraries off the list of version needs; give its head's move and how many are left."""
    needs = list(_version_needs(elf, image))
    left = [offset for offset, library in needs if library not in dropped]
    for offset, following in zip(left, [*left[1:], None], strict=True):
        step = 0 if following is None else following - offset
        struct.pack_into("<I", image, offset + _NEXT_FIELD_OFFSET, step)
    return left[0] - needs[0][0], len(left)


def _version_needs(elf: ELFFile, image: bytearray) -> Iterator[tuple[int, str]]:
    names = _section(elf, ".dynstr", StringTableSection)
    offset = _section(elf, ".gnu.version_r", Section)["sh_offset"]
    while True:
        _, _, name, _, step = _VERSION_NEED.unpack_from(image, offset)
        yield offset, names.get_string(name)
        if not step:
            return
        offset += step


def _rewritten(tag: _Tag, versions: tuple[int, int]) -> tuple[int, int]:
    moved, left = versions
    match tag.name:
        case "DT_FLAGS":
            return tag.number, tag.value & ~_DF_BIND_NOW
        case "DT_FLAGS_1":
            return tag.number, tag.value & ~_DF_1_NOW
        case "DT_VERNEED":
            return tag.number, tag.value + moved
        case "DT_VERNEEDNUM":
            return tag.number, left
        case _:
            return tag.number, tag.value


def _write_dynamic(image: bytearray, offset: int, tags: list[tuple[int, int]], room: int) -> None:
    filler = [(_TAG_NULL, 0)] * (room - len(tags))
    for index, (number, value) in enumerate([*tags, *filler]):
        _DYNAMIC_ENTRY.pack_into(image, offset + index * _DYNAMIC_ENTRY.size, number, value)


def _forget_relro(elf: ELFFile, image: bytearray) -> None:
    """Leave the table of functions writable, as lazy binding needs it."""
    for index, segment in enumerate(elf.iter_segments()):
        if segment["p_type"] == "PT_GNU_RELRO":
            struct.pack_into("<I", image, elf["e_phoff"] + index * elf["e_phentsize"], _PT_NULL)
