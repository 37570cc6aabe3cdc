"""What the kernel's tracing file system offers: tracepoints and their fields."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from vio.recorder.procfs import HostRoots, read_mounts

_FIELD = re.compile(
    r"^\s*field:(?P<declaration>[^;]+);\s*offset:(?P<offset>\d+);\s*size:(?P<size>\d+);(\s*signed:(?P<signed>\d);)?"
)


class TracepointField(NamedTuple):
    """Where a field lies in a tracepoint's record."""

    offset: int
    size: int
    is_signed: bool


def find_tracefs(roots: HostRoots) -> Path | None:
    """Return where tracefs is mounted and readable, its own mount point before debugfs'; None if nowhere."""
    mounts = read_mounts(roots.proc / "self")
    places = [Path(mount.mount_point) for mount in mounts if mount.fs_type == "tracefs"]
    places += [Path(mount.mount_point) / "tracing" for mount in mounts if mount.fs_type == "debugfs"]
    return next((place for place in places if _is_readable(place)), None)


def _is_readable(place: Path) -> bool:
    try:
        return (place / "events").is_dir()
    except OSError:
        return False


def list_tracepoints(tracefs: Path) -> frozenset[str]:
    """Return all tracepoints as `category:name`."""
    try:
        return frozenset((tracefs / "available_events").read_text().split())
    except OSError:
        return frozenset(_from_directories(tracefs))


def _from_directories(tracefs: Path) -> Iterator[str]:
    for place in (tracefs / "events").glob("*/*/format"):
        yield f"{place.parent.parent.name}:{place.parent.name}"


def tracepoint_fields(tracefs: Path, category: str, name: str) -> dict[str, TracepointField]:
    """Return a tracepoint's fields in order, the common ones included; empty if it does not exist."""
    try:
        text = (tracefs / "events" / category / name / "format").read_text()
    except OSError:
        return {}
    return parse_format(text)


def parse_format(text: str) -> dict[str, TracepointField]:
    """Parse a tracepoint's `format` file."""
    fields = {}
    for match in filter(None, map(_FIELD.match, text.splitlines())):
        name = re.sub(r"\[[^\]]*\]$", "", match["declaration"].split()[-1]).lstrip("*")
        fields[name] = TracepointField(int(match["offset"]), int(match["size"]), match["signed"] == "1")
    return fields
