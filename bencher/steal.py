"""Runs that the hypervisor below this host disturbed: what it withheld of the CPUs' time while one was recorded."""

from pathlib import Path

from vio.manifestfile import read_manifest
from vio.reporter.recorded import Recorded


def stolen_share(recording: Path) -> float:
    """Return the share of the host's CPUs' time that was withheld; 0 where that is not known, as on bare metal.

    Raises:
        RecordingError: the manifest cannot be read.
    """
    return Recorded(str(recording), read_manifest(recording)).stolen_share or 0.0
