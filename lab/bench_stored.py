"""How fast records become Parquet that bpftrace leaves in its map: rows per CPU second, from the kernel's map on.

The map is one of this process's own, in the form of bpftrace's; what is in it is put there by the kernel's batch call.
"""

import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np

from lab.bench_ingest import IngestSpeed, records
from vio.recorder.bpfcall import bpf
from vio.recorder.bpfmap import U64, Batch, BpfMap, new_map
from vio.recorder.files import make_directory
from vio.recorder.generate import READY
from vio.recorder.recordform import KEY_WORDS, WORDS, marks
from vio.recorder.rows import POINTS, Scaling
from vio.recorder.stored import StoredIngest
from vio.recorder.writer import SegmentWriter

_STREAM = "u"
_ENTRIES = 1 << 17
_ROWS_AT_ONCE = 100_000
"""As many as come in a tenth of a second of a very fast load."""
_TIMES = 90
_THREADS = 6
_SEGMENT_ROWS = 2_000_000
_SLACK_NS = 100_000_000
_UPDATE_BATCH = 26


def measure_stored(times: int = _TIMES) -> IngestSpeed:
    """Fill the map and take it out again, so many times; what filling takes is not counted."""
    one = new_map(KEY_WORDS, WORDS, _ENTRIES)
    with closing(one), tempfile.TemporaryDirectory(prefix="vio-bench-") as folder:
        return _run(one, Path(folder) / "recording", times)


def _run(one: BpfMap, directory: Path, times: int) -> IngestSpeed:
    make_directory(directory, force=False)
    writer = SegmentWriter(directory, Scaling(np.zeros(POINTS, np.int64), np.zeros(POINTS, np.int64)))
    ingest = StoredIngest(Path("/proc/self"), _STREAM)
    mark = np.array([marks(_STREAM)], np.uint64)
    _fill(one, mark[:, :KEY_WORDS], mark[:, KEY_WORDS:])
    ingest.feed(f"{READY}\n".encode())
    ingest.take()
    before_s, began_s, filled_s, filling_s = time.process_time(), time.monotonic(), 0.0, 0.0
    for number in range(times):
        own_s, now_s = time.thread_time(), time.monotonic()
        _fill(one, *_entries(number))
        filled_s += time.thread_time() - own_s
        filling_s += time.monotonic() - now_s
        ingest.take()
        if len(ingest.rows) >= _SEGMENT_ROWS:
            writer.put(ingest.rows.cut(ingest.rows.newest_ns() - _SLACK_NS))
    writer.put(ingest.rows.cut(ingest.rows.newest_ns()))
    writer.flush()
    writer.close()
    cpu_s = time.process_time() - before_s - filled_s
    wall_s = time.monotonic() - began_s - filling_s
    ingest.close()
    expected = times * _ROWS_AT_ONCE
    assert writer.rows == expected, f"{expected} rows went in, {writer.rows} came out"
    assert not ingest.losses()
    stored = sum(file.stat().st_size for file in (directory / "events").iterdir())
    return IngestSpeed(writer.rows, cpu_s, wall_s, (8.0 * (KEY_WORDS + WORDS), stored / writer.rows))


def _entries(number: int) -> tuple[U64, U64]:
    """Return the keys and values of the records that come next: each thread numbers its own."""
    which = np.arange(number * _ROWS_AT_ONCE, (number + 1) * _ROWS_AT_ONCE, dtype=np.uint64)
    keys = np.stack([which % np.uint64(_THREADS) + np.uint64(1), which // np.uint64(_THREADS) + np.uint64(1)], axis=1)
    return keys, records(which)


def _fill(one: BpfMap, keys: U64, values: U64) -> None:
    keys, values = np.ascontiguousarray(keys), np.ascontiguousarray(values)
    bpf(_UPDATE_BATCH, Batch(0, 0, keys.ctypes.data, values.ctypes.data, len(keys), one.fd))


def main() -> None:
    """Print one measurement."""
    speed = measure_stored()
    sys.stdout.write(
        f"stored: {speed.rows:,} rows, {speed.rows_per_cpu_s / 1e6:.2f} M rows per CPU second, "
        f"{speed.rows / speed.wall_s / 1e6:.2f} M rows per second, {speed.bytes_per_row[1]:.1f} bytes of Parquet each\n"
    )


if __name__ == "__main__":
    main()
