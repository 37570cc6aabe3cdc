"""How fast bpftrace's output becomes Parquet: rows per CPU second, from a pipe to closed segments."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vio.recorder.bpfmap import U64
from vio.recorder.bpftrace import enlarge_pipe
from vio.recorder.files import make_directory
from vio.recorder.generate import BATCH
from vio.recorder.ingest import Ingest
from vio.recorder.recordform import WORDS
from vio.recorder.rows import POINTS, Scaling
from vio.recorder.writer import SegmentWriter

_LINES = 100_000
_SEGMENT_ROWS = 2_000_000
_SLACK_NS = 1_000_000_000
_READ_BYTES = 1 << 20
_THREADS = 6
_STEPS = 5  # records of one IO


@dataclass(frozen=True, slots=True)
class IngestSpeed:
    """One run: rows that are in Parquet, and what they took. `bytes_per_row` is of the output text, then of Parquet."""

    rows: int
    cpu_s: float
    wall_s: float
    bytes_per_row: tuple[float, float]

    @property
    def rows_per_cpu_s(self) -> float:
        """The figure that is asked for: at least 3 million."""
        return self.rows / self.cpu_s


def measure_ingest(lines: int = _LINES, repeats: int = 8) -> IngestSpeed:
    """Feed `lines` made-up lines `repeats` times through a pipe into a recording."""
    with tempfile.TemporaryDirectory(prefix="vio-bench-") as folder:
        text = Path(folder) / "lines"
        size = sum(_write_lines(text, lines, repeats))
        return _run(text, Path(folder) / "recording", size, lines * repeats * BATCH)


def _run(text: Path, directory: Path, size: int, expected: int) -> IngestSpeed:
    make_directory(directory, force=False)
    with subprocess.Popen(["cat", str(text)], stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        enlarge_pipe(cat.stdout.fileno())
        before, began_s = time.process_time(), time.monotonic()
        rows = _ingest(cat.stdout.fileno(), directory)
        cpu_s, wall_s = time.process_time() - before, time.monotonic() - began_s
    assert rows == expected, f"{expected} rows went in, {rows} came out"
    stored = sum(file.stat().st_size for file in (directory / "events").iterdir())
    return IngestSpeed(rows, cpu_s, wall_s, (size / rows, stored / rows))


def _ingest(pipe: int, directory: Path) -> int:
    ingest = Ingest()
    writer = SegmentWriter(directory, Scaling(np.zeros(POINTS, np.int64), np.zeros(POINTS, np.int64)))
    while piece := os.read(pipe, _READ_BYTES):
        ingest.feed(piece)
        if len(ingest.rows) >= _SEGMENT_ROWS:
            writer.put(ingest.rows.cut(ingest.rows.newest_ns() - _SLACK_NS // 10))
    ingest.take()
    writer.put(ingest.rows.cut(ingest.rows.newest_ns()))
    writer.flush()
    writer.close()
    return writer.rows


def _write_lines(path: Path, lines: int, repeats: int) -> Iterator[int]:
    """Write lines as a busy VM gives them."""
    count = lines * BATCH
    form = "1" + ",%16x" * (2 + BATCH * WORDS) + "\n"
    with path.open("wb") as file:
        for repeat in range(repeats):
            number = np.arange(repeat * lines, (repeat + 1) * lines, dtype=np.uint64)
            words = records(np.arange(repeat * count, (repeat + 1) * count, dtype=np.uint64))
            head = np.stack([number % np.uint64(_THREADS), number // np.uint64(_THREADS) + np.uint64(1)], axis=1)
            table = np.concatenate([head, words.reshape(lines, BATCH * WORDS)], axis=1)
            data = "".join(form % tuple(row) for row in table.tolist()).encode()
            file.write(data)
            yield len(data)


def records(number: U64) -> U64:
    """Return made-up records (`[record, word]`) by number: five to an IO, on the stack of one of 64 coroutines."""
    io, step = number // np.uint64(_STEPS), number % np.uint64(_STEPS)
    chance = (io * np.uint64(0x9E37_79B9_7F4A_7C15)) >> np.uint64(24)
    coroutine, offset = chance % np.uint64(64), (chance >> np.uint64(8)) % np.uint64(1 << 18) * np.uint64(4096)
    stack = np.uint64(0x8F31_7000) + coroutine * np.uint64(1 << 20) - step * np.uint64(0x90)
    time_ns = np.uint64(2_518_104_459_676) + number * np.uint64(1700) + (number * number) % np.uint64(997)
    header = (stack << np.uint64(32)) | (np.uint64(20) + step)
    extent = np.full(len(number), (np.uint64(0x584B_7B90) << np.uint64(32)) | np.uint64(4096))
    key = np.uint64(0x7F58_4B7B_9000) + coroutine * np.uint64(0x240)
    return np.stack([time_ns, header, extent, offset, key], axis=1)


def main() -> None:
    """Print one measurement."""
    speed = measure_ingest()
    sys.stdout.write(
        f"ingest: {speed.rows:,} rows, {speed.rows_per_cpu_s / 1e6:.2f} M rows per CPU second, "
        f"{speed.rows / speed.wall_s / 1e6:.2f} M rows per second, "
        f"{speed.bytes_per_row[0]:.0f} bytes of text and {speed.bytes_per_row[1]:.1f} bytes of Parquet a row\n"
    )


if __name__ == "__main__":
    main()
