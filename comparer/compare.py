"""Compare two sides, each a recording, a directory of repeats, or a saved baseline."""

from pathlib import Path

from vio.comparer.comparison import Comparison
from vio.comparer.options import CompareOptions


def compare(base: Path, new: Path, options: CompareOptions) -> Comparison:
    """Compare two sides; each path is a recording, a directory of recordings (repeats, *.vio), or a baseline's file.

    Raises:
        RecordingError: a recording or baseline is absent, damaged, or of another version.
        UsageError: the options contradict each other, or a rule cannot be read.
    """
    raise NotImplementedError
