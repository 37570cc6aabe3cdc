"""The IOs of a recording for those who read them more than once: RECORDING/ios.parquet, joined when it is not there."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vio.manifestfile import IOS_FILE
from vio.recording import Recording
from vio.reporter.progress import Progress
from vio.reporter.report import ReportOptions, report
from vio.reporter.stream import Join
from vio.reporter.table import has_every_io
from vio.schema import IOS

_WITHOUT_SLOWEST = ReportOptions(slowest=0)
_NAMES = tuple(column.name for column in IOS)


def ios_file(
    path: Path,
    on_progress: Callable[[Progress], None] | None = None,
    options: ReportOptions = _WITHOUT_SLOWEST,
) -> Path | None:
    """Return a recording's table of IOs (schema.IOS, every IO), making it first where it is absent or of another join.

    None where it cannot be written: the recording is on a disk that is full or read-only. `options` are for making it.

    Raises:
        RecordingError: the recording cannot be read.
    """
    file = path / IOS_FILE
    if has_every_io(file, Recording.open(path).fingerprint()):
        return file
    return report(path, options, on_progress).table_path


def io_tables(
    path: Path, columns: Sequence[str] = _NAMES, on_progress: Callable[[Progress], None] | None = None
) -> Iterator[pa.Table]:
    """Yield every IO of a recording in tables of these columns; memory is that of one table.

    Raises:
        RecordingError: the recording cannot be read.
    """
    file = ios_file(path, on_progress)
    if file is None:
        for table in Join(Recording.open(path)).tables():
            yield table.select(list(columns))
        return
    with pq.ParquetFile(file) as opened:
        for number in range(opened.num_row_groups):
            yield opened.read_row_group(number, columns=list(columns))
