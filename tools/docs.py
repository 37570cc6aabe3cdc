"""Write docs/recording-format.md from the declarations in vio.schema, vio.manifest and vio.mappers.store."""

import dataclasses
import re
import sys
import typing
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path

from vio import manifest, recording, schema
from vio.layer import Stage
from vio.mappers import shown, store
from vio.mappers.guestfs import store as guest_store

PAGE = Path(__file__).parent.parent / "docs" / "recording-format.md"
_HEAD = """\
# The recording's format

<!-- Generated from src/vio/schema.py, src/vio/manifest.py and mappers/store.py by tools/docs.py: `make docs`. -->

Schema {major}.{minor}. A reader takes every minor of its own major (a minor adds columns or keys, which older readers
leave alone) and refuses another major, naming both versions.

A recording is a directory. Every file in it is written under another name and renamed when it is whole, so a recorder
that is killed at any moment leaves a recording: its `state` is then `running`, and it has no end.

{files}
"""
_TABLES = (
    (
        "events/*.parquet",
        "One row for each event. Rows of a file are sorted by `ts_ns`; segments do not overlap.",
        schema.EVENTS,
    ),
    (
        "losses.parquet",
        "What is known to be missing. `missed` counts hits of a probe by anybody, others exact records.",
        schema.LOSSES,
    ),
    (
        "maps.parquet",
        "Address maps: ranges of one space to ranges of the next, with the time they hold for.",
        store.COLUMNS,
    ),
    (
        "guestfiles.parquet",
        "Where the guest's files lie on its disks, as the recorder found them at the end: only with "
        "`vio record --guest-files`.",
        guest_store.COLUMNS,
    ),
    (
        "ios.parquet, ios.csv, ios.json",
        "The per-IO table that `vio report` writes: one row for each IO. A time stamp is null where the IO did not "
        "pass the point; a time is null where it did not reach the stage, or its end was not seen. The own times and "
        "`unattributed_ns` of an IO add up to its `latency_ns`. Beside a Parquet table of every IO, "
        "`figures.json` has the [JSON report](report-json.md) of every IO; `vio compare` makes the table alone. "
        "Both carry the recording's fingerprint, and are made again when it does not fit.",
        schema.IOS,
    ),
    (
        "writebacks.parquet",
        "What `vio report` writes beside the per-IO table where IOs went through the page cache: one row for each "
        "range that a bio wrote back and an IO had written last. The evidence is the address. None of these times is "
        "in the IO's own; an IO has many rows, one, or none.",
        schema.WRITEBACKS,
    ),
    (
        "shown.parquet",
        "What `vio report` writes beside the per-IO table where the run shows guest data elsewhere in a qcow2 image "
        "than the taken maps do ([mapping.md](mapping.md#what-the-run-shows)): ranges, each with its own time.",
        shown.COLUMNS,
    ),
    (
        "stages.parquet",
        "The parts of opened layers that `vio report --stages` writes: one row for each span or mark of a part. In one "
        "IO the parts' `own_ns` of a stage add up to no more than the stage's own time; what is left is its rest.",
        schema.STAGES,
    ),
)


class _Column(typing.Protocol):
    @property
    def name(self) -> str: ...
    @property
    def type(self) -> object: ...
    @property
    def unit(self) -> str: ...
    @property
    def meaning(self) -> str: ...


def page() -> str:
    """Return the page's text."""
    lines = [_HEAD.format(major=schema.MAJOR, minor=schema.MINOR, files=_files())]
    for name, what, columns in _TABLES:
        lines += [f"## {name}", "", what, "", *_table(columns), ""]
    lines += ["### Bits of `lack`", "", *_bits(schema.LACKS), "", "### Stages", "", *_numbered(Stage), ""]
    lines += [
        "## manifest.json",
        "",
        "Times in the recording are CLOCK_BOOTTIME; `clock` ties it to the wall clock.",
        "",
    ]
    for kind in _objects(manifest.Manifest):
        lines += [f"### {kind.__name__}", "", _prose(kind), "", *_fields(kind), ""]
    return "\n".join(lines).rstrip() + "\n"


def _files() -> str:
    """Make a table of the list of files in the module's docstring: a name, two spaces or more, a meaning."""
    lines = (re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in (recording.__doc__ or "").splitlines())
    rows = [f"| `{line[0]}` | {_cell(line[1])} |" for line in lines if len(line) == 2]
    return "\n".join(["| file | what it holds |", "|---|---|", *rows])


def _table(columns: Iterable[_Column]) -> Iterator[str]:
    yield "| column | type | unit | meaning |"
    yield "|---|---|---|---|"
    for column in columns:
        yield f"| `{column.name}` | {column.type} | {column.unit} | {_cell(column.meaning)} |"


def _bits(meanings: dict[int, str]) -> Iterator[str]:
    yield "| bit | what is missing |"
    yield "|---|---|"
    for bit, meaning in meanings.items():
        yield f"| {bit} | {_cell(meaning)} |"


def _numbered(names: Iterable[str]) -> Iterator[str]:
    yield "| `reached` | stage |"
    yield "|---|---|"
    for number, name in enumerate(names):
        yield f"| {number} | {name} |"


def _objects(kind: type) -> list[type]:
    """Return a dataclass and all that its fields hold, each once."""
    found = [kind]
    for hint in typing.get_type_hints(kind).values():
        for inner in (hint, *typing.get_args(hint)):
            if isinstance(inner, type) and dataclasses.is_dataclass(inner):
                found += [one for one in _objects(inner) if one not in found]
    return found


def _fields(kind: type) -> Iterator[str]:
    yield "| key | type |"
    yield "|---|---|"
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        yield f"| `{field.name}` | {_cell(_type_text(hints[field.name]))} |"


def _type_text(hint: object) -> str:
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return f"one of {', '.join(f'`{value}`' for value in hint)}"
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return f"list of {_type_text(arguments[0])}"
    if origin is dict:
        return f"object of {_type_text(arguments[1])}"
    if arguments:
        return f"{_type_text(arguments[0])} or null"
    return getattr(hint, "__name__", str(hint))


def _prose(kind: type) -> str:
    paragraphs = (kind.__doc__ or "").strip().split("\n\n")
    return "\n\n".join(" ".join(part.split()) for part in paragraphs)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    """Write the page, or with `--check` say whether it is stale."""
    if "--check" in sys.argv[1:]:
        return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
