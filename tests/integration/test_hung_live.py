"""A VM whose storage stops to answer while it is recorded: the recorder ends in its time all the same."""

import os
import time
from pathlib import Path

import pytest
from lab.illness.inguest import ILLNESSES
from lab.session import Recorder
from lab.truth.scene import running

from vio.manifest import EndReason, State
from vio.recording import Recording
from vio.reporter.inflight import in_flight

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]
DURATION_S, LATE_S = 6, 60


def test_a_recording_ends_though_the_device_does_not_answer(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not Path("/dev/fuse").exists() or not Path("/dev/loop-control").exists():
        pytest.skip("needs root, /dev/fuse and loop devices")
    hung = next(one for one in ILLNESSES if one.name == "hung")
    output = tmp_path / "hung.vio"
    with running() as scene:
        try:
            with Recorder(scene.guest.pid, output, "--duration", f"{DURATION_S}s") as recorder:
                began_s = time.monotonic()
                hung.play(scene)
                recorder.finish()
                took_s = time.monotonic() - began_s
        finally:
            hung.heal(scene)
    assert took_s < DURATION_S + LATE_S
    manifest = Recording.open(output).manifest
    assert (manifest.state, manifest.end.reason) == (State.COMPLETE, EndReason.DURATION)
    assert any("its storage does not answer" in note for note in manifest.notes)
    found = in_flight(output)
    assert len(found.ios) == 6
    assert {one.thread.state for one in found.ios if one.thread} == {"D", "S"}
