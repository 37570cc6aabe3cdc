"""The views as SQL text: made from a recording's manifest and the places of its tables. No files are read here."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from vio.layer import Op, Phase, Stage
from vio.manifest import Manifest
from vio.printable import printable
from vio.terms import HULLS, LACKS

BASE_KINDS = ("unmapped", "mapped", "zero", "unallocated", "compressed", "encoded", "delalloc", "inline")
KIND_FLAGS = {0x10: "unwritten", 0x20: "shared", 0x40: "encrypted", 0x80: "partial"}


def literal(text: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def file_pattern(path: Path) -> str:
    """Return a path as a pattern that matches it alone: brackets around what a pattern would obey."""
    return literal("".join(f"[{char}]" if char in "*?[" else char for char in str(path)))


def union(selects: Iterable[str]) -> str:
    """Put the rows of several recordings below each other."""
    return "\nUNION ALL BY NAME\n".join(selects)


def ios_select(manifest: Manifest, file: Path, recording: str) -> str:
    """Select the IOs of one recording, with names in the place of numbers."""
    start_ns = manifest.clock.start.boottime_ns
    lacks = ", ".join(f"CASE WHEN lack & {bit} <> 0 THEN {literal(what)} END" for bit, what in LACKS.items())
    return f"""SELECT * REPLACE (
    {_disk_name(manifest)} AS disk,
    {_word("op", Op)} AS op,
    {_word("reached", Stage)} AS reached,
    {_device_name(manifest, "device")} AS device),
  (begin_ns - {start_ns}) / 1e9 AS begin_s,
  concat_ws('; ', {lacks}) AS lacks,
  {literal(printable(recording))} AS recording
FROM read_parquet({file_pattern(file)})"""


def spans_select(manifest: Manifest, file: Path, recording: str) -> str:
    """Select the hulls of all stages: a branch for each, of which a query on one stage reads that one alone."""
    heads = f"{_disk_name(manifest)} AS disk, {_word('op', Op)} AS op"
    source = f"{literal(printable(recording))} AS recording FROM read_parquet({file_pattern(file)})"
    return "\nUNION ALL\n".join(_stage_select(stage, heads, source) for stage in Stage)


def _stage_select(stage: Stage, heads: str, source: str) -> str:
    begins, ends = HULLS[stage]
    begin, end = _first_of(begins), _first_of(ends)
    times = {phase: f"{stage.column}_{phase}_ns" for phase in Phase}
    own = " + ".join(times.values())
    phases = ", ".join(f"{column} AS {phase}_ns" for phase, column in times.items())
    return f"""SELECT io, {heads}, {literal(stage)} AS stage, {literal(stage.layer)} AS layer,
  {begin} AS begin_ns, {end} AS end_ns, {end} - {begin} AS duration_ns,
  {own} AS own_ns, {phases}, {source}
WHERE {begin} IS NOT NULL"""


def _first_of(names: Sequence[str]) -> str:
    columns = [f"t_{name}_ns" for name in names]
    return columns[0] if len(columns) == 1 else f"coalesce({', '.join(columns)})"


def maps_select(file: Path, recording: str, origin: str) -> str:
    """Select address maps of one recording, with words in the place of the kind's bits; `origin` is who says so."""
    kinds = _list(BASE_KINDS)
    flags = ", ".join(f"CASE WHEN kind & {bit} <> 0 THEN {literal(name)} END" for bit, name in KIND_FLAGS.items())
    return f"""SELECT * REPLACE (coalesce({kinds}[(kind & 15) + 1], 'unknown') AS kind),
  concat_ws(', ', {flags}) AS flags, {literal(origin)} AS origin, {literal(printable(recording))} AS recording
FROM read_parquet({file_pattern(file)})"""


def writebacks_select(manifest: Manifest, file: Path, recording: str) -> str:
    """Select what was written back from the page cache."""
    return f"""SELECT * REPLACE ({_disk_name(manifest)} AS disk, {_device_name(manifest, "device")} AS device),
  {literal(printable(recording))} AS recording
FROM read_parquet({file_pattern(file)})"""


def stages_select(file: Path, recording: str) -> str:
    """Select the parts of opened layers."""
    return f"""SELECT * REPLACE ({_word("stage", Stage)} AS stage), {literal(printable(recording))} AS recording
FROM read_parquet({file_pattern(file)})"""


def _disk_name(manifest: Manifest) -> str:
    names = [printable(disk.name) for disk in manifest.target.disks]
    return f"CASE WHEN disk >= 0 THEN coalesce({_list(names)}[disk + 1], 'unknown') ELSE 'unknown' END"


def _device_name(manifest: Manifest, column: str) -> str:
    known = "".join(f" WHEN {device.kernel_dev} THEN {literal(printable(device.name))}" for device in manifest.devices)
    other = f"format('device {{}}:{{}}', {column} >> 20, {column} & 1048575)"
    named = f"CASE {column}{known} ELSE {other} END" if known else other
    return f"CASE WHEN {column} IS NOT NULL THEN {named} END"


def _word(column: str, words: Iterable[str]) -> str:
    return f"{_list(list(words))}[{column}::INTEGER + 1]"


def _list(words: Sequence[str]) -> str:
    return f"([{', '.join(literal(word) for word in words)}]::VARCHAR[])"
