"""What writes of two nodes to one file wait for a lock: from the recordings of lab/contend.py."""

from collections.abc import Sequence
from pathlib import Path

from lab.contend import ALONE, TOGETHER, WRITES

from vio.layer import Op
from vio.recording import Recording
from vio.reporter.parts import PartsReader
from vio.reporter.stream import Join
from vio.schema import OPS


def waits_ns(recordings: Sequence[Path], part: str) -> tuple[list[int], list[int]]:
    """Return how long `part` lasts in each write of node 0 alone, and in each of both nodes together."""
    alone: list[int] = []
    together: list[int] = []
    for node, path in enumerate(recordings):
        for offset, wait_ns in _waits(path, part):
            if offset >= TOGETHER[node]:
                together.append(wait_ns)
            elif node == 0 and offset >= ALONE:
                alone.append(wait_ns)
    if (len(alone), len(together)) != (WRITES, 2 * WRITES):
        raise AssertionError(f"{len(alone)} writes alone, {len(together)} together")
    return alone, together


def _waits(path: Path, part: str) -> list[tuple[int, int]]:
    recording = Recording.open(path)
    joined = Join(recording, parts=PartsReader(recording.manifest.points))
    found: list[tuple[int, int]] = []
    for ios, _ in joined.windows():
        offsets = {row["io"]: row["offset"] for row in ios.to_pylist() if OPS[row["op"]] is Op.WRITE}
        waits = dict.fromkeys(offsets, 0)
        for row in joined.stages.to_pylist() if joined.stages is not None else []:
            if row["part"] == part and row["io"] in offsets:
                waits[row["io"]] += row["end_ns"] - row["begin_ns"]
        found += [(offsets[io], wait_ns) for io, wait_ns in waits.items()]
    return found
