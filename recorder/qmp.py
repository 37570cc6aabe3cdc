"""Ask a running QEMU about itself through its monitor socket, where that disturbs nobody.

Five read-only commands, one second for everything, then the connection is closed.
"""

from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 1.0


class QmpUnavailable(Exception):
    """The monitor cannot be asked; says why. Never an error for the user: QMP is optional."""


@dataclass(frozen=True, slots=True)
class QmpBlock:
    """One block device as query-block tells it; `filename` is "" where no medium is in."""

    drive: str
    qdev: str
    node_name: str
    format: str
    filename: str
    is_read_only: bool
    is_writeback: bool
    is_direct: bool
    is_no_flush: bool
    virtual_size_bytes: int | None


@dataclass(frozen=True, slots=True)
class QmpFacts:
    """What a monitor said; everything in it comes from the QEMU process, so it is not trusted."""

    version: str = ""
    name: str = ""
    blocks: tuple[QmpBlock, ...] = ()
    iothreads: tuple[tuple[str, int], ...] = ()
    node_count: int = 0


def ask(path: Path, timeout_s: float = TIMEOUT_S) -> QmpFacts:
    """Connect to a QMP socket, ask, and close.

    Raises:
        QmpUnavailable: it did not answer, or not as QMP does, within `timeout_s`.
    """
    from vio.recorder.qmpclient import converse

    return converse(path, timeout_s)


def command_human(path: Path, line: str, timeout_s: float = 30.0) -> str:
    """Send one line to the human monitor behind a QMP socket, and return what it says.

    Raises:
        QmpUnavailable: as `ask`.
    """
    from vio.recorder.qmpclient import converse_human

    return converse_human(path, line, timeout_s)
