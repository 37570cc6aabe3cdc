"""Make the tables of IOs of several recordings side by side, in processes of their own, where that saves time."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import NoReturn

from vio.errors import VioError
from vio.manifestfile import IOS_FILE, event_files
from vio.ownprocess import keep_memory, prepare
from vio.reporter.progress import Progress

WORTH_BYTES = 32 << 20
"""Events of which the join takes longer than a process takes to start."""
_MOST = 2
"""Processes at once: each takes half a gigabyte."""


@contextmanager
def making_tables(paths: Sequence[Path]) -> Iterator["Makers"]:
    """Begin to make those that are absent, and end that when it is left, done or not.

    What is left out, as it is the only one or small, is made when it is read. The program's main module has to be one
    that can be imported again.
    """
    shares = _shares({path: _event_bytes(path) for path in dict.fromkeys(paths) if _is_absent(path)})
    makers = [_Maker.started(share) for share in shares] if len(shares) > 1 else []
    try:
        yield Makers(makers)
    finally:
        for maker in makers:
            maker.process.terminate()
            maker.process.join()


class Makers:
    """Processes that make tables."""

    def __init__(self, makers: Sequence["_Maker"]) -> None:
        self._makers = makers

    def wait(self, on_progress: Callable[[Progress], None] | None = None) -> None:
        """Wait until the tables are made.

        Raises:
            VioError: as joining any of the recordings does.
        """
        while alive := {maker.said: maker for maker in self._makers if not maker.said.closed}:
            for one in wait(list(alive)):
                alive[one].hear()  # type: ignore[index]
            if on_progress:
                on_progress(_together([maker.progress for maker in self._makers]))


@dataclass(slots=True)
class _Maker:
    """A process that makes tables, and how far it has come."""

    process: SpawnProcess
    said: "Connection[object, object]"
    progress: Progress = field(default_factory=lambda: Progress(0, 0.0))

    @classmethod
    def started(cls, paths: Sequence[Path]) -> "_Maker":
        # Not forked: libraries that have begun threads here would be left without them there.
        context = get_context("spawn")
        said, say = context.Pipe(duplex=False)
        process = context.Process(target=_make, args=(paths, say), daemon=True)
        # Ctrl-C is for who began this, and ends it: what is blocked here is so there.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        say.close()
        return cls(process, said)

    def hear(self) -> None:
        """Take what it says next. One that ends early, whatever ended it, leaves its tables to who reads them."""
        try:
            said = self.said.recv()
        except EOFError:
            self.said.close()
            return
        if isinstance(said, VioError):
            raise said
        if isinstance(said, Progress):
            self.progress = said


def _make(paths: Sequence[Path], say: "Connection[object, object]") -> None:
    """Make tables one after the other, in a process of its own; what it says is Progress, or the VioError it met."""
    signal.signal(signal.SIGTERM, _leave)
    prepare()
    keep_memory()
    from vio.reporter.iofile import ios_file
    from vio.reporter.report import ReportOptions

    # The other processors have other recordings.
    options = ReportOptions(slowest=0, with_figures=False, is_ahead=False)
    done = 0
    for number, path in enumerate(paths):

        def tell(now: Progress, before: int = done, number: int = number) -> None:
            nonlocal done
            done = before + now.io_count
            say.send(Progress(done, (number + now.share) / len(paths)))

        try:
            ios_file(path, tell, options)
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
