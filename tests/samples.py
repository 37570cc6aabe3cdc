"""The recording that ships with vio, and the same in other states: with events that came late, or killed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from lab.demo import SAMPLE

from vio.layer import Layer
from vio.manifest import State
from vio.recording import EVENTS_DIRECTORY, LOSSES_FILE, MANIFEST, PENDING_FILE, Recording
from vio.reporter.stream import Join
from vio.schema import IOS

HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>\" onload='alert(3)' {{ 7 * 7 }} <!--\u2028\u202e"
)
"""A name that would be a part of a page, had it its way."""

_BY_WINDOW = ("io", "merged_into", "is_ambiguous")
"""IOs are numbered as they end, window by window; and what else a link could have been is looked for in one window."""


def ios_of(path: Path) -> pa.Table:
    """Join a recording; return all its IOs, in the order of their begin."""
    names = [column.name for column in IOS if column.name not in _BY_WINDOW]
    table = pa.concat_tables(list(Join(Recording.open(path)).tables())).select(names)
    return table.sort_by([("begin_ns", "ascending"), ("offset", "ascending")])


def with_late_events(target: Path, every: int) -> Path:
    """Copy the sample, with every so-maniest event in a late file."""
    events = _copy(target)
    is_late = np.arange(events.num_rows) % every == 0
    pq.write_table(events.filter(pa.array(is_late)), target / EVENTS_DIRECTORY / "late-00000.parquet")
    _write_segments(events.filter(pa.array(~is_late)), target)
    return target


def killed(target: Path, pending_rows: int, stored_twice: int) -> Path:
    """Copy the sample as SIGKILL leaves it: its last events are pending, some of them stored as well."""
    events = _copy(target)
    rest = events.num_rows - pending_rows
    pq.write_table(events.slice(rest - stored_twice), target / PENDING_FILE)
    _write_segments(events.slice(0, rest), target)
    (target / LOSSES_FILE).unlink()
    manifest = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
    manifest |= {"state": State.RUNNING, "end": {}, "counts": {}, "losses": {}, "segments": []}
    manifest["clock"]["stop"] = None
    (target / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return target


def without_a_guest(target: Path, lost_end: int = 0) -> Path:
    """Copy the sample without the points of virtio-blk; of the block layer's ends lose every so-maniest."""
    events = _copy(target)
    manifest = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
    device = [point["number"] for point in manifest["points"] if point["layer"] == Layer.QEMU_DEVICE]
    ends = [point["number"] for point in manifest["points"] if point["name"] == "bdrv_end"]
    manifest["points"] = [point for point in manifest["points"] if point["number"] not in device]
    (target / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    is_end = np.isin(events["point"].to_numpy(), ends)
    is_lost = is_end & (np.cumsum(is_end) % lost_end == 0) if lost_end else np.zeros_like(is_end)
    is_left = ~is_lost & ~np.isin(events["point"].to_numpy(), device)
    _write_segments(events.filter(pa.array(is_left)), target)
    return target


def with_names(target: Path, name: str) -> Path:
    """Copy the sample, with this in the place of every name that came from outside."""
    shutil.copytree(SAMPLE, target, ignore=shutil.ignore_patterns("ios.*"))
    manifest = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
    manifest["target"] |= {"name": name, "version": name}
    manifest["target"]["disks"][0] |= {"name": name, "path": f"/{name}", "why_not": name}
    manifest["host"] |= {"name": name, "kernel": name}
    manifest["notes"] = [name]
    manifest["absent"] = [{"name": name, "layer": "vfs", "why": name, "without": name}]
    for device in manifest["devices"]:
        device["name"] = name
    (target / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return target


def _copy(target: Path) -> pa.Table:
    """Copy all but the events, and return those."""
    shutil.copytree(SAMPLE, target, ignore=shutil.ignore_patterns("*-?????.parquet", "ios.*"))
    return pa.concat_tables(list(Recording.open(SAMPLE).tables()))


def _write_segments(events: pa.Table, target: Path, count: int = 3) -> None:
    for number in range(count):
        first, last = (events.num_rows * place // count for place in (number, number + 1))
        path = target / EVENTS_DIRECTORY / f"segment-{number:05}.parquet"
        pq.write_table(events.slice(first, last - first), path)
