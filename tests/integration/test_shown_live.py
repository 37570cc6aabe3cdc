"""A real image that nobody flushed: does what the run shows say where its data is?"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from lab.disk import Cache
from lab.scratch import scratch
from lab.unflushed import (
    CLUSTER,
    Setting,
    Unflushed,
    places,
    record_killed,
    record_unflushed,
)
from tests.places import UNIT, at_stop, by_maps, by_unit

from vio.mappers.kind import Kind
from vio.recording import Recording
from vio.reporter.mapsat import maps_at
from vio.reporter.report import ReportOptions, report
from vio.reporter.result import Report
from vio.reporter.sql.opened import OpenedRecording
from vio.reporter.storedmaps import stored_maps

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

SETTINGS = {
    "writeback": Setting(Cache.WRITEBACK),
    "none": Setting(Cache.NONE),
    "none-over-backing": Setting(Cache.NONE, has_backing=True),
    "writeback-subclusters-over-backing": Setting(
        Cache.WRITEBACK, has_backing=True, options="extended_l2=on,cluster_size=128k"
    ),
    "none-discard-ignored": Setting(Cache.NONE, has_discard=False),
}


@dataclass(frozen=True)
class Played:
    path: Path
    setting: Setting
    truth: Unflushed
    found: Report


@pytest.fixture(scope="module", params=SETTINGS)
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Played:
    path = tmp_path_factory.mktemp("unflushed") / "unflushed.vio"
    setting = SETTINGS[request.param]
    with scratch("target") as directory:
        truth = record_unflushed(directory, path, setting)
    return Played(path, setting, truth, report(path, ReportOptions()))


def test_the_taken_maps_do_not_know_and_the_run_does(played: Played) -> None:
    at_ns, truth = at_stop(played.path), by_unit(played.truth.true)
    taken, _ = by_maps(stored_maps(Recording.open(played.path)), at_ns, played.path)
    shown, kind = by_maps(maps_at(played.path, at_ns), at_ns, played.path)
    is_new = (truth >= 0) & (by_unit(played.truth.stale) != truth)
    assert is_new.sum() * UNIT > 3 << 20
    assert (taken[is_new] != truth[is_new]).all()
    assert (shown[is_new] == truth[is_new]).all()
    wrong = (shown >= 0) & (shown != truth)
    assert not wrong.any()
    lacking = (shown < 0) & (truth >= 0)
    assert not lacking.any()
    assert (kind[lacking] == Kind.UNMAPPED).all()


def test_discarded_places_are_given_up(played: Played) -> None:
    at_ns, truth = at_stop(played.path), by_unit(played.truth.true)
    shown, _ = by_maps(maps_at(played.path, at_ns), at_ns, played.path)
    for offset, count in played.truth.discarded:
        inner = slice(-(-offset // CLUSTER) * CLUSTER // UNIT, (offset + count) // CLUSTER * CLUSTER // UNIT)
        assert (shown[inner] == truth[inner]).all()


def test_the_report_the_view_and_the_check(played: Played) -> None:
    figures = played.found.shown
    assert figures
    assert figures.placed_bytes > 3 << 20
    assert figures.disputed_bytes == 0
    assert figures.forgotten_bytes == 0
    with OpenedRecording([played.path]) as opened:
        rows = opened.sql("select origin, count(*) as n, sum(length) as bytes from maps group by origin").set_index(
            "origin"
        )
        assert rows.loc["shown by the run", "bytes"] == figures.placed_bytes + figures.gone_bytes
    check = next(row for row in played.found.quality.rows if (row.source, row.to) == ("qemu-block", "qemu-aio"))
    # only the taken maps check the join: of what they do not know nothing is checked
    assert check.checked < check.parents
    assert check.disagree == 0


def test_a_recording_that_cannot_be_written_to_gives_the_same_maps(played: Played, tmp_path: Path) -> None:
    copy = tmp_path / "copy.vio"
    shutil.copytree(played.path, copy, ignore=shutil.ignore_patterns("shown.parquet", "ios.parquet"))
    (copy / "ios.parquet").mkdir()  # a table cannot be put there
    at_ns = at_stop(played.path)
    one, other = (by_maps(maps_at(path, at_ns), at_ns, played.path)[0] for path in (played.path, copy))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("cache", [Cache.WRITEBACK, Cache.NONE])
def test_of_a_qemu_that_was_killed_the_data_is_where_the_run_shows_it(cache: Cache, tmp_path: Path) -> None:
    path = tmp_path / "killed.vio"
    with scratch("target") as directory:
        writes = record_killed(directory, path, Setting(cache))
        image = (directory / "disk.img").read_bytes()
        on_disk = by_unit(places(directory / "disk.img"))
    maps = maps_at(path, at_stop(path))
    shown, _ = by_maps(maps, at_stop(path), path)
    for offset, count, pattern in writes:
        units = shown[offset // UNIT : (offset + count) // UNIT]
        assert (on_disk[offset // UNIT : (offset + count) // UNIT] < 0).all()
        assert (units >= 0).all()
        assert all(image[place : place + UNIT] == bytes([pattern % 255 + 1]) * UNIT for place in units.tolist())
