"""The answer of `vio map` for machines: plain data for JSON, and a table for Parquet (docs/mapping.md)."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vio.errors import OutputError
from vio.mappers.address import Trail
from vio.mappers.answer import Answer, place_names
from vio.mappers.kind import Ints, name_of
from vio.mappers.level import Level


def answer_data(answer: Answer) -> dict[str, object]:
    """Give everything that an answer says as plain data."""
    data: dict[str, object] = {
        "levels": [_level_data(level) for level in answer.levels],
        "volumes": [{"name": name, "bytes": size, "holds": holds} for name, size, holds in answer.volumes],
        "notes": list(answer.notes),
    }
    if answer.trail is not None:
        data["pieces"] = _pieces(answer.trail, answer)
    return data


def answer_table(answer: Answer) -> pa.Table:
    """Give the pieces as a table with a column of addresses for each place; if nothing was asked, the totals."""
    trail = answer.trail
    if trail is None:
        return pa.Table.from_pylist([_flat(level) for level in answer.levels])
    columns: dict[str, pa.Array] = {
        "request": pa.array(trail.request),
        "guest_offset": _addresses(trail.start),
        "bytes": pa.array(trail.length),
        "kind": pa.array([name_of(kind) for kind in trail.kind.tolist()]),
        "owner": pa.array([owner or None for owner in answer.owners], pa.string()),
        "owner_offset": pa.array(answer.owner_offsets, pa.int64()),
    }
    for place, name in place_names(trail, answer.names).items():
        columns[name if name not in columns else f"{name} ({place[0]})"] = _addresses(trail.places[place])
    return pa.table(columns)


def write_answer(answer: Answer, path: Path) -> None:
    """Write the table of an answer as Parquet; raise OutputError if it cannot be."""
    try:
        pq.write_table(answer_table(answer), path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}", "give it another place") from None


def _addresses(column: Ints) -> pa.Array:
    return pa.array(column, mask=column < 0)


def _level_data(level: Level) -> dict[str, object]:
    data: dict[str, object] = {
        "sort": level.sort.value,
        "name": level.name,
        "about": level.about,
        "space": level.space,
        "below": list(level.below),
        "depth": level.depth,
        "unit_bytes": level.unit_bytes,
        "notes": list(level.notes),
    }
    totals = level.totals
    if totals is not None:
        data["totals"] = {
            "bytes": totals.size,
            "allocated_bytes": totals.allocated,
            "stored_bytes": totals.stored,
            "extents": totals.extents,
            "extents_per_gib": round(totals.extents_per_gib, 3),
            "fragmentation": round(totals.fragmentation(level.unit_bytes), 6),
            "bytes_by_kind": {kind.name: count for kind, count in totals.by_kind.items()},
            "bytes_by_flag": {flag.name or "": count for flag, count in totals.by_flag.items()},
        }
    if level.areas is not None:
        data["metadata_bytes"] = level.areas.bytes_by_name
    return data


def _flat(level: Level) -> dict[str, object]:
    data: dict[str, object] = {"sort": level.sort.value, "name": level.name, "about": level.about, "space": level.space}
    totals = level.totals
    if totals is None:
        return data
    fragmentation = totals.fragmentation(level.unit_bytes)
    figures = {"bytes": totals.size, "allocated_bytes": totals.allocated, "stored_bytes": totals.stored}
    return {**data, **figures, "extents": totals.extents, "fragmentation": fragmentation}


def _pieces(trail: Trail, answer: Answer) -> list[dict[str, object]]:
    names = place_names(trail, answer.names)
    pieces: list[dict[str, object]] = []
    for row in range(len(trail)):
        start = int(trail.start[row])
        places = [
            {"name": names[place], "space": place[0], "copy": place[1], "offset": int(column[row])}
            for place, column in trail.places.items()
            if column[row] >= 0
        ]
        pieces.append(
            {
                "request": int(trail.request[row]),
                "guest_offset": start if start >= 0 else None,
                "bytes": int(trail.length[row]),
                "kind": name_of(int(trail.kind[row])),
                "owner": answer.owners[row] or None,
                "owner_offset": answer.owner_offsets[row],
                "places": places,
            }
        )
    return pieces
