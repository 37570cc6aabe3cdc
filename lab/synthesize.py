"""Make a long recording from a short real one: its events again and again, each time later.

Pointers, threads and addresses come back as they do in life, where QEMU reuses its requests and coroutines at once; so
a copy joins exactly as the original does, which tests/integration/test_synthesize.py holds.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vio.recorder.writer import PARQUET, ROW_GROUP
from vio.recording import EVENTS_DIRECTORY, MANIFEST, Recording

_SEGMENT_ROWS = 2_000_000
_PAUSE_NS = 1_000_000


def repeat_recording(source: Path, target: Path, copies: int) -> int:
    """Write `copies` times the events of `source` into a new recording; return its number of rows."""
    recording = Recording.open(source)
    events = pa.concat_tables(list(recording.tables()))
    times = events["ts_ns"].to_numpy()
    period_ns: int = int(times[-1] - times[0]) + _PAUSE_NS
    at_once = max(1, _SEGMENT_ROWS // events.num_rows)
    (target / EVENTS_DIRECTORY).mkdir(parents=True)
    segments = []
    for number, first in enumerate(range(0, copies, at_once)):
        last = min(first + at_once, copies)
        shifted = [
            events.set_column(0, "ts_ns", pa.array(times + np.int64(copy * period_ns))) for copy in range(first, last)
        ]
        name = f"{EVENTS_DIRECTORY}/segment-{number:05}.parquet"
        table = pa.concat_tables(shifted)
        pq.write_table(table, target / name, row_group_size=ROW_GROUP, **PARQUET)
        ends = (int(times[0]) + first * period_ns, int(times[-1]) + (last - 1) * period_ns)
        segments.append({"file": name, "rows": table.num_rows, "first_ns": ends[0], "last_ns": ends[1]})
    _write_manifest(source, target, segments, copies * events.num_rows, (copies - 1) * period_ns)
    return copies * int(events.num_rows)


def _write_manifest(source: Path, target: Path, segments: list[dict[str, object]], rows: int, longer_ns: int) -> None:
    data = json.loads((source / MANIFEST).read_text(encoding="utf-8"))
    data["segments"] = segments
    data["counts"] = {**data["counts"], "rows": rows, "in_kernel": rows, "unaccounted": 0}
    if data["clock"]["stop"]:
        data["clock"]["stop"] = {name: value + longer_ns for name, value in data["clock"]["stop"].items()}
    (target / MANIFEST).write_text(json.dumps(data), encoding="utf-8")
    for name in ("maps.parquet", "losses.parquet", "program.bt"):
        if (source / name).exists():
            shutil.copy(source / name, target / name)
