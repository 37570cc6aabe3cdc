"""Recordings that are made to lose: the report says how much was lost and when, and the rest can be trusted."""

import json
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from lab.disk import DiskStats, make_image
from lab.session import VIO
from lab.targets import xfs_on_loop_on_tmpfs
from tests.integration.test_record import bench, recorder, running

from vio.losses import LossKind
from vio.recording import Recording

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
WAYS = {
    "bpftrace's map": ("--pages", "256", "--trace-kb", "32768"),
    "bpftrace's buffer": ("--batches", "--pages", "256", "--trace-kb", "32768"),
    "the kernel's trace buffer": ("--pages", "8192", "--trace-kb", "1024"),
}
WHERES = {"bpftrace's map": "thread", "bpftrace's buffer": "thread", "the kernel's trace buffer": "cpu"}
STALL_IOS = 100_000  # their records are more than ten times what the small buffer and the pipe hold
STALL_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Stalled:
    """A recording whose reader stood still from `from_ns` to `to_ns`, and what the report says of it."""

    way: str
    recording: Recording
    from_ns: int
    to_ns: int
    text: str
    object: dict[str, list[dict[str, float]]]
    ios: pa.Table


@pytest.fixture(scope="module", params=WAYS)
def stalled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stalled:
    output = tmp_path_factory.mktemp("losing") / "losing.vio"
    # in memory: how much is done in a stall must not depend on this machine's disk
    with xfs_on_loop_on_tmpfs(512 << 20) as place:
        image = make_image(place.directory / "disk.qcow2", 256 << 20, options="preallocation=metadata")
        with (
            running(bench(image, 10**8, "-d", "2")) as target,
            recorder(output, "--pid", str(target.pid), *WAYS[request.param]) as tracer,
        ):
            tracer.wait_recording()
            time.sleep(2.0)
            from_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            tracer.signal(signal.SIGSTOP)
            _wait_for_ios(place.devices[0], STALL_IOS)
            to_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            tracer.signal(signal.SIGCONT)
            time.sleep(2.0)
            tracer.signal(signal.SIGINT)
            recording = tracer.finish()
    text, as_json = (_report(output, *words) for words in ((), ("--json",)))
    return Stalled(
        request.param, recording, from_ns, to_ns, text, json.loads(as_json), pq.read_table(output / "ios.parquet")
    )


def _wait_for_ios(device: str, count: int) -> None:
    before, deadline_s = DiskStats.of_device(device), time.monotonic() + STALL_LIMIT_S
    while DiskStats.of_device(device).since(before).write_ios < count:
        assert time.monotonic() < deadline_s, f"fewer than {count} IOs in {STALL_LIMIT_S:.0f} s"
        time.sleep(0.05)


def _report(recording: Path, *words: str) -> str:
    ran = subprocess.run(
        [*VIO, "report", *words, str(recording)], check=True, capture_output=True, text=True, timeout=60
    )
    return ran.stdout


def _lost(stalled: Stalled) -> int:
    return sum(loss.records for loss in stalled.recording.read_losses() if loss.kind != LossKind.MISSED)


def test_what_is_stored_and_what_is_lost_are_all_that_there_was(stalled: Stalled) -> None:
    counts = stalled.recording.manifest.counts
    assert counts.unaccounted == 0
    assert counts.in_kernel == counts.rows + _lost(stalled)
    # The other one may have lost some too, where the machine is busy.
    where = [loss.records for loss in stalled.recording.read_losses() if WHERES[stalled.way] in loss.where]
    assert sum(where) > STALL_IOS


def test_the_report_says_how_much_was_lost(stalled: Stalled) -> None:
    total = sum(loss.records for loss in stalled.recording.read_losses())
    assert stalled.text.startswith(f"LOST: {total:,} records")
    assert sum(loss["records"] for loss in stalled.object["losses"]) == total


def test_the_report_says_when(stalled: Stalled) -> None:
    start_ns = stalled.recording.manifest.clock.start.boottime_ns
    from_s, to_s = ((at - start_ns) / 1e9 for at in (stalled.from_ns, stalled.to_ns))
    # A busy machine may lose some before and after, too.
    during = [loss["records"] for loss in stalled.object["losses"] if loss["to_s"] > from_s and loss["from_s"] < to_s]
    assert sum(during) > STALL_IOS


def test_nothing_is_stored_from_the_stretch_of_a_loss(stalled: Stalled) -> None:
    # Rows of the kernel's trace buffer do not say of which CPU they are: this is for bpftrace's, by thread.
    probed = [one.number for one in stalled.recording.manifest.points if one.attach.startswith("uprobe:")]
    rows = pa.concat_tables(stalled.recording.tables(["ts_ns", "tid", "point"]))
    rows = rows.filter(pc.is_in(rows["point"], pa.array(probed, pa.uint8())))
    ts_ns, tid = rows["ts_ns"].to_numpy(), rows["tid"].to_numpy()
    gaps = [loss for loss in stalled.recording.read_losses() if loss.where.startswith("thread ")]
    assert gaps or stalled.way != "bpftrace's buffer"
    for loss in gaps:
        mine = ts_ns[tid == int(loss.where.removeprefix("thread "))]
        assert not ((mine > loss.from_ns) & (mine < loss.to_ns)).any(), loss


def test_ios_beyond_the_losses_are_whole(stalled: Stalled) -> None:
    begin = stalled.ios["begin_ns"].to_numpy()
    end = begin + stalled.ios["latency_ns"].to_numpy(zero_copy_only=False)
    is_touched = np.isnan(end)
    for loss in stalled.recording.read_losses():
        is_touched |= (begin <= loss.to_ns) & (end >= loss.from_ns)
    is_whole = stalled.ios["is_whole"].to_numpy(zero_copy_only=False)
    assert (~is_touched).sum() > 1000
    assert is_whole[~is_touched].all()
    assert not is_whole.all()
