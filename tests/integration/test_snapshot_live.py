"""A snapshot in the middle of a recording: before it the data is in one place, after it in another."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from lab.scratch import scratch
from lab.snapshots import IO_COUNT, Snapshotted, Way, record_snapshot
from tests.places import UNIT, Ints, at_stop, by_maps, by_unit

from vio.manifest import Manifest
from vio.recording import Recording
from vio.reporter.mapsat import maps_at
from vio.reporter.report import ReportOptions, report
from vio.reporter.result import Report
from vio.reporter.storedmaps import stored_maps
from vio.schema import LACKS

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


@dataclass(frozen=True)
class Played:
    way: Way
    path: Path
    truth: Snapshotted
    found: Report

    @property
    def manifest(self) -> Manifest:
        return Recording.open(self.path).manifest

    @property
    def spaces(self) -> list[str]:
        """Those of the images' files, in order of time."""
        disk = self.manifest.target.disks[0]
        return [disk.space, *(file.space for file in disk.chain if file.role == "overlay")]

    def shown(self, at_ns: int, space: str) -> Ints:
        return by_maps(maps_at(self.path, at_ns), at_ns, self.path, space)[0]


@pytest.fixture(scope="module", params=Way)
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Played:
    path = tmp_path_factory.mktemp("snapshot") / "snapshot.vio"
    with scratch("target") as directory:
        truth = record_snapshot(directory, path, request.param)
    return Played(request.param, path, truth, report(path, ReportOptions()))


def test_until_the_snapshot_the_data_is_where_it_was_then(played: Played) -> None:
    truth, at_ns = by_unit(played.truth.before), played.truth.taken_ns
    assert (truth >= 0).sum() * UNIT > 3 << 20
    assert np.array_equal(played.shown(at_ns, played.spaces[0]), truth)


def test_what_is_written_later_is_where_the_snapshot_has_put_it(played: Played) -> None:
    at_ns = at_stop(played.path)
    truths = [by_unit(places) for places in played.truth.after]
    written = truths[-1] >= 0
    # qemu-img does not go down the chain here: what the overlay has, the image below has no longer
    wanted = [*(np.where(written, -1, truth) for truth in truths[:-1]), truths[-1]]
    assert len(played.spaces) == len(wanted)
    for space, truth in zip(played.spaces, wanted, strict=True):
        assert np.array_equal(played.shown(at_ns, space), truth)
    before = by_unit(played.truth.before)
    assert ((before >= 0) & written & (truths[-1] != before)).sum() * UNIT > 1 << 20
    assert np.flatnonzero(written & (before < 0)).size * UNIT >= 2 << 20


def test_the_taken_maps_alone_lag_behind(played: Played) -> None:
    at_ns, last = at_stop(played.path), by_unit(played.truth.after[-1])
    taken, _ = by_maps(stored_maps(Recording.open(played.path)), at_ns, played.path, played.spaces[-1])
    assert ((last >= 0) & (taken != last)).sum() * UNIT > 1 << 20


def test_every_io_is_followed_and_none_is_taken_for_zeroes(played: Played) -> None:
    figures = played.found.shown
    assert figures
    assert (figures.gone_bytes, figures.disputed_bytes) == (0, 0)
    ios = pq.read_table(played.path / "ios.parquet", columns=["lack", "device_offset"])
    assert pc.count(ios["device_offset"]).as_py() == ios.num_rows == IO_COUNT
    # the file system's points are on the files that were there at the start
    late = [bit for bit, text in LACKS.items() if text == "the end of a file system's work"]
    assert set(ios["lack"].to_pylist()) <= {0, *(late if played.way is Way.EXTERNAL else [])}


def test_an_image_that_came_later_is_named(played: Played) -> None:
    disk, notes = played.manifest.target.disks[0], played.manifest.notes
    named = [note for note in notes if "its image was exchanged while it was recorded" in note]
    assert Path(disk.path) == played.truth.images[0]
    overlays = [Path(file.path) for file in disk.chain if file.role == "overlay"]
    assert overlays == list(played.truth.images[1:])
    assert len(overlays) == len(named) == (played.way is Way.EXTERNAL)
    assert all(str(path) in note for path, note in zip(overlays, named, strict=True))
