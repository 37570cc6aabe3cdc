"""Baselines: the figures of runs in one small file, to compare with later. No IO is in it.

A file NAME.viobase is JSON, compressed by gzip: {"baseline": {"major", "minor"}, "name", "creator", "runs": [...]}.
A run has what it is a recording of, and blocks of its time with distributions; a distribution's buckets and counts are
little-endian numbers in base64. A run takes at most MAX_RUN_BYTES: blocks are joined until it does.
"""

import base64
import gzip
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vio import __version__
from vio.comparer.run import BLOCKS, LATENCY, ROWS, Block, Key, Run, RunInfo, Tally, joined
from vio.comparer.sketch import Sketch
from vio.draft import draft_of
from vio.errors import OutputError, RecordingError
from vio.jsondata import from_data, to_data
from vio.reporter.buckets import BUCKETS
from vio.terms import OPS

MAJOR, MINOR = 1, 1
MAX_RUN_BYTES = 200 << 10
_LARGEST_FILE = 1 << 30
_AGAIN = "restore it, or save it again"
_BUCKET = np.dtype(np.uint16).newbyteorder("<")
_COUNTS: dict[int, "np.dtype[np.unsignedinteger]"] = {1: np.dtype(np.uint8), 8: np.dtype(np.uint64).newbyteorder("<")}


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    total_ns: int
    buckets: str
    counts: str


@dataclass(frozen=True, slots=True)
class _Tally:
    disk: str
    op: str
    size: int
    io_count: int
    bytes: int
    rows: tuple[_Row, ...]


@dataclass(frozen=True, slots=True)
class _Block:
    begin_ns: int
    end_ns: int
    tallies: tuple[_Tally, ...]
    idle_ns: int = 0


@dataclass(frozen=True, slots=True)
class _Run:
    info: RunInfo
    blocks: tuple[_Block, ...]


def save_baseline(runs: Sequence[Run], path: Path, *, force: bool = False) -> int:
    """Write runs to a new file; return its size in bytes.

    Raises:
        OutputError: the file exists already, or cannot be written.
    """
    if path.exists() and not force:
        raise OutputError(f"{path} exists already", "--force replaces it")
    head = {"baseline": {"major": MAJOR, "minor": MINOR}, "creator": {"name": "vio", "version": __version__}}
    data = json.dumps(head | {"runs": [_small(run) for run in runs]}, separators=(",", ":"))
    packed = gzip.compress(data.encode(), 9, mtime=0)
    part = draft_of(path)
    try:
        part.write_bytes(packed)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written: {error.strerror}", "give it another place") from None
    return len(packed)


def _small(run: Run) -> object:
    """Return a run as data that is small enough, its blocks joined if need be."""
    for together in (1, 2, 5, BLOCKS):
        blocks = [joined(run.blocks[at : at + together]) for at in range(0, len(run.blocks), together)]
        data = to_data(_Run(run.info, tuple(map(_block_data, blocks))))
        if len(zlib.compress(json.dumps(data).encode(), 9)) <= MAX_RUN_BYTES:
            break
    return data


def _block_data(block: Block) -> _Block:
    tallies = []
    for key, tally in sorted(block.tallies.items()):
        rows = tuple(_row_data(name, row) for name, row in sorted(tally.rows.items()))
        tallies.append(_Tally(key.disk, key.op, key.size, tally.io_count, tally.bytes, rows))
    return _Block(block.begin_ns, block.end_ns, tuple(tallies), block.idle_ns)


def _row_data(name: str, row: Sketch) -> _Row:
    size = 8 if row.counts.max() > 255 else 1
    counts = row.counts.astype(_COUNTS[size]).tobytes()
    return _Row(name, row.total_ns, _text(row.buckets.astype(_BUCKET).tobytes()), f"{size}:{_text(counts)}")


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def load_baseline(path: Path) -> tuple[Run, ...]:
    """Read the runs of a baseline.

    Raises:
        RecordingError: it is absent, damaged, or of another version.
    """
    data = _read(path)
    version = data.get("baseline") if isinstance(data, dict) else None
    major = version.get("major") if isinstance(version, dict) else None
    if not isinstance(data, dict) or not isinstance(major, int):
        raise RecordingError(f"{path} is not a baseline", "make one with `vio baseline save`")
    if major != MAJOR:
        todo = "upgrade vio" if major > MAJOR else "save it again"
        raise RecordingError(f"{path} is a baseline of version {major}, this vio reads {MAJOR}", todo)
    place = str(path)
    runs = from_data(_Runs, data, place).runs
    if not runs:
        raise RecordingError(f"{path} has no run", "save it again")
    return tuple(Run(run.info, tuple(_block(block, place) for block in run.blocks)) for run in runs)


@dataclass(frozen=True, slots=True)
class _Runs:
    runs: tuple[_Run, ...]


def _read(path: Path) -> object:
    try:
        with gzip.open(path) as file:
            text = file.read(_LARGEST_FILE)
        return json.loads(text, parse_constant=_refuse)
    except FileNotFoundError:
        raise RecordingError(f"there is no baseline {path}", "make one with `vio baseline save`") from None
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        raise RecordingError(f"{path} is damaged: {error}", _AGAIN) from None


def _refuse(word: str) -> object:
    raise ValueError(f"{word} is no number")


def _block(data: _Block, place: str) -> Block:
    tallies = {Key(one.disk, one.op, one.size): _tally(one, place) for one in data.tallies}
    is_time = 0 <= data.begin_ns <= data.end_ns < 1 << 62 and 0 <= data.idle_ns <= data.end_ns - data.begin_ns
    if not tallies or len(tallies) != len(data.tallies) or not is_time:
        raise RecordingError(f"{place} is damaged: a block of it cannot be", _AGAIN)
    return Block(data.begin_ns, data.end_ns, tallies, data.idle_ns)


def _tally(data: _Tally, place: str) -> Tally:
    rows = {row.name: _sketch(row, place) for row in data.rows if row.name in ROWS}
    most = max((row.count for row in rows.values()), default=0)
    is_known = data.op in {op.value for op in OPS} and -1 <= data.size < 64
    if not is_known or LATENCY not in rows or not 0 < most <= data.io_count < 1 << 53 or data.bytes < 0:
        raise RecordingError(f"{place} is damaged: its counts of {data.op} do not agree", _AGAIN)
    return Tally(data.io_count, data.bytes, rows)


def _sketch(row: _Row, place: str) -> Sketch:
    try:
        size, text = row.counts.split(":")
        buckets = np.frombuffer(base64.b64decode(row.buckets, validate=True), _BUCKET).astype(np.int64)
        counts = np.frombuffer(base64.b64decode(text, validate=True), _COUNTS[int(size)]).astype(np.int64)
        is_good = buckets.size == counts.size > 0 and bool((np.diff(buckets) > 0).all()) and buckets[-1] < BUCKETS
        if not is_good or counts.min() <= 0 or counts.sum() > 1 << 53 or not 0 <= row.total_ns < 1 << 62:
            raise ValueError("counts")
    except (ValueError, KeyError):
        raise RecordingError(f"{place} is damaged: {row.name} of it cannot be", _AGAIN) from None
    return Sketch(buckets, counts, row.total_ns)
