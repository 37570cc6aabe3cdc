"""vio: in which layer does a virtual machine's disk IO spend its time, for which IOs, and why?"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vio.reporter.sql.opened import OpenedRecording

__version__ = "0.1.0"
__all__ = ["__version__", "open"]


def open(path: str | Path, *more: str | Path) -> "OpenedRecording":
    """Open a recording, or several, for pandas: `vio.open("web1.vio").ios()`; docs/python.md shows what there is.

    Raises:
        RecordingError: there is no recording, or it is damaged.
    """
    # Only here: the command line does not wait for it.
    from vio.reporter.sql.opened import OpenedRecording

    return OpenedRecording([Path(one) for one in (path, *more)])
