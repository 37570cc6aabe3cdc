"""The answer of `vio map` for people: a paragraph for each storey, a row for each piece of an address."""

from collections.abc import Iterator

from rich.table import Table

from vio.mappers.address import Trail
from vio.mappers.answer import Answer, place_names
from vio.mappers.kind import Flag, Kind
from vio.mappers.level import Level, LevelSort
from vio.mappers.totals import Totals
from vio.printable import printable
from vio.quantity import size_text

_KIND_WORDS = {
    Kind.ZERO: "zero",
    Kind.UNALLOCATED: "hole",
    Kind.COMPRESSED: "compressed",
    Kind.ENCODED: "encoded by the file system",
    Kind.DELALLOC: "not yet placed",
    Kind.INLINE: "among the metadata",
    Kind.UNMAPPED: "not mapped",
    Kind.MAPPED: "data",
}
_FLAG_WORDS = {
    Flag.UNWRITTEN: "unwritten",
    Flag.SHARED: "shared",
    Flag.ENCRYPTED: "encrypted",
    Flag.PARTIAL: "split below",
}


def kind_text(kind: int) -> str:
    """Say a kind in words: `data, unwritten`."""
    flags = [word for flag, word in _FLAG_WORDS.items() if kind & flag]
    return ", ".join([_KIND_WORDS[Kind(kind & 0x0F)], *flags])


def answer_lines(answer: Answer) -> Iterator[str]:
    """Write the storeys, and what could not be mapped."""
    for name, size, holds in answer.volumes:
        yield f"guest volume  {printable(name)}: {size_text(size)}, {holds or 'unknown'}"
    for level in answer.levels:
        yield f"{_title(level)}  {level.name}: {level.about}"
        if level.totals:
            yield from (f"    {line}" for line in _totals_lines(level, level.totals))
        yield from (f"    {printable(note)}" for note in level.notes)
    said = {note for level in answer.levels for note in level.notes}
    for note in answer.notes:
        if not any(note.endswith(one) for one in said):
            yield f"not mapped: {printable(note)}"


def trail_table(trail: Trail, answer: Answer) -> Table:
    """Draw one row for each piece, with a column for each place that any piece has."""
    names = place_names(trail, answer.names)
    shown = [place for place, column in trail.places.items() if (column >= 0).any()]
    has_owner = any(answer.owners)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("guest disk", "bytes"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("what", overflow="fold")
    for place in shown:
        table.add_column(printable(names[place]), justify="right", overflow="fold")
    if has_owner:
        table.add_column("whose", overflow="fold")
    for row in range(len(trail)):
        start = int(trail.start[row])
        cells = [f"{start:#x}" if start >= 0 else "-", f"{int(trail.length[row]):,}"]
        is_owned = start >= 0 or bool(answer.owners[row])
        cells.append(kind_text(int(trail.kind[row])) if start >= 0 else "metadata" if is_owned else "not of this disk")
        for place in shown:
            address = int(trail.places[place][row])
            cells.append(f"{address:#x}" if address >= 0 else "-")
        table.add_row(*cells, *([_owner_text(answer, row)] if has_owner else []))
    return table


def _owner_text(answer: Answer, row: int) -> str:
    offset = answer.owner_offsets[row]
    return (printable(answer.owners[row]) or "-") + (f" + {offset:#x}" if offset else "")


def _title(level: Level) -> str:
    if level.sort is LevelSort.IMAGE:
        return f"backing image {level.depth}" if level.depth else "guest disk"
    return {LevelSort.FILE: "host file", LevelSort.DEVICE: "device"}[level.sort]


def _totals_lines(level: Level, totals: Totals) -> Iterator[str]:
    if level.sort is LevelSort.DEVICE or (totals.extents == 1 and totals.allocated == totals.size):
        return
    share = totals.allocated / totals.size if totals.size else 0.0
    extents = "1 extent" if totals.extents == 1 else f"{totals.extents:,} extents"
    yield (
        f"{size_text(totals.allocated)} allocated ({share:.1%}) in {extents}"
        f" ({totals.extents_per_gib:,.0f} a GiB), {totals.fragmentation(level.unit_bytes):.1%} fragmented"
    )
    parts = [
        f"{_KIND_WORDS[kind]} {size_text(count)}"
        for kind, count in sorted(totals.by_kind.items())
        if kind is not Kind.MAPPED and count
    ]
    parts += [f"{_FLAG_WORDS[flag]} {size_text(count)}" for flag, count in totals.by_flag.items() if count]
    if totals.by_kind.get(Kind.COMPRESSED):
        parts.append(f"stored in {size_text(totals.stored)}")
    if level.areas is not None:
        parts.append(f"metadata {size_text(sum(level.areas.bytes_by_name.values()))}")
    if parts:
        yield ", ".join(parts)
