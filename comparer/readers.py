"""Read several recordings side by side, in processes of their own, where their tables of IOs have to be made first."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from vio.errors import VioError
from vio.manifestfile import IOS_FILE, event_files
from vio.ownprocess import keep_memory, prepare
from vio.reporter.progress import Progress

if TYPE_CHECKING:
    from vio.comparer.run import Run

WORTH_BYTES = 32 << 20
"""Events of which the join takes longer than a process takes to start."""
_MOST = 2
"""Processes at once: each takes half a gigabyte."""
_TOLD_AGAIN_S = 1.0


@contextmanager
def reading_runs(paths: Sequence[Path], *, with_depth: bool = False) -> Iterator["Readers"]:
    """Begin to read those without a table of IOs (as reading.read_run does), and end that when it is left, done or not.

    What is the only one, or small, is left out. The program's main module has to be one that can be imported again.
    """
    shares = _shares({path: _event_bytes(path) for path in dict.fromkeys(paths) if _is_absent(path)})
    readers = [_Reader.started(share, with_depth) for share in shares] if len(shares) > 1 else []
    try:
        yield Readers(readers)
    finally:
        for reader in readers:
            reader.said.close()  # who has more to say than a pipe holds does not wait for us
        for reader in readers:
            reader.end()


class Readers:
    """Processes that read recordings."""

    def __init__(self, readers: Sequence["_Reader"]) -> None:
        self._readers = readers

    def runs(self, on_progress: Callable[[Progress], None] | None = None) -> "dict[Path, Run]":
        """Wait for the runs; who ended early, whatever ended it, leaves its own to who asks.

        Raises:
            VioError: as reading any of the recordings does.
        """
        while alive := {reader.said: reader for reader in self._readers if not reader.said.closed}:
            for one in wait(list(alive)):
                alive[one].hear()  # type: ignore[index]
            if on_progress:
                on_progress(_together([reader.progress for reader in self._readers]))
        return {path: run for reader in self._readers for path, run in reader.runs.items()}


@dataclass(slots=True)
class _Reader:
    """A process that reads recordings, how far it has come, and what it has read."""

    process: SpawnProcess
    said: "Connection[object, object]"
    progress: Progress = field(default_factory=lambda: Progress(0, 0.0))
    runs: "dict[Path, Run]" = field(default_factory=dict)

    @classmethod
    def started(cls, paths: Sequence[Path], with_depth: bool) -> "_Reader":
        # Not forked: libraries that have begun threads here would be left without them there.
        context = get_context("spawn")
        said, say = context.Pipe(duplex=False)
        process = context.Process(target=_read, args=(paths, with_depth, say), daemon=True)
        # Ctrl-C is for who began this, and ends it: what is blocked here is so there.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        say.close()
        return cls(process, said)

    def end(self) -> None:
        """End it, and wait until it has; told again, as the exception is lost that comes up in a library's callback."""
        while self.process.is_alive():
            self.process.terminate()
            self.process.join(_TOLD_AGAIN_S)

    def hear(self) -> None:
        """Take what it says next."""
        try:
            said = self.said.recv()
        except EOFError:
            self.said.close()
            return
        if isinstance(said, VioError):
            raise said
        if isinstance(said, Progress):
            self.progress = said
        elif isinstance(said, dict):
            self.runs |= said


def _read(paths: Sequence[Path], with_depth: bool, say: "Connection[object, object]") -> None:
    """Read one after the other, in a process of its own; what it says is Progress, {path: run}, or a VioError."""
    signal.signal(signal.SIGTERM, _leave)
    prepare()
    keep_memory()
    from vio.comparer.reading import read_run

    done = 0
    for number, path in enumerate(paths):

        def tell(now: Progress, before: int = done, number: int = number) -> None:
            nonlocal done
            done = before + now.io_count
            say.send(Progress(done, (number + now.share) / len(paths)))

        try:
            # not ahead: the other processors have other recordings
            say.send({path: read_run(path, with_depth=with_depth, on_progress=tell, is_ahead=False)})
        except VioError as error:
            say.send(error)
            return
        except Exception:  # who reads the recording meets it again, and says so; or nobody listens any more
            return


def _leave(*_: object) -> NoReturn:
    """End by an exception, so that nothing half made stays behind."""
    raise SystemExit(1)


def _together(every: Sequence[Progress]) -> Progress:
    return Progress(sum(one.io_count for one in every), sum(one.share for one in every) / len(every))


def _is_absent(path: Path) -> bool:
    """Tell whether a recording has no table, and could have one."""
    return not (path / IOS_FILE).exists() and os.access(path, os.W_OK)


def _event_bytes(path: Path) -> int:
    return sum(one.stat().st_size for one in event_files(path))


def _shares(sizes: dict[Path, int]) -> list[list[Path]]:
    """Divide recordings among processes, so that all have about as much to do; none to one that is not worth it."""
    shares: list[list[Path]] = [[] for _ in range(min(os.cpu_count() or 1, _MOST))]
    loads = [0] * len(shares)
    for path in sorted(sizes, key=lambda path: sizes[path], reverse=True):
        least = loads.index(min(loads))
        shares[least].append(path)
        loads[least] += sizes[path]
    return [share for share, load in zip(shares, loads, strict=True) if load >= WORTH_BYTES]
