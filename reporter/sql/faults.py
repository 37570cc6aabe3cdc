"""What DuckDB says, in one line, and whose fault it is: the query's, or that of a damaged table."""

import duckdb

from vio.errors import RecordingError, UsageError, VioError

_OF_FILES = ("Parquet", "Failed to read file", "bitpacked")


def fault_of(error: duckdb.Error) -> VioError:
    """Return the error to raise."""
    said = str(error).partition("\n\nLINE ")[0].split("\n")
    line = "; ".join(part.strip() for part in said if part.strip())
    # what its readers of files throw has no class of its own
    if type(error) is duckdb.Error or any(word in line for word in _OF_FILES):
        return RecordingError(f"a table of the recording is damaged: {line}", "remove ios.parquet: it is made again")
    return UsageError(line)
