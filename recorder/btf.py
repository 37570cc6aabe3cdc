"""Functions in the kernel's own type information (BTF): which there are, with what arguments; pure but for the file.

Layout: Linux Documentation/bpf/btf.rst. A module's BTF continues the numbers and strings of vmlinux'.
"""

import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_MAGIC = 0xEB9F
_HEADER = struct.Struct("<HBBIIIII")
_TYPE = struct.Struct("<III")
_FUNC, _FUNC_PROTO = 12, 13
_EXTRA_BYTES = {1: 4, 3: 12, 14: 4, 17: 4}  # int, array, var, decl_tag
_MEMBER_BYTES = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}  # struct, union, enum, func_proto, datasec, enum64
_LAST_KIND = 19


class BtfError(Exception):
    """The file is no BTF that can be read; says why."""


@dataclass(frozen=True, slots=True)
class BtfFunction:
    """A function by its number among the types, and the names of its arguments."""

    type_id: int
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Btf:
    """The functions of one BTF file, by name: their number, and that of the type that has the arguments.

    `protos` are those types: the names of the arguments lie at a place in `data`, so many. `base` is vmlinux' of a
    module's, whose types it goes on to count.
    """

    functions: dict[str, tuple[int, int]]
    protos: dict[int, tuple[int, int]]
    types: int
    strings: bytes
    data: bytes
    base: "Btf | None" = None

    def find(self, name: str) -> BtfFunction | None:
        """Return a function; None if there is none of that name."""
        if name not in self.functions:
            return None
        number, proto = self.functions[name]
        return BtfFunction(number, self._arguments(proto))

    def _arguments(self, proto: int) -> tuple[str, ...]:
        if proto not in self.protos:
            return self.base._arguments(proto) if self.base else ()
        place, count = self.protos[proto]
        at = (struct.unpack_from("<I", self.data, place + 8 * argument)[0] for argument in range(count))
        return tuple(_string(self.strings, one) for one in at)


@lru_cache(maxsize=64)
def read_btf(path: Path, base: Path | None = None) -> Btf:
    """Read a file of /sys/kernel/btf; a module's needs vmlinux' as its `base`.

    Raises:
        BtfError: it cannot be read.
    """
    below = read_btf(base) if base else Btf({}, {}, 1, b"", b"")
    try:
        return _parse(path.read_bytes(), below)
    except OSError as error:
        raise BtfError(f"{path}: {error.strerror}") from None
    except (struct.error, IndexError, KeyError, ValueError) as error:
        raise BtfError(f"{path} is damaged: {error}") from None


def _parse(data: bytes, below: Btf) -> Btf:
    magic, _, _, header_bytes, type_at, type_bytes, string_at, string_bytes = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise ValueError("it does not begin as BTF does")
    strings = below.strings + data[header_bytes + string_at : header_bytes + string_at + string_bytes]
    place, end = header_bytes + type_at, header_bytes + type_at + type_bytes
    protos: dict[int, tuple[int, int]] = {}
    found: list[tuple[int, int, int]] = []
    number = below.types
    while place < end:
        name, info, of = _TYPE.unpack_from(data, place)
        kind, members = info >> 24 & 0x1F, info & 0xFFFF
        if not 0 < kind <= _LAST_KIND:
            raise ValueError(f"kind {kind} of type {number} is not known")
        place += _TYPE.size
        if kind == _FUNC_PROTO:
            protos[number] = (place, members)
        elif kind == _FUNC:
            found.append((number, name, of))
        place += _EXTRA_BYTES.get(kind, 0) + members * _MEMBER_BYTES.get(kind, 0)
        number += 1
    functions = {_string(strings, name): (at, proto) for at, name, proto in found}
    return Btf(functions, protos, number, strings, data, below)


def _string(strings: bytes, at: int) -> str:
    return strings[at : strings.index(b"\0", at)].decode(errors="replace")
