"""A VM whose storage hangs: the recorder ends in its time, and the report says where each IO is."""

from pathlib import Path

import pytest
from lab.host import Host
from lab.suspended import record_suspended

from vio.layer import Stage
from vio.reporter.inflight import in_flight
from vio.reporter.report import ReportOptions, report

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(1200)]
LATE_S = 240
"""What the recorder may take to end: an emulated machine detaches probes slowly."""


def test_ios_on_a_suspended_device_are_found_and_the_recorder_ends(host: Host, tmp_path: Path) -> None:
    recording, late_s = record_suspended(host, tmp_path)
    assert late_s < LATE_S
    found = in_flight(recording)
    assert found.has_threads
    oldest = found.ios[0]
    assert oldest.age_ns > 10_000_000_000
    assert oldest.stage is Stage.BLOCK
    assert oldest.device.startswith("dm-")
    assert oldest.device_offset is not None
    assert oldest.file_offset is not None
    assert oldest.thread is not None
    verdict = report(recording, ReportOptions(is_table_written=False)).verdict
    assert verdict.findings[0].rule == "not-completed"
