"""The maps that the recorder took, as a recording holds them."""

import pyarrow as pa

from vio.errors import RecordingError
from vio.mappers.store import from_table
from vio.mappers.timed import MapSet
from vio.recording import Recording


def stored_maps(recording: Recording) -> MapSet:
    """Read the maps of a recording; none where it has none.

    Raises:
        RecordingError: they are damaged.
    """
    stored = recording.read_maps()
    if stored is None:
        return MapSet(())
    try:
        return from_table(stored)
    except (KeyError, ValueError, pa.ArrowException) as error:
        raise RecordingError(
            f"{recording.path}/maps.parquet is damaged: {error}", "move it away to do without"
        ) from None
