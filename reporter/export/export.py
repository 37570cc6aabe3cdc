"""Write a recording's IOs for another program: which writer makes which format."""

from enum import StrEnum
from pathlib import Path

from vio.reporter.export.chosen import ChosenIos
from vio.reporter.export.exported import Exported
from vio.reporter.table import TableFormat, TableWriter


class Format(StrEnum):
    """What `vio export` writes."""

    PERFETTO = "perfetto"
    CSV = "csv"
    JSONL = "jsonl"
    OTLP = "otlp"


_TABLES = {Format.CSV: TableFormat.CSV, Format.JSONL: TableFormat.JSON}


def export(ios: ChosenIos, form: Format, path: Path) -> Exported:
    """Write IOs to a file, or to several where one would be too large for its reader.

    Raises:
        RecordingError: the recording cannot be read.
        OutputError: a file cannot be written.
    """
    if form in _TABLES:
        return _write_table(ios, _TABLES[form], path)
    if form is Format.OTLP:
        from vio.reporter.export.otlp import write_otlp

        return write_otlp(ios, path)
    from vio.reporter.export.perfetto import write_perfetto

    return write_perfetto(ios, path)


def _write_table(ios: ChosenIos, form: TableFormat, path: Path) -> Exported:
    done = Exported([path])
    with TableWriter(path, form, ios.recorded.disk_names) as writer:
        for table in ios.tables():
            writer.write(table)
            done.ios += table.num_rows
    done.bytes = path.stat().st_size
    return done
