"""The line at the end of a recording: what it cost, and a next command that can be typed as it stands."""

import subprocess
from pathlib import Path

import pytest

from vio.layer import Layer
from vio.manifest import Cost, Counts, EndReason, LossTotals, PointInfo, State
from vio.printable import printable, shell_word
from vio.recorder.summary import BUFFERED_NS, RECORD_NS, TRACEPOINT_NS, RecordSummary, added_us_per_io


def test_points_of_the_trace_buffer_cost_less() -> None:
    points = tuple(
        PointInfo(number, name, Layer.BLOCK, "mark", "", "", attach)
        for number, name, attach in ((1, "laio", "uprobe:/q:f"), (2, "rq_issue", "tracepoint:block:x"))
    )
    by_point = {"laio": 1000, "rq_issue": 1000}
    dear, _ = added_us_per_io(points, by_point)
    cheap, ios = added_us_per_io(points, by_point, frozenset({2}))
    assert ios == 1000
    assert dear is not None
    assert cheap is not None
    assert dear - cheap == pytest.approx((RECORD_NS + TRACEPOINT_NS - BUFFERED_NS) / 1000)


@pytest.mark.parametrize(
    ("by_point", "ios"),
    [
        ({"accept": 7, "bdrv_read": 99, "laio": 30}, 7),
        ({"bdrv_read": 2000, "laio": 1000}, 1000),
        ({"bdrv_read": 1006, "pool": 6}, 1000),  # of holes, nothing is handed on
        ({"laio": 5}, 5),
        ({}, 0),
    ],
)
def test_ios_are_counted_at_the_top(by_point: dict[str, int], ios: int) -> None:
    assert added_us_per_io((), by_point)[1] == ios


@pytest.mark.parametrize(
    "path", ["web.vio", "my recordings/web 1.vio", "it's.vio", "$HOME;ls", "a\x1b[31m\n'\\.vio", "ü.vio"]
)
def test_the_next_command_names_the_recording_to_a_shell(path: str) -> None:
    summary = RecordSummary(Path(path), State.COMPLETE, EndReason.STOPPED, "", 1.0, Counts(), LossTotals(), Cost())
    word = summary.next_command().removeprefix("vio report ")
    assert word.isprintable()
    echoed = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True)
    assert echoed.stdout.decode() == path


def test_a_plain_word_stays_plain() -> None:
    assert shell_word("/srv/web-1.vio") == "/srv/web-1.vio"
    assert printable("a\udcff\x9b") == "a\\xff\\x9b"
