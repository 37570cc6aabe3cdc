"""IOs by the guest's file: who of the guest's files and metadata the IOs of a report are for."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from vio.errors import UsageError
from vio.layer import Op
from vio.mappers.guestfs.store import files_from
from vio.mappers.named import NOBODY, NamedRanges
from vio.recording import Recording
from vio.reporter.match import Ints
from vio.schema import OPS

UNKNOWN, NO_ADDRESS = "unknown", "no address"
_READ, _WRITE, _FLUSH = (OPS.index(op) for op in (Op.READ, Op.WRITE, Op.FLUSH))


@dataclass(slots=True)
class FileFigures:
    """One file's IOs: an IO that touches several files counts for each; bytes are each file's own.

    `latency_ns` is summed over its IOs that ended, `ended_count` of them.
    """

    disk: int
    name: str
    io_count: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    latency_ns: int = 0
    ended_count: int = 0
    max_ns: int = 0


class ByFile:
    """Fed with tables of schema.IOS; `rows` are the files, those first whose IOs took the longest time."""

    def __init__(self, files: dict[int, NamedRanges]) -> None:
        self._files = files
        self._figures: dict[tuple[int, str], FileFigures] = {}

    @classmethod
    def of(cls, recording: Recording) -> "ByFile":
        """Read the files that the recorder found on the guest's disks.

        Raises:
            UsageError: the recording has none.
        """
        stored = recording.read_guest_files()
        if stored is None:
            raise UsageError(
                f"{recording.path} does not hold where the guest's files lie", "record with --guest-files to have it"
            )
        by_name = files_from(stored)
        names = [disk.name for disk in recording.manifest.target.disks]
        return cls({number: by_name[name] for number, name in enumerate(names) if name in by_name})

    @property
    def rows(self) -> list[FileFigures]:
        """All files that had IO, the longest total time first."""
        return sorted(self._figures.values(), key=lambda one: (-one.latency_ns, -one.io_count, one.name))

    def add(self, ios: pa.Table) -> None:
        """Count the IOs of a table."""
        columns = {name: ios[name].to_numpy() for name in ("disk", "op", "offset", "bytes")}
        latency = ios["latency_ns"].fill_null(-1).to_numpy()
        for disk in np.unique(columns["disk"]).tolist():
            rows = np.flatnonzero(columns["disk"] == disk)
            op, offset, size = (columns[name][rows] for name in ("op", "offset", "bytes"))
            for name, io, length in self._owners(disk, op, offset, size):
                self._count(disk, name, op[io], length, latency[rows][io], io)

    def _owners(self, disk: int, op: Ints, offset: Ints, size: Ints) -> Iterator[tuple[str, Ints, Ints]]:
        """Yield each owner's name, the IOs (with repetitions) that touch it, and the bytes of each touch."""
        has_none = (op == _FLUSH) | (size <= 0) | (offset < 0)
        if has_none.any():
            rows = np.flatnonzero(has_none)
            yield NO_ADDRESS, rows, np.zeros(len(rows), dtype=np.int64)
        rows = np.flatnonzero(~has_none)
        files = self._files.get(disk)
        if files is None:
            if len(rows):
                yield UNKNOWN, rows, size[rows]
            return
        found = files.lookup(offset[rows], size[rows])
        order = np.argsort(found.owner, kind="stable")
        owner = found.owner[order]
        edges = np.flatnonzero(np.diff(owner)) + 1
        for group in np.split(order, edges) if len(order) else []:
            number = int(found.owner[group[0]])
            name = UNKNOWN if number == NOBODY else files.names[number]
            yield name, rows[found.request[group]], found.length[group]

    def _count(self, disk: int, name: str, op: Ints, length: Ints, latency: Ints, io: Ints) -> None:
        one = self._figures.setdefault((disk, name), FileFigures(disk, name))
        is_first = np.ones(len(io), dtype=np.bool_)
        is_first[1:] = io[1:] != io[:-1]  # a file's pieces within one IO follow each other
        one.io_count += int(is_first.sum())
        one.read_bytes += int(length[op == _READ].sum())
        one.written_bytes += int(length[op == _WRITE].sum())
        ended = latency[is_first & (latency >= 0)]
        one.latency_ns += int(ended.sum())
        one.ended_count += len(ended)
        one.max_ns = max(one.max_ns, int(ended.max()) if len(ended) else 0)
