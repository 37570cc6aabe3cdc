"""The maps of a recording as they held at an instant: those that were taken, and what the run shows."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vio.errors import RecordingError
from vio.mappers.shown import SCHEMA, ShownMap, shown_from, with_shown
from vio.mappers.timed import MapSet
from vio.recording import Recording
from vio.reporter.imagefiles import image_layers
from vio.reporter.iofile import ios_file
from vio.reporter.shown import SHOWN_FILE
from vio.reporter.storedmaps import stored_maps
from vio.reporter.stream import Join


def maps_at(path: Path, at_ns: int) -> MapSet:
    """Return the maps that held at a boot time (ns), for `vio.mappers.address.trace`; joins the recording if need be.

    Raises:
        RecordingError: the recording cannot be read.
    """
    recording = Recording.open(path)
    return with_shown(stored_maps(recording), shown_maps(recording), at_ns)


def shown_maps(recording: Recording) -> list[ShownMap]:
    """Return what the run shows of the disks' maps: of what was put in an image's place after the image.

    Raises:
        RecordingError: the recording cannot be read.
    """
    layers = [file.space for disk in recording.manifest.target.disks for file in image_layers(disk)]
    places = {space: number for number, space in enumerate(layers)}
    return sorted(_shown(recording), key=lambda one: places.get(one.target_space, 0))


def _shown(recording: Recording) -> list[ShownMap]:
    file = recording.path / SHOWN_FILE
    if ios_file(recording.path) is None:  # where a report cannot write its tables there is this one alone
        return shown_from(_joined(recording))
    try:
        return shown_from(pq.read_table(file)) if file.exists() else []
    except (OSError, ValueError, pa.ArrowException) as error:
        raise RecordingError(f"{file} is damaged: {error}", "remove it and ios.parquet: they are made again") from None


def _joined(recording: Recording) -> pa.Table:
    join = Join(recording)
    found = [join.shown.take() for _ in join.windows() if join.shown]
    return pa.concat_tables([SCHEMA.empty_table(), *found])
