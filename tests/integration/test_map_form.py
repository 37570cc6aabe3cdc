"""A bpftrace that keeps its maps in another form: read all the same, or vio prints in batches, and nothing is lost."""

import os
import shutil
from pathlib import Path

import pytest
from tests.integration.test_record import assert_accounted, bench, image, recorder

from vio.manifest import State
from vio.recorder.generate import BATCH
from vio.recorder.host import Trial, find_bpftrace
from vio.recorder.maptrial import try_maps
from vio.recorder.recordform import marks
from vio.recording import LOG_FILE, PROGRAM_FILE

__all__ = ["image"]
COUNT = 3000
MARK = marks("u")[0]
# What another bpftrace might make of `@u[key, number] = (words)`, by sed: one key and one value more, in the middle ...
PADDED = r"s/@([ut])\[([^],]+), ([^],]+)\] = \(/@\1[\2, (uint64)9, \3] = ((uint64)9, /"
# ... or fewer bits for the time, of which a mark cannot be one.
CUT = r"s/@([ut])\[([^],]+), ([^],]+)\] = \(/@\1[\2, \3] = ((uint32)/"
pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


@pytest.fixture
def rewriting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Put a bpftrace first on the PATH that rewrites the stored form of its program, and then is the real one."""
    real = shutil.which("bpftrace")
    place = tmp_path / "bin"
    place.mkdir()
    script = place / "bpftrace"
    script.write_text(
        f"""#!/bin/sh
for last; do :; done
[ -f "$last" ] && grep -q {MARK:#x} "$last" && sed -E -i '{request.param}' "$last"
exec {real} "$@"
"""
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")


@pytest.mark.usefixtures("rewriting")
@pytest.mark.parametrize(
    ("rewriting", "trial"),
    [(PADDED, Trial(True)), (CUT, Trial(False, "the form of this bpftrace's maps is unknown"))],
    indirect=["rewriting"],
)
def test_the_doctor_tries_it(trial: Trial) -> None:
    bpftrace = find_bpftrace()
    assert bpftrace is not None
    assert try_maps(bpftrace) == trial


@pytest.mark.usefixtures("rewriting")
@pytest.mark.parametrize("rewriting", [PADDED], indirect=True)
def test_records_in_another_layout_are_read_by_their_mark(image: Path, tmp_path: Path) -> None:
    with recorder(tmp_path / "r", "--", *bench(image, COUNT)) as tracer:
        recording = tracer.finish(120)
    assert (tracer.process.returncode, recording.manifest.state) == (0, State.COMPLETE), tracer.said
    assert "(uint64)9" in (recording.path / PROGRAM_FILE).read_text()
    assert not recording.manifest.notes
    assert recording.manifest.counts.by_point["laio"] >= COUNT
    assert_accounted(recording)


@pytest.mark.usefixtures("rewriting")
@pytest.mark.parametrize("rewriting", [CUT], indirect=True)
def test_records_in_an_unknown_form_are_printed_in_batches_instead(image: Path, tmp_path: Path) -> None:
    with recorder(tmp_path / "r", "--", *bench(image, COUNT)) as tracer:
        recording = tracer.finish(120)
    assert (tracer.process.returncode, recording.manifest.state) == (0, State.COMPLETE), tracer.said
    (note,) = recording.manifest.notes
    assert "printed in batches" in note
    assert note in "".join(tracer.said)
    assert note in (recording.path / LOG_FILE).read_text()
    assert f"{BATCH} to a line" in (recording.path / PROGRAM_FILE).read_text()
    assert recording.manifest.counts.by_point["laio"] >= COUNT
    assert_accounted(recording)
