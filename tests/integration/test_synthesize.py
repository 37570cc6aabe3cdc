"""Long recordings made of short ones join as the real ones do."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from lab.demo import SAMPLE
from lab.synthesize import repeat_recording
from tests.samples import ios_of

from vio.recording import Recording
from vio.reporter import stream
from vio.reporter.report import ReportOptions, report
from vio.reporter.summary import Summary

QUANTILES = [0.5, 0.9, 0.99, 0.999]
NO_TABLE = ReportOptions(is_table_written=False)


def summary_of(path: Path) -> Summary:
    return report(path, NO_TABLE).summary


def test_one_copy_is_the_source(tmp_path: Path) -> None:
    rows = repeat_recording(SAMPLE, tmp_path / "once.vio", 1)
    assert rows == Recording.open(SAMPLE).rows == Recording.open(tmp_path / "once.vio").rows
    assert ios_of(tmp_path / "once.vio").equals(ios_of(SAMPLE))


@pytest.mark.parametrize(("copies", "window"), [(4, 1 << 20), (7, 10_000)])
def test_copies_have_so_many_times_the_ios_and_the_same_times(
    copies: int, window: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "WINDOW", window)
    rows = repeat_recording(SAMPLE, tmp_path / "many.vio", copies)
    assert rows == copies * Recording.open(SAMPLE).rows
    one, many = summary_of(SAMPLE), summary_of(tmp_path / "many.vio")
    assert many.total().io_count == many.total().whole_count == copies * one.total().io_count
    assert {op: group.io_count for op, group in many.by_op().items()} == {
        op: copies * group.io_count for op, group in one.by_op().items()
    }
    for place, part in one.phases.items():
        assert many.phases[place].count == copies * part.count, place
        assert many.phases[place].total_ns == pytest.approx(copies * part.total_ns, rel=1e-3), place
    for quantile in QUANTILES:
        np.testing.assert_allclose(
            many.total().latency.quantiles_ns([quantile]), one.total().latency.quantiles_ns([quantile]), rtol=0.02
        )


def test_copies_follow_each_other_in_time(tmp_path: Path) -> None:
    repeat_recording(SAMPLE, tmp_path / "twice.vio", 2)
    begun = ios_of(tmp_path / "twice.vio")["begin_ns"]
    once = ios_of(SAMPLE)["begin_ns"]
    assert pc.max(once).as_py() < begun[len(once)].as_py()
    assert len(begun) == 2 * len(once)
